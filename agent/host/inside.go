package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/mount"
)

// patience is how long a look or a change in the mount namespace of a task may take, where a
// file system that the task serves itself may keep it waiting for ever.
const patience = 10 * time.Second

func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not answer within %s", patience))
}

// seeInside looks at an attachment in the mount namespace of its process or, where that has ended,
// of another process of the task: the namespace lasts as long as anybody is in it.
func (h *Host) seeInside(ctx context.Context, s *volume.State, a *volume.Attachment) (seen volume.SeenAttachment, err error) {
	t, ok := s.Task(a.Task)
	if !ok {
		return volume.SeenAttachment{Unreachable: "its task is not there"}, nil
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	n, err := h.space(t, a.Process)
	if err == nil {
		// A new attachment was nowhere before. One that was seen may have been moved since.
		seen, err = h.lookInside(ctx, s, n, t.Target(a), a, a.Gone || a.Via == volume.Claimed || h.wasSeen(a))
	}
	if errors.Is(err, syscall.ESRCH) {
		return h.seeElsewhere(ctx, s, t, a)
	}
	return seen, err
}

// lookInside is seeInside in one namespace. What is not at the target is searched for if asked
// to, at a cost that grows with what is mounted there.
func (h *Host) lookInside(ctx context.Context, s *volume.State, n *mount.Namespace, target string, a *volume.Attachment, search bool) (seen volume.SeenAttachment, err error) {
	point, err := n.At(ctx, target)
	if err != nil && !inTheWay(err) {
		return seen, err
	}
	want, err := h.identity(s, a.Volume)
	if point.Mounted && err == nil && point.Identity == want {
		h.sawAt(a, point.MountID)
		return volume.SeenAttachment{Mounted: true, ReadOnly: point.ReadOnly}, nil
	}
	seen.Foreign = point.Mounted
	if !search {
		return seen, nil
	}
	m, found, err := h.strayIn(ctx, s, n, a)
	switch {
	case err != nil:
		return seen, err
	case !found && h.wasSeen(a):
		h.unseen(a)
		return h.lookInside(ctx, s, n, target, a, a.Gone) // for what the task may have bound elsewhere
	case !found:
		return seen, nil
	case m.ID == point.MountID: // its volume cannot be looked at
		return volume.SeenAttachment{Mounted: true, ReadOnly: m.ReadOnly}, nil
	case m.Point == target:
		return volume.SeenAttachment{Unreachable: "something is mounted on top of it; it is still mounted"}, nil
	}
	h.sawAt(a, m.ID)
	return volume.SeenAttachment{Mounted: true, Moved: m.Point, ReadOnly: m.ReadOnly}, nil
}

// strayIn searches a namespace for the mount of an attachment: the one that was seen last, or one
// that is no other attachment's.
func (h *Host) strayIn(ctx context.Context, s *volume.State, n *mount.Namespace, a *volume.Attachment) (found mount.Info, ok bool, err error) {
	table, err := n.Table(ctx)
	if err != nil {
		return found, false, err
	}
	is := h.candidates(s, a)
	for _, m := range table {
		if shows(m, a.Volume) && is(m) {
			return m, true, nil
		}
	}
	return found, false, nil
}

// candidates says which mounts of its volume may be that of an attachment.
func (h *Host) candidates(s *volume.State, a *volume.Attachment) func(mount.Info) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id, seen := h.seenAt[a.Unit()]; seen && id != unnumbered {
		return func(m mount.Info) bool { return m.ID == id }
	}
	ids, targets := map[uint64]bool{}, map[string]bool{}
	for other := range s.AttachmentsOf(a.Volume) {
		t, known := s.Task(other.Task)
		if !known || other.Unit() == a.Unit() {
			continue
		}
		targets[t.Target(other)] = true
		if id, seen := h.seenAt[other.Unit()]; seen {
			ids[id] = true
		}
	}
	return func(m mount.Info) bool { return !ids[m.ID] && !targets[m.Point] }
}

// seeElsewhere looks for an attachment in the namespaces of the other processes of its task.
func (h *Host) seeElsewhere(ctx context.Context, s *volume.State, t *volume.Task, a *volume.Attachment) (volume.SeenAttachment, error) {
	others, err := h.insiders(t)
	if err != nil {
		return volume.SeenAttachment{}, err
	}
	for _, p := range others {
		seen, err := h.lookThrough(ctx, s, t, a, p)
		switch {
		case errors.Is(err, syscall.ESRCH) || p == a.Process:
		case err != nil:
			return seen, err
		case seen.Mounted || seen.Unreachable != "":
			return volume.SeenAttachment{Mounted: true, Living: p}, nil
		}
	}
	h.unseen(a)
	return volume.SeenAttachment{Ended: true}, nil
}

