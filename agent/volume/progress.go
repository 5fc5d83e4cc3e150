package volume

import "slices"

// progress makes the changes of operations at work that a unit's settling brings on: settled
// are its own, seen is what was observed of it.
func progress(s *State, settled []Change, u Unit, seen Seen) (changes []Change) {
	var after *State
	var met []string // first operations of batches that have taken it in
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
		was := after.batchOf(o)
		if slices.Contains(met, was[0].ID) {
			continue
		}
		met = append(met, was[0].ID)
		came, lost := after.became(u, seen)
		now := slices.Clone(was)
		for i, m := range was {
			if m.awaits(u) {
				now[i] = m.see(u, came, lost)
			}
		}
		changes = append(changes, after.regroup(was, now)...)
	}
	return changes
}

// awaits says whether an operation waits for a unit.
func (o *OperationStatus) awaits(u Unit) bool {
	is := func(t Target) bool { return !t.Done && t.Unit() == u }
	if u.Kind == VolumeUnit && (slices.Contains(o.Making, u.Volume) || slices.Contains(o.Removing, u.Volume)) {
		return true
	}
	return slices.ContainsFunc(o.Settling, is) || slices.ContainsFunc(o.Attaching, is)
}

// became says whether a unit that has settled has come about as it should be, or is lost: it went,
// or is to go.
func (s *State) became(u Unit, seen Seen) (came, lost bool) {
	switch _, is := s.target(u); {
	case !is:
		return false, true
	case u.Kind == AttachmentUnit:
		return seen.Attachment.Mounted, false
	}
	return seen.Volume.Unavailable == "" && len(Plan(s, u, seen)) == 0, false
}

// see takes in what became of a unit that an operation waits for. Only its own task or mount
// fails it: a volume that it was to make, and that somebody has destroyed since, was made.
func (o *OperationStatus) see(u Unit, came, lost bool) *OperationStatus {
	n := *o
	if came || lost {
		n.Settling = slices.DeleteFunc(slices.Clone(o.Settling), func(t Target) bool { return t.Unit() == u })
	}
	n.Attaching = slices.Clone(o.Attaching)
	for i := range n.Attaching {
		switch t := &n.Attaching[i]; {
		case t.Done || t.Unit() != u:
		case lost && u.Kind == TaskUnit && t.There:
			t.Done = true // it was somebody else's
		case lost && u.Kind == TaskUnit:
			n.fail("its task was released before it was there")
		case lost:
			n.fail("a volume was detached before it was mounted")
		default:
			t.Done = came
		}
	}
	return &n
}

// look takes in whether all volumes that were to be made or removed are: all at once, so
// that each of many costs no change, and the last first, since they are done in order.
func (o *OperationStatus) look(s *State) {
	made := func(id UUID) bool {
		v, ok := s.Volume(id)
		return !ok || v.Phase != Creating
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
}

func allOf(ids []UUID, hold func(UUID) bool) bool {
	for _, id := range slices.Backward(ids) {
		if !hold(id) {
			return false
		}
	}
	return true
}

// resume makes the changes of operations at work that a start brings on. After a reboot tasks and
// mounts are gone, unmounted as far as anybody knows: what was to launch has failed, the rest of
// its batch goes on. In the same boot what is gone had come about, and went since: whatever goes
// before fails its operation at once.
func (s *State) resume(rebooted bool) (changes []Change) {
	gone := func(t Target) bool { return !s.Has(t.Unit()) }
	for _, o := range s.atWork() {
		if o.With != "" {
			continue
		}
		was := s.batchOf(o)
		now := was.spread().change(func(n *OperationStatus) {
			n.Settling = slices.DeleteFunc(slices.Clone(n.Settling), gone)
			if rebooted && len(n.Attaching) > 0 {
				n.fail("the host was rebooted before its volumes were mounted")
			}
			n.Attaching = slices.DeleteFunc(slices.Clone(n.Attaching), gone)
		})
		changes = append(changes, s.regroup(was, now)...)
	}
	return changes
}
