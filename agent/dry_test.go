package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// heldJournal is a journal whose syncs wait while hold says so, and then end with err.
type heldJournal struct {
	agent.Journal
	hold atomic.Pointer[chan struct{}]
}

// Sync waits.
func (j *heldJournal) Sync(ctx context.Context, p checkpoint.Position) error {
	if hold := j.hold.Load(); hold != nil {
		<-*hold
	}
	return j.Journal.Sync(ctx, p)
}

// startOn starts an agent on a journal in memory.
func startOn(t *testing.T, fs *crashfs.FS, log *slog.Logger) (*agent.Agent, *heldJournal) {
	t.Helper()
	j, err := checkpoint.Open("journal", checkpoint.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k, held := agenttest.NewKernel(), &heldJournal{Journal: j}
	a, err := agent.Start(t.Context(), agent.Options{Kernel: k, Journal: held, Boot: "boot", Disks: k.Disks(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Stop(); _ = j.Close() })
	return a, held
}

func try(t *testing.T, a *agent.Agent, ops ...volume.Operation) error {
	t.Helper()
	_, err := a.Ask(t.Context(), agent.Request{Operations: ops, DryRun: true})
	return err
}

func TestADryRunIsRefusedWhereTheBatchWouldBe(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	a, _ := startOn(t, fs, nil)
	if err := try(t, a, reserve("web", 64)); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Ask(ended, agent.Request{Operations: ops(reserve("web", 64)), DryRun: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("of nobody who waits: %v", err)
	}
	fs.StopAt(1)
	if _, err := a.Do(t.Context(), reserve("web", 64)); !errors.Is(err, volume.ErrJournal) {
		t.Fatalf("with a journal that can't be written: %v", err)
	}
	if err := try(t, a, reserve("web", 64)); !errors.Is(err, volume.ErrJournal) {
		t.Errorf("with a journal that has failed: %v, want that told", err)
	}
	b, _ := startOn(t, crashfs.New(), nil)
	b.Stop()
	if err := try(t, b, reserve("web", 64)); !errors.Is(err, volume.ErrStopped) {
		t.Errorf("of an agent that is stopped: %v, want that told", err)
	}
}

// What a dry run tells, a refusal as well, rests on what others have asked for; a power cut
// shall not take that.
func TestADryRunWaitsForWhatItSpeaksOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, j := startOn(t, crashfs.New(), nil)
		must(t, a, reserve("web", 64))
		hold := make(chan struct{})
		j.hold.Store(&hold)
		var told atomic.Int32
		for i, want := range []error{nil, nil, volume.ErrExists} {
			go func() {
				var err error
				if i == 0 {
					_, err = a.Do(context.Background(), create("web", "v", 32, true))
				} else {
					err = try(t, a, create("web", []string{"", "w", "v"}[i], 32, true))
				}
				if told.Add(1); !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Errorf("%d: %v, want %v", i, err, want)
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

func TestABatchIsOneLineOfTheLog(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	a, _ := startOn(t, crashfs.New(), slog.New(slog.NewTextHandler(&text, nil)))
	must(t, a, as("one", reserve("web", 64)), create("web", "v", 32, true))
	var many []volume.Operation
	for i := range 100 {
		many = append(many, as(fmt.Sprint("id", i), reserve("web", 1)))
	}
	must(t, a, many...)
	a.Stop()
	recorded := slices.DeleteFunc(strings.Split(text.String(), "\n"), func(l string) bool { return !strings.Contains(l, "recorded") })
	if len(recorded) != 2 || !strings.HasSuffix(recorded[0], `msg="batch recorded" op="reserve one, create" count=2`) ||
		!strings.HasSuffix(recorded[1], `op="reserve id0, reserve id1, reserve id2, reserve id3, reserve id4, …" count=100`) {
		t.Errorf("logged %q", recorded)
	}
}
