package cgroup

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func mustNotifier(t testing.TB) *Notifier {
	t.Helper()
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func mustAdd(t testing.TB, n *Notifier, g *Group) {
	t.Helper()
	if err := n.Add(g.Path()); err != nil {
		t.Fatal(err)
	}
}

// mustTell waits until the notifier has told of the group.
func mustTell(t *testing.T, n *Notifier, g *Group) {
	t.Helper()
	if deadline, ok := t.Deadline(); ok { // a test that hangs still cleans up
		_ = n.SetDeadline(deadline.Add(-10 * time.Second))
	}
	for {
		paths, err := n.Wait()
		if err != nil {
			t.Fatalf("nothing was told of %s: %v", g.Path(), err)
		}
		if slices.Contains(paths, g.Path()) {
			return
		}
	}
}

func TestANotifierTellsWhenAGroupEmpties(t *testing.T) {
	onV2(t, func(t *testing.T, m *Manager) {
		n := mustNotifier(t)
		g, other := mustCreate(t, m, "task"), mustCreate(t, m, "other")
		p := mustStart(t, "")
		mustJoin(t, g, p.pid())
		mustAdd(t, n, g)
		mustAdd(t, n, g)
		mustAdd(t, n, other)
		p.end()
		for populated := true; populated; {
			mustTell(t, n, g)
			var err error
			if populated, err = g.Populated(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestARemovalIsToldThatTheKernelsRateLimitHides(t *testing.T) {
	onV2(t, func(t *testing.T, m *Manager) {
		n := mustNotifier(t)
		for i := range 20 {
			g := mustCreate(t, m, strconv.Itoa(i))
			p := mustStart(t, "")
			mustAdd(t, n, g)
			mustJoin(t, g, p.pid())
			p.end()
			if err := g.Delete(); err != nil {
				t.Fatal(err)
			}
			for watched := true; watched; { // until the removal itself is told
				mustTell(t, n, g)
				n.mu.Lock()
				_, watched = n.groups[g.Path()]
				n.mu.Unlock()
			}
		}
		mustHaveNoWatches(t, n)
	})
}

// mustHaveNoWatches fails if the notifier, or the kernel for it, still watches anything.
func mustHaveNoWatches(t testing.TB, n *Notifier) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.groups)+len(n.events)+len(n.parents) != 0 {
		t.Errorf("left are groups %v, events %v, parents %v", n.groups, n.events, n.parents)
	}
	var info []byte
	err := n.control(func(fd int) { info, _ = os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd)) })
	if err != nil {
		t.Fatal(err)
	}
	if got := inotifyLines(string(info)); got != 0 {
		t.Errorf("the kernel still has %d watches:\n%s", got, info)
	}
}

func TestRemoveGivesAllWatchesBack(t *testing.T) {
	onV2(t, func(t *testing.T, m *Manager) {
		n := mustNotifier(t)
		a, b := mustCreate(t, m, "a"), mustCreate(t, m, "b")
		inner := mustNest(t, a, "inner")
		for _, g := range []*Group{a, b, inner} {
			mustAdd(t, n, g)
		}
		n.Remove(a.Path())
		n.Remove(a.Path())
		if err := inner.Delete(); err != nil {
			t.Fatal(err)
		}
		mustTell(t, n, inner)
		if err := b.Delete(); err != nil {
			t.Fatal(err)
		}
		mustTell(t, n, b)
		mustHaveNoWatches(t, n)
	})
}

func TestAGroupThatIsSeenAtTwoPlacesIsToldForBoth(t *testing.T) {
	onV2(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		alias := t.TempDir() + "/alias"
		if err := os.Symlink(m.hierarchy.mount+m.parent, alias); err != nil {
			t.Fatal(err)
		}
		other := &Group{hierarchy: hierarchy{mount: alias}, group: "/task-task"}
		n := mustNotifier(t)
		mustAdd(t, n, g)
		mustAdd(t, n, other)
		if err := g.Delete(); err != nil {
			t.Fatal(err)
		}
		paths, err := n.Wait()
		if err != nil {
			t.Fatal(err)
		}
		want := []string{g.Path(), other.Path()}
		slices.Sort(want)
		slices.Sort(paths)
		if diff := cmp.Diff(want, paths); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		mustHaveNoWatches(t, n)
	})
}

func TestAfterAnOverflowEveryGroupIsTold(t *testing.T) {
	onV2(t, func(t *testing.T, m *Manager) {
		n := mustNotifier(t)
		a, b := mustCreate(t, m, "a"), mustCreate(t, m, "b")
		mustAdd(t, n, a)
		mustAdd(t, n, b)
		got := n.take(inotifyEvent(-1, unix.IN_Q_OVERFLOW))
		want := []string{a.Path(), b.Path()}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		mustHaveNoWatches(t, n)
		mustAdd(t, n, a)
		if err := a.Delete(); err != nil {
			t.Fatal(err)
		}
		mustTell(t, n, a)
	})
}

func TestAWatchThatTheKernelDropsIsTold(t *testing.T) {
	onV2(t, func(t *testing.T, m *Manager) {
		n := mustNotifier(t)
		g := mustCreate(t, m, "task")
		mustAdd(t, n, g)
		got := n.take(inotifyEvent(n.groups[g.Path()].events, unix.IN_IGNORED))
		if diff := cmp.Diff([]string{g.Path()}, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		mustHaveNoWatches(t, n)
	})
}

func inotifyEvent(watch int, mask uint32) []byte {
	event := binary.NativeEndian.AppendUint32(nil, uint32(int32(watch)))
	event = binary.NativeEndian.AppendUint32(event, mask)
	return append(event, make([]byte, 8)...)
}

func TestGroupsThatCannotTellAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		n := mustNotifier(t)
		g := mustCreate(t, m, "task")
		if err := n.Add(g.Path()); m.hierarchy.v2() == errors.Is(err, ErrUnsupported) {
			t.Errorf("adding a group gave %v", err)
		}
		n.Remove(g.Path())
		for _, missing := range []string{g.Path() + "-missing", g.Path() + "/a/b"} {
			if err := n.Add(missing); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnsupported) {
				t.Errorf("adding %s gave %v, want fs.ErrNotExist alone", missing, err)
			}
		}
		mustHaveNoWatches(t, n)
	})
}

func TestWaitEndsWithTheDeadlineAndWithClose(t *testing.T) {
	t.Parallel()
	n := mustNotifier(t)
	ended := make(chan error)
	wait := func() { _, err := n.Wait(); ended <- err }
	go wait()
	if err := n.SetDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error is %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := n.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go wait()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("error is %v, want %v", err, os.ErrClosed)
	}
	if err := n.Add("/sys/fs/cgroup/task-x"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("add after close gave %v, want %v", err, os.ErrClosed)
	}
}
