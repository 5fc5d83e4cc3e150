package volume

import "time"

// The bounds of a time to live.
const (
	MinTTL = time.Second
	MaxTTL = 30 * 24 * time.Hour
)

// Renew holds a task for its time to live from now on, or for another one. A task that had none
// has one from then on; one that nothing else holds ends when it has passed. It does not survive
// a power cut, as the task does not, so nobody waits for a disk. Refused with ErrNotFound, with
// ErrInvalid where neither names a time or it is out of bounds, or with ErrPending.
type Renew struct {
	Task string
	TTL  time.Duration // 0 is the task's own
	At   time.Duration // when it was asked for, since the boot; found out when the operation is prepared
}

// Name is "renew".
func (Renew) Name() string { return "renew" }

func (o Renew) apply(d *draft) error {
	t, ok := d.Task(o.Task)
	if !ok {
		return refuse(ErrNotFound, "there is no task %q", o.Task)
	}
	if err := t.ending(); err != nil {
		return err
	}
	lease := t.Lease
	switch {
	case o.TTL != 0:
		lease.TTL = o.TTL
	case lease.TTL == 0:
		return refuse(ErrInvalid, "task %s has no time to live that could be renewed", t.ID)
	}
	if err := lease.begin(t.ID, o.At); err != nil {
		return err
	}
	d.renew(t, lease)
	return nil
}

// begin has the time to live of a task's lease begin, if there is one.
func (l *Lease) begin(task string, at time.Duration) error {
	if l.TTL == 0 {
		return nil
	}
	if l.TTL < MinTTL || l.TTL > MaxTTL {
		return refuse(ErrInvalid, "task %s: a time to live is from %s to %s, not %s", task, MinTTL, MaxTTL, l.TTL)
	}
	l.Until = at + l.TTL
	return nil
}

// renew gives a task a lease that differs in its time. It is looked at where that may end
// earlier; what ends later is looked at when the time before has passed.
func (d *draft) renew(t *Task, l Lease) {
	if l == t.Lease {
		return
	}
	renewed := *t
	renewed.Lease = l
	d.put(Change{Task: &renewed})
	if t.Lease.Until == 0 || l.Until < t.Lease.Until {
		d.touch(UnitOfTask(t.ID))
	}
}

// named says whether a lease names anything that lives.
func (l Lease) named() bool { return l.PID != 0 || l.Cgroup != "" }

// like says whether two leases were asked for in the same way.
func (l Lease) like(other Lease) bool {
	l.Until, other.Until = 0, 0
	return l == other
}
