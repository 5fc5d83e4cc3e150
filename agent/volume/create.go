package volume

import (
	"tenon/agent/resource"
)

// Create carves a volume from reserved space (spec.md 3.6). Volume is the resource as
// CREATE names it. Where its reservation stack is empty and Role is set, the stack is
// that of the first account of the disk whose last role is Role and that has room.
// Where Principal is set, it is that of whoever asks, and Volume must carry it. Where UUID is
// set, nobody has ever used it: by that whoever asks can tell this volume from others that
// get its name after it. Refused with ErrInvalid, ErrNotFound (no such disk), ErrExists or ErrInsufficient.
type Create struct {
	UUID      UUID // none: a new one
	Volume    resource.Resource
	Role      string
	Owner     Owner
	OneWriter bool // of a shared volume: one task may write, any number read
	NoGroup   bool // it is given no group of its own: whoever starts its tasks would not pass that on
	Principal string
	OnExceed  OnExceed // empty leaves it to the disk
	Project   uint32   // by which the file system is to limit it, 0 for none; found when the operation is prepared
}

// Destroy lets go of a volume that no task holds: its data is removed and then its
// space goes back to the reservation that it came from (spec.md 3.7). The volume is
// named by Ref ("role/id" or UUID) or, where that is empty, by the resource that it
// is, which must match in all but container path, mode and principal. Refused with
// ErrInvalid, ErrNotFound, ErrInUse (with the holders) or ErrUnavailable. A volume that
// is being destroyed has no name any more: by name or resource it is ErrNotFound, by
// UUID it changes nothing.
type Destroy struct {
	Ref    string
	Volume resource.Resource
}

// Name is "create".
func (Create) Name() string { return "create" }

// Name is "destroy".
func (Destroy) Name() string { return "destroy" }

func (o Create) apply(d *draft) error {
	r := o.Volume
	disk, err := d.diskOf(r)
	if err != nil {
		return err
	}
	if o.Role != "" && len(r.Reservations) == 0 {
		if r.Reservations, err = d.stackFor(disk.Key, o.Role, r.Scalar); err != nil {
			return err
		}
	}
	if err := checkVolume("create", r); err != nil {
		return err
	}
	if err := o.checkPrincipal(); err != nil {
		return err
	}
	if o.OneWriter && !r.Shared {
		return refuse(ErrInvalid, "create: one writer is for shared volumes, which this is not: an exclusive one has one task at all")
	}
	if !o.OnExceed.sound() {
		return refuse(ErrInvalid, "create: %q is none of what may follow when a volume holds more than its size: %v", o.OnExceed, OnExceeds())
	}
	v := d.describeVolume(r, disk.Key, o.Owner)
	if o.UUID != "" {
		v.UUID = o.UUID
	}
	v.OneWriter, v.Project, v.OnExceed = o.OneWriter, o.Project, o.OnExceed
	if d.ProjectUsed(v.Disk, v.Project) {
		return refuse(ErrPending, "create %s: project %d was given to another volume meanwhile; ask again", v.Name, v.Project)
	}
	if _, taken := d.Named(v.Name); taken {
		return refuse(ErrExists, "create: Persistence ID '%s' is not unique: volume %s exists", v.ID, v.Name)
	}
	if free := d.Free(disk.Key, v.Reservations); free < v.Size || disk.indivisible() && free != v.Size {
		return d.insufficient(disk, v.Reservations, v.Size)
	}
	if f, bad := d.Fault(UnitOfDisk(disk.Key)); bad {
		return refuse(ErrUnavailable, "create %s: disk %s is unavailable: %s", v.Name, DiskName(disk.Key), f.Reason)
	}
	if err := d.giveGroup(v, o.NoGroup); err != nil {
		return err
	}
	d.give(disk.Key, v.Reservations, -v.Size)
	d.put(Change{Volume: v})
	d.touch(UnitOfVolume(v.UUID))
	d.made[v.UUID] = true
	return nil
}

// checkPrincipal holds a volume against whoever makes it (spec.md 3.6, 4).
func (o Create) checkPrincipal() error {
	switch p := o.Volume.Disk.Persistence.Principal; {
	case o.Principal == "" || p != nil && *p == o.Principal:
		return nil
	case p == nil:
		return refuse(ErrInvalid, "Create volume operation attempted by principal '%s', but there is a volume in the operation "+
			"with no principal set in 'disk.persistence': %s; set it to '%s'", o.Principal, o.Volume, o.Principal)
	default:
		return refuse(ErrInvalid, "Create volume operation attempted by authenticated principal '%s', which does not match a volume "+
			"in the operation with principal '%s' set in 'disk.persistence': %s; set it to '%s'", o.Principal, *p, o.Volume, o.Principal)
	}
}

