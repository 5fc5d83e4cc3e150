package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"tenon/agent/volume"
	"tenon/mount"
)

// prepareAttach says how an attachment is made, in whose mount namespace, and with which sandbox
// where its task is a new one: one that lives by a process it names needs none.
func (h *Host) prepareAttach(s *volume.State, o volume.Attach) (volume.Operation, error) {
	t, known := s.Task(o.Task)
	var err error
	switch {
	case o.UID != 0 && path.IsAbs(o.Path):
		// In a namespace of the host's own users, set-user-ID programs believe what lies there.
		err = &volume.Error{Kind: volume.ErrForbidden, Message: fmt.Sprintf(
			"path %s is absolute, and only root may say what lies where in the root of a process; give a path beneath the sandbox", o.Path)}
	case o.In.PID != 0:
		o.Via = volume.ByNamespace
		o.In, err = named(o)
	case o.Via == "" && known && h.needsInside(t, s, o):
		o.Via = volume.ByNamespace
		o.In, err = h.insider(s, t, o)
	case o.Via == "" && path.IsAbs(o.Path):
		err = &volume.Error{Kind: volume.ErrInvalid, Message: fmt.Sprintf(
			"path %s is absolute, which is in the mount namespace of a process; name one with --pid, or give a path beneath the sandbox", o.Path)}
	case o.Via == "":
		o.Via = volume.ByPath
	}
	switch {
	case err != nil:
		return o, err
	case known && o.Sandbox == "":
		o.Sandbox, o.Own = t.Sandbox, t.Own
		return o, nil
	case o.Via == volume.ByNamespace && o.Sandbox == "":
		return o, nil
	}
	return o, h.prepareTask(&o.Sandbox, &o.Own, o.Task)
}

// named completes the process that an operation names, and says whether a mount may be made in its
// mount namespace: that has to be its own, and the process whoever's asks.
func named(o volume.Attach) (volume.Process, error) {
	refuse := func(kind, cause error) (volume.Process, error) {
		return volume.Process{}, &volume.Error{Kind: kind, Message: "task " + o.Task + ": " + cause.Error(), Cause: cause}
	}
	of, err := claimant(o.Task, o.In.PID)
	if err != nil {
		return volume.Process{}, err
	}
	p := volume.Process{PID: of.PID, Start: of.Start}
	uid, err := ownerOf(p.PID)
	if err == nil && o.UID != 0 && o.UID != uid {
		return refuse(volume.ErrForbidden, fmt.Errorf("process %d is not user %d's; only root may attach to that of somebody else", p.PID, o.UID))
	}
	own := false
	if err == nil {
		_, own, err = spaceOf(p.PID)
	}
	alive, lost := holds(p)
	switch {
	case lost != nil:
		return p, lost
	case !alive:
		return refuse(volume.ErrInvalid, gone(p))
	case errors.Is(err, fs.ErrPermission):
		return refuse(volume.ErrInvalid, fmt.Errorf("the mount namespace of process %d is closed to the agent: %w", p.PID, err))
	case err != nil:
		return p, err
	case !own:
		return refuse(volume.ErrInvalid, fmt.Errorf("process %d has no mount namespace of its own: a mount there would be everybody's; "+
			"name no process, and the volume is mounted beneath the task's sandbox", p.PID))
	}
	return p, nil
}

// ownerOf is the user that a process runs as; of one that may not be traced it is root (proc(5)).
func ownerOf(pid int) (int, error) {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("no owner in what stat(2) says") // cannot happen on Linux
	}
	return int(st.Uid), nil
}

