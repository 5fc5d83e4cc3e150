package volume

import (
	"fmt"
	"slices"

	"tenon/agent/resource"
)

// Undo makes the changes that take back what a batch of operations has recorded, when
// its steps could not be done: volumes that were to be made get a tombstone, new
// attachments are detached, raised claims are claims again, new tasks are released,
// reservations and sizes are what they were, as far as nobody else has come to use them,
// and operations with ids have failed with cause.
// before is the version that the batch was applied to, now the newest one. What was
// there before the batch, and what was to be removed, stays as it is. Of a batch whose operations
// with ids have finished by now nothing is taken back: somebody may have been told.
//
// A volume that was made smaller grows when what was made of the space is removed, if it is
// not free. Where a volume has to keep the size that the batch gave it, the error, which is
// cause otherwise, says so.
func Undo(before, now *State, batch []Operation, touched []Unit, cause error) ([]Change, error) {
	if finished(before, now, batch) {
		return nil, cause
	}
	d := newDraft(now, Env{})
	d.undoing = true
	ops := flat(before, batch)
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
	sizes := before.resizings(ops)
	for i, op := range slices.Backward(ops) {
		if err := d.undo(before, op, sizes[i]); err != nil {
			cause = fmt.Errorf("%w; %w", cause, err)
		}
	}
	d.putEndings()
	d.failBatch(before, batch, cause)
	return d.changes, cause
}

// flat gives the operations that a batch has done, without their ids: not those that were
// done before it.
func flat(before *State, batch []Operation) (ops []Operation) {
	for _, op := range batch {
		if o, is := op.(Identified); !is {
			ops = append(ops, op)
		} else if _, known := before.Operation(o.ID); !known {
			ops = append(ops, o.Operations...)
		}
	}
	return ops
}

// undo does the opposite of an operation that has moved space. Where somebody else has come
// to use the space, it stays; the error says which volume keeps its size.
func (d *draft) undo(before *State, op Operation, size resizing) error {
	switch o := op.(type) {
	case Reserve:
		from := pop
		if len(o.Source) > 0 {
			from = func([]resource.Reservation) []resource.Reservation { return o.Source[0].Reservations }
		}
		d.undoMoves(o.Resources, func(r resource.Resource) (_, _ []resource.Reservation) { return r.Reservations, from(r.Reservations) })
	case Unreserve:
		d.undoMoves(o.Resources, func(r resource.Resource) (_, _ []resource.Reservation) { return pop(r.Reservations), r.Reservations })
	case Grow, Shrink, Resize:
		return d.undoSize(before, size)
	}
	return nil
}

// resizes finds the volume that an operation resizes, if it is one of s.
func (s *State) resizes(op Operation) (*Volume, bool) {
	switch o := op.(type) {
	case Grow:
		return s.Named(Name{o.Volume.Role(), o.Volume.Disk.Persistence.ID})
	case Shrink:
		return s.Named(Name{o.Volume.Role(), o.Volume.Disk.Persistence.ID})
	case Resize:
		v, err := s.Find(o.Ref)
		return v, err == nil
	}
	return nil, false
}

// resizing is what an operation has made of a volume's size.
type resizing struct {
	volume   UUID // empty for an operation that resizes none, or none that was there before
	from, to resource.Scalar
}

// resizings gives what operations make of the sizes of the volumes of s, one for each.
func (s *State) resizings(ops []Operation) []resizing {
	all, sizes := make([]resizing, len(ops)), map[UUID]resource.Scalar{}
	for i, op := range ops {
		v, had := s.resizes(op)
		if !had {
			continue
		}
		size, again := sizes[v.UUID]
		if !again {
			size = v.Size
		}
		all[i] = resizing{v.UUID, size, sizeAfter(op, size)}
		sizes[v.UUID] = all[i].to
	}
	return all
}

func sizeAfter(op Operation, size resource.Scalar) resource.Scalar {
	switch o := op.(type) {
	case Grow:
		return size + o.Addition.Scalar
	case Shrink:
		return size - o.Subtract
	case Resize:
		return o.Size
	}
	return size
}

func (d *draft) undoMoves(rs []resource.Resource, ways func(resource.Resource) (from, to []resource.Reservation)) {
	for _, r := range slices.Backward(rs) {
		_ = d.moveEach([]resource.Resource{r}, ways) // somebody else uses it by now, and keeps it
	}
}

