package volume

import (
	"slices"

	"tenon/agent/resource"
)

// progress makes the changes of operations at work that a unit's settling brings on: settled
// are its own. mounted says that the unit, an attachment, is mounted.
func progress(s *State, settled []Change, u Unit, mounted bool) (changes []Change) {
	var after *State
	for o := range s.Operations() {
		if o.State != OperationPending {
			break
		}
		if !o.awaits(u) {
			continue
		}
		if after == nil {
			after = s.With(settled...)
		}
		n := *o
		switch n.see(after, u, mounted); {
		case n.State != OperationPending:
			changes = append(changes, after.endBatch(&n)...)
		case n.left() < o.left():
			changes = append(changes, Change{Operation: &n, Passing: true})
		}
	}
	return changes
}

// awaits says whether an operation waits for a unit.
func (o *OperationStatus) awaits(u Unit) bool {
	switch u.Kind {
	case VolumeUnit:
		return slices.Contains(o.Making, u.Volume) || slices.Contains(o.Removing, u.Volume)
	case AttachmentUnit:
		return slices.ContainsFunc(o.Attaching, func(t Target) bool { return t.Unit() == u })
	}
	return false
}

// left is how much is left to come about.
func (o *OperationStatus) left() int { return len(o.Making) + len(o.Removing) + len(o.Attaching) }

// see takes in what became of a unit that the operation waits for.
func (o *OperationStatus) see(s *State, u Unit, mounted bool) {
	if u.Kind == AttachmentUnit {
		if a, ok := s.Attachment(u); !ok || a.Gone {
			o.fail("a volume was detached before it was mounted")
		} else if mounted {
			o.Attaching = slices.DeleteFunc(slices.Clone(o.Attaching), func(t Target) bool { return t.Unit() == u })
		}
	} else if v, ok := s.Volume(u.Volume); (!ok || v.Phase == Destroying) && slices.Contains(o.Making, u.Volume) {
		o.fail("a volume that it was to make was destroyed before it was ready")
	}
	o.look(s)
}

// look takes in whether all volumes that were to be made or removed are: all at once, so
// that each of many costs no change, and the last first, since they are done in order.
func (o *OperationStatus) look(s *State) {
	made := func(id UUID) bool {
		v, ok := s.Volume(id)
		return !ok || v.Phase == Ready
	}
	removed := func(id UUID) bool {
		_, there := s.Volume(id)
		return !there
	}
	if allOf(o.Making, made) {
		o.Making = nil
	}
	if allOf(o.Removing, removed) {
		o.Removing = nil
	}
	if o.State == OperationPending && o.left() == 0 {
		o.State = OperationFinished
	}
}

func allOf(ids []UUID, hold func(UUID) bool) bool {
	for _, id := range slices.Backward(ids) {
		if !hold(id) {
			return false
		}
	}
	return true
}

// endBatch ends an operation, and those that end with it. It is waited for: whoever was told
// how an operation ended is never told otherwise.
func (s *State) endBatch(first *OperationStatus) []Change {
	changes := []Change{{Operation: first}}
	for _, o := range s.atWork() {
		if o.With == first.ID {
			n := *o
			n.State, n.Message, n.With = first.State, first.Message, ""
			changes = append(changes, Change{Operation: &n})
		}
	}
	return changes
}

func (o *OperationStatus) fail(why string) {
	o.State, o.Message, o.With = OperationFailed, why, ""
	o.Making, o.Removing, o.Attaching = nil, nil, nil
}

// resume makes the changes of operations at work that a start brings on, where attachments
// went that they wait for. After a reboot these went unmounted, as far as anybody knows: what
// was to launch has failed, the rest of its batch goes on. In the same boot they were mounted
// and detached since, for whatever goes unmounted fails its operation at once.
func (s *State) resume(rebooted bool) (changes []Change) {
	for _, o := range s.atWork() {
		if o.With != "" {
			continue
		}
		n := *o
		n.Attaching = slices.DeleteFunc(slices.Clone(o.Attaching), func(t Target) bool { _, there := s.Attachment(t.Unit()); return !there })
		gone := len(n.Attaching) < len(o.Attaching)
		switch n.look(s); {
		case gone && rebooted:
			changes = append(changes, s.failLaunches(&n)...)
		case n.State != OperationPending:
			changes = append(changes, s.endBatch(&n)...)
		case gone:
			changes = append(changes, Change{Operation: &n, Passing: true})
		}
	}
	return changes
}

// failLaunches fails those operations of a batch that were to mount something. The first of
// the others waits on for what is left.
func (s *State) failLaunches(first *OperationStatus) (changes []Change) {
	var rest *OperationStatus
	for _, o := range s.atWork() {
		if o.ID != first.ID && o.With != first.ID {
			continue
		}
		n := *o
		n.With, n.Making, n.Removing, n.Attaching = "", nil, nil, nil
		switch {
		case o.launches():
			n.fail("the host was rebooted before its volumes were mounted")
		case rest == nil:
			n.State, n.Making, n.Removing, rest = first.State, first.Making, first.Removing, &n
		case rest.State == OperationPending:
			n.With = rest.ID
		default:
			n.State = rest.State
		}
		changes = append(changes, Change{Operation: &n})
	}
	return changes
}

// launches says whether an operation is to mount something: whether it is none of those
// that move space.
func (o *OperationStatus) launches() bool {
	switch o.Type {
	case resource.OpReserve, resource.OpUnreserve, resource.OpCreate, resource.OpDestroy, resource.OpGrowVolume, resource.OpShrinkVolume:
		return false
	}
	return true
}
