package volume

import (
	"tenon/agent/resource"
)

// Grow adds Addition, which must be space of the same disk and reservation, to a volume
// (spec.md 3.8). Beyond Mesos, the volume may be shared and in use: its limit moves, and the
// tasks that have it notice nothing. Refused with ErrInvalid, ErrInsufficient, ErrNotFound
// (no such volume, or of another size), ErrLost or ErrUnavailable.
type Grow struct{ Volume, Addition resource.Resource }

// Shrink takes Subtract (MiB) from a volume that no task holds (spec.md 3.9). Beyond Mesos,
// the volume may be a shared one; and it never becomes smaller than what is in it, Used,
// which is measured when the operation is prepared: after version Measured, in which nobody
// held it; 0 is any. Refused like Grow, with ErrInUse while tasks hold the volume, with
// ErrInsufficient where its data does not fit, and with ErrPending where a task has come to
// hold it since it was measured.
type Shrink struct {
	Volume   resource.Resource
	Subtract resource.Scalar
	Used     resource.Bytes
	Measured uint64
}

// Resize makes the volume that Ref names ("role/id" or UUID) larger or smaller by the rules
// of Grow and Shrink; to the size that it has, it changes nothing.
type Resize struct {
	Ref      string
	Size     resource.Scalar // MiB
	Used     resource.Bytes  // measured when the operation is prepared
	Measured uint64          // as Shrink has it
}

// Name is "grow".
func (Grow) Name() string { return "grow" }

// Name is "shrink".
func (Shrink) Name() string { return "shrink" }

// Name is "resize".
func (Resize) Name() string { return "resize" }

func (o Grow) apply(d *draft) error {
	if err := o.check(); err != nil {
		return err
	}
	v, ok := d.Is(o.Volume)
	if !ok {
		return d.notAvailable("grow", o.Volume)
	}
	size, fits := v.Size.Add(o.Addition.Scalar)
	if !fits {
		return refuse(ErrInvalid, "grow %s: by %s it would be larger than anything can be", v.Name, o.Addition)
	}
	return d.resize("grow", v, size, Shrink{})
}

// check holds a GROW_VOLUME against spec.md 3.8, in Mesos' order.
func (o Grow) check() error {
	if err := resource.ValidateList([]resource.Resource{o.Volume}); err != nil {
		return invalid(err, "grow: Invalid resource in the 'GrowVolume.volume' field")
	}
	if err := resource.ValidateList([]resource.Resource{o.Addition}); err != nil {
		return invalid(err, "grow: Invalid resource in the 'GrowVolume.addition' field")
	}
	switch {
	case o.Addition.Scalar <= 0:
		return refuse(ErrInvalid, "grow: The size of 'GrowVolume.addition' field must be greater than zero")
	case o.Volume.Provider != "" || o.Addition.Provider != "":
		return refuse(ErrInvalid, "grow: Growing a volume from a resource provider is not supported")
	}
	if err := checkVolume("grow: Invalid persistent volume in the 'GrowVolume.volume' field", o.Volume); err != nil {
		return err
	}
	plain, addition := o.Volume.StripVolume(), o.Addition
	plain.Allocation, addition.Allocation = "", ""
	if !resource.Addable(plain, addition) {
		return refuse(ErrInvalid, "grow: Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields: %s and %s",
			o.Volume, o.Addition)
	}
	return nil
}

func (o Shrink) apply(d *draft) error {
	if err := o.check(); err != nil {
		return err
	}
	v, ok := d.Is(o.Volume)
	if !ok {
		return d.notAvailable("shrink", o.Volume)
	}
	return d.resize("shrink", v, v.Size-o.Subtract, o)
}

