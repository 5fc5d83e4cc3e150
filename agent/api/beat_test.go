package api

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenon/agent/volume"
)

// stepping is an agent whose version is set by the test.
type stepping struct {
	fakeAgent

	mu      sync.Mutex
	version uint64        // guarded by mu
	changed chan struct{} // closed at the next version; guarded by mu
}

func newStepping() *stepping { return &stepping{version: 1, changed: make(chan struct{})} }

// step goes on to the next version.
func (a *stepping) step() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *stepping) look() (*volume.State, chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return atVersion(a.version), a.changed
}

func (a *stepping) State() *volume.State {
	s, _ := a.look()
	return s
}

func (a *stepping) Watch(ctx context.Context, after uint64) (*volume.State, error) {
	for {
		s, changed := a.look()
		if s.Version > after {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func TestWhoWaitsIsToldOnceABeatHoweverFastVersionsCome(t *testing.T) {
	t.Parallel()
	for waiting, want := range map[int]time.Duration{0: pulseInterval, 100: pulseInterval, 1000: 1001 * perAnswer} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			a := newStepping()
			p := newPulse(ctx, a, time.Now())
			go p.wait(ctx, 1) // begins to follow
			synctest.Wait()
			p.enter(waiting)
			start := time.Now()
			told := make(chan time.Duration)
			go func() {
				p.wait(ctx, 1)
				told <- time.Since(start)
				p.wait(ctx, 2) // asked with the version that was told: 2, or 3 that came since
				told <- time.Since(start)
			}()
			synctest.Wait()
			p.enter(-1) // the first one counts among them
			a.step()
			if took := <-told; took != 0 {
				t.Errorf("%d wait: the first change is told after %v, want at once", waiting, took)
			}
			a.step()
			synctest.Wait()
			a.step()
			if took := <-told; took != want {
				t.Errorf("%d wait: the next ones are told after %v, want %v", waiting, took, want)
			}
			p.enter(1)
			stop()
			p.work.Wait()
		})
	}
}

func TestWhoAsksForAnOldVersionIsToldAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		a := newStepping()
		p := newPulse(ctx, a, time.Now())
		a.step()
		start := time.Now()
		p.wait(ctx, 1)
		a.step()
		p.wait(ctx, 2) // nothing was told before: a beat
		p.wait(ctx, 2)
		p.wait(ctx, 0)
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		stop()
		p.work.Wait()
	})
}
