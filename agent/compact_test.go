package agent_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// grownJournal is a journal of which a snapshot is always worth while.
type grownJournal struct {
	agent.Journal
	cuts atomic.Int32
}

func (j *grownJournal) Grown() bool { return true }

func (j *grownJournal) Cut() (*checkpoint.Cut, error) {
	j.cuts.Add(1)
	return j.Journal.Cut()
}

func TestAnAgentWritesOneSnapshotAfterAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, err := checkpoint.Open("journal", checkpoint.Options{FS: crashfs.New(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		k, grown := agenttest.NewKernel(), &grownJournal{Journal: j}
		a, err := agent.Start(t.Context(), agent.Options{Kernel: k, Journal: grown, Boot: "boot", Disks: k.Disks()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Stop(); _ = j.Close() })
		for range 3 {
			synctest.Wait()
			before := grown.cuts.Load()
			must(t, a, reserve("web", 1))
			if grown.cuts.Load() == before {
				t.Fatalf("the journal has grown since snapshot %d was written, and nothing comes of it", before)
			}
		}
	})
}