// check holds a SHRINK_VOLUME against spec.md 3.9, in Mesos' order.
func (o Shrink) check() error {
	r := o.Volume
	if err := resource.ValidateList([]resource.Resource{r}); err != nil {
		return invalid(err, "shrink: Invalid resource in the 'ShrinkVolume.volume' field")
	}
	switch {
	case o.Subtract <= 0:
		return refuse(ErrInvalid, "shrink: Value of 'ShrinkVolume.subtract' must be greater than zero")
	case o.Subtract >= r.Scalar:
		return refuse(ErrInvalid, "shrink: Value of 'ShrinkVolume.subtract' must be smaller than the size of 'ShrinkVolume.volume': "+
			"%s is not smaller than %s", o.Subtract, r)
	case r.Provider != "":
		return refuse(ErrInvalid, "shrink: Shrinking a volume from a resource provider is not supported")
	}
	return checkVolume("shrink: Invalid persistent volume in the 'ShrinkVolume.volume' field", r)
}

func (o Resize) apply(d *draft) error {
	v, err := d.Find(o.Ref)
	switch {
	case err != nil:
		return err
	case o.Size <= 0 || o.Size > resource.MaxScalar:
		return refuse(ErrInvalid, "resize %s: the size must be greater than zero and not larger than %s", v.Name, resource.MaxScalar.Bytes())
	}
	return d.resize("resize", v, o.Size, Shrink{Used: o.Used, Measured: o.Measured})
}

// notAvailable words, as Mesos does, that a volume is not there in the form that was named. What
// is there instead is not for everybody to know.
func (d *draft) notAvailable(op string, r resource.Resource) error {
	return refuse(ErrNotFound, "%s: Persistent volumes not found: this agent does not contain %s", op, r)
}

// resize moves space between a volume and the reservation that it was carved from. found has
// what was measured.
func (d *draft) resize(op string, v *Volume, size resource.Scalar, found Shrink) error {
	if err := d.resizable(op, v); err != nil {
		return err
	}
	d.touch(UnitOfVolume(v.UUID))
	if size == v.Size {
		return nil
	}
	disk, _ := d.Disk(v.Disk)
	switch free := d.Free(v.Disk, v.Reservations); {
	case disk.indivisible():
		return refuse(ErrInvalid, "%s %s: Growing or Shrinking a volume on a MOUNT disk is not supported: it has the whole of %s",
			op, v.Name, DiskName(v.Disk))
	case size > v.Size && free < size-v.Size:
		return d.insufficient(disk, v.Reservations, size-v.Size)
	case size < v.Size:
		if err := d.shrinkable(op, v, size, found); err != nil {
			return err
		}
	}
	d.resized(v, size)
	return nil
}

// resized puts a volume with another size, and the difference to where it was carved from.
func (d *draft) resized(v *Volume, size resource.Scalar) {
	if size == v.Size {
		return
	}
	d.give(v.Disk, v.Reservations, v.Size-size)
	other := *v
	other.Size = size
	d.put(Change{Volume: &other})
}

// resizable says whether a volume has a size that can change.
func (d *draft) resizable(op string, v *Volume) error {
	switch f, bad := d.Fault(UnitOfVolume(v.UUID)); {
	case v.Phase == Destroying:
		return refuse(ErrNotFound, "%s: volume %s is being destroyed", op, v.Name)
	case bad && (f.Kind == ErrLost || f.Kind == ErrUnavailable):
		return refuse(f.Kind, "%s: volume %s: %s", op, v.Name, f.Reason)
	}
	return nil
}

// shrinkable says whether nobody counts on what a volume would lose.
func (d *draft) shrinkable(op string, v *Volume, size resource.Scalar, found Shrink) error {
	if hs := d.Holders(v.UUID); len(hs) > 0 {
		return inUse(v, hs, "%s %s: Persistent volumes in use: held by %s; it can become smaller when no task holds it",
			op, v.Name, HolderNames(hs))
	}
	if u, used := d.lastHeld.Get(&use{volume: v.UUID}); used && found.Measured > 0 && u.version > found.Measured {
		return refuse(ErrPending, "%s %s: a task has had it since what is in it was measured; ask again", op, v.Name)
	}
	if found.Used > size.Bytes() {
		return refuse(ErrInsufficient, "%s %s: there are %s in it, which do not fit into %s; remove some of its files first",
			op, v.Name, found.Used, size.Bytes())
	}
	return nil
}
