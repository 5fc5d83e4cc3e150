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
)

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
		mustHold(t, w, newGroup)
	})
}