// lookThrough is lookInside by a process that has nothing to do with the attachment yet.
func (h *Host) lookThrough(ctx context.Context, s *volume.State, t *volume.Task, a *volume.Attachment, p volume.Process) (volume.SeenAttachment, error) {
	n, err := openSpace(p)
	if err != nil {
		return volume.SeenAttachment{}, err
	}
	seen, err := h.lookInside(ctx, s, n, t.Target(a), a, true)
	return seen, errors.Join(err, n.Close())
}

// wasSeen says whether an attachment was seen mounted since the start.
func (h *Host) wasSeen(a *volume.Attachment) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, seen := h.seenAt[a.Unit()]
	return seen
}

// doInside does a step in the mount namespace of the attachment's process.
func (h *Host) doInside(ctx context.Context, s *volume.State, t *volume.Task, a *volume.Attachment, kind volume.StepKind) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	n, err := h.space(t, a.Process)
	if err != nil {
		return refusedInside(kind, err)
	}
	if kind == volume.DoAttach {
		return refusedInside(kind, h.attachInside(ctx, s, n, t.Target(a), a))
	}
	at, want, err := h.whereInside(ctx, s, n, t.Target(a), a)
	if err != nil {
		return refusedInside(kind, err)
	}
	switch kind {
	case volume.Flip:
		return refusedInside(kind, n.SetReadOnly(ctx, at, want, a.Mode == resource.RO))
	case volume.DoDetach:
		if err := n.Detach(ctx, at, want, a.Lazy); err != nil {
			return refusedInside(kind, err)
		}
		h.unseen(a)
		return nil
	}
	return fmt.Errorf("no step %s in a mount namespace", kind)
}

// attachInside makes the mount with its mode, and places it.
func (h *Host) attachInside(ctx context.Context, s *volume.State, n *mount.Namespace, target string, a *volume.Attachment) error {
	tree, _, err := h.clone(s, a)
	if err != nil {
		return err
	}
	defer tree.Close()
	if err := n.Attach(ctx, tree, target, true); err != nil {
		return err
	}
	h.sawAt(a, unnumbered) // the task may move it before anybody looks
	return nil
}

// unnumbered is the number of a mount that was made and not looked at yet. No mount has it.
const unnumbered = 0

// whereInside is where an attachment is mounted by now, and what is mounted there.
func (h *Host) whereInside(ctx context.Context, s *volume.State, n *mount.Namespace, target string, a *volume.Attachment) (string, mount.Identity, error) {
	want, unknown := h.identity(s, a.Volume)
	point, err := n.At(ctx, target)
	if err != nil && !inTheWay(err) {
		return "", want, err
	}
	if unknown == nil && point.Mounted && point.Identity == want {
		return target, want, nil
	}
	m, found, err := h.strayIn(ctx, s, n, a)
	if err != nil || !found {
		return target, want, errors.Join(err, unknown)
	}
	if point, err = n.At(ctx, m.Point); err == nil && point.MountID != m.ID {
		err = fmt.Errorf("%s: %w on top of it", m.Point, mount.ErrMounted)
	}
	return m.Point, point.Identity, err
}

// inTheWay says whether an error of a look says that nothing can be mounted at a path as it is.
func inTheWay(err error) bool {
	return errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, mount.ErrMoved)
}

// refusedInside gives the kind of an error in a task's mount namespace: what is in the way there
// is the doing of the task, and no failure of the host.
func refusedInside(kind volume.StepKind, err error) error {
	busy := (*mount.BusyError)(nil)
	tell := func(of error, more string) error {
		return &volume.Error{Kind: of, Cause: err, Message: err.Error() + more}
	}
	switch {
	case err == nil, errors.Is(err, syscall.ESRCH) && kind == volume.DoDetach:
		return nil // a namespace that has ended has no mounts
	case volume.Kind(err) != nil:
		return err // it is not about the namespace
	case errors.Is(err, syscall.ESRCH):
		return tell(volume.ErrNotFound, "")
	case errors.As(err, &busy) && kind == volume.DoDetach:
		return tell(volume.ErrBusy, "; it is detached when they let go, or at once with --lazy")
	case errors.As(err, &busy):
		return tell(volume.ErrBusy, "; ask again when they have closed what they write")
	case errors.Is(err, mount.ErrNotItsOwn):
		return tell(volume.ErrInvalid, "; have it mounted beneath the task's sandbox instead: leave the process out")
	case errors.Is(err, mount.ErrUndone):
		return tell(volume.ErrInvalid, "; attach it read-write, or have the mount come from the host: leave the process out")
	case errors.Is(err, mount.ErrShared):
		return tell(volume.ErrInvalid, "; give a path on a mount that is private there (mount --make-private), or detach it and attach it in the other mode")
	case errors.Is(err, syscall.EROFS):
		return tell(volume.ErrInvalid, "; give a directory that is there already")
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR):
		return tell(volume.ErrExists, "; a symlink or a file lies there, and none is followed")
	case inTheWay(err), errors.Is(err, mount.ErrMounted):
		return tell(volume.ErrExists, "")
	}
	return err
}
