package host

import (
	"context"
	"fmt"
	"time"

	"tenon/agent/volume"
)

// ask has a disk tell something to a caller who is no unit of the loop and has no lane to wait
// in. A disk that has left a question unanswered for longer than patience is asked nothing more
// until it has answered that: so neither the caller nor a thread of the process waits for ever,
// but those who asked within that time. Either way the error is volume.ErrUnavailable; what f
// finds afterwards is dropped.
func ask[T any](ctx context.Context, d *disk, f func() (T, error)) (got T, err error) {
	if d.silent() {
		return got, d.silence()
	}
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	late := time.AfterFunc(patience, func() { d.count(1) })
	go func() {
		v, err := f()
		if !late.Stop() {
			d.count(-1)
		}
		answered <- answer{v, err}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, d.silence())
	defer cancel()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		return got, context.Cause(ctx)
	}
}

// askOf is ask about a volume, by a function that refuses one that is not there.
func askOf[T any](ctx context.Context, h *Host, s *volume.State, id volume.UUID, f func() (T, error)) (T, error) {
	if v, ok := s.Volume(id); ok && h.disks[v.Disk] != nil {
		return ask(ctx, h.disks[v.Disk], f)
	}
	return f()
}

// silent says whether the disk has left a question unanswered.
func (d *disk) silent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unanswered > 0
}

// mute says whether somebody opens the pool of the disk, and has had no answer yet.
func (d *disk) mute() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looking && d.opened.pool == nil
}

// count adds to the questions that are unanswered.
func (d *disk) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unanswered += n
}

// silence is the error of a disk that does not answer.
func (d *disk) silence() error {
	return &volume.Error{Kind: volume.ErrUnavailable, Message: fmt.Sprintf("disk %s does not answer", d.dir)}
}
