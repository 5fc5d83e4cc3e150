package volume

import (
	"fmt"
	"time"

	"tenon/agent/resource"
)

// Operation is something that may be asked of the agent: Reserve, Unreserve, Create,
// Destroy, Claim, Attach, Detach or Release.
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
}

// Outcome is what a batch of operations comes to.
type Outcome struct {
	Next    *State
	Changes []Change
	Touched []Unit // what has to be reconciled, without duplicates
}

// Apply validates a batch of operations in order, each against the result of those
// before it, and answers with all their changes, or with the first refusal and none
// of them. The refusal is an *Error.
func Apply(s *State, env Env, ops ...Operation) (Outcome, error) {
	d := &draft{State: s, env: env, seen: map[Unit]bool{}}
	for _, op := range ops {
		if err := op.apply(d); err != nil {
			return Outcome{}, err
		}
	}
	return Outcome{Next: d.State, Changes: d.changes, Touched: d.touched}, nil
}

// draft is a State that operations are changing.
type draft struct {
	*State
	env     Env
	changes []Change
	touched []Unit
	seen    map[Unit]bool
}

func (d *draft) put(changes ...Change) {
	d.State = d.With(changes...)
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
