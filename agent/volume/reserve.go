package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tenon/agent/resource"
)

// Reserve moves space from one reservation stack to the same with one more dynamic
// reservation; with Source, from the reservations that Source has to those that Resources
// have, in one step (spec.md 3.4). Where Principal is set, it is that of whoever asks, and
// each reservation must carry it. Refused with ErrInvalid, ErrNotFound (no such disk) or
// ErrInsufficient.
type Reserve struct {
	Resources []resource.Resource
	Source    []resource.Resource
	Principal string
}

// Unreserve takes the last reservation off space that no volume is carved from
// (spec.md 3.5). Space of volumes that are destroyed earlier in the same batch counts: it
// comes back as what Unreserve has made of it. Refused like Reserve.
type Unreserve struct{ Resources []resource.Resource }

// MaxKinds bounds the ways in which the space of one disk that is not carved may be reserved:
// each role, principal and set of labels makes one. What comes back from volumes finds room.
const MaxKinds = 4096

// Name is "reserve".
func (Reserve) Name() string { return "reserve" }

// Name is "unreserve".
func (Unreserve) Name() string { return "unreserve" }

func (o Reserve) apply(d *draft) error {
	if err := d.checkReservations(o.Name(), o.Resources); err != nil {
		return err
	}
	if err := o.checkPrincipal(); err != nil {
		return err
	}
	if err := checkAllocation(o.Resources); err != nil {
		return err
	}
	if len(o.Source) > 0 {
		return o.update(d)
	}
	return d.moveEach(o.Resources, func(r resource.Resource) (from, to []resource.Reservation) {
		return pop(r.Reservations), r.Reservations
	})
}

func (o Unreserve) apply(d *draft) error {
	if err := d.checkReservations(o.Name(), o.Resources); err != nil {
		return err
	}
	return d.moveEach(o.Resources, func(r resource.Resource) (from, to []resource.Reservation) {
		return r.Reservations, pop(r.Reservations)
	})
}

// checkPrincipal holds reservations against whoever makes them (spec.md 3.4, 5).
func (o Reserve) checkPrincipal() error {
	for _, r := range o.Resources {
		switch p := r.Reservations[len(r.Reservations)-1].Principal; {
		case o.Principal == "" || p != nil && *p == o.Principal:
		case p == nil:
			return refuse(ErrInvalid, "A reserve operation was attempted by principal '%s', but there is a reserved resource "+
				"in the request with no principal set: %s; set 'principal' of its last reservation to '%s'", o.Principal, r, o.Principal)
		default:
			return refuse(ErrInvalid, "A reserve operation was attempted by authenticated principal '%s', which does not match "+
				"a reserved resource in the request with principal '%s': %s; set it to '%s'", o.Principal, *p, r, o.Principal)
		}
	}
	return nil
}

// checkAllocation holds resources that say to whom they were offered against the role that
// they are to be reserved to (spec.md 3.4, 6). Only masters say so.
func checkAllocation(rs []resource.Resource) error {
	for _, r := range rs {
		if r.Allocation != "" && r.Allocation != r.Role() {
			return refuse(ErrInvalid, "A reserve operation was attempted for a resource with role '%s', but it is allocated to role '%s': %s; "+
				"leave 'allocation_info' out, or set its role to '%s'", r.Role(), r.Allocation, r, r.Role())
		}
	}
	return nil
}

