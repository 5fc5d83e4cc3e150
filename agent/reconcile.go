package agent

import (
	"context"
	"errors"
	"fmt"

	"tenon/agent/volume"
)

// rounds bounds how often one run looks. Three are enough for every unit: before its
// steps, after them, and after what they came to was recorded. One that needs more is
// tried again later.
const rounds = 6

// errAgain is the error of a unit that had nothing to do just now and is still not
// what it should be.
var errAgain = errors.New("not converged yet")

// reconcile makes one unit what the state says it should be: observe, plan, do, settle,
// until there is nothing to do. It is the only code that acts on the kernel, when the
// agent starts, runs, and after every failure. again says that the unit wants another
// try later.
func (a *Agent) reconcile(ctx context.Context, u volume.Unit) (again bool, err error) {
	for range rounds {
		s := a.State()
		if !s.Has(u) {
			// Another of the same name may come before anything could be settled, and
			// nothing was seen of that one.
			return false, nil
		}
		seen, err := a.kernel.Observe(ctx, s, u)
		if err != nil {
			a.noteFailure(u, err)
			return true, err
		}
		if steps := volume.Plan(s, u, seen); len(steps) > 0 {
			if err := a.act(ctx, s, steps); err != nil {
				a.noteFailure(u, err)
				return true, err
			}
			continue
		}
		settled, err := a.settle(u, seen)
		if err != nil {
			return true, err
		}
		if !settled {
			if v, ok := a.State().Volume(u.Volume); ok && u.Kind == volume.VolumeUnit && v.Resized() && a.gauge != nil {
				a.measureNow(ctx, v.UUID)
			}
			return a.leftOver(u)
		}
	}
	return true, fmt.Errorf("%s: %w", u, errAgain)
}

// act does the steps of a plan.
func (a *Agent) act(ctx context.Context, s *volume.State, steps []volume.Step) error {
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.step(ctx, s, step); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) step(ctx context.Context, s *volume.State, step volume.Step) error {
	a.crash(string(step.Kind) + ":before")
	start := a.now()
	err := a.kernel.Do(ctx, s, step)
	a.meter.Step(step.Kind, err, a.now().Sub(start))
	if err != nil {
		return err
	}
	a.log.Info("step done", "step", step.Kind, "unit", step.Unit, "took", a.now().Sub(start))
	a.crash(string(step.Kind) + ":after")
	return nil
}

// settle records what a unit that has nothing to do came to.
func (a *Agent) settle(u volume.Unit, seen volume.Seen) (settled bool, err error) {
	var changes []volume.Change
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		changes = volume.Settle(s, u, seen, a.now())
		if len(changes) > 0 {
			a.crash("settle")
		}
		return volume.Outcome{Next: s.With(changes...), Changes: changes}, nil
	})
	if err != nil {
		return false, err
	}
	if err := a.await(v); err != nil {
		return false, err
	}
	a.follow(u, changes)
	return len(changes) > 0, nil
}

// follow queues the units that depend on what was settled of u: the attachments of a task
// that ended, a released task or a tombstone whose last attachment went, a task whose sandbox
// was left over, the attachments of a volume that is made, a volume that got its space back, the
// volumes of a disk that came or went.
func (a *Agent) follow(u volume.Unit, changes []volume.Change) {
	for _, c := range changes {
		switch {
		case c.Volume != nil && c.Volume.UUID != u.Volume:
			a.enqueue(volume.UnitOfVolume(c.Volume.UUID))
		case c.Attachment != nil:
			a.enqueue(c.Attachment.Unit())
		case c.Task != nil && c.Task.Releasing:
			a.enqueue(volume.UnitOfTask(c.Task.ID))
		case c.Drop != nil && c.Drop.Path != "":
			a.followDetach(*c.Drop)
		case c.Volume != nil && c.Volume.Phase == volume.Ready:
			for at := range a.State().AttachmentsOf(c.Volume.UUID) {
				a.enqueue(at.Unit())
			}
		case c.Fault != nil:
			a.followFault(*c.Fault)
		}
	}
}

// followDetach queues what an attachment that is gone has held up.
func (a *Agent) followDetach(gone volume.Drop) {
	s := a.State()
	if t, ok := s.Task(gone.Task); ok && t.Releasing {
		a.enqueue(volume.UnitOfTask(t.ID))
	}
	if v, ok := s.Volume(gone.Volume); ok && v.Phase == volume.Destroying {
		a.enqueue(volume.UnitOfVolume(v.UUID))
	}
}

