package lease

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// fakeClock is a clock that tests turn.
type fakeClock struct {
	mu   sync.Mutex
	time time.Duration // guarded by mu
	at   time.Duration // guarded by mu
}

func (c *fakeClock) now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *fakeClock) wake(at time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

func (c *fakeClock) close() error { return nil }

// turn sets the clock, and says whether the Watcher is to be woken by then.
func (c *fakeClock) turn(to time.Duration) (wakes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = to
	return c.at != 0 && c.at <= to
}

// mustWatchBy is mustWatch by a fake clock. pass sets it and does what the timer does.
func mustWatchBy(t *testing.T) (w *Watcher, pass func(to time.Duration)) {
	t.Helper()
	w = mustWatch(t)
	c := &fakeClock{time: time.Hour}
	w.mu.Lock()
	real := w.clock
	w.clock = c
	w.mu.Unlock()
	t.Cleanup(func() {
		if err := real.close(); err != nil {
			t.Error(err)
		}
	})
	return w, func(to time.Duration) {
		if c.turn(to) {
			w.expire()
		}
	}
}

func until(at time.Duration) Lease { return Lease{Until: at} }

func TestALeaseExpiresWhenItsTimeHasPassed(t *testing.T) {
	t.Parallel()
	w, pass := mustWatchBy(t)
	mustAdd(t, w, "later", until(3*time.Hour))
	mustAdd(t, w, "sooner", until(2*time.Hour))
	mustAdd(t, w, "never", Lease{})
	mustAdd(t, w, "passed", until(time.Minute))
	mustLose(t, w, "passed")
	pass(2*time.Hour - 1)
	mustHold(t, w, nil)
	pass(2 * time.Hour)
	mustLose(t, w, "sooner")
	mustHold(t, w, nil)
	pass(4 * time.Hour)
	mustLose(t, w, "later")
	mustHold(t, w, nil)
}

func TestARenewedLeaseExpiresAtItsNewTime(t *testing.T) {
	t.Parallel()
	w, pass := mustWatchBy(t)
	mustAdd(t, w, "renewed", until(2*time.Hour))
	mustAdd(t, w, "cut short", until(9*time.Hour))
	mustAdd(t, w, "removed", until(2*time.Hour))
	mustAdd(t, w, "renewed", until(5*time.Hour))
	mustAdd(t, w, "cut short", until(3*time.Hour))
	w.Remove("removed")
	pass(4 * time.Hour)
	mustLose(t, w, "cut short")
	mustHold(t, w, nil)
	pass(5 * time.Hour)
	mustLose(t, w, "renewed")
	mustHold(t, w, nil)
}

func TestTimeAndProcessHoldEachWithoutTheOther(t *testing.T) {
	t.Parallel()
	w, pass := mustWatchBy(t)
	p, q := mustStart(t), mustStart(t)
	l, m := p.lease(t), q.lease(t)
	l.Until, m.Until = 2*time.Hour, 2*time.Hour
	mustAdd(t, w, "time first", l)
	mustAdd(t, w, "process first", m)
	q.end()
	mustHold(t, w, nil)
	pass(3 * time.Hour)
	mustLose(t, w, "process first")
	mustHold(t, w, nil)
	p.end()
	mustLose(t, w, "time first")
}

func TestTimeAndGroupHoldEachWithoutTheOther(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w, pass := mustWatchBy(t)
		g, h := newGroup("long"), newGroup("short")
		p := mustStart(t)
		long, short := g.lease(), h.lease()
		long.Until, short.Until = 2*time.Hour, 2*time.Hour
		mustAdd(t, w, "group last", long) // whose group is still empty
		mustAdd(t, w, "time last", short)
		mustHold(t, w, nil)
		g.mustJoin(t, p)
		pass(3 * time.Hour)
		mustLose(t, w, "time last")
		mustHold(t, w, nil)
		p.end()
		mustLose(t, w, "group last")
	})
}

func TestLeasesExpireInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w, pass := mustWatchBy(t)
	const n = 200
	ends := map[string]time.Duration{}
	for i := range 3 * n { // most are replaced, some removed
		key := fmt.Sprint(i % n)
		ends[key] = time.Hour + time.Duration(1+rng.IntN(100))*time.Minute
		mustAdd(t, w, key, until(ends[key]))
		if rng.IntN(10) == 0 {
			w.Remove(key)
			delete(ends, key)
		}
	}
	for minute := range 101 {
		now := time.Hour + time.Duration(minute)*time.Minute
		pass(now)
		for range countUntil(ends, now) {
			key := <-w.Lost()
			if at, there := ends[key]; !there || at > now {
				t.Fatalf("%s, which ends at %s, was lost at %s", key, at, now)
			}
			delete(ends, key)
		}
	}
	if len(ends) > 0 {
		t.Errorf("left are %v", ends)
	}
	mustHold(t, w, nil)
}

func countUntil(ends map[string]time.Duration, now time.Duration) (n int) {
	for _, at := range ends {
		if at <= now {
			n++
		}
	}
	return n
}

func TestTheKernelsClockEndsLeases(t *testing.T) {
	t.Parallel()
	w := mustWatch(t)
	now := Now()
	for i := range 3 { // one after the other, by the one timer
		l := until(now + time.Duration(i+1)*time.Millisecond)
		mustAdd(t, w, "short", l)
		mustLose(t, w, "short")
		if held, err := l.Held(); held || err != nil {
			t.Errorf("a lease that was lost is held: %v, %v", held, err)
		}
	}
	l := until(now + time.Hour)
	if held, err := l.Held(); !held || err != nil {
		t.Errorf("a lease of an hour is held: %v, %v", held, err)
	}
	if err := w.Add("nonsense", until(-1)); err == nil {
		t.Error("a time before the boot is taken")
	}
}