// update moves space from one reservation to another (spec.md 3.4, 2).
func (o Reserve) update(d *draft) error {
	for _, r := range o.Source {
		if err := checkReservable(o.Name(), r); err != nil {
			return refuse(ErrInvalid, "Invalid source: %s", err)
		}
	}
	source, err := d.amounts(o.Source)
	if err != nil {
		return err
	}
	target, err := d.amounts(o.Resources)
	if err != nil {
		return err
	}
	from, to := o.Source[0].Reservations, o.Resources[0].Reservations
	switch {
	case mixed(o.Source) || mixed(o.Resources):
		return refuse(ErrInvalid, "reserve: Mixed reservations are not supported: all of the source, and all of what it is to be, "+
			"must have one and the same reservation")
	case !maps.Equal(source, target):
		return refuse(ErrInvalid, "reserve: Source and target resources should refer to identical resource quantities: %s is not %s",
			d.amountsText(source), d.amountsText(target))
	case !resource.EqualStacks(base(from), base(to)):
		return refuse(ErrInvalid, "reserve: %s would become %s, but static reservations are the configuration's to change",
			o.Source[0], o.Resources[0])
	}
	return d.moveEach(o.Resources, func(resource.Resource) (_, _ []resource.Reservation) { return from, to })
}

// mixed says whether resources have different reservations.
func mixed(rs []resource.Resource) bool {
	for _, r := range rs[1:] {
		if !resource.EqualStacks(r.Reservations, rs[0].Reservations) {
			return true
		}
	}
	return false
}

// amounts sums resources by disk, whatever they are reserved to. All must be of disks that
// there are, which are few: the cost is that of the resources.
func (d *draft) amounts(rs []resource.Resource) (map[string]resource.Scalar, error) {
	sums := map[string]resource.Scalar{}
	for _, r := range rs {
		disk, err := d.diskOf(r)
		if err != nil {
			return nil, err
		}
		sum, fits := sums[disk.Key].Add(r.Scalar)
		if !fits {
			return nil, refuse(ErrInvalid, "reserve: %s and what else is named of its disk are more than anything can be", r)
		}
		sums[disk.Key] = sum
	}
	return sums, nil
}

// amountsText words sums of disks as Mesos does.
func (d *draft) amountsText(sums map[string]resource.Scalar) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(sums)) {
		texts = append(texts, d.Describe(Account{Disk: key, Free: sums[key]}).String())
	}
	return strings.Join(texts, "; ")
}

// checkReservations checks what RESERVE and UNRESERVE have in common.
func (d *draft) checkReservations(op string, rs []resource.Resource) error {
	if len(rs) == 0 {
		return refuse(ErrInvalid, "%s: Operation contains no resources", op)
	}
	for _, r := range rs {
		if err := checkReservable(op, r); err != nil {
			return err
		}
		if !dynamic(r.Reservations) {
			return refuse(ErrInvalid, "%s: resource %s is not dynamically reserved", op, r)
		}
	}
	return nil
}

