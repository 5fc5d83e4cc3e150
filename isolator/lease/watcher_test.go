package lease

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

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
	mustHold(t, w, nil)
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
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup)
		q.end()
		mustLose(t, w, "a")
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup)
		mustHaveNothing(t, w)
	})
}

func TestAnEndThatWaitsToBeToldIsNotToldOnceRemoved(t *testing.T) {
	t.Parallel()
	w := mustWatch(t)
	p := mustStart(t)
	ended := p.lease(t)
	p.end()
	for _, key := range []string{"first", "removed", "replaced", "replaced and ended"} {
		mustAdd(t, w, key, ended)
	}
	w.Remove("removed")
	mustAdd(t, w, "replaced", Lease{})
	mustAdd(t, w, "replaced and ended", ended)
	mustLose(t, w, "first") // was perhaps on its way already, which held up the others
	mustLose(t, w, "replaced and ended")
	mustHold(t, w, nil)
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
		mustHold(t, w, newGroup)
		if err := w.Add("task", Lease{PID: -1}); err == nil {
			t.Error("a lease of process -1 was added")
		}
		member.end()
		mustLose(t, w, "task")
		mustAdd(t, w, "task", Lease{})
		mustHold(t, w, newGroup)
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
		mustHold(t, w, newGroup) // by now it has looked
		second.end()
		mustLose(t, w, "task")
		mustHaveNothing(t, w)
	})
}

func TestALeaseIsHeldWhileTheKernelCannotSay(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		w := mustWatch(t)
		link := t.TempDir() + "/task"
		g := newGroup("task")
		if err := os.Symlink(string(g), link); err != nil {
			t.Fatal(err)
		}
		p, member := mustStart(t), mustStart(t)
		g.mustJoin(t, member)
		l := p.lease(t)
		l.Cgroup = link
		mustAdd(t, w, "task", l)
		// As if the hierarchy had been unmounted.
		if err := errors.Join(os.Remove(link), os.Mkdir(link, 0o700)); err != nil {
			t.Fatal(err)
		}
		member.end()
		p.end()
		mustHold(t, w, newGroup)
		if err := errors.Join(os.Remove(link), os.Symlink(string(g), link)); err != nil {
			t.Fatal(err)
		}
		mustLose(t, w, "task")
		mustHaveNothing(t, w)
	})
}
