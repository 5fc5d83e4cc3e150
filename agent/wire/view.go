package wire

import (
	"slices"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// View says which roles whoever asks may see (spec.md 11, view_roles); nil is all of them.
// What belongs to others is left out, as if it did not exist. What is the host's is not:
// the sizes of disks, and how many volumes and tasks there are.
type View func(role string) bool

// Reserved says whether space that is reserved like that may be seen: each role of the stack.
func (v View) Reserved(stack []resource.Reservation) bool {
	return v == nil || !slices.ContainsFunc(stack, func(r resource.Reservation) bool { return !v(r.Role) })
}

// Volume says whether a volume may be seen.
func (v View) Volume(x *volume.Volume) bool {
	return v == nil || v(x.Role) && v.Reserved(x.Reservations)
}

// Find is State.Find, with the same error for a volume that may not be seen as for one that
// is not there.
func (v View) Find(s *volume.State, ref string) (*volume.Volume, error) {
	found, err := s.Find(ref)
	if err != nil || v.Volume(found) {
		return found, err
	}
	return volume.Empty().Find(ref)
}

// unit says whether a unit may be seen: it may if its volume may, and if it has none.
func (v View) unit(s *volume.State, u volume.Unit) bool {
	of, is := s.Volume(u.Volume)
	return v == nil || !is || v.Volume(of)
}
