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
