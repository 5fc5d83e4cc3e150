package volume

import (
	"fmt"
	"time"

	"tenon/agent/resource"
)

// Operation is something that may be asked of the agent: Reserve, Unreserve, Create,
// Destroy, Grow, Shrink, Resize, Launch, Claim, Attach, Detach, Release, Renew, Kill, Acknowledge, or
// several of them as one that is Identified.
type Operation interface {
	// apply validates the operation against d's state and puts its changes to d.
	// A refused operation has put nothing that matters: the draft is thrown away.
	apply(d *draft) error
	// Name is the operation's verb, for messages, logs and metrics.
	Name() string
}

// Env is what operations need to know of the world.
type Env struct {
	Now     time.Time
	NewUUID func() UUID
	// Allow, if set, is asked about every operation, with the state that it meets: after the
	// operations before it in the batch. What was done before under an id is asked about again,
	// before anything is told of it. Its error refuses the batch.
	Allow func(*State, Operation) error
}

// Outcome is what a batch of operations comes to.
type Outcome struct {
	Next    *State
	Changes []Change
	Touched []Unit // what has to be reconciled, without duplicates
}

// MaxBatch bounds a batch: its operations, those inside of Identified ones counted, and all
// that they name one by one: a resource to be reserved or unreserved, or the use that a task
// makes of a volume.
const MaxBatch = 10_000

// Apply validates a batch of operations in order, each against the result of those
// before it, and answers with all their changes, or with the first refusal and none
// of them. The refusal is an *Error. The cost is that of the operations, whatever exists.
func Apply(s *State, env Env, ops ...Operation) (Outcome, error) {
	if n := count(ops); n > MaxBatch {
		return Outcome{}, refuse(ErrInvalid, "a batch has at most %d operations, each resource that they name counted, and this one has %d; divide it",
			MaxBatch, n)
	}
	d := newDraft(s, env)
	for _, op := range ops {
		if err := d.do(op); err != nil {
			return Outcome{}, err
		}
	}
	d.putEndings()
	if err := d.record(); err != nil {
		return Outcome{}, err
	}
	for _, u := range d.recalled {
		d.touch(u)
	}
	return Outcome{Next: d.State, Changes: d.changes, Touched: d.touched}, nil
}

func count(ops []Operation) (n int) {
	for _, op := range ops {
		n++
		switch o := op.(type) {
		case Identified:
			n += count(o.Operations)
		case Reserve:
			n += max(1, len(o.Resources)+len(o.Source)) - 1
		case Unreserve:
			n += max(1, len(o.Resources)) - 1
		case Launch:
			n += len(o.Resources)
		case Claim:
			n += len(o.Uses) + len(o.IO)
		}
	}
	return n
}

// draft is a State that operations are changing. Nobody else sees it, so it changes in
// place: what is read from it must not be changed while it is walked.
type draft struct {
	writer
	env     Env
	changes []Change
	touched []Unit
	seen    map[Unit]bool
	made    map[UUID]bool // volumes of this batch
	endings endings       // what volumes that this batch destroys give back
	undoing bool          // a batch is being taken back

	before     *State     // what the batch was applied to
	identified []recorded // new operations with ids of this batch
	recalled   []Unit     // what operations that were asked for again wait for
}

func newDraft(s *State, env Env) *draft {
	return &draft{writer: s.next(), before: s, env: env, seen: map[Unit]bool{}, made: map[UUID]bool{}}
}

// do applies one operation, if it is allowed.
func (d *draft) do(op Operation) error {
	if _, group := op.(Identified); !group { // whose operations are asked about
		if err := d.allow(op); err != nil {
			return err
		}
	}
	return op.apply(d)
}

// allow asks whether an operation is allowed as the state is.
func (d *draft) allow(op Operation) error {
	if d.env.Allow == nil {
		return nil
	}
	return d.env.Allow(d.State, op)
}

func (d *draft) put(changes ...Change) {
	for _, c := range changes {
		d.change(c)
	}
	d.changes = append(d.changes, changes...)
}

func (d *draft) touch(u Unit) {
	if !d.seen[u] {
		d.seen[u] = true
		d.touched = append(d.touched, u)
	}
}

// refuse makes the Error of a refusal.
func refuse(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// invalid turns a finding of package resource into a refusal that says what it is about.
func invalid(err error, format string, args ...any) *Error {
	return &Error{Kind: ErrInvalid, Message: fmt.Sprintf(format, args...) + ": " + err.Error(), Cause: err}
}

// give adds space to an account of a disk, or takes it where n is negative.
func (d *draft) give(disk string, stack []resource.Reservation, n resource.Scalar) {
	d.put(Change{Account: &Account{Disk: disk, Reservations: stack, Free: d.Free(disk, stack) + n}})
}

// dynamic says whether the last reservation of a stack was made by RESERVE.
func dynamic(stack []resource.Reservation) bool {
	return len(stack) > 0 && stack[len(stack)-1].Type == resource.Dynamic
}

// pop is the stack that UNRESERVE leaves.
func pop(stack []resource.Reservation) []resource.Reservation { return stack[:len(stack)-1] }
