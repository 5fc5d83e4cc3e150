package agent

import (
	"context"
	"sync"
)

// turns bounds, for each disk by itself, how many are at some work at the same time: one that
// does not answer keeps the turns of its own for ever.
type turns struct {
	width int

	mu    *sync.Mutex
	disks map[string]chan struct{} // by key, holds one for each that is at work; guarded by mu
}

func newTurns(width int) turns {
	return turns{width: width, mu: &sync.Mutex{}, disks: map[string]chan struct{}{}}
}

// take waits for a turn, which lasts until done is called.
func (t turns) take(ctx context.Context, disk string) (done func(), err error) {
	t.mu.Lock()
	taken := t.disks[disk]
	if taken == nil {
		taken = make(chan struct{}, t.width)
		t.disks[disk] = taken
	}
	t.mu.Unlock()
	select {
	case taken <- struct{}{}:
		return func() { <-taken }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