// checkVolume checks a resource that is to be a volume (spec.md 3.3), in Mesos' order.
func checkVolume(op string, r resource.Resource) error {
	if err := checkDisk(op, r); err != nil {
		return err
	}
	switch d := r.Disk; {
	case d == nil:
		return refuse(ErrInvalid, "%s: Not a persistent volume: %s does not have DiskInfo", op, r)
	case d.Persistence == nil:
		return refuse(ErrInvalid, "%s: Not a persistent volume: 'persistence' is not set in DiskInfo of %s", op, r)
	case d.Volume == nil:
		return refuse(ErrInvalid, "%s: Not a persistent volume: Expecting 'volume' to be set for persistent volume %s", op, r)
	case d.Volume.Mode == resource.RO:
		return refuse(ErrInvalid, "%s: Not a persistent volume: Read-only persistent volume not supported: "+
			"the mode is chosen at each attach", op)
	}
	if err := resource.CheckContainerPath(r.Disk.Volume.ContainerPath); err != nil {
		return invalid(err, "%s", op)
	}
	return nil
}

// stackFor finds a reservation of a role with room for a volume.
func (d *draft) stackFor(disk, role string, size resource.Scalar) ([]resource.Reservation, error) {
	if err := resource.CheckRole(role); err != nil {
		return nil, invalid(err, "create")
	}
	var most resource.Scalar
	for a := range d.Accounts() {
		if n := len(a.Reservations); a.Disk == disk && n > 0 && a.Reservations[n-1].Role == role {
			if a.Free >= size {
				return a.Reservations, nil
			}
			most = max(most, a.Free)
		}
	}
	if err := d.unsized(disk); err != nil {
		return nil, err
	}
	if most == 0 {
		on := ""
		if disk != "" {
			on = " --disk " + DiskName(disk)
		}
		return nil, refuse(ErrInsufficient, "disk %s has nothing reserved for role %s that is free; reserve it first: "+
			"tenon reserve disk:%s --role %s%s", DiskName(disk), role, size, role, on)
	}
	return nil, refuse(ErrInsufficient, "disk %s has %s reserved for role %s in one piece, %s is asked for",
		DiskName(disk), most.Bytes(), role, size.Bytes())
}

func (d *draft) describeVolume(r resource.Resource, disk string, o Owner) *Volume {
	return &Volume{
		UUID:          d.env.NewUUID(),
		Name:          Name{Role: r.Reservations[len(r.Reservations)-1].Role, ID: r.Disk.Persistence.ID},
		Disk:          disk,
		Reservations:  r.Reservations,
		Principal:     r.Disk.Persistence.Principal,
		ContainerPath: r.Disk.Volume.ContainerPath,
		Size:          r.Scalar,
		Shared:        r.Shared,
		Owner:         o,
		Phase:         Creating,
		Created:       d.env.Now,
	}
}

func (o Destroy) apply(d *draft) error {
	v, err := o.find(d)
	if err != nil {
		return err
	}
	d.touch(UnitOfVolume(v.UUID))
	if v.Phase == Destroying {
		return nil
	}
	if hs := d.Holders(v.UUID); len(hs) > 0 {
		return inUse(v, hs, "destroy %s: Persistent volumes in use: held by %s", v.Name, HolderNames(hs))
	}
	if f, bad := d.Fault(UnitOfVolume(v.UUID)); bad && f.Kind == ErrUnavailable {
		return refuse(ErrUnavailable, "destroy %s: %s", v.Name, f.Reason)
	}
	end := *v
	end.Phase = Destroying
	d.put(Change{Volume: &end})
	d.endings.expect(&end)
	return nil
}

// find gives the volume that a DESTROY names.
func (o Destroy) find(d *draft) (*Volume, error) {
	if o.Ref != "" {
		return d.Find(o.Ref)
	}
	if err := checkVolume("destroy", o.Volume); err != nil {
		return nil, err
	}
	v, ok := d.Is(o.Volume)
	if !ok {
		return nil, refuse(ErrNotFound, "destroy: Persistent volumes not found: %s", o.Volume)
	}
	return v, nil
}

// Is finds the volume that a resource is: equal in all but container path, mode, principal
// and the role that it was offered to (spec.md 2.2).
func (s *State) Is(r resource.Resource) (*Volume, bool) {
	if !r.IsVolume() || len(r.Reservations) == 0 {
		return nil, false
	}
	r.Allocation = "" // an offer's, not the volume's
	v, ok := s.Named(Name{Role: r.Role(), ID: r.Disk.Persistence.ID})
	return v, ok && resource.Equal(s.Resource(v), r)
}

// Resource gives a volume as the resource that Mesos would call it.
func (s *State) Resource(v *Volume) resource.Resource {
	r := s.Describe(Account{Disk: v.Disk, Reservations: v.Reservations, Free: v.Size})
	if r.Disk == nil {
		r.Disk = &resource.Disk{}
	}
	r.Disk.Persistence = &resource.Persistence{ID: v.ID, Principal: v.Principal}
	r.Disk.Volume = &resource.Volume{ContainerPath: v.ContainerPath, Mode: resource.RW}
	r.Shared = v.Shared
	return r
}
