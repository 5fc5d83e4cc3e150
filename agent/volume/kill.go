package volume

import "time"

// Kill ends the processes of a task: all that are in the cgroup of its lease, or, of a lease
// that names none, the process. The lease ends with them, and the task is released. A process
// that has claimed for a task with a cgroup is left alone, for it may have claimed for others:
// it holds the task until it ends or releases it. A task that is being killed takes nothing new.
// What it has is let go behind the operation: a Release of the task waits for that. Refused with ErrNotFound, with ErrInvalid where the lease
// names nothing that could be killed, or with ErrForbidden where a process is not User's.
type Kill struct {
	Task  string
	Since time.Time // of the task that is meant; zero is any

	// User is who asks, as the kernel knows them. A process that a lease names by itself was
	// named by whoever claimed, so it is killed for root and for the user that it runs as
	// alone. nil, for the agent itself and for whoever asks from elsewhere, is nobody: what is
	// killed for nobody is in a cgroup that the agent has made.
	User *int
}

// Name is "kill".
func (Kill) Name() string { return "kill" }

func (o Kill) apply(d *draft) error {
	t, ok := d.Task(o.Task)
	switch {
	case !ok:
		return refuse(ErrNotFound, "there is no task %q", o.Task)
	case !o.Since.IsZero() && !o.Since.Equal(t.Since):
		return refuse(ErrNotFound, "the task %q that was to be killed is gone; there is a new one of that name", o.Task)
	case t.Killing || t.Releasing:
	case t.Lease.PID == 0 && t.Lease.Cgroup == "":
		return refuse(ErrInvalid, "task %s names neither a process nor a cgroup, so there is nothing to kill", t.ID)
	default:
		end := *t
		end.Killing = true
		d.put(Change{Task: &end})
	}
	d.touch(UnitOfTask(t.ID))
	return nil
}

// ending refuses whatever would add to a task that ends.
func (t *Task) ending() error {
	switch {
	case t.Releasing:
		return refuse(ErrPending, "task %s is being released", t.ID)
	case t.Killing:
		return refuse(ErrPending, "task %s is being killed", t.ID)
	}
	return nil
}
