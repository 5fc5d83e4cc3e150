package resource

import "slices"

// PushReservation returns r reserved once more, on top of the reservations that it has:
// what RESERVE makes of it (spec.md 2.6).
func (r Resource) PushReservation(top Reservation) Resource {
	r.Reservations = append(slices.Clip(r.Reservations), top)
	return r
}

// PopReservation returns r without its last reservation: what RESERVE consumes and
// UNRESERVE leaves. ok is false when r is unreserved.
func (r Resource) PopReservation() (popped Resource, ok bool) {
	last := len(r.Reservations) - 1
	if last < 0 {
		return r, false
	}
	r.Reservations = slices.Clip(r.Reservations[:last])
	if last == 0 {
		r.Reservations = nil
	}
	return r, true
}

// StripVolume returns the disk that a volume is made of: what CREATE consumes and DESTROY
// leaves. It keeps the source and the reservations. What is not a volume stays as it is.
func (r Resource) StripVolume() Resource {
	if !r.IsVolume() {
		return r
	}
	source := r.Disk.Source
	r.Shared, r.Disk = false, nil
	if source != nil {
		r.Disk = &Disk{Source: source}
	}
	return r
}

// Flatten returns s with every reservation taken off, and what differed only in that
// added up.
func (s Set) Flatten() Set {
	return s.remake(func(r Resource) Resource { r.Reservations = nil; return r })
}

// Quantities returns the bare amounts of the scalars in s, each shared volume counted
// once: no reservation, disk, allocation, provider or flag, and neither ranges nor sets.
func (s Set) Quantities() Set {
	sum := Set{}.sum()
	for _, e := range s.entries {
		if e.resource.Type == TypeScalar {
			sum.add(entryOf(Resource{Name: e.resource.Name, Type: TypeScalar, Scalar: e.resource.Scalar}, 1))
		}
	}
	return sum.set()
}

// ReservationAncestor is what two reservation stacks have in common from the bottom up:
// what is left when space that goes from one to the other has been given up so far.
func ReservationAncestor(a, b []Reservation) []Reservation {
	n := 0
	for n < min(len(a), len(b)) && a[n].Equal(b[n]) {
		n++
	}
	return slices.Clone(a[:n])
}
