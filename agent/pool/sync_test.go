package pool

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestCallersWhoComeDuringASyncShareTheNextOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s shared
		var syncs int
		gate := make(chan struct{})
		bad := errors.New("the disk is gone")
		sync1 := func() error {
			syncs++
			<-gate
			if syncs == 2 {
				return bad
			}
			return nil
		}
		var first error
		go func() { first = s.do(sync1) }()
		synctest.Wait()
		errs := make([]error, 64)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = s.do(sync1) })
		}
		synctest.Wait()
		if syncs != 1 {
			t.Fatalf("%d syncs run at the same time", syncs)
		}
		close(gate)
		wg.Wait()
		synctest.Wait()
		if syncs != 2 {
			t.Errorf("65 callers took %d syncs, want 2", syncs)
		}
		if first != nil {
			t.Errorf("the first caller got the error of the next round: %v", first)
		}
		for i, err := range errs {
			if !errors.Is(err, bad) {
				t.Errorf("caller %d: %v, want %v", i, err, bad)
			}
		}
	})
}

func TestASyncComesAfterEveryChangeThatWaitsForIt(t *testing.T) {
	t.Parallel()
	var s shared
	var changes, synced atomic.Int64 // changes made; of them, made before the last sync began
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				mine := changes.Add(1)
				if err := s.do(func() error { synced.Store(changes.Load()); return nil }); err != nil {
					t.Error(err)
				}
				if got := synced.Load(); got < mine {
					t.Errorf("change %d returned when only %d were synced", mine, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestALoneCallerSyncsAtOnceEachTime(t *testing.T) {
	t.Parallel()
	var s shared
	syncs := 0
	for range 3 {
		if err := s.do(func() error { syncs++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if syncs != 3 {
		t.Errorf("3 callers one after the other took %d syncs", syncs)
	}
}

// ext4 and XFS order more than they promise, so that no power cut shows each fsync to be there.
func TestEachCallSyncsThePlacesThatItHasChanged(t *testing.T) {
	t.Parallel()
	p, _ := newPool(t)
	must(t, p.Make(volA, web))
	for _, c := range []struct {
		name        string
		call        func() error
		live, trash bool
	}{
		{"publish", func() error { return p.Publish(t.Context(), volA) }, true, false},
		{"publish again", func() error { return p.Publish(t.Context(), volA) }, true, false},
		{"trash", func() error { return p.Trash(t.Context(), volA) }, true, true},
		{"trash again", func() error { return p.Trash(t.Context(), volA) }, true, true},
		{"purge", func() error { return p.Purge(t.Context(), volA) }, false, true},
		{"purge again", func() error { return p.Purge(t.Context(), volA) }, false, true},
	} {
		live, trash := p.liveSync.last, p.trashSync.last
		must(t, c.call())
		if got := p.liveSync.last != live; got != c.live {
			t.Errorf("%s: live/ is synced: %t, want %t", c.name, got, c.live)
		}
		if got := p.trashSync.last != trash; got != c.trash {
			t.Errorf("%s: trash/ is synced: %t, want %t", c.name, got, c.trash)
		}
	}
}