// checkReservable checks a resource whose reservation is to change.
func checkReservable(op string, r resource.Resource) error {
	if err := checkDisk(op, r); err != nil {
		return err
	}
	if r.IsVolume() {
		return refuse(ErrInvalid, "%s: A dynamically reserved persistent volume %s cannot be %sd directly. "+
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
		return nil, refuse(ErrNotFound, "this agent has no disk %s: it does not contain %s", DiskName(source.Key()), r)
	}
	return disk, nil
}

// moveEach moves each resource between the reservations that ways gives for it.
func (d *draft) moveEach(rs []resource.Resource, ways func(resource.Resource) (from, to []resource.Reservation)) error {
	for _, r := range rs {
		disk, err := d.diskOf(r)
		if err != nil {
			return err
		}
		from, to := ways(r)
		if err := d.move(disk, r.Scalar, from, to); err != nil {
			return err
		}
	}
	return nil
}

// move takes n from one account of a disk and gives it to another. What is not there yet,
// but comes back from volumes that the batch destroys, will come back as the other.
func (d *draft) move(disk *Disk, n resource.Scalar, from, to []resource.Reservation) error {
	free, coming := d.Free(disk.Key, from), d.endings.coming(disk.Key, place{stack: from})
	if free+coming < n || disk.indivisible() && free+coming != n {
		return d.insufficient(disk, from, n)
	}
	if resource.EqualStacks(from, to) {
		return nil
	}
	if free+coming > n && !d.undoing { // otherwise there is one less to begin with
		if err := d.roomForKind(disk, to); err != nil {
			return err
		}
	}
	now := min(n, free)
	if d.undoing { // what others could have come to use goes last
		now = n - min(n, coming)
	}
	if now > 0 {
		d.give(disk.Key, from, -now)
		d.give(disk.Key, to, now)
	}
	d.endings.redirect(disk.Key, place{stack: from}, place{stack: to}, n-now)
	return nil
}

// roomForKind makes sure that a disk may have an account more, where space is to be reserved
// as none of it is yet. What the batch gives back counts as accounts of their own.
func (d *draft) roomForKind(disk *Disk, stack []resource.Reservation) error {
	if d.Free(disk.Key, stack) > 0 || d.endings.coming(disk.Key, place{stack: stack}) > 0 || d.kinds[disk.Key]+len(d.endings.all) < MaxKinds {
		return nil
	}
	return refuse(ErrInsufficient, "disk %s has space in %d kinds of reservations (roles, principals and labels), which is all that a disk may: "+
		"there is no room for %s; use one that there is, or unreserve some", DiskName(disk.Key), MaxKinds,
		d.Describe(Account{Disk: disk.Key, Reservations: stack}))
}

// insufficient words the refusal as Mesos does: what there is does not contain what is
// asked for. Whoever asks is told of what is unreserved or is the same role's, and of a few
// accounts only, however many there are.
func (d *draft) insufficient(disk *Disk, stack []resource.Reservation, n resource.Scalar) error {
	if err := d.unsized(disk.Key); err != nil {
		return err
	}
	why := ""
	if coming := d.endings.coming(disk.Key, place{stack: stack}); coming > 0 {
		why = fmt.Sprintf("; %s more are back when the volumes that are destroyed are removed", coming.Bytes())
	} else if disk.indivisible() {
		why = "; a MOUNT disk goes as a whole"
	}
	want := d.Describe(Account{Disk: disk.Key, Reservations: stack, Free: n})
	return refuse(ErrInsufficient, "disk %s has %s with this reservation, %s is asked for%s: %s does not contain %s",
		DiskName(disk.Key), d.Free(disk.Key, stack).Bytes(), n.Bytes(), why, d.known(disk.Key, stack), want)
}

// unsized refuses what wants space of a disk whose size the agent decides and could not yet,
// because the disk is away.
func (d *draft) unsized(key string) error {
	disk, known := d.Disk(key)
	f, bad := d.Fault(UnitOfDisk(key))
	if !known || !disk.Auto || disk.Total > 0 || !bad {
		return nil
	}
	return refuse(ErrUnavailable, "disk %s is unavailable, and it is not known how large it is: %s", DiskName(key), f.Reason)
}

// known lists a few of a disk's accounts that whoever asks for space of a reservation may
// know of: the very one first, then what is unreserved and what is the same role's.
func (d *draft) known(disk string, stack []resource.Reservation) string {
	const few = 3
	var have []string
	more := 0
	add := func(a Account) {
		if len(have) < few {
			have = append(have, d.Describe(a).String())
		} else {
			more++
		}
	}
	if free := d.Free(disk, stack); free > 0 {
		add(Account{disk, stack, free})
	}
	for a := range d.Accounts() {
		theirs := len(a.Reservations) > 0 && roleOf(a.Reservations) != roleOf(stack)
		if a.Disk == disk && !theirs && !resource.EqualStacks(a.Reservations, stack) {
			add(a)
		}
	}
	switch {
	case len(have) == 0:
		return "{}"
	case more > 0:
		have = append(have, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(have, "; ")
}

// roleOf is the role that a stack reserves to; "" is unreserved.
func roleOf(stack []resource.Reservation) string {
	if len(stack) == 0 {
		return ""
	}
	return stack[len(stack)-1].Role
}

// Describe gives an account as the resource that Mesos would call it.
func (s *State) Describe(a Account) resource.Resource {
	r := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: a.Free, Reservations: a.Reservations}
	if disk, ok := s.Disk(a.Disk); ok && disk.Source != nil {
		r.Disk = &resource.Disk{Source: disk.Source}
	}
	return r
}
