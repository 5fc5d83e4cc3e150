package host

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenon/agent/volume"
	"tenon/isolator/quota"
	"tenon/mount/mounttest"
)

func TestADiskThatDoesNotAnswerIsAskedNothingMoreUntilItDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, answer := &disk{dir: "/far"}, make(chan struct{})
		began := time.Now()
		hangs := func() (int, error) { <-answer; return 1, nil }
		if _, err := ask(t.Context(), d, hangs); !errors.Is(err, volume.ErrUnavailable) || time.Since(began) != patience {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		synctest.Wait()
		asked := false
		if _, err := ask(t.Context(), d, func() (int, error) { asked = true; return 1, nil }); !errors.Is(err, volume.ErrUnavailable) || asked {
			t.Errorf("asked again, %v: %v", asked, err)
		}
		close(answer)
		synctest.Wait()
		if n, err := ask(t.Context(), d, hangs); n != 1 || err != nil {
			t.Errorf("a disk that answers again: %d, %v", n, err)
		}
	})
}

func TestWhoGivesUpAskingADiskIsTheOnlyOneWhoDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, answer := &disk{dir: "/far"}, make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ask(ctx, d, func() (int, error) { <-answer; return 1, nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up: %v", err)
		}
		if n, err := ask(t.Context(), d, func() (int, error) { return 2, nil }); n != 2 || err != nil {
			t.Errorf("somebody else: %d, %v", n, err)
		}
		time.Sleep(patience)
		if _, err := ask(t.Context(), d, func() (int, error) { return 2, nil }); !errors.Is(err, volume.ErrUnavailable) {
			t.Errorf("after the disk's time: %v", err)
		}
		close(answer)
	})
}

func TestProjectsThatAreFoundSideBySideDiffer(t *testing.T) {
	t.Parallel()
	l, r := &limits{}, quota.Range{First: 1, Last: 64}
	l.status.Store(&quota.Status{})
	var found sync.Map
	var all sync.WaitGroup
	for range r.Len() {
		all.Go(func() {
			id, err := l.free(r, func(uint32) bool { runtime.Gosched(); return false })
			if _, twice := found.LoadOrStore(id, true); twice || id == 0 || err != nil {
				t.Errorf("project %d, %v, twice %v", id, err, twice)
			}
		})
	}
	all.Wait()
}

// What is open of a file system that was shut down fails for ever, whatever comes in its place.
func TestAPoolThatDoesNotWorkAnyMoreIsOpenedAgain(t *testing.T) {
	mounttest.RequireMounts(t)
	dir := t.TempDir()
	d := diskAt(t, dir)
	d.log = slog.New(slog.DiscardHandler)
	mountAt(t, dir, right)
	wantSeen(t, d, volume.SeenDisk{Pool: right})
	broken := d.now()
	if err := broken.pool.Close(); err != nil { // all that is asked of it is an error from now on
		t.Fatal(err)
	}
	wantSeen(t, d, volume.SeenDisk{Pool: right})
	if d.now().pool == broken.pool {
		t.Error("what does not work is still used")
	}
	if err := broken.source.Close(); err != nil {
		t.Error(err)
	}
}
