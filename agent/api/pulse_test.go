package api

import (
	"context"
	"sync"
	"testing"
	"time"

	"tenon/agent/volume"
)

// jumping is an agent whose version goes from 1 to 2 as soon as somebody has asked for it.
type jumping struct {
	fakeAgent

	mu    sync.Mutex
	asked bool          // guarded by mu
	next  chan struct{} // closed then
}

func (a *jumping) State() *volume.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked {
		return atVersion(2)
	}
	a.asked = true
	close(a.next)
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
	end, stop := context.WithCancel(t.Context())
	p := newPulse(end, &jumping{next: make(chan struct{})}, time.Now())
	wait, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p.wait(wait, 1)
	if wait.Err() != nil {
		t.Error("the version changed after it was looked at first, and nobody was told")
	}
	stop()
	p.work.Wait()
}
