package lease

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/isolator/cgroup"
)

func TestTheEndOfAProcessIsTold(t *testing.T) {
	t.Parallel()
	w := mustWatch(t)
	a, b := mustStart(t), mustStart(t)
	mustAdd(t, w, "a", a.lease(t))
	mustAdd(t, w, "b", b.lease(t))
	b.zombify(t)
	mustLose(t, w, "b")
	a.end()
	mustLose(t, w, "a")
	mustHold(t, w)
}

func TestAnEndBeforeTheLeaseWasAddedIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p := mustStart(t)
		ended := p.lease(t)
		p.zombify(t)
		mustAdd(t, w, "zombie", ended)
		mustLose(t, w, "zombie")
		p.end()
		mustAdd(t, w, "process", ended)
		mustLose(t, w, "process")
		former := mustStart(t).lease(t)
		former.Start--
		mustAdd(t, w, "reused", former)
		mustLose(t, w, "reused")
		mustAdd(t, w, "fresh group", g.lease())
		mustLose(t, w, "fresh group")
		ended.Cgroup = string(g)
		mustAdd(t, w, "both", ended)
		mustLose(t, w, "both")
		g.mustRemove(t)
		mustAdd(t, w, "group", g.lease())
		mustLose(t, w, "group")
		mustHold(t, w)
	})
}

func TestTheEndOfAGroupIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g, inner := newGroup("task"), newGroup("task/inner")
		p, q := mustStart(t), mustStart(t)
		g.mustJoin(t, p)
		inner.mustJoin(t, q)
		mustAdd(t, w, "a", g.lease())
		p.end()
		mustHold(t, w)
		q.end()
		mustLose(t, w, "a")
		mustHold(t, w)
	})
}

func TestAProcessThatEndsLeavesTheLeaseToTheGroup(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p, member := mustStart(t), mustStart(t)
		l := p.lease(t)
		l.Cgroup = string(g)
		mustAdd(t, w, "task", l)
		g.mustJoin(t, member)
		p.end()
		mustHold(t, w)
		member.end()
		mustLose(t, w, "task")
	})
}

func TestAGroupThatEmptiesLeavesTheLeaseToTheProcess(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p, member := mustStart(t), mustStart(t)
		l := p.lease(t)
		l.Cgroup = string(g)
		g.mustJoin(t, member)
		mustAdd(t, w, "task", l)
		member.end()
		g.mustRemove(t)
		mustHold(t, w)
		p.end()
		mustLose(t, w, "task")
	})
}

func TestAGroupMadeAfterItsLeaseHoldsIt(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		parent := newGroup("parent")
		p := mustStart(t)
		l := p.lease(t)
		l.Cgroup = string(parent) + "/task"
		mustAdd(t, w, "task", l)
		g := newGroup("parent/task")
		member := mustStart(t)
		g.mustJoin(t, member)
		p.end()
		mustHold(t, w)
		member.end()
		mustLose(t, w, "task")
	})
}

func TestAGroupThatIsRemovedAtOnceIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		for i := range 20 { // the kernel tells of the first change only, see cgroup.Notifier
			key := strconv.Itoa(i)
			g := newGroup(key)
			p := mustStart(t)
			g.mustJoin(t, p)
			mustAdd(t, w, key, g.lease())
			p.end()
			g.mustRemove(t)
			mustLose(t, w, key)
		}
		mustHold(t, w)
	})
}

func TestLeasesThatShareAProcessAndAGroupAreAllTold(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p := mustStart(t)
		g.mustJoin(t, p)
		var want []string
		for i := range 300 {
			l := []Lease{g.lease(), p.lease(t), {PID: p.pid(), Start: p.lease(t).Start, Cgroup: string(g)}}[i%3]
			key := fmt.Sprintf("%03d", i)
			mustAdd(t, w, key, l)
			want = append(want, key)
		}
		p.end()
		if diff := cmp.Diff(want, mustLoseMany(t, w, len(want))); diff != "" {
			t.Errorf("lost (-want +got):\n%s", diff)
		}
		mustHold(t, w)
	})
}