// undoSize gives a volume the size that it had. Where it has yet another one since, it stays.
func (d *draft) undoSize(before *State, r resizing) error {
	v, ok := d.Volume(r.volume)
	switch {
	case !ok || v.Phase == Destroying || v.Size+d.endings.coming(v.Disk, v.place()) != r.to:
		return nil
	case r.from > r.to:
		return d.undoShrink(v, r.from-r.to)
	case r.from < r.to:
		return d.undoGrow(before, v, r.to-r.from)
	}
	return nil
}

// place is where space comes back to that was taken from a volume.
func (v *Volume) place() place { return place{v.Reservations, v.UUID} }

// undoShrink gives a volume n back: of what comes back from volumes that the batch made, and
// only then of what is free, which others could have come to use.
func (d *draft) undoShrink(v *Volume, n resource.Scalar) error {
	account := place{stack: v.Reservations}
	later := min(n, d.endings.coming(v.Disk, account))
	if d.Free(v.Disk, v.Reservations) < n-later {
		return fmt.Errorf("volume %s keeps the %s that it was made smaller to, as others have come to use the space", v.Name, v.Size.Bytes())
	}
	d.endings.redirect(v.Disk, account, v.place(), later)
	d.resized(v, v.Size+n-later)
	return nil
}

// undoGrow takes n from a volume, unless a task has come to hold it since: that one counts on
// its size.
func (d *draft) undoGrow(before *State, v *Volume, n resource.Scalar) error {
	for a := range d.AttachmentsOf(v.UUID) {
		if _, had := before.Attachment(a.Unit()); !had && !a.Gone {
			return fmt.Errorf("volume %s keeps the %s that it was made larger to, as task %s has come to hold it", v.Name, v.Size.Bytes(), a.Task)
		}
	}
	expected := min(n, d.endings.coming(v.Disk, v.place()))
	d.endings.redirect(v.Disk, v.place(), place{stack: v.Reservations}, expected)
	d.resized(v, v.Size-(n-expected))
	return nil
}

// undoVolume makes a tombstone of a volume that the batch made, unless others have come to
// hold it since. One that the batch destroyed stays a tombstone, but what its space comes back
// as may be undone.
func (d *draft) undoVolume(before *State, u Unit) {
	old, had := before.Volume(u.Volume)
	v, ok := d.Volume(u.Volume)
	switch {
	case ok && had && v.Phase == Destroying && old.Phase != Destroying:
		d.endings.expect(v)
		return
	case had || !ok || v.Phase == Destroying:
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
	d.endings.expect(&end)
}

// finished says whether operations with ids that came with the batch have finished. One that is
// not kept any more has ended.
func finished(before, now *State, batch []Operation) bool {
	for id := range identified(before, batch) {
		if o, kept := now.Operation(id); !kept || o.State == OperationFinished {
			return true
		}
	}
	return false
}

// identified gives what the operations with ids do that came with the batch.
func identified(before *State, batch []Operation) map[string][]Operation {
	all := map[string][]Operation{}
	for _, op := range batch {
		if o, is := op.(Identified); is {
			if _, known := before.Operation(o.ID); !known {
				all[o.ID] = o.Operations
			}
		}
	}
	return all
}

// failBatch notes that the operations which came with the batch have failed. Those that do
// nothing but remove go on, until all is removed.
func (d *draft) failBatch(before *State, batch []Operation, cause error) {
	asked := identified(before, batch)
	for id := range asked {
		o, kept := d.Operation(id)
		if !kept || o.State != OperationPending {
			continue
		}
		was := d.batchOf(o)
		now := was.change(func(n *OperationStatus) {
			n.Making, n.Settling, n.Attaching = nil, nil, nil
			if !removes(asked[n.ID]) {
				n.fail(cause.Error())
			}
		})
		d.put(d.regroup(was, now)...)
		return // they are one batch
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
		was := *old
		if was.Process = a.Process; was.Via == ByDescriptor && a.Via == ByNamespace {
			was.Via = ByNamespace // its mode may have been changed, and is to be changed back
		}
		return []Change{{Attachment: &was}}
	}
	end := *a
	end.Gone = true
	return []Change{{Attachment: &end}}
}

// undoTask releases a task that the batch made, and with it whatever came to it since. One that
// was there keeps the time to live that the batch has renewed: whoever asked lives.
func undoTask(before, now *State, u Unit) []Change {
	_, old := before.Task(u.Task)
	t, ok := now.Task(u.Task)
	if old || !ok || t.Releasing {
		return nil
	}
	return now.released(t)
}

// released makes the changes that end a task, with all that it has.
func (s *State) released(t *Task) (changes []Change) {
	for a := range s.AttachmentsIn(t.ID) {
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
