package wire

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// CreateVolume asks for a volume of space that is reserved to a role.
type CreateVolume struct {
	Role          string         `json:"role"`
	ID            string         `json:"id"`
	Size          resource.Bytes `json:"size"` // rounded up to a thousandth of a MiB
	Shared        bool           `json:"shared,omitempty"`
	Disk          string         `json:"disk,omitempty"`           // name, key or directory; none is root
	ContainerPath string         `json:"container_path,omitempty"` // none is the id
	UID           int            `json:"uid,omitempty"`
	GID           int            `json:"gid,omitempty"`
	Mode          string         `json:"mode,omitempty"`       // octal; none is "0755"
	OneWriter     bool           `json:"one_writer,omitempty"` // of a shared volume: one task may write, any number read

	// OnExceed is what follows when it holds more than its size, where nothing but measuring
	// tells: report, readonly or kill; none leaves it to the agent.
	OnExceed volume.OnExceed `json:"on_exceed,omitempty"`
}

// Claim announces a task and the volumes that it will use.
type Claim struct {
	Task    string     `json:"task"`
	Sandbox string     `json:"sandbox,omitempty"` // none: the agent makes one
	PID     int        `json:"pid,omitempty"`     // of the process that proves it alive; none is whoever asks, unless there is a TTL
	TTL     string     `json:"ttl,omitempty"`     // as "10m": holds it for so long, and from each renewal on
	User    *volume.ID `json:"user,omitempty"`    // whose the sandbox is to be that the agent makes; none is root
	Cgroup  bool       `json:"cgroup,omitempty"`  // have a cgroup made that proves it alive as well, where the host has cgroups
	Volumes []Use      `json:"volumes,omitempty"`
	IO      []Throttle `json:"io,omitempty"` // limits of input and output; needs the cgroup
}

// Use is one volume that a task wants.
type Use struct {
	Volume string        `json:"volume"`            // role/id or UUID
	Path   string        `json:"path,omitempty"`    // in the sandbox; none is the volume's container path
	Mode   resource.Mode `json:"mode,omitempty"`    // none is RW
	NoExec bool          `json:"no_exec,omitempty"` // no program on it can be run
	As     *volume.ID    `json:"as,omitempty"`      // as whose files of the volume's owner appear; none is as they are
}

// Attach asks for one volume to be mounted for a task: beneath its sandbox, or in the mount
// namespace of a process that runs, where an absolute path is beneath the root of that process.
type Attach struct {
	Use
	Sandbox string `json:"sandbox,omitempty"` // of a new task; none: the agent makes one, unless a process is named
	PID     int    `json:"pid,omitempty"`     // of that process; none: the agent knows how the task sees its volumes
	TTL     string `json:"ttl,omitempty"`     // of a new task, as "10m"; one that is there must have the same, and is renewed
}

// SetMode asks for a volume that a task has to become read-only for it, or writable again,
// while the task runs.
type SetMode struct {
	Volume string        `json:"volume"`         // role/id or UUID
	Path   string        `json:"path,omitempty"` // in the sandbox; none is everywhere in the task
	Mode   resource.Mode `json:"mode"`
}

// Operations asks for Mesos' operations, all of them in order or none.
type Operations struct {
	Operations []resource.Operation `json:"operations"`
}

// ResizeVolume asks for a volume to become larger or smaller.
type ResizeVolume struct {
	Size resource.Bytes `json:"size"` // rounded up to a thousandth of a MiB
}

// Caller is who asks, as the agent knows them.
type Caller struct {
	Principal string `json:"principal,omitempty"` // none where nothing gives them a name
	UID       int    `json:"uid"`                 // -1 over TLS
	PID       int    `json:"pid,omitempty"`       // none over TLS
}

// Health is the answer of an agent that can do its work.
type Health struct {
	Healthy bool `json:"healthy"`
}

// EscapeRef makes a volume's name or UUID fit for the path of a URL, in which the slashes
// of a role stay as they are.
func EscapeRef(ref string) string {
	elements := strings.Split(ref, "/")
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return strings.Join(elements, "/")
}

// Operation is what the agent has to do for the request.
func (c CreateVolume) Operation(s *volume.State) (volume.Create, error) {
	owner, err := c.owner()
	if err != nil {
		return volume.Create{}, err
	}
	source, err := sourceNamed(s, c.Disk)
	switch {
	case err != nil:
		return volume.Create{}, err
	case c.Role == "*" || c.Role == "":
		return volume.Create{}, refuse("role must be one that space is reserved to, not %q", c.Role)
	case c.Size <= 0:
		return volume.Create{}, refuse("size must be greater than zero, not %d", int64(c.Size))
	case c.ContainerPath == "":
		c.ContainerPath = c.ID
	}
	return volume.Create{Role: c.Role, Owner: owner, OneWriter: c.OneWriter, OnExceed: c.OnExceed, Volume: resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: c.Size.Scalar(), Shared: c.Shared,
		Disk: &resource.Disk{
			Persistence: &resource.Persistence{ID: c.ID},
			Volume:      &resource.Volume{ContainerPath: c.ContainerPath, Mode: resource.RW},
			Source:      source,
		},
	}}, nil
}

