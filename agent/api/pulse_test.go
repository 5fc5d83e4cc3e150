package api

import (
	"context"
	"sync"
	"testing"
	"time"

	"tenon/agent/volume"
)

// jumping is an agent whose version goes from 1 to 2 as soon as somebody has asked for it so
// many times.
type jumping struct {
	fakeAgent
	after int

	mu    sync.Mutex
	asked int // guarded by mu
	next  chan struct{}
}

func (a *jumping) State() *volume.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked++; a.asked == a.after {
		defer close(a.next)
	}
	if a.asked > a.after {
		return atVersion(2)
	}
	return atVersion(1)
}

func (a *jumping) Watch(ctx context.Context, after uint64) (*volume.State, error) {
	for after < 2 {
		select {
		case <-a.next:
			return atVersion(2), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func atVersion(n uint64) *volume.State {
	s := *volume.Empty()
	s.Version = n
	return &s
}

func TestTheFirstWhoWaitsIsWokenWhateverChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for after := range 2 {
		end, stop := context.WithCancel(t.Context())
		a := &jumping{after: after + 1, next: make(chan struct{})}
		p := newPulse(end, a, time.Now())
		wait, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		p.wait(wait, 1)
		if wait.Err() != nil {
			t.Errorf("the version changed after it was asked for %d times, and nobody was told", after+1)
		}
		cancel()
		stop()
		p.work.Wait()
	}
}
