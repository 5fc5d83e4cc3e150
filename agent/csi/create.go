package csi

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Sizes and places of volumes for which nothing was said.
const (
	customarySize = 1 << 30
	containerPath = "data" // where tenon's own launchers would mount it
	defaultMode   = 0o755
)

// parameters are those of a storage class.
type parameters struct {
	role    string
	disk    *string // key of the disk; nil is any
	shared  *bool   // nil follows from the access modes
	owner   volume.Owner
	reserve bool // the space is taken from what nobody has reserved, and goes back there
}

// parameterNames are for messages.
const parameterNames = "role, disk, shared, uid, gid, mode, reserve"

// parse reads the parameters of a storage class. What the provisioner adds about the claim is
// passed over.
func parse(m map[string]string) (p parameters, err error) {
	p.owner.Mode = defaultMode
	for k, v := range m {
		if strings.HasPrefix(k, "csi.storage.k8s.io/") {
			continue
		}
		if err := p.set(k, v); err != nil {
			return p, err
		}
	}
	if p.role != "" {
		err = resource.CheckRole(p.role)
	}
	if p.role == "*" {
		err = refuse(volume.ErrInvalid, "parameter role: * means unreserved, and a volume is made of what is reserved")
	}
	return p, err
}

func (p *parameters) set(k, v string) (err error) {
	switch k {
	case "role":
		p.role = v
	case "disk":
		if v == volume.DiskName("") {
			v = ""
		}
		p.disk = &v
	case "shared":
		var b bool
		b, err = strconv.ParseBool(v)
		p.shared = &b
	case "uid":
		p.owner.UID, err = id(v)
	case "gid":
		p.owner.GID, err = id(v)
	case "mode":
		var n uint64
		n, err = strconv.ParseUint(v, 8, 12)
		p.owner.Mode = uint32(n)
	case "reserve":
		p.reserve, err = strconv.ParseBool(v)
	default:
		return refuse(volume.ErrInvalid, "parameter %q is not one of %s", k, parameterNames)
	}
	if err != nil {
		return refuse(volume.ErrInvalid, "parameter %s: %v", k, err)
	}
	return nil
}

// id reads a user's or a group's number.
func id(v string) (int, error) {
	n, err := strconv.ParseUint(v, 10, 31)
	return int(n), err
}

// wanted is what a CreateVolume asks for.
type wanted struct {
	parameters
	id     string
	sizes  sizes
	shared bool
}

func (s *Server) wantedOf(r *csi.CreateVolumeRequest) (w wanted, err error) {
	if err := checkName(r.GetName()); err != nil {
		return w, err
	}
	a, err := accessOfAll(r.GetVolumeCapabilities())
	if err != nil {
		return w, err
	}
	if w.parameters, err = parse(r.GetParameters()); err != nil {
		return w, err
	}
	if w.sizes, err = sizesOf(r.GetCapacityRange()); err != nil {
		return w, err
	}
	w.id, w.shared = persistenceID(r.GetName()), a.shared
	switch {
	case w.role == "":
		return w, refuse(volume.ErrInvalid, "parameter role is missing: whose reserved space the volume is made of")
	case r.GetVolumeContentSource() != nil:
		return w, refuse(volume.ErrInvalid, "a volume cannot be made from another one or from a snapshot")
	case len(r.GetMutableParameters()) > 0:
		return w, refuse(volume.ErrInvalid, "a volume has no mutable parameters")
	case w.parameters.shared == nil:
	case !*w.parameters.shared && a.shared:
		return w, refuse(volume.ErrInvalid, "parameter shared is false, but the access mode shares the volume; "+
			"ask for SINGLE_NODE_SINGLE_WRITER (ReadWriteOncePod in Kubernetes), or leave the parameter out")
	default:
		w.shared = *w.parameters.shared
	}
	return w, s.checkTopology(r.GetAccessibilityRequirements())
}

// checkName holds the name of a volume to the characters that the specification lets it have.
func checkName(name string) error {
	if name == "" {
		return refuse(volume.ErrInvalid, "name is missing")
	}
	for _, r := range name {
		if control := r < 0x20 && !strings.ContainsRune("\t\n\r", r) || 0x7f <= r && r < 0xa0; control {
			return refuse(volume.ErrInvalid, "name %q has control characters", name)
		}
	}
	return nil
}

// CreateVolume carves a volume from space that is reserved to the role of its parameters, or
// finds the one that the same request has made before.
func (s *Server) CreateVolume(ctx context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	w, err := s.wantedOf(r)
	if err != nil {
		return nil, err
	}
	st := s.agent.State()
	v, err := w.existing(st)
	if v == nil && err == nil {
		if st, err = s.create(ctx, st, w); err == nil || errors.Is(err, volume.ErrExists) {
			st = s.agent.State() // where somebody was faster, it is to be the same
			v, err = w.existing(st)
		}
	}
	if err == nil && v == nil {
		err = refuse(volume.ErrPending, "the volume %q was destroyed meanwhile", r.GetName())
	}
	if err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: s.describe(st, v)}, nil
}

// existing finds what was made for the same name, in whatever role. It is an error unless it
// is what is wanted, and ready.
func (w wanted) existing(s *volume.State) (*volume.Volume, error) {
	for n := (volume.Name{}); ; {
		n = nextRole(s, n)
		if n.Role == "" {
			return nil, nil
		}
		v, ok := s.Named(volume.Name{Role: n.Role, ID: w.id})
		if ok && (v.Principal != nil && *v.Principal == Driver || v.Role == w.role) {
			return v, w.matches(s, v)
		}
	}
}

