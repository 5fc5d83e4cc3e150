package volume

import "time"

// Release ends a task: its attachments are detached, its claims dropped, its sandbox
// removed where the agent made it. It is refused with ErrInUse while a process or a cgroup
// holds the task, except the process that asks; a time to live keeps nobody from it. Refused with ErrNotFound.
type Release struct {
	Task  string
	By    int       // the process that asks, 0 if unknown
	Ended bool      // nothing but By holds the lease; found out when the operation is prepared
	Since time.Time // of the task that Ended is about; zero is any
	Lazy  bool
}

// Name is "release".
func (Release) Name() string { return "release" }

func (o Release) apply(d *draft) error {
	t, ok := d.Task(o.Task)
	if !ok {
		return refuse(ErrNotFound, "there is no task %q", o.Task)
	}
	if !o.Since.IsZero() && !o.Since.Equal(t.Since) {
		return refuse(ErrNotFound, "the task %q that was to be released is gone; there is a new one of that name", o.Task)
	}
	if t.Lease.named() && !o.Ended && !t.Releasing {
		return refuse(ErrInUse, "task %s is still running; it is released when its last process has ended", t.ID)
	}
	var all []*Attachment
	for a := range d.AttachmentsIn(t.ID) {
		all = append(all, a)
	}
	for _, a := range all {
		d.end(a, o.Lazy)
	}
	d.endTask(t)
	return nil
}

// end marks an attachment as one to be detached.
func (d *draft) end(a *Attachment, lazy bool) {
	d.touch(a.Unit())
	if a.Gone && a.Lazy == (a.Lazy || lazy) {
		return
	}
	end := *a
	end.Gone, end.Lazy = true, a.Lazy || lazy
	d.put(Change{Attachment: &end})
}

// endTask marks a task as one to be removed once its attachments are gone.
func (d *draft) endTask(t *Task) {
	if !t.Releasing {
		end := *t
		end.Releasing = true
		d.put(Change{Task: &end})
	}
	d.touch(UnitOfTask(t.ID))
}
