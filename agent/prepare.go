package agent

import (
	"context"

	"tenon/agent/volume"
)

// maxMeasuring bounds how many volumes of a disk are measured at the same time: each is a walk
// through all that is in it, and whoever may not have it shrunk shall not have it walked.
const maxMeasuring = 2

// prepare completes a batch with what only the host knows. Volumes that are to become smaller
// are measured last, and only for a batch that would be accepted if nothing were in them.
func (a *Agent) prepare(ctx context.Context, r Request) ([]volume.Operation, error) {
	s, late := a.State(), false
	ops, err := a.each(r.Operations, func(op volume.Operation) (volume.Operation, error) {
		if measured(s, op) {
			late = true
			return op, nil
		}
		return a.kernel.Prepare(ctx, a.State(), op)
	})
	if err != nil || !late {
		return ops, err
	}
	_, version, err := a.rehearse(r, ops)
	if err != nil {
		return nil, err
	}
	whole, failed := a.each(ops, func(op volume.Operation) (volume.Operation, error) {
		if !measured(s, op) {
			return op, nil
		}
		return a.measure(ctx, op, version)
	})
	if failed == nil {
		return whole, nil
	}
	if _, _, err := a.rehearse(r, ops); err != nil { // what was in the way may be that somebody destroyed the volume meanwhile
		return nil, err
	}
	return nil, failed
}

// each gives operations with f applied to each, inside of groups, too. Those of a group that
// was done before stay as they are: nothing is done again.
func (a *Agent) each(ops []volume.Operation, f func(volume.Operation) (volume.Operation, error)) ([]volume.Operation, error) {
	all := make([]volume.Operation, len(ops))
	for i, op := range ops {
		var err error
		if group, is := op.(volume.Identified); !is {
			all[i], err = f(op)
		} else {
			if _, known := a.State().Operation(group.ID); !known {
				group.Operations, err = a.each(group.Operations, f)
			}
			all[i] = group
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// measured says whether an operation is prepared by a walk through a volume: whether it makes
// one smaller.
func measured(s *volume.State, op volume.Operation) bool {
	_, smaller := walked(s, op)
	return smaller
}

// walked is the disk with the volume that an operation makes smaller.
func walked(s *volume.State, op volume.Operation) (disk string, smaller bool) {
	switch o := op.(type) {
	case volume.Shrink:
		if o.Volume.Disk != nil {
			disk = o.Volume.Disk.Source.Key()
		}
		return disk, true
	case volume.Resize:
		v, err := s.Find(o.Ref)
		if err == nil && o.Size < v.Size {
			return v.Disk, true
		}
	}
	return "", false
}

// measure has the host measure the volume that an operation makes smaller, when its turn
// comes. Nobody held the volume in that version. Whoever gives up waiting leaves a walk that does
// not end its turn.
func (a *Agent) measure(ctx context.Context, op volume.Operation, version uint64) (volume.Operation, error) {
	s := a.State()
	disk, _ := walked(s, op)
	done, err := a.measuring.take(ctx, disk)
	if err != nil {
		return nil, err
	}
	type result struct {
		op  volume.Operation
		err error
	}
	found := make(chan result, 1)
	go func() {
		defer done()
		op, err := a.kernel.Prepare(ctx, s, op)
		found <- result{op, err}
	}()
	var r result
	select {
	case r = <-found:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch o := r.op.(type) {
	case volume.Shrink:
		o.Measured = version
		return o, r.err
	case volume.Resize:
		o.Measured = version
		return o, r.err
	}
	return r.op, r.err
}
