package volume

import (
	"strings"

	"tenon/agent/resource"
)

// Reserve moves space from one reservation stack to the same with one more dynamic
// reservation (spec.md 3.4). Refused with ErrInvalid, ErrNotFound (no such disk) or
// ErrInsufficient.
type Reserve struct{ Resources []resource.Resource }

// Unreserve takes the last reservation off space that no volume is carved from
// (spec.md 3.5). Refused like Reserve.
type Unreserve struct{ Resources []resource.Resource }

// Name is "reserve".
func (Reserve) Name() string { return "reserve" }

// Name is "unreserve".
func (Unreserve) Name() string { return "unreserve" }

func (o Reserve) apply(d *draft) error {
	return eachReservation(o.Name(), o.Resources, func(disk string, r resource.Resource) error {
		return d.move(disk, r.Scalar, pop(r.Reservations), r.Reservations)
	}, d)
}

func (o Unreserve) apply(d *draft) error {
	return eachReservation(o.Name(), o.Resources, func(disk string, r resource.Resource) error {
		return d.move(disk, r.Scalar, r.Reservations, pop(r.Reservations))
	}, d)
}

// eachReservation checks what RESERVE and UNRESERVE have in common and calls do for
// each resource.
func eachReservation(op string, rs []resource.Resource, do func(disk string, r resource.Resource) error, d *draft) error {
	if len(rs) == 0 {
		return refuse(ErrInvalid, "%s: Operation contains no resources", op)
	}
	for _, r := range rs {
		if err := checkReservation(op, r); err != nil {
			return err
		}
		disk, err := d.diskOf(r)
		if err != nil {
			return err
		}
		if err := do(disk.Key, r); err != nil {
			return err
		}
	}
	return nil
}

func checkReservation(op string, r resource.Resource) error {
	if err := checkDisk(op, r); err != nil {
		return err
	}
	if !dynamic(r.Reservations) {
		return refuse(ErrInvalid, "%s: resource %s is not dynamically reserved", op, r)
	}
	if r.Disk != nil && r.Disk.Persistence != nil {
		return refuse(ErrInvalid, "%s: %s is a persistent volume, which cannot be %sd directly. "+
			"Please destroy the persistent volume first then unreserve the resource", op, r, op)
	}
	return nil
}

// checkDisk checks a resource by itself: spec.md 3.3, and what this agent deals in.
func checkDisk(op string, r resource.Resource) error {
	if err := resource.ValidateList([]resource.Resource{r}); err != nil {
		return invalid(err, "%s", op)
	}
	if r.Name != "disk" || r.Type != resource.TypeScalar {
		return refuse(ErrInvalid, "%s: %s is not disk, which is all that this agent carves", op, r)
	}
	if r.Scalar <= 0 {
		return refuse(ErrInvalid, "%s: the size of %s must be greater than zero", op, r)
	}
	if r.Provider != "" {
		return refuse(ErrInvalid, "%s: %s belongs to resource provider %q, and this agent has none", op, r, r.Provider)
	}
	if r.Revocable {
		return refuse(ErrInvalid, "%s: %s is revocable, and this agent offers nothing revocable", op, r)
	}
	return nil
}

// diskOf finds the disk that a resource speaks of.
func (d *draft) diskOf(r resource.Resource) (*Disk, error) {
	var source *resource.Source
	if r.Disk != nil {
		source = r.Disk.Source
	}
	disk, ok := d.Disk(source.Key())
	if !ok || disk.Absent {
		return nil, refuse(ErrNotFound, "this agent has no disk %s", DiskName(source.Key()))
	}
	return disk, nil
}

// move takes n from one account of a disk and gives it to another.
func (d *draft) move(disk string, n resource.Scalar, from, to []resource.Reservation) error {
	if d.Free(disk, from) < n {
		return d.insufficient(disk, from, n)
	}
	d.give(disk, from, -n)
	d.give(disk, to, n)
	return nil
}

// insufficient words the refusal as Mesos does: what there is does not contain what is
// asked for. Only accounts of the same disk are listed, so its length does not grow
// with the number of volumes.
func (d *draft) insufficient(disk string, stack []resource.Reservation, n resource.Scalar) error {
	var have []string
	for a := range d.Accounts() {
		if a.Disk == disk {
			have = append(have, d.Describe(a).String())
		}
	}
	if len(have) == 0 {
		have = []string{"{}"}
	}
	want := d.Describe(Account{Disk: disk, Reservations: stack, Free: n})
	return refuse(ErrInsufficient, "disk %s has %s with this reservation, %s is asked for: %s does not contain %s",
		DiskName(disk), d.Free(disk, stack).Bytes(), n.Bytes(), strings.Join(have, "; "), want)
}

// Describe gives an account as the resource that Mesos would call it.
func (s *State) Describe(a Account) resource.Resource {
	r := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: a.Free, Reservations: a.Reservations}
	if disk, ok := s.Disk(a.Disk); ok && disk.Source != nil {
		r.Disk = &resource.Disk{Source: disk.Source}
	}
	return r
}
