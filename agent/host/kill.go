package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"tenon/agent/volume"
	"tenon/isolator/lease"
)

// killPatience is how long a kill is waited for before the loop shows that it takes longer:
// a process that waits for a disk may not be killed before the disk answers.
const killPatience = 10 * time.Second

// prepareKill refuses to kill a process that a lease names by itself for anybody but root and
// the user that it runs as: whoever claims may name any.
func prepareKill(s *volume.State, o volume.Kill) error {
	t, ok := s.Task(o.Task)
	if !ok || t.Lease.PID == 0 || t.Lease.Cgroup != "" || t.Killing || t.Releasing {
		return nil
	}
	if t.Lease.PID == os.Getpid() {
		return &volume.Error{Kind: volume.ErrInvalid, Message: fmt.Sprintf("task %s is held by the agent itself, which is not killed; stop it", t.ID)}
	}
	if o.User != nil && *o.User == 0 {
		return nil
	}
	user, err := processOf(t).User()
	switch {
	case errors.Is(err, syscall.ESRCH):
		return nil // it has ended, and the task ends with it
	case err != nil:
		return err
	case o.User == nil:
		return &volume.Error{Kind: volume.ErrForbidden, Message: fmt.Sprintf("process %d of task %s is in no cgroup of the task's; "+
			"only root or user %d, on its host, may have it killed", t.Lease.PID, t.ID, user)}
	case user != *o.User:
		return &volume.Error{Kind: volume.ErrForbidden, Message: fmt.Sprintf("process %d of task %s is user %d's, not user %d's; "+
			"only root or user %[3]d may have it killed", t.Lease.PID, t.ID, user, *o.User)}
	}
	return nil
}

// processOf is the part of a task's lease that names a process.
func processOf(t *volume.Task) lease.Lease {
	return lease.Lease{PID: t.Lease.PID, Start: t.Lease.Start}
}

// kill ends the processes in the task's cgroup and removes that, so that nobody starts
// another in it; or, of a task without one, the process of its lease.
//
// Crash: whatever lives is killed at the next start, which finds the task to be killed.
func (h *Host) kill(ctx context.Context, t *volume.Task) error {
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	err := h.killIn(ctx, t)
	if errors.Is(err, context.DeadlineExceeded) {
		return &volume.Error{Kind: volume.ErrBusy, Cause: err,
			Message: fmt.Sprintf("task %s has not ended within %s; it is tried again: %v", t.ID, killPatience, err)}
	}
	return err
}

func (h *Host) killIn(ctx context.Context, t *volume.Task) error {
	if t.Lease.Cgroup == "" {
		return processOf(t).Kill(ctx)
	}
	if h.groups == nil {
		return errNoCgroups()
	}
	g, err := h.groups.Load(t.Lease.Cgroup)
	if err != nil {
		return err
	}
	if err := g.Kill(ctx); err != nil {
		return err
	}
	return g.Delete()
}

func errNoCgroups() error {
	return errors.New("there were cgroups when the task was made, and are none now")
}
