package access

import (
	"fmt"
	"slices"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// ask is one question to the rules.
type ask struct {
	action Action
	object string
}

// For is the guard that volume.Apply asks on behalf of a principal: "" is one that is not
// known. It is nil where the rules allow everything. Each resource or volume that an
// operation is about is decided alone, against the state that the operation meets, and
// all must be allowed. What an operation names but the state does not have is not
// decided: Apply refuses it. What is done to a task is allowed to whom all volumes are that
// it holds already. An operation with an id is acknowledged by the principal who asked for
// it. Apply asks about the operations of an Identified one, not about the group, which is
// refused here. The refusal is a *volume.Error of the kind volume.ErrForbidden that says which
// rule decided; a role that the principal may not see, and that the operation does not name,
// is not in it.
func (a ACLs) For(principal string) func(*volume.State, volume.Operation) error {
	if !a.Strict && len(a.Rules) == 0 {
		return nil
	}
	return func(s *volume.State, op volume.Operation) error {
		if o, is := op.(volume.Acknowledge); is {
			return checkOwn(s, o.ID, principal)
		}
		asks, known := asksOf(s, op)
		if !known {
			return forbidden("%s: no rule can allow it, as the ACLs know nothing like it", op.Name())
		}
		for _, q := range asks {
			if d := a.Decide(principal, q.action, q.object); !d.Allowed {
				return forbidden("%s: refused by %s of the ACLs, asked by %s", a.wordsFor(principal, q), d.Rule, nameOf(principal))
			}
		}
		return nil
	}
}

// checkOwn refuses to acknowledge what another principal has asked for.
func checkOwn(s *volume.State, id, principal string) error {
	if o, kept := s.Operation(id); kept && o.Principal != principal {
		return forbidden("acknowledge operation %.255q: refused by the ACLs, as it is another's, asked by %s", id, nameOf(principal))
	}
	return nil
}

// wordsFor words what was asked for. Of a volume that is there the state says the role, so
// that the principal may not know it.
func (a ACLs) wordsFor(principal string, q ask) string {
	if (q.action == Attach || q.action == Resize) && !a.Visible(principal)(q.object) {
		return fmt.Sprintf(kinds[q.action].words, "?, which may not be seen")
	}
	return q.String()
}

func forbidden(format string, args ...any) error {
	return &volume.Error{Kind: volume.ErrForbidden, Message: fmt.Sprintf(format, args...)}
}

// String words what is asked for. The object is the request's and not checked yet.
func (q ask) String() string {
	k := kinds[q.action]
	if k.ofRoles() {
		return fmt.Sprintf(k.words, fmt.Sprintf("%.255q", q.object))
	}
	return fmt.Sprintf(k.words, nameOf(q.object))
}

// nameOf names a principal for a message.
func nameOf(principal string) string {
	if principal == "" {
		return "nobody that is known"
	}
	return fmt.Sprintf("principal %.255q", principal)
}

// asksOf is all that an operation needs to be allowed. An operation that is not known
// is never allowed, so that one that is added cannot pass unseen.
func asksOf(s *volume.State, op volume.Operation) (asks []ask, known bool) {
	switch o := op.(type) {
	case volume.Reserve:
		return reserveAsks(o), true
	case volume.Unreserve:
		return lastAsks(o.Resources, unreserveAsk), true
	case volume.Create:
		return createAsks(o), true
	case volume.Destroy:
		return destroyAsks(findOne(s, o.Ref, o.Volume)), true
	case volume.Grow:
		return roleAsks(Resize, findOne(s, "", o.Volume)), true
	case volume.Shrink:
		return roleAsks(Resize, findOne(s, "", o.Volume)), true
	case volume.Resize:
		return roleAsks(Resize, findOne(s, o.Ref, resource.Resource{})), true
	case volume.Launch:
		return append(heldAsks(s, o.Task), launchAsks(s, o.Resources)...), true
	case volume.Claim:
		return append(heldAsks(s, o.Task), useAsks(s, o.Uses...)...), true
	case volume.Attach:
		return append(heldAsks(s, o.Task), useAsks(s, o.Use)...), true
	case volume.SetMode:
		return append(heldAsks(s, o.Task), useAsks(s, volume.Use{Volume: o.Volume})...), true
	case volume.Detach:
		return append(heldAsks(s, o.Task), useAsks(s, volume.Use{Volume: o.Volume})...), true
	case volume.Release:
		return heldAsks(s, o.Task), true
	case volume.Renew:
		return heldAsks(s, o.Task), true
	case volume.Kill:
		return heldAsks(s, o.Task), true
	}
	return nil, false
}

// reserveAsks asks for what is reserved. Where it was reserved otherwise before, it asks
// to unreserve each level that is dropped, and to reserve each that is added; those that
// the old and the new reservations begin with stay (spec.md AU-04).
func reserveAsks(o volume.Reserve) []ask {
	if len(o.Source) == 0 {
		return lastAsks(o.Resources, reserveAsk)
	}
	kept := o.Source[0].Reservations
	for _, r := range slices.Concat(o.Source, o.Resources) {
		kept = resource.ReservationAncestor(kept, r.Reservations)
	}
	return append(asksAbove(len(kept), o.Source, unreserveAsk), asksAbove(len(kept), o.Resources, reserveAsk)...)
}

// asksAbove asks about each reservation but the first few, which all resources have.
func asksAbove(kept int, rs []resource.Resource, about func(resource.Reservation) ask) (asks []ask) {
	for _, r := range rs {
		for _, level := range r.Reservations[kept:] {
			asks = append(asks, about(level))
		}
	}
	return asks
}

// lastAsks asks about the last reservation of each resource that has one.
func lastAsks(rs []resource.Resource, about func(resource.Reservation) ask) (asks []ask) {
	for _, r := range rs {
		if n := len(r.Reservations); n > 0 {
			asks = append(asks, about(r.Reservations[n-1]))
		}
	}
	return asks
}

func reserveAsk(r resource.Reservation) ask { return ask{Reserve, r.Role} }

func unreserveAsk(r resource.Reservation) ask { return ask{Unreserve, orUnknown(r.Principal)} }

// orUnknown is the name of a principal that may be missing, "" if it is.
func orUnknown(principal *string) string {
	if principal == nil {
		return ""
	}
	return *principal
}

// createAsks asks for the role of the volume, which an operation may name in two ways.
func createAsks(o volume.Create) []ask {
	role := o.Role
	if o.Volume.IsReserved() {
		role = o.Volume.Role()
	}
	if role == "" {
		return nil
	}
	return []ask{{Create, role}}
}

// destroyAsks asks for the principal that made the volume, as it is stored. What the
// request says of it counts for nothing (spec.md 11).
func destroyAsks(v *volume.Volume) []ask {
	if v == nil {
		return nil
	}
	return []ask{{Destroy, orUnknown(v.Principal)}}
}

// roleAsks asks for the role of a volume.
func roleAsks(action Action, v *volume.Volume) []ask {
	if v == nil {
		return nil
	}
	return []ask{{action, v.Role}}
}

// useAsks asks for volumes that a task is to use, or not to use any more.
func useAsks(s *volume.State, uses ...volume.Use) (asks []ask) {
	for _, u := range uses {
		asks = append(asks, roleAsks(Attach, findOne(s, u.Volume, resource.Resource{}))...)
	}
	return asks
}

// launchAsks asks for those of a task's resources that are volumes.
func launchAsks(s *volume.State, rs []resource.Resource) (asks []ask) {
	for _, r := range rs {
		asks = append(asks, roleAsks(Attach, findOne(s, "", r))...)
	}
	return asks
}

// heldAsks asks for all volumes that a task holds: a task is nobody's, and whoever adds to it,
// or takes from it, or ends it, does so to whatever runs with them.
func heldAsks(s *volume.State, task string) (asks []ask) {
	for a := range s.AttachmentsIn(task) {
		if v, ok := s.Volume(a.Volume); ok {
			asks = append(asks, roleAsks(Attach, v)...)
		}
	}
	return asks
}

// findOne finds the volume that is named by a reference or, without one, by a resource;
// nil if there is none.
func findOne(s *volume.State, ref string, r resource.Resource) *volume.Volume {
	if ref != "" {
		v, _ := s.Find(ref)
		return v
	}
	name, _ := volumeName(r)
	v, _ := s.Named(name)
	return v
}

// volumeName is the name of the volume that a resource is.
func volumeName(r resource.Resource) (volume.Name, bool) {
	if r.Disk == nil || r.Disk.Persistence == nil {
		return volume.Name{}, false
	}
	return volume.Name{Role: r.Role(), ID: r.Disk.Persistence.ID}, true
}