// nextRole is a name that comes after those of its role, in the next role that has volumes.
func nextRole(s *volume.State, after volume.Name) volume.Name {
	for v := range s.Volumes(after) {
		return volume.Name{Role: v.Role, ID: "\U0010ffff"} // no id sorts after this one
	}
	return volume.Name{}
}

// matches says whether a volume is what is wanted.
func (w wanted) matches(s *volume.State, v *volume.Volume) error {
	other := ""
	switch {
	case v.Principal == nil || *v.Principal != Driver:
		other = "made by somebody else"
	case v.Role != w.role:
		other = "in role " + v.Role
	case w.disk != nil && *w.disk != v.Disk:
		other = "on disk " + volume.DiskName(v.Disk)
	case !w.sizes.has(v.Size.Bytes()):
		other = "of " + v.Size.Bytes().String()
	case v.Shared != w.shared:
		other = "shared: " + strconv.FormatBool(v.Shared)
	case v.Owner != w.owner:
		other = "of another owner or mode"
	case reservedHere(v) != w.reserve:
		other = "with reserve: " + strconv.FormatBool(reservedHere(v))
	}
	if other != "" {
		return refuse(volume.ErrExists, "volume %s exists, but is %s", v.Name, other)
	}
	return usable(s, v)
}

// usable refuses a volume that is not ready, or is lost.
func usable(s *volume.State, v *volume.Volume) error {
	f, bad := s.Fault(volume.UnitOfVolume(v.UUID))
	switch {
	case bad:
		return refuse(f.Kind, "volume %s: %s", v.Name, f.Reason)
	case v.Phase != volume.Ready:
		return refuse(volume.ErrPending, "volume %s is being made", v.Name)
	}
	return nil
}

// create makes the volume, and first reserves its space where that is wanted.
func (s *Server) create(ctx context.Context, st *volume.State, w wanted) (*volume.State, error) {
	ops, err := w.operations(st)
	if err != nil {
		return nil, err
	}
	return s.ask(ctx, func(now *volume.State, op volume.Operation) error {
		if _, is := op.(volume.Create); !is {
			return nil
		}
		if v, _ := w.existing(now); v != nil { // under another role, where the agent would allow it
			return refuse(volume.ErrExists, "volume %s exists", v.Name)
		}
		return nil
	}, ops...)
}

// operations are RESERVE, if it is wanted, and CREATE.
func (w wanted) operations(st *volume.State) ([]volume.Operation, error) {
	from, size, err := w.place(st)
	if err != nil {
		return nil, err
	}
	var ops []volume.Operation
	from.Free = size
	if w.reserve {
		from.Reservations = append(from.Reservations, resource.Reservation{Type: resource.Dynamic, Role: w.role, Principal: driver()})
		ops = append(ops, volume.Reserve{Resources: []resource.Resource{st.Describe(from)}, Principal: Driver})
	}
	r := st.Describe(from)
	if r.Disk == nil {
		r.Disk = &resource.Disk{}
	}
	r.Disk.Persistence = &resource.Persistence{ID: w.id, Principal: driver()}
	r.Disk.Volume = &resource.Volume{ContainerPath: containerPath, Mode: resource.RW}
	r.Shared = w.shared
	return append(ops, volume.Create{Volume: r, Owner: w.owner, NoGroup: true, Principal: Driver}), nil
}

// place finds the space that the volume is to be made of, and the size that it has there.
func (w wanted) place(st *volume.State) (volume.Account, resource.Scalar, error) {
	size, err := w.sizes.choose(customarySize)
	if err != nil {
		return volume.Account{}, 0, err
	}
	for a := range st.Accounts() {
		if !w.from(st, a) {
			continue
		}
		if d, _ := st.Disk(a.Disk); whole(d) && a.Free > 0 && w.sizes.has(a.Free.Bytes()) {
			return a, a.Free, nil
		} else if !whole(d) && a.Free >= size {
			return a, size, nil
		}
	}
	return volume.Account{}, 0, w.nowhere(size)
}

// from says whether the volume may be made of an account's space.
func (p parameters) from(st *volume.State, a volume.Account) bool {
	if _, bad := st.Fault(volume.UnitOfDisk(a.Disk)); bad || p.disk != nil && *p.disk != a.Disk {
		return false
	}
	n := len(a.Reservations)
	if p.reserve {
		return n == 0
	}
	return n > 0 && (p.role == "" || a.Reservations[n-1].Role == p.role)
}

// whole says whether a disk goes to one volume as a whole.
func whole(d *volume.Disk) bool {
	return d != nil && d.Source != nil && d.Source.Type == resource.SourceMount
}

func (w wanted) nowhere(size resource.Scalar) error {
	where, flag := "", ""
	if w.disk != nil {
		where, flag = " on disk "+volume.DiskName(*w.disk), " --disk "+volume.DiskName(*w.disk)
	}
	if w.reserve {
		return refuse(volume.ErrInsufficient, "%s%s are not there unreserved in one piece", size.Bytes(), where)
	}
	return refuse(volume.ErrInsufficient, "role %s has not %s reserved and free in one piece%s; reserve more: "+
		"tenon reserve disk:%s --role %s%s", w.role, size.Bytes(), where, size, w.role, flag)
}
