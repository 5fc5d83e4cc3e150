package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tenon/agent/volume"
)

func TestNobodyWaitsForAUnitThatHangsNorForThoseBehindIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan struct{})
		q := newQueue(ctx, func(_ context.Context, u volume.Unit) (bool, error) {
			if u.Volume == "far" {
				<-answer
			}
			return false, nil
		})
		far, near := lane{laneMake, "far"}, lane{laneMake, "near"}
		began := time.Now()
		stuck := q.add(volume.UnitOfVolume("far"), far)
		q.add(volume.UnitOfVolume("near"), near)
		<-q.hung(far)
		if took := time.Since(began); took != slow {
			t.Errorf("it is noticed after %s", took)
		}
		select {
		case <-q.hung(near):
			t.Error("a lane whose units end hangs")
		default:
		}
		cancel()
		if !q.wait(time.Hour) || time.Since(began) != slow {
			t.Errorf("the end of the queue takes %s", time.Since(began)-slow)
		}
		close(answer)
		if err := <-stuck; err != nil {
			t.Errorf("who waited all the same is told %v", err)
		}
		synctest.Wait()
		select {
		case <-q.hung(far):
			t.Error("a lane hangs whose unit has ended")
		default:
		}
	})
}

func TestAUnitThatWasSlowIsLookedAtOnceMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var runs, told atomic.Int32
		q := newQueue(ctx, func(context.Context, volume.Unit) (bool, error) {
			if runs.Add(1) == 1 {
				time.Sleep(slow) // it ends when somebody is about to be told
			}
			return false, nil
		})
		q.late = func(volume.Unit) {
			time.Sleep(time.Minute)
			if told.Add(1); runs.Load() != 1 {
				t.Error("it was looked at again before that was told")
			}
		}
		<-q.add(volume.UnitOfVolume("v"), lane{laneMake, ""})
		time.Sleep(time.Hour)
		if runs.Load() != 1+told.Load() {
			t.Errorf("it ran %d times and was slow %d times", runs.Load(), told.Load())
		}
		cancel()
		q.wait(time.Hour)
	})
}

func TestAStartDoesNotWaitForADiskThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan struct{})
		a := &Agent{}
		a.current.Store(volume.Empty().With(volume.Change{Disk: &volume.Disk{Key: "far"}}, volume.Change{Disk: &volume.Disk{Key: "near"}},
			volume.Change{Volume: &volume.Volume{UUID: "v", Disk: "near", Phase: volume.Ready}}))
		seen := map[volume.Unit]bool{}
		a.queue = newQueue(ctx, func(_ context.Context, u volume.Unit) (bool, error) {
			if u.Disk == "far" {
				<-answer
			}
			if u.Volume == "v" && !seen[volume.UnitOfDisk("near")] {
				t.Error("a volume is looked at before its disk")
			}
			seen[u] = true
			return false, nil
		})
		if a.see(ctx, []volume.Unit{volume.UnitOfDisk("far"), volume.UnitOfDisk("near")}) {
			t.Error("all was seen")
		}
		if !a.see(ctx, []volume.Unit{volume.UnitOfVolume("v")}) || !seen[volume.UnitOfVolume("v")] {
			t.Error("what is on the other disk was not seen")
		}
		close(answer)
		cancel()
		a.queue.wait(time.Hour)
	})
}

func TestTurnsThatADiskKeepsAreNoOthers(t *testing.T) {
	t.Parallel()
	w := newTurns(1)
	done, err := w.take(t.Context(), "far")
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.take(t.Context(), "near")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.take(ended, "far"); !errors.Is(err, context.Canceled) {
		t.Errorf("a turn that is taken: %v", err)
	}
	done()
	again, err := w.take(t.Context(), "far")
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// A task is on no disk: neither its begin nor its end waits for the root disk, whose key is that
// of no disk, too.
func TestTasksDoNotWaitForMountsOnTheRootDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan struct{})
		s := volume.Empty().With(volume.Change{Disk: &volume.Disk{}}, volume.Change{Task: &volume.Task{ID: "begins"}},
			volume.Change{Task: &volume.Task{ID: "ends", Releasing: true}}, volume.Change{Volume: &volume.Volume{UUID: "v", Phase: volume.Ready}})
		a := &Agent{}
		a.current.Store(s)
		a.queue = newQueue(ctx, func(_ context.Context, u volume.Unit) (bool, error) {
			if u.Kind == volume.AttachmentUnit {
				<-answer
			}
			return false, nil
		})
		for i := range 4 * width[laneMount] {
			a.enqueue((&volume.Attachment{Volume: "v", Task: "other", Path: fmt.Sprint(i)}).Unit())
		}
		began := time.Now()
		if err := a.runAll(ctx, []volume.Unit{volume.UnitOfTask("begins")}); err != nil {
			t.Error(err)
		}
		if err := a.runAll(ctx, []volume.Unit{volume.UnitOfTask("begins"), volume.UnitOfTask("ends")}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("tasks wait for %s", took)
		}
		cancel()
		close(answer)
		a.queue.wait(time.Hour)
	})
}
