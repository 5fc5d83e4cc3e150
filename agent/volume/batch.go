package volume

import (
	"cmp"
	"slices"

	"tenon/agent/resource"
)

// batch is operations with ids at work that end together. The first leads: it carries what has
// to come about for all of them, and the others point to it. What fails one of them, its task or a
// mount, is on that one.
type batch []*OperationStatus

// batchOf gives the operations at work that end with o, and o.
func (s *State) batchOf(o *OperationStatus) (b batch) {
	first := cmp.Or(o.With, o.ID)
	for m := range s.Operations() {
		switch {
		case m.State != OperationPending:
			return b
		case m.ID == first:
			b = slices.Insert(b, 0, m)
		case m.With == first:
			b = append(b, m)
		}
	}
	return b
}

// Waiting is how much has to come about or to go before an operation has ended: volumes, tasks
// and mounts of all operations that end with it.
func (s *State) Waiting(o *OperationStatus) (n int) {
	if o.State != OperationPending {
		return 0
	}
	for _, m := range s.batchOf(o) {
		n += m.left()
	}
	return n
}

// change gives the batch with each operation as f leaves a copy of it.
func (b batch) change(f func(*OperationStatus)) batch {
	now := slices.Clone(b)
	for i, o := range b {
		n := *o
		f(&n)
		now[i] = &n
	}
	return now
}

// regroup makes the changes of a batch that was at work, or is new where that is nil, and is as
// now. What has failed has ended, and is taken back as far as it is there. If there is nothing
// left that any of the others waits for they have finished, all at once; otherwise the first of
// them leads. An end is waited for: whoever was told of it is never told otherwise.
func (s *State) regroup(was, now batch) (changes []Change) {
	lead := *now[0]
	lead.look(s)
	left := lead.leftOfAll()
	for _, o := range now {
		if o.State == OperationPending {
			left += o.leftOfOwn()
		}
	}
	first := ""
	for i, o := range now {
		n := *o
		n.With, n.Making, n.Removing, n.Settling = first, nil, nil, nil
		switch {
		case n.State == OperationPending && left == 0:
			n.end(OperationFinished)
		case n.State != OperationPending:
			n.end(n.State)
		case first == "":
			first, n.Making, n.Removing, n.Settling = n.ID, lead.Making, lead.Removing, lead.Settling
		}
		if was != nil && n.State == OperationFailed {
			changes = append(changes, s.withdraw(was[i])...)
		}
		if was == nil || !n.like(was[i]) {
			kept := n
			changes = append(changes, Change{Operation: &kept, Passing: was != nil && n.State == was[i].State && n.With == was[i].With})
		}
	}
	return changes
}

// end leaves nothing that an operation waits for.
func (o *OperationStatus) end(as OperationState) {
	o.State, o.With, o.Making, o.Removing, o.Settling, o.Attaching = as, "", nil, nil, nil, nil
}

func (o *OperationStatus) fail(why string) { o.State, o.Message = OperationFailed, why }

// like says whether an operation has got no further than another one, which it was.
func (o *OperationStatus) like(was *OperationStatus) bool {
	return o.State == was.State && o.With == was.With && o.leftOfAll() == was.leftOfAll() && o.leftOfOwn() == was.leftOfOwn()
}

// withdraw makes the changes that take back what an operation that fails has made of its own.
// What somebody else was first to make stays, and so does a claim that was raised.
func (s *State) withdraw(o *OperationStatus) (changes []Change) {
	for _, t := range o.Attaching {
		if t.There {
			continue
		}
		if task, ok := s.Task(t.Task); ok && t.Path == "" && !task.Releasing {
			changes = append(changes, s.released(task)...)
		}
		if a, ok := s.Attachment(t.Unit()); ok && !a.Gone {
			gone := *a
			gone.Gone = true
			changes = append(changes, Change{Attachment: &gone})
		}
	}
	return changes
}

// leftOfAll is how much is left of what the first carries for all.
func (o *OperationStatus) leftOfAll() int { return len(o.Making) + len(o.Removing) + len(o.Settling) }

// leftOfOwn is how much is left of its own task and mounts.
func (o *OperationStatus) leftOfOwn() (n int) {
	for _, t := range o.Attaching {
		if !t.Done {
			n++
		}
	}
	return n
}

// left is how much it has left to come about.
func (o *OperationStatus) left() int { return o.leftOfAll() + o.leftOfOwn() }

// unfinished are the units that are left.
func (o *OperationStatus) unfinished() (units []Unit) {
	for _, id := range slices.Concat(o.Making, o.Removing) {
		units = append(units, UnitOfVolume(id))
	}
	for _, t := range slices.Concat(o.Settling, o.Attaching) {
		if !t.Done {
			units = append(units, t.Unit())
		}
	}
	return units
}

// spread gives the operations of a journal that is older what they wait for: there the first
// carried the mounts of all, and no tasks. Whose they are is not known, so each launch waits for all.
func (b batch) spread() batch {
	mounts := b[0].Attaching
	if len(mounts) == 0 || slices.ContainsFunc(mounts, func(t Target) bool { return t.Path == "" }) {
		return b
	}
	return b.change(func(n *OperationStatus) {
		switch {
		case n.launches():
			n.Attaching = mounts
		case n.With == "":
			n.Attaching, n.Settling = nil, mounts
		}
	})
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
