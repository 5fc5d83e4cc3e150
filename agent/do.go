package agent

import (
	"context"
	"os"
	"slices"
	"strings"

	"tenon/agent/volume"
)

// Request is a batch of operations, with who asks and how.
type Request struct {
	Operations []volume.Operation
	// Allow, if set, is asked about every operation with the state that it meets; its error
	// refuses the batch. It is called under the lock of the writer and must not wait.
	Allow func(*volume.State, volume.Operation) error
	// DryRun has all that could refuse the batch looked at, by the same checks, and changes nothing.
	DryRun bool
}

// Do applies a batch of operations for the agent itself: Ask without anything else.
func (a *Agent) Do(ctx context.Context, ops ...volume.Operation) (*volume.State, error) {
	return a.Ask(ctx, Request{Operations: ops})
}

// Ask applies a batch of operations: all of them, in order, or none. It returns when
// what they touch has converged, which includes that everything durable survives a
// power cut. The state that it returns contains the result; of a dry run, the result that
// the batch would have at once.
//
// A refusal is an *volume.Error and changes nothing. When a step fails, what the batch
// was to make is taken back, and what it was to remove stays recorded and is tried
// again; either way the error says why. When the context ends first, the batch is
// recorded and goes on: asking again for a use, or for the end of something, waits for it,
// and a volume that was made meanwhile exists.
func (a *Agent) Ask(ctx context.Context, r Request) (*volume.State, error) {
	if r.DryRun {
		return a.try(ctx, r)
	}
	start := a.now()
	_, err := a.do(ctx, r)
	for _, op := range r.Operations {
		a.meter.Operation(op.Name(), err, a.now().Sub(start))
	}
	if err != nil {
		return nil, err
	}
	return a.State(), nil
}

// try applies a batch to the newest version and throws the result away.
func (a *Agent) try(ctx context.Context, r Request) (*volume.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	prepared, err := a.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	s, _, err := a.rehearse(r, prepared)
	return s, err
}

// rehearse gives the version that a batch would make now, and the number of the one that it
// would meet. It makes the checks that do makes: what it says, too, speaks of what will survive.
func (a *Agent) rehearse(r Request, ops []volume.Operation) (would *volume.State, meets uint64, err error) {
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		meets = s.Version
		out, err := a.decide(s, r, ops)
		would = out.Next
		return volume.Outcome{}, err
	})
	if err := a.told(v, err); err != nil {
		return nil, 0, err
	}
	return would, meets, nil
}

// decide applies a batch to a version.
//
// Preconditions: a.mu is held.
func (a *Agent) decide(s *volume.State, r Request, ops []volume.Operation) (volume.Outcome, error) {
	if a.stopping {
		return volume.Outcome{}, &volume.Error{Kind: volume.ErrStopped, Message: "the agent is stopping; nothing was changed"}
	}
	env := a.env()
	env.Allow = r.Allow
	return volume.Apply(s, env, ops...)
}

// batch is one that was recorded: what it was, the version that it was applied to, and what
// it touched.
type batch struct {
	operations []volume.Operation
	before     *volume.State
	touched    []volume.Unit
}

// do records a batch and waits until it has converged.
func (a *Agent) do(ctx context.Context, r Request) (b batch, err error) {
	if err := ctx.Err(); err != nil {
		return b, err
	}
	if b.operations, err = a.prepare(ctx, r); err != nil {
		return b, err
	}
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		out, err := a.decide(s, r, b.operations)
		b.before, b.touched = s, out.Touched
		return out, err
	})
	if err := a.told(v, err); err != nil {
		return b, err
	}
	a.logOperations(b)
	a.crash("synced")
	if err := a.converge(ctx, b.touched); err != nil {
		return b, a.takeBack(ctx, b, err)
	}
	return b, nil
}

