package agenttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"tenon/agent/volume"
)

// Prepare completes an operation as the host does.
func (k *Kernel) Prepare(_ context.Context, s *volume.State, op volume.Operation) (volume.Operation, error) {
	switch op.(type) {
	case volume.Shrink, volume.Resize:
		k.measuring()
	}
	k.Lock()
	defer k.Unlock()
	switch o := op.(type) {
	case volume.Renew:
		o.At = k.Uptime
		return o, nil
	case volume.Claim:
		return k.prepareClaim(s, o)
	case volume.Attach:
		o.At = k.Uptime
		return k.prepareAttach(s, o)
	case volume.Detach:
		o.In = k.finds(s, o.Task, o.Volume, o.Path)
		return o, nil
	case volume.SetMode:
		o.In = k.finds(s, o.Task, o.Volume, o.Path)
		return o, nil
	case volume.Create:
		return k.prepareCreate(s, o)
	case volume.Launch:
		if o.Sandbox == "" {
			o.Sandbox, o.Own = path.Join(Root, o.Task), true
		}
		return o, nil
	case volume.Shrink:
		if r := o.Volume; r.IsVolume() && len(r.Reservations) > 0 { // by name: in a batch it may have another size by then
			if v, ok := s.Named(volume.Name{Role: r.Role(), ID: r.Disk.Persistence.ID}); ok {
				o.Used = k.Used[v.UUID]
			}
		}
		return o, nil
	case volume.Resize:
		if v, err := s.Find(o.Ref); err == nil {
			if _, there := k.Pools[v.Disk].Live[v.UUID]; !there && v.Phase == volume.Ready && o.Size < v.Size {
				return nil, &volume.Error{Kind: volume.ErrLost, Message: fmt.Sprintf("volume %s has lost its directory", v.Name)}
			}
			o.Used = k.Used[v.UUID]
		}
		return o, nil
	case volume.Release:
		return k.prepareRelease(s, o), nil
	}
	return op, nil
}

// Preconditions: k is locked.
func (k *Kernel) prepareClaim(s *volume.State, o volume.Claim) (volume.Operation, error) {
	o.At = k.Uptime
	if o.Sandbox == "" {
		o.Sandbox, o.Own = path.Join(Root, o.Task), true
	}
	if o.Cgroup {
		o.Lease.Cgroup = "/cgroup/" + o.Task
	}
	if o.Lease.PID != 0 {
		start, ok := k.Processes[o.Lease.PID]
		if !ok {
			return nil, &volume.Error{Kind: volume.ErrInvalid, Message: fmt.Sprintf("there is no process %d", o.Lease.PID)}
		}
		o.Lease.Start = start
	}
	return o, k.prepareIO(s, o)
}

// Preconditions: k is locked.
func (k *Kernel) prepareRelease(s *volume.State, o volume.Release) volume.Release {
	if t, ok := s.Task(o.Task); ok && (o.Since.IsZero() || o.Since.Equal(t.Since)) {
		seen := k.seeTask(t)
		o.Since = t.Since
		o.Ended = !seen.Inside && (!seen.Claimant || t.Lease.PID == o.By)
	}
	return o
}

func (k *Kernel) measuring() {
	k.Lock()
	f := k.Measuring
	k.Unlock()
	if f != nil {
		f()
	}
}

// Hand gives a descriptor of an empty directory in place of a mount.
func (k *Kernel) Hand(_ context.Context, s *volume.State, a *volume.Attachment) (*os.File, error) {
	k.Lock()
	defer k.Unlock()
	v, ok := s.Volume(a.Volume)
	switch {
	case !ok:
		return nil, errors.New("no such volume")
	case k.FailHand != nil:
		return nil, k.FailHand
	}
	if err := k.reach(v); err != nil {
		return nil, err
	}
	return os.Open(os.TempDir())
}