func (a *Agent) followFault(f volume.FaultOf) {
	if f.Kind != nil {
		a.log.Warn("unit faulty", "unit", f.Unit, "err", f.Reason)
	}
	if f.Unit.Kind == volume.DiskUnit {
		a.queueVolumes(f.Unit.Disk)
	}
}

// enqueue has a unit run in its lane; nobody waits for it.
func (a *Agent) enqueue(u volume.Unit) { a.queue.add(u, a.lane(u)) }

// queueVolumes queues every volume of a disk.
func (a *Agent) queueVolumes(disk string) {
	s := a.State()
	for u := range s.Units() {
		if v, ok := s.Volume(u.Volume); u.Kind == volume.VolumeUnit && ok && v.Disk == disk {
			a.enqueue(u)
		}
	}
}

// leftOver tells what is wrong with a unit that has nothing to do, and whether to look
// again. A volume whose disk is away waits for the disk; one that is lost is looked
// for, but that is no failure of an operation.
func (a *Agent) leftOver(u volume.Unit) (again bool, err error) {
	s := a.State()
	if f, bad := s.Fault(u); bad {
		if f.Kind == volume.ErrLost {
			return true, nil
		}
		waits := u.Kind == volume.VolumeUnit && f.Kind == volume.ErrUnavailable
		return !waits, &volume.Error{Kind: f.Kind, Message: u.String() + ": " + f.Reason}
	}
	if at, ok := s.Attachment(u); u.Kind == volume.AttachmentUnit && ok && at.Gone {
		return true, fmt.Errorf("%s: %w", u, errAgain)
	}
	return false, nil
}

// noteFailure shows a failed step as a fault of its unit.
func (a *Agent) noteFailure(u volume.Unit, cause error) {
	if errors.Is(cause, context.Canceled) {
		return
	}
	kind := volume.Kind(cause)
	if kind == nil {
		kind = volume.ErrFailed
		if u.Kind != volume.DiskUnit {
			a.enqueue(volume.UnitOfDisk(a.lane(u).disk)) // it may be the disk
		}
	}
	if kind == volume.ErrLost && u.Kind == volume.AttachmentUnit {
		a.enqueue(volume.UnitOfVolume(u.Volume)) // to be seen there, too
	}
	if a.noteFault(u, kind, cause.Error()) {
		a.log.Warn("step failed", "unit", u, "err", cause)
	}
}

// noteFault shows a fault of a unit that is known; it says whether it is new.
func (a *Agent) noteFault(u volume.Unit, kind error, reason string) bool {
	var changes []volume.Change
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		if s.Has(u) {
			changes = s.Faulty(u, kind, reason, a.now())
		}
		return volume.Outcome{Next: s.With(changes...), Changes: changes}, nil
	})
	if err == nil {
		_ = a.await(v) // its error is the journal's, which is kept and told by Health
	}
	return len(changes) > 0
}

// noteSlow shows that a unit has been at work for so long that its disk is to be looked at, and
// of the disk itself, that nothing on it can be reached. It is taken back when the unit comes to
// an end.
func (a *Agent) noteSlow(u volume.Unit) {
	a.log.Warn("a step takes long", "unit", u, "took", slow)
	if u.Kind == volume.DiskUnit {
		a.note(func(s *volume.State) []volume.Change {
			return s.Silent(u.Disk, fmt.Sprintf("it has not answered for %s", slow), a.now())
		})
		return
	}
	a.noteFault(u, volume.ErrUnavailable, fmt.Sprintf("it has been at work for %s; its disk may not answer", slow))
	a.enqueue(volume.UnitOfDisk(a.lane(u).disk))
}

// lane is where a unit waits for its turn.
func (a *Agent) lane(u volume.Unit) lane {
	s := a.State()
	v, known := s.Volume(u.Volume)
	t, task := s.Task(u.Task)
	disk := u.Disk
	if known {
		disk = v.Disk
	}
	switch {
	case u.Kind == volume.DiskUnit:
		return lane{laneDisk, disk}
	case u.Kind == volume.TaskUnit && task && (t.Releasing || t.Killing):
		return lane{laneEnd, disk}
	case u.Kind == volume.TaskUnit:
		return lane{laneTask, disk}
	case u.Kind == volume.AttachmentUnit:
		return lane{laneMount, disk}
	case known && v.Phase == volume.Destroying:
		return lane{laneRemove, disk}
	}
	return lane{laneMake, disk}
}
