package agent_test

import (
	"errors"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

var (
	seedFlag  = flag.Uint64("crash.seed", 0, "replay the one history of this seed")
	firstFlag = flag.Uint64("crash.first", 1, "the seed of the first history")
	histories = flag.Int("crash.histories", usualHistories, "how many random histories to try")
)

// replays is how often a history is tried before it is taken for one that does not fail: its
// events are always the same, but what runs at the same time is not.
const replays = 40

// tally counts what came of histories.
type tally struct {
	crashes, failures, cancellations, done, refused, taken, asked, snapshots atomic.Int64
}

func (y *tally) String() string {
	return fmt.Sprintf("%d crashes, %d failed steps, %d calls given up, %d operations done, %d refused, %d failed, %d asked for again, %d snapshots",
		y.crashes.Load(), y.failures.Load(), y.cancellations.Load(), y.done.Load(), y.refused.Load(), y.taken.Load(), y.asked.Load(), y.snapshots.Load())
}

// history runs events on a host of its own, in a time of its own, and says which law they break.
func history(t *testing.T, seed uint64, events []event, y *tally) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, y)
		defer func() {
			w.end()
			if r := recover(); r != nil {
				broken, ok := r.(violation)
				if !ok {
					panic(r)
				}
				err = broken
			}
		}()
		w.start(nil)
		for i, e := range events {
			w.now = fmt.Sprintf("event %d, %s", i, e)
			w.happen(e)
		}
	})
	return err
}

// fails says how a history fails, if it does.
func fails(t *testing.T, seed uint64, events []event) error {
	t.Helper()
	for range replays {
		if err := history(t, seed, events, &tally{}); err != nil {
			return err
		}
	}
	return nil
}

// shorten makes a history that fails shorter: its shortest beginning that fails, without the
// events that it fails without.
func shorten(t *testing.T, seed uint64, events []event, err error) ([]event, error) {
	t.Helper()
	for n := 1; n < len(events); n++ {
		if shorter := fails(t, seed, events[:n]); shorter != nil {
			events, err = events[:n], shorter
			break
		}
	}
	for i := len(events) - 2; i >= 0; i-- {
		without := slices.Delete(slices.Clone(events), i, i+1)
		if shorter := fails(t, seed, without); shorter != nil {
			events, err = without, shorter
		}
	}
	return events, err
}

// report fails the test with a history and how it is seen again.
func report(t *testing.T, seed uint64, tried int64, err error) {
	t.Helper()
	events, err := shorten(t, seed, draw(seed), err)
	var list strings.Builder
	for i, e := range events {
		fmt.Fprintf(&list, "\n%3d %s", i, e)
	}
	t.Errorf("history %d fails: %v\nsee it again with: go test ./agent -run Crashes -crash.seed=%d\nthe shortest history that fails so:%s", tried, err, seed, list.String())
}

// Each history is a bubble of its own, in which no time passes but when everything waits: what
// is tried again after a minute costs nothing.
func TestNothingIsLostOrLeaksWhereverTheAgentCrashes(t *testing.T) {
	t.Parallel()
	if *seedFlag != 0 {
		if err := fails(t, *seedFlag, draw(*seedFlag)); err != nil {
			report(t, *seedFlag, 1, err)
		}
		return
	}
	gc := debug.SetGCPercent(800) // the histories are small and leave much behind
	var y tally
	var tried atomic.Int64
	var once sync.Once
	t.Cleanup(func() {
		debug.SetGCPercent(gc)
		t.Logf("%d histories: %s", min(tried.Load(), int64(*histories)), &y)
		for what, n := range map[string]*atomic.Int64{"crashes": &y.crashes, "failures": &y.failures, "cancellations": &y.cancellations, "operations": &y.done, "snapshots": &y.snapshots} {
			if int(n.Load()) < *histories/4 && !t.Failed() {
				t.Errorf("only %d %s in %d histories: the histories do not try what they are for", n.Load(), what, *histories)
			}
		}
	})
	for i := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint("side by side ", i), func(t *testing.T) {
			t.Parallel()
			for n := tried.Add(1); n <= int64(*histories) && !t.Failed(); n = tried.Add(1) {
				seed := *firstFlag + uint64(n) - 1
				if err := history(t, seed, draw(seed), &y); err != nil {
					tried.Add(int64(*histories))
					once.Do(func() { report(t, seed, n, err) })
				}
			}
		})
	}
}

func ops(list ...volume.Operation) []volume.Operation { return list }

// launch runs a task with a volume of role web.
func launch(task, id string, mb int, shared bool) volume.Launch {
	r := create("web", id, mb, shared).Volume
	r.Reservations = reserve("web", mb).Resources[0].Reservations
	return volume.Launch{Task: task, Resources: []resource.Resource{r}}
}

// as gives an operation an id.
func as(id string, op volume.Operation) volume.Identified {
	return volume.Identified{ID: id, Type: strings.ToUpper(op.Name()), Digest: id, Operations: ops(op)}
}

// reserved is all that role web has.
func reserved(s *volume.State) (n resource.Scalar) {
	for a := range s.Accounts() {
		if len(a.Reservations) > 0 {
			n += a.Free
		}
	}
	for v := range s.Volumes(volume.Name{}) {
		n += v.Size
	}
	return n
}

// refusal says whether an answer is one that leaves everything as it was.
func refusal(err error) bool {
	var e *volume.Error
	return errors.As(err, &e) && !errors.Is(err, volume.ErrFailed) && !errors.Is(err, volume.ErrJournal)
}