// told is what may be told of a batch that met the version v, where err refused it: a refusal,
// too, speaks of what will survive. Where that can't be said, the journal's failure is told.
func (a *Agent) told(v version, err error) error {
	if failed := a.await(v); failed != nil {
		return failed
	}
	return err
}

// Hand gives the task a mount of a volume as a descriptor, after turning its claim into
// an attachment. allow is Request.Allow. The caller closes it. Asking again gives another one.
func (a *Agent) Hand(ctx context.Context, op volume.Attach, allow func(*volume.State, volume.Operation) error) (*os.File, error) {
	op.Via = volume.ByDescriptor
	b, err := a.do(ctx, Request{Operations: []volume.Operation{op}, Allow: allow})
	if err != nil {
		return nil, err
	}
	s := a.State()
	for _, u := range b.touched {
		if at, ok := s.Attachment(u); ok && u.Kind == volume.AttachmentUnit && !at.Gone {
			f, err := a.kernel.Hand(ctx, s, at)
			if err != nil {
				err = a.takeBack(ctx, b, err)
			}
			return f, err
		}
	}
	return nil, &volume.Error{Kind: volume.ErrPending, Message: "task " + op.Task + " was released meanwhile"}
}

// converge waits until the units were reconciled once more: volumes and sandboxes before
// what is mounted in them, mounts before the volumes and sandboxes that end.
func (a *Agent) converge(ctx context.Context, units []volume.Unit) error {
	s := a.State()
	var stages [3][]volume.Unit
	for _, u := range units {
		stages[stageOf(s, u)] = append(stages[stageOf(s, u)], u)
	}
	for i, stage := range stages {
		if err := a.runAll(ctx, stage); err != nil {
			if ctx.Err() != nil { // nobody waits any more, and all of it goes on
				a.enqueueAll(slices.Concat(stages[i+1:]...))
			}
			return err
		}
	}
	return nil
}

func (a *Agent) enqueueAll(units []volume.Unit) {
	for _, u := range units {
		a.enqueue(u)
	}
}

func stageOf(s *volume.State, u volume.Unit) int {
	t, task := s.Task(u.Task)
	v, known := s.Volume(u.Volume)
	switch {
	case u.Kind == volume.AttachmentUnit:
		return 1
	case task && t.Releasing, known && v.Phase == volume.Destroying:
		return 2
	}
	return 0
}

func (a *Agent) runAll(ctx context.Context, units []volume.Unit) error {
	if len(units) == 1 {
		if l := a.lane(units[0]); l.class == laneTask {
			return a.queue.do(ctx, units[0], l)
		}
	}
	runs := make([]<-chan error, len(units))
	for i, u := range units {
		runs[i] = a.queue.add(u, a.lane(u))
	}
	return waitAll(ctx, runs)
}

// takeBack undoes what was recorded for steps that failed with cause, and returns cause.
func (a *Agent) takeBack(ctx context.Context, b batch, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err() // still wanted; the loop goes on
	}
	var changes []volume.Change
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		changes, cause = volume.Undo(b.before, s, b.operations, b.touched, cause)
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
	a.follow(volume.Unit{}, changes) // what others have put into a task since goes with it
	if err := a.converge(ctx, b.touched); err != nil {
		a.log.Warn("operation not taken back yet", "err", err)
	}
	return cause
}

// logOperations notes that a batch was recorded, in one line however many it has.
func (a *Agent) logOperations(b batch) {
	const few = 5
	var verbs []string
	for _, op := range b.operations[:min(few, len(b.operations))] {
		verb := op.Name()
		if o, is := op.(volume.Identified); is {
			verb += " " + o.ID
		}
		verbs = append(verbs, verb)
	}
	if len(b.operations) > few {
		verbs = append(verbs, "…")
	}
	a.log.Info("batch recorded", "op", strings.Join(verbs, ", "), "count", len(b.operations))
	for _, u := range b.touched {
		a.log.Debug("unit touched", "unit", u)
	}
}