// Operation is what the agent has to do for the request; ref names the volume.
func (r ResizeVolume) Operation(ref string) (volume.Resize, error) {
	if r.Size <= 0 {
		return volume.Resize{}, refuse("size must be greater than zero, not %d", int64(r.Size))
	}
	return volume.Resize{Ref: ref, Size: r.Size.Scalar()}, nil
}

// defaultOwner is whom a volume belongs to when nobody is named, as in Mesos.
var defaultOwner = volume.Owner{Mode: 0o755}

func (c CreateVolume) owner() (volume.Owner, error) {
	o := defaultOwner
	if err := checkOwnerID("uid", c.UID); err != nil {
		return o, err
	}
	if err := checkOwnerID("gid", c.GID); err != nil {
		return o, err
	}
	o.UID, o.GID = c.UID, c.GID
	if c.Mode == "" {
		return o, nil
	}
	const bits = 12 // permissions, sticky, setgid, setuid
	mode, err := strconv.ParseUint(c.Mode, 8, bits)
	if err != nil {
		return o, refuse("mode %q is not an octal number up to 07777", c.Mode)
	}
	o.Mode = uint32(mode)
	return o, nil
}

func checkOwnerID(field string, id int) error {
	if id < 0 || id >= math.MaxUint32 { // the last one means "leave as it is" to chown(2)
		return refuse("%s %d is not between 0 and %d", field, id, math.MaxUint32-1)
	}
	return nil
}

// sourceNamed finds a disk by its name, its key or its directory.
func sourceNamed(s *volume.State, name string) (*resource.Source, error) {
	if name == "" || name == volume.DiskName("") {
		return nil, nil //nolint:nilnil // the root disk has no source
	}
	for d := range s.Disks() {
		if d.Source != nil && (name == d.Key || name == directoryOf(d.Source)) {
			return d.Source, nil
		}
	}
	return nil, &volume.Error{Kind: volume.ErrNotFound, Message: fmt.Sprintf("this agent has no disk %q", name)}
}

func directoryOf(s *resource.Source) string {
	for _, r := range []*resource.Root{s.Path, s.Mount} {
		if r != nil && r.Root != nil {
			return *r.Root
		}
	}
	return ""
}

// NoProcess stands for whoever asks from another host.
const NoProcess = -1

// Operation is what the agent has to do for the request; peer is the process that asks. A
// task that NoProcess claims for has no process for a lease, unless the request names one.
func (c Claim) Operation(peer int) (volume.Claim, error) {
	op := volume.Claim{Task: c.Task, Sandbox: c.Sandbox, User: c.User, Cgroup: c.Cgroup, Lease: volume.Lease{PID: c.PID}}
	ttl, err := ttlOf(c.TTL)
	if err != nil {
		return op, err
	}
	op.Lease.TTL, op.IO = ttl, throttlesOf(c.IO)
	if c.PID == 0 && ttl == 0 {
		op.Lease.PID = peer
	}
	if op.Lease.PID == NoProcess && c.PID == 0 {
		op.Lease.PID = 0
	} else if op.Lease.PID < 0 || op.Lease.PID == 0 && ttl == 0 {
		return op, refuse("pid %d is no process", op.Lease.PID)
	}
	for _, u := range c.Volumes {
		if u.Volume == "" {
			return op, errNoVolume()
		}
		op.Uses = append(op.Uses, volume.Use(u))
	}
	return op, nil
}

// Operation is what the agent has to do for the request; the empty via leaves the way to it.
func (a Attach) Operation(task string, via volume.Via) (volume.Attach, error) {
	op := volume.Attach{Task: task, Sandbox: a.Sandbox, Use: volume.Use(a.Use), Via: via, In: volume.Process{PID: a.PID}}
	switch {
	case a.Volume == "":
		return op, errNoVolume()
	case a.PID < 0:
		return op, refuse("pid %d is no process", a.PID)
	case a.PID > 0 && via != "":
		return op, refuse("a mount that is handed over as a descriptor needs no pid")
	}
	var err error
	op.TTL, err = ttlOf(a.TTL)
	return op, err
}

func errNoVolume() error { return refuse("volume is not set: which one, as role/id or UUID?") }

func refuse(format string, args ...any) error {
	return &volume.Error{Kind: volume.ErrInvalid, Message: fmt.Sprintf(format, args...)}
}
