package agent

import (
	"context"
	"errors"
	"os"

	"tenon/agent/volume"
)

// Do applies a batch of operations: all of them, in order, or none. It returns when
// what they touch has converged, which includes that everything durable survives a
// power cut. The state that it returns contains the result.
//
// A refusal is an *volume.Error and changes nothing. When a step fails, what the batch
// was to make is taken back, and what it was to remove stays recorded and is tried
// again; either way the error says why. When the context ends first, the batch is
// recorded and goes on: asking again for a use, or for the end of something, waits for it,
// and a volume that was made meanwhile exists.
func (a *Agent) Do(ctx context.Context, ops ...volume.Operation) (*volume.State, error) {
	if _, _, err := a.do(ctx, ops); err != nil {
		return nil, err
	}
	return a.State(), nil
}

// do is Do; it also gives the version that the batch was applied to, and what it touched.
func (a *Agent) do(ctx context.Context, ops []volume.Operation) (before *volume.State, touched []volume.Unit, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	prepared, err := a.prepare(ctx, ops)
	if err != nil {
		return nil, nil, err
	}
	var out volume.Outcome
	v, err := a.commit(func(s *volume.State) (o volume.Outcome, err error) {
		if a.stopping {
			return o, &volume.Error{Kind: volume.ErrStopped, Message: "the agent is stopping; nothing was changed"}
		}
		before = s
		out, err = volume.Apply(s, a.env(), prepared...)
		return out, err
	})
	if err := errors.Join(err, a.await(v)); err != nil {
		return nil, nil, err // a refusal, too, speaks of what will survive
	}
	a.logOperations(prepared, out.Touched)
	a.crash("synced")
	if err := a.converge(ctx, out.Touched); err != nil {
		return nil, nil, a.takeBack(ctx, before, out.Touched, err)
	}
	return before, out.Touched, nil
}

// Hand gives the task a mount of a volume as a descriptor, after turning its claim into
// an attachment. The caller closes it. Asking again gives another one.
func (a *Agent) Hand(ctx context.Context, op volume.Attach) (*os.File, error) {
	op.Via = volume.ByDescriptor
	before, touched, err := a.do(ctx, []volume.Operation{op})
	if err != nil {
		return nil, err
	}
	s := a.State()
	for _, u := range touched {
		if at, ok := s.Attachment(u); ok && u.Kind == volume.AttachmentUnit && !at.Gone {
			f, err := a.kernel.Hand(ctx, s, at)
			if err != nil {
				err = a.takeBack(ctx, before, touched, err)
			}
			return f, err
		}
	}
	return nil, &volume.Error{Kind: volume.ErrPending, Message: "task " + op.Task + " was released meanwhile"}
}

func (a *Agent) prepare(ctx context.Context, ops []volume.Operation) ([]volume.Operation, error) {
	prepared := make([]volume.Operation, len(ops))
	for i, op := range ops {
		p, err := a.kernel.Prepare(ctx, a.State(), op)
		if err != nil {
			return nil, err
		}
		prepared[i] = p
	}
	return prepared, nil
}

// converge waits until the units were reconciled once more: sandboxes before what is
// mounted in them, mounts before the sandboxes of tasks that end.
func (a *Agent) converge(ctx context.Context, units []volume.Unit) error {
	s := a.State()
	var stages [3][]volume.Unit
	for _, u := range units {
		stage := 0
		if t, ok := s.Task(u.Task); u.Kind == volume.AttachmentUnit {
			stage = 1
		} else if ok && t.Releasing {
			stage = 2
		}
		stages[stage] = append(stages[stage], u)
	}
	for _, stage := range stages {
		if err := a.runAll(ctx, stage); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) runAll(ctx context.Context, units []volume.Unit) error {
	if len(units) == 1 && a.lane(units[0]) == laneTask {
		return a.queue.do(ctx, units[0], laneTask)
	}
	runs := make([]<-chan error, len(units))
	for i, u := range units {
		runs[i] = a.queue.add(u, a.lane(u))
	}
	return waitAll(ctx, runs)
}

// takeBack undoes what was recorded for steps that failed with cause, and returns cause.
func (a *Agent) takeBack(ctx context.Context, before *volume.State, touched []volume.Unit, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err() // still wanted; the loop goes on
	}
	var changes []volume.Change
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		changes = volume.Undo(before, s, touched)
		return volume.Outcome{Next: s.With(changes...), Changes: changes}, nil
	})
	if err == nil {
		err = a.await(v)
	}
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return cause // there was only something to remove, and the loop goes on with that
	}
	if err := a.converge(ctx, touched); err != nil {
		a.log.Warn("operation not taken back yet", "err", err)
	}
	return cause
}

func (a *Agent) logOperations(ops []volume.Operation, touched []volume.Unit) {
	for _, op := range ops {
		a.log.Info("operation recorded", "op", op.Name())
	}
	for _, u := range touched {
		a.log.Debug("unit touched", "unit", u)
	}
}