// needsInside says whether a mount beneath the sandbox, in the agent's mount namespace, would not
// be seen by a task: because its others are in one of its own, or because that is all that it has.
func (h *Host) needsInside(t *volume.Task, s *volume.State, o volume.Attach) bool {
	if path.IsAbs(o.Path) || t.Sandbox == "" {
		return true
	}
	via := map[volume.Via]bool{}
	for a := range s.AttachmentsIn(t.ID) {
		via[a.Via] = true
	}
	switch {
	case via[volume.ByDescriptor]:
		return true
	case via[volume.ByPath], via[volume.Claimed]:
		return false
	case via[volume.ByNamespace]:
		return true
	}
	inside, err := h.insiders(&volume.Task{Lease: volume.Lease{Cgroup: t.Lease.Cgroup}})
	return err == nil && len(inside) > 0
}

// insider is the process of a task by which to attach: of what is attached just so already, that
// one, and the oldest otherwise.
func (h *Host) insider(s *volume.State, t *volume.Task, o volume.Attach) (volume.Process, error) {
	if v, err := s.Find(o.Volume); err == nil {
		if o.Path == "" {
			o.Path = v.ContainerPath
		}
		a, ok := s.Attachment((&volume.Attachment{Volume: v.UUID, Task: t.ID, Path: o.Path}).Unit())
		if ok && a.Via == volume.ByNamespace {
			if alive, err := holds(a.Process); alive || err != nil {
				return a.Process, err
			}
		}
	}
	open := openTo(t, o.UID)
	inside, err := h.insiders(open)
	switch {
	case err != nil || len(inside) > 0:
	case open != t:
		err = &volume.Error{Kind: volume.ErrForbidden, Message: fmt.Sprintf(
			"task %s is held by process %d, which is not user %d's; only root may attach to that of somebody else", t.ID, t.Lease.PID, o.UID)}
	default:
		err = &volume.Error{Kind: volume.ErrInvalid, Message: fmt.Sprintf(
			"task %s has no living process with a mount namespace of its own; name the one to attach to with --pid", t.ID)}
	}
	if err != nil {
		return volume.Process{}, err
	}
	return inside[0], nil
}

// openTo is a task without the process of its lease, where that is not the user's who asks:
// whoever claims may name any, and that must not open its mount namespace to them. What is in
// the task's cgroup is the task's.
func openTo(t *volume.Task, uid int) *volume.Task {
	if uid == 0 || t.Lease.PID == 0 {
		return t
	}
	// Whoever has that number and the lease's start time afterwards had it before.
	if owner, err := ownerOf(t.Lease.PID); err == nil && owner == uid {
		return t
	}
	closed := *t
	closed.Lease.PID, closed.Lease.Start = 0, 0
	return &closed
}

// finds finds a process of a task in whose mount namespace are, at their places, all those mounts
// of a volume that were handed to the task: by it they can be changed. The zero Process is none.
func (h *Host) finds(ctx context.Context, s *volume.State, task, ref, at string) (none volume.Process, _ error) {
	t, known := s.Task(task)
	v, err := s.Find(ref)
	if !known || err != nil {
		return none, nil // for Apply to refuse
	}
	var handed []*volume.Attachment
	for a := range s.AttachmentsIn(task) {
		if a.Volume == v.UUID && a.Via == volume.ByDescriptor && !a.Gone && (at == "" || at == a.Path) {
			handed = append(handed, a)
		}
	}
	if len(handed) == 0 {
		return none, nil
	}
	inside, err := h.insiders(t)
	if err != nil {
		return none, err
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	for _, p := range inside {
		if !slices.ContainsFunc(handed, func(a *volume.Attachment) bool { return !h.has(ctx, s, t, a, p) }) {
			return p, nil
		}
	}
	return none, context.Cause(ctx)
}

// has says whether a process has the mount of an attachment at its place.
func (h *Host) has(ctx context.Context, s *volume.State, t *volume.Task, a *volume.Attachment, p volume.Process) bool {
	want, err := askOf(ctx, h, s, a.Volume, func() (mount.Identity, error) { return h.identity(s, a.Volume) })
	if err != nil {
		return false
	}
	n, err := openSpace(p)
	if err != nil {
		return false
	}
	defer n.Close()
	point, err := n.At(ctx, t.Target(a))
	return err == nil && point.Mounted && point.Identity == want
}