// mustLoseMany waits until n leases have ended and returns their keys, sorted.
func mustLoseMany(t *testing.T, w *Watcher, n int) []string {
	t.Helper()
	ctx := testContext(t)
	var keys []string
	for len(keys) < n {
		select {
		case key := <-w.Lost():
			keys = append(keys, key)
		case <-ctx.Done():
			t.Fatalf("%d of %d leases were lost", len(keys), n)
		}
	}
	slices.Sort(keys)
	return keys
}

func TestARemovedLeaseIsNotTold(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p := mustStart(t)
		l := p.lease(t)
		g.mustJoin(t, p)
		mustAdd(t, w, "process", l)
		mustAdd(t, w, "group", g.lease())
		w.Remove("process")
		w.Remove("group")
		w.Remove("never added")
		p.end()
		mustHold(t, w)
		mustHaveNothing(t, w)
	})
}

// mustHaveNothing fails if the Watcher still has leases or what they cost.
func mustHaveNothing(t *testing.T, w *Watcher) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.leases) + len(w.tokens) + len(w.byGroup) + len(w.polled); n != 0 {
		t.Errorf("left are leases %v, tokens %v, groups %v, polled %v", w.leases, w.tokens, w.byGroup, w.polled)
	}
}

func TestALeaseAddedAgainReplacesTheFormer(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p, member := mustStart(t), mustStart(t)
		g.mustJoin(t, member)
		mustAdd(t, w, "task", p.lease(t))
		mustAdd(t, w, "task", g.lease())
		p.end()
		mustHold(t, w)
		if err := w.Add("task", Lease{PID: -1}); err == nil {
			t.Error("a lease of process -1 was added")
		}
		member.end()
		mustLose(t, w, "task")
		mustAdd(t, w, "task", Lease{})
		mustHold(t, w)
		w.Remove("task")
		mustHaveNothing(t, w)
	})
}

func TestLeasesThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	w := mustWatch(t)
	p := mustStart(t).lease(t)
	for _, l := range []Lease{
		{PID: -1}, {Cgroup: "task-x"}, {Cgroup: "/sys/fs/cgroup/a/../b"}, {Cgroup: t.TempDir()},
		{PID: p.PID, Start: p.Start, Cgroup: t.TempDir() + "/task-x"},
	} {
		if err := w.Add("task", l); err == nil {
			t.Errorf("%+v was added", l)
		}
	}
	if err := w.Add("task", Lease{Cgroup: t.TempDir()}); !errors.Is(err, cgroup.ErrUnsupported) {
		t.Errorf("error is %v, want ErrUnsupported", err)
	}
	mustHaveNothing(t, w)
}

func TestLeasesAfterTheWatcherWasKilledAreToldByTheNext(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		g := newGroup("task")
		p, member := mustStart(t), mustStart(t)
		g.mustJoin(t, member)
		l := p.lease(t)
		first := mustPlay(t, "watcher", strconv.Itoa(p.pid()))
		first.kill()
		mustBeHeld(t, l, true)
		p.end()
		w := mustWatch(t)
		mustAdd(t, w, "process", l)
		mustAdd(t, w, "group", g.lease())
		mustLose(t, w, "process")
		member.end()
		mustLose(t, w, "group")
	})
}

func TestAGroupWhoseReplacementIsPopulatedIsStillWatched(t *testing.T) {
	onV2(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p := mustStart(t)
		g.mustJoin(t, p)
		mustAdd(t, w, "task", g.lease())
		w.mu.Lock() // so that the Watcher looks only when the new group is there
		p.end()
		g.mustRemove(t)
		err := os.Mkdir(string(g), 0o755)
		second := mustStart(t)
		g.mustJoin(t, second)
		w.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		second.end()
		mustLose(t, w, "task")
		mustHaveNothing(t, w)
	})
}

