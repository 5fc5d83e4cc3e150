package agent_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tenon/agent/volume"
	"tenon/checkpoint/crashfs"
)

// A refusal rests on what others have asked for: who was told that a name is taken may rely
// on it, also after a power cut.
func TestARefusalWaitsForWhatItSpeaksOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, j := startOn(t, crashfs.New(), nil)
		must(t, a, reserve("web", 64))
		hold := make(chan struct{})
		j.hold.Store(&hold)
		var told atomic.Int32
		for _, c := range []struct {
			name string
			mib  int
			want error
		}{{"v", 48, nil}, {"v", 8, volume.ErrExists}, {"w", 48, volume.ErrInsufficient}} {
			go func() {
				_, err := a.Do(context.Background(), create("web", c.name, c.mib, true))
				if told.Add(1); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Errorf("%v, want %v", err, c.want)
				}
			}()
			synctest.Wait()
		}
		if n := told.Load(); n > 0 {
			t.Errorf("%d were told something that a power cut may take", n)
		}
		j.hold.Store(nil)
		close(hold)
		synctest.Wait()
		if n := told.Load(); n != 3 {
			t.Errorf("%d were told, want all", n)
		}
	})
}

// TestARefusalIsNotToldWhereWhatItSpeaksOfMayBeLost has the journal fail beneath a refusal.
func TestARefusalIsNotToldWhereWhatItSpeaksOfMayBeLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fs := crashfs.New()
		a, j := startOn(t, fs, nil)
		must(t, a, reserve("web", 64))
		hold := make(chan struct{})
		j.hold.Store(&hold)
		for range 2 { // the second is refused for what the first has not made sure of
			go func() {
				if _, err := a.Do(context.Background(), create("web", "v", 8, true)); volume.Kind(err) != volume.ErrJournal || errors.Is(err, volume.ErrExists) {
					t.Errorf("%v, want a failure of the journal and nothing else", err)
				}
			}()
			synctest.Wait()
		}
		fs.StopAt(1)
		j.hold.Store(nil)
		close(hold)
		synctest.Wait()
		if err := try(t, a, create("web", "v", 8, true)); volume.Kind(err) != volume.ErrJournal {
			t.Errorf("a dry run: %v, want a failure of the journal", err)
		}
	})
}
