package volume

import (
	"slices"

	"tenon/agent/resource"
)

// Undo makes the changes that take back what a batch of operations has recorded, when
// its steps could not be done: volumes that were to be made get a tombstone, new
// attachments are detached, raised claims are claims again, new tasks are released,
// reservations and sizes are what they were, as far as nobody else has come to use them,
// and operations with ids have failed with cause.
// before is the version that the batch was applied to, now the newest one. What was
// there before the batch, and what was to be removed, stays as it is.
func Undo(before, now *State, batch []Operation, touched []Unit, cause error) []Change {
	d := newDraft(now, Env{})
	for _, u := range touched {
		switch u.Kind {
		case AttachmentUnit:
			d.put(undoAttachment(before, now, u)...)
		case TaskUnit:
			d.put(undoTask(before, now, u)...)
		}
	}
	for _, u := range touched {
		if u.Kind == VolumeUnit {
			d.undoVolume(before, u)
		}
	}
	for _, op := range slices.Backward(flat(batch)) {
		d.undo(before, op)
	}
	d.failBatch(before, batch, cause)
	return d.changes
}

// flat gives the operations of a batch without their ids.
func flat(batch []Operation) (ops []Operation) {
	for _, op := range batch {
		if o, is := op.(Identified); is {
			ops = append(ops, flat(o.Operations)...)
		} else {
			ops = append(ops, op)
		}
	}
	return ops
}

// undo does the opposite of an operation that has moved space. Where somebody else has come
// to use the space, it stays.
func (d *draft) undo(before *State, op Operation) {
	switch o := op.(type) {
	case Reserve:
		from := pop
		if len(o.Source) > 0 {
			from = func([]resource.Reservation) []resource.Reservation { return o.Source[0].Reservations }
		}
		d.undoMoves(o.Resources, func(r resource.Resource) (_, _ []resource.Reservation) { return r.Reservations, from(r.Reservations) })
	case Unreserve:
		d.undoMoves(o.Resources, func(r resource.Resource) (_, _ []resource.Reservation) { return pop(r.Reservations), r.Reservations })
	case Grow:
		d.undoSize(before, Name{o.Volume.Role(), o.Volume.Disk.Persistence.ID})
	case Shrink:
		d.undoSize(before, Name{o.Volume.Role(), o.Volume.Disk.Persistence.ID})
	case Resize:
		if v, err := d.Find(o.Ref); err == nil {
			d.undoSize(before, v.Name)
		}
	}
}

func (d *draft) undoMoves(rs []resource.Resource, ways func(resource.Resource) (from, to []resource.Reservation)) {
	for _, r := range rs {
		_ = d.moveEach([]resource.Resource{r}, ways) // somebody else uses it by now, and keeps it
	}
}

// undoSize gives a volume the size that it had before the batch.
func (d *draft) undoSize(before *State, name Name) {
	v, ok := d.Named(name)
	if !ok {
		return
	}
	old, had := before.Volume(v.UUID)
	if !had || d.Free(v.Disk, v.Reservations)+v.Size < old.Size {
		return // somebody else uses the space by now, and keeps it
	}
	d.give(v.Disk, v.Reservations, v.Size-old.Size)
	other := *v
	other.Size = old.Size
	d.put(Change{Volume: &other})
}

// undoVolume makes a tombstone of a volume that the batch made, unless others have come to
// hold it since.
func (d *draft) undoVolume(before *State, u Unit) {
	_, old := before.Volume(u.Volume)
	v, ok := d.Volume(u.Volume)
	if old || !ok || v.Phase == Destroying {
		return
	}
	for a := range d.AttachmentsOf(v.UUID) {
		if !a.Gone {
			return
		}
	}
	end := *v
	end.Phase = Destroying
	d.put(Change{Volume: &end})
	d.expect(v.UUID, v.Disk, Part{v.Reservations, v.Size})
}

// failBatch notes that the operations which came with the batch have failed. Those that do
// nothing but remove go on, until all is removed.
func (d *draft) failBatch(before *State, batch []Operation, cause error) {
	var removing []UUID
	for _, op := range batch {
		asked, is := op.(Identified)
		o, kept := d.Operation(asked.ID)
		if _, old := before.Operation(asked.ID); !is || old || !kept {
			continue
		}
		n := *o
		removing = append(removing, o.Removing...)
		if removes(asked.Operations) && o.State == OperationPending {
			n.With, n.Making, n.Attaching, n.Removing = "", nil, nil, removing
		} else if !removes(asked.Operations) {
			n.fail(cause.Error())
		}
		d.put(Change{Operation: &n})
	}
}

// removes says whether operations do nothing but remove.
func removes(ops []Operation) bool {
	for _, op := range ops {
		switch op.(type) {
		case Destroy, Detach, Release:
		default:
			return false
		}
	}
	return true
}

func undoAttachment(before, now *State, u Unit) []Change {
	a, ok := now.Attachment(u)
	if !ok || a.Gone {
		return nil
	}
	if old, had := before.Attachment(u); had {
		if *old == *a {
			return nil
		}
		claim := *old
		return []Change{{Attachment: &claim}}
	}
	end := *a
	end.Gone = true
	return []Change{{Attachment: &end}}
}

// undoTask releases a task that the batch made, and with it whatever came to it since.
func undoTask(before, now *State, u Unit) []Change {
	_, old := before.Task(u.Task)
	t, ok := now.Task(u.Task)
	if old || !ok || t.Releasing {
		return nil
	}
	var changes []Change
	for a := range now.AttachmentsIn(t.ID) {
		if !a.Gone {
			gone := *a
			gone.Gone = true
			changes = append(changes, Change{Attachment: &gone})
		}
	}
	end := *t
	end.Releasing = true
	return append(changes, Change{Task: &end})
}
