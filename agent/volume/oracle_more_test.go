package volume

import (
	"slices"

	"tenon/agent/resource"
)

// is finds the volume that a resource is.
func (o oracle) is(r resource.Resource) (Name, ovolume, bool) {
	name := Name{r.Role(), r.Disk.Persistence.ID}
	v, ok := o.volumes[name]
	return name, v, ok && v.pile == pileOf(r) && v.size == r.Scalar && v.shared == r.Shared
}

func (o oracle) resize(w *world, op Operation) error {
	switch op := op.(type) {
	case Grow:
		name, v, ok := o.is(op.Volume)
		if !ok {
			return ErrNotFound
		}
		return o.size(w, name, v.size+op.Addition.Scalar)
	case Shrink:
		name, v, ok := o.is(op.Volume)
		switch {
		case op.Subtract >= op.Volume.Scalar:
			return ErrInvalid
		case !ok:
			return ErrNotFound
		}
		return o.size(w, name, v.size-op.Subtract)
	case Resize:
		name, _ := ParseName(op.Ref)
		return o.size(w, name, op.Size)
	}
	return nil
}

func (o oracle) size(w *world, name Name, size resource.Scalar) error {
	v, ok := o.volumes[name]
	switch {
	case !ok:
		return ErrNotFound
	case w.pools[v.disk].away:
		return ErrUnavailable
	case o.lost(w, v):
		return ErrLost
	case size > v.size && o.free(v.pile) < size-v.size:
		return ErrInsufficient
	case size < v.size && len(o.holders(name)) > 0:
		return ErrInUse
	}
	v.size = size
	o.volumes[name] = v
	return nil
}

func (o oracle) launch(w *world, op Launch) error {
	if err := o.addTask(op.Task, otask{sandbox: op.Sandbox, own: op.Own}, 0); err != nil {
		return err
	}
	for _, r := range op.Resources {
		name, _, ok := o.is(r)
		if !ok {
			return ErrNotFound
		}
		at := r.Disk.Volume
		if err := o.use(w, op.Task, Use{Volume: name.String(), Path: at.ContainerPath, Mode: at.Mode}, ByPath, 0); err != nil {
			return err
		}
	}
	return nil
}

// identified does what has an id once.
func (o oracle) identified(w *world, op Identified) (oracle, error) {
	old, known := o.asked[op.ID]
	switch {
	case known && old.digest != op.Digest:
		return o, ErrExists
	case known && old.state == OperationFailed:
		return o, ErrFailed
	case known:
		return o, nil
	}
	n := o.clone()
	for _, one := range op.Operations {
		var err error
		if n, err = n.apply(w, one); err != nil {
			return o, err
		}
	}
	n.asked[op.ID] = oasked{digest: op.Digest}
	return n, nil
}

func (o oracle) acknowledge(op Acknowledge) error {
	switch old, known := o.asked[op.ID]; {
	case !known:
		return ErrNotFound
	case old.state == OperationPending:
		return ErrPending
	}
	return nil
}

// takenBack is what is left of a batch whose steps failed, or that a reboot has cut short: of
// operations with ids what they read, all of it or nothing.
func (o oracle) takenBack(w *world, list []Operation, now *State) oracle {
	for _, op := range list {
		group, is := op.(Identified)
		kept, known := now.Operation(group.ID)
		switch _, before := o.asked[group.ID]; {
		case is && !before && known && kept.State == OperationFailed:
			o = o.takenBack(w, group.Operations, now).clone()
			o.asked[group.ID] = oasked{digest: group.Digest}
		case is || !undone(op):
			o, _ = o.apply(w, op)
		default:
			o = o.renewed(op)
		}
	}
	return o
}

// named says whether all operations of a batch have ids.
func named(list []Operation) bool {
	return !slices.ContainsFunc(list, func(op Operation) bool { _, is := op.(Identified); return !is })
}

// renewed is what stays of an operation that is taken back: whoever asks for a task that is
// there has renewed its time to live.
func (o oracle) renewed(op Operation) oracle {
	var id string
	var lease Lease
	switch op := op.(type) {
	case Attach:
		id, lease = op.Task, Lease{TTL: op.TTL, Until: op.At + op.TTL}
	case Claim:
		id, lease = op.Task, Lease{TTL: op.Lease.TTL, Until: op.At + op.Lease.TTL}
	}
	if t, ok := o.tasks[id]; ok && lease.TTL != 0 && !t.releasing && !t.killing {
		o = o.clone()
		t.lease.Until = lease.Until
		o.tasks[id] = t
	}
	return o
}