func TestNoDescriptorLeftIsAnErrorThatNamesTheLimit(t *testing.T) {
	// Not parallel: the limit is the whole process's.
	p := mustStart(t)
	l := p.lease(t)
	w := mustWatch(t)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	used := openFiles(t)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(used), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	err := w.Add("task", l)
	if rerr := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); rerr != nil {
		t.Fatal(rerr)
	}
	if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "RLIMIT_NOFILE") {
		t.Errorf("error is %v, want EMFILE that names RLIMIT_NOFILE", err)
	}
	mustHaveNothing(t, w)
}

// openFiles returns a number above that of every descriptor there is, and no higher than
// needed if there are no gaps.
func openFiles(t *testing.T) int {
	t.Helper()
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return int(f.Fd())
}

func TestTenThousandLeasesNeedNoGoroutineEach(t *testing.T) {
	// Not parallel: goroutines and descriptors are counted.
	const leases = 10_000
	files := openFiles(t)
	goroutines := runtime.NumGoroutine()
	p := mustStart(t)
	l := p.lease(t)
	w, err := NewWatcher(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, w)
	for i := range leases {
		mustAdd(t, w, strconv.Itoa(i), l)
	}
	if got := runtime.NumGoroutine() - goroutines; got > 10 {
		t.Errorf("%d leases run %d goroutines", leases, got)
	}
	p.end()
	if got := slices.Compact(mustLoseMany(t, w, leases)); len(got) != leases {
		t.Errorf("%d different leases were lost, want %d", len(got), leases)
	}
	mustHaveNothing(t, w)
	mustClose(t, w)
	if got := openFiles(t) - files; got > 10 {
		t.Errorf("%d descriptors are left", got)
	}
}

func TestAThousandGroupsEndAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		const leases = 1000
		w := mustWatch(t)
		var want []string
		for i := range leases {
			key := fmt.Sprintf("%04d", i)
			g := newGroup(key)
			// One process joins them all in turn, so each is populated for an instant.
			want = append(want, string(g))
		}
		p := mustStart(t)
		for _, key := range want {
			group(key).mustJoin(t, p)
			mustAdd(t, w, key, Lease{Cgroup: key})
		}
		p.end()
		if diff := cmp.Diff(want, mustLoseMany(t, w, leases)); diff != "" {
			t.Errorf("lost (-want +got):\n%s", diff)
		}
		mustHaveNothing(t, w)
	})
}

func TestCloseEndsEverything(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p, ended := mustStart(t), mustStart(t)
		g.mustJoin(t, p)
		mustAdd(t, w, "process", p.lease(t))
		mustAdd(t, w, "group", g.lease())
		l := ended.lease(t)
		ended.end()
		mustAdd(t, w, "nobody receives this", l)
		mustClose(t, w)
		mustClose(t, w)
		for range w.Lost() {
			t.Error("an end was told after close")
		}
		mustHaveNothing(t, w)
		if err := w.Add("task", p.lease(t)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("add after close gave %v, want %v", err, os.ErrClosed)
		}
		w.Remove("process")
	})
}

func TestManyGoroutinesMayUseAWatcher(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		g := newGroup("task")
		p := mustStart(t)
		g.mustJoin(t, p)
		both := p.lease(t)
		both.Cgroup = string(g)
		var adders sync.WaitGroup
		for i := range 8 {
			adders.Go(func() {
				for j := range 50 {
					key := fmt.Sprint(i, j)
					if err := errors.Join(w.Add(key, both), w.Add(key, g.lease())); err != nil {
						t.Error(err)
					}
					if j%2 == 0 {
						w.Remove(key)
					}
				}
			})
		}
		adders.Wait()
		p.end()
		if got := slices.Compact(mustLoseMany(t, w, 8*25)); len(got) != 8*25 {
			t.Errorf("%d different leases were lost, want %d", len(got), 8*25)
		}
		mustHold(t, w)
	})
}
