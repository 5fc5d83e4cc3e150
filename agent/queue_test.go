package agent

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tenon/agent/volume"
)

func unit(task string) volume.Unit { return volume.UnitOfTask(task) }

func TestAUnitRunsOnceAtATimeAndAgainWhenAskedMeanwhile(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var running, runs atomic.Int32
	first, goOn := make(chan struct{}), make(chan struct{})
	q := newQueue(ctx, func(context.Context, volume.Unit) (bool, error) {
		if running.Add(1) > 1 {
			t.Error("a unit runs twice at once")
		}
		defer running.Add(-1)
		if runs.Add(1) == 1 {
			close(first)
			<-goOn
		}
		return false, nil
	})
	defer func() { cancel(); q.wait() }()
	one := q.add(unit("t"), laneTask)
	<-first
	two, three := q.add(unit("t"), laneTask), q.add(unit("t"), laneTask)
	close(goOn)
	for _, done := range []<-chan error{one, two, three} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := runs.Load(); n != 2 {
		t.Errorf("%d runs, want one, and one for the two who asked meanwhile", n)
	}
}

func TestALaneRunsNoMoreThanItsWidthAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var running atomic.Int32
	goOn := make(chan struct{})
	q := newQueue(ctx, func(_ context.Context, u volume.Unit) (bool, error) {
		if u.Kind == volume.VolumeUnit {
			if int(running.Add(1)) > width[laneRemove] {
				t.Error("more run than the lane is wide")
			}
			defer running.Add(-1)
			<-goOn
		}
		return false, nil
	})
	defer func() { cancel(); q.wait() }()
	var slow []<-chan error
	for _, id := range []volume.UUID{"a", "b", "c", "d", "e"} {
		slow = append(slow, q.add(volume.UnitOfVolume(id), laneRemove))
	}
	if err := q.do(ctx, unit("quick"), laneTask); err != nil {
		t.Error(err)
	}
	close(goOn)
	for _, done := range slow {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAFailedUnitIsTriedAgainLaterAndLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		broken := errors.New("not today")
		var times []time.Time
		q := newQueue(ctx, func(context.Context, volume.Unit) (bool, error) {
			times = append(times, time.Now())
			if len(times) < 10 {
				return true, broken
			}
			return false, nil
		})
		if err := q.do(ctx, unit("t"), laneTask); !errors.Is(err, broken) {
			t.Errorf("the caller is told %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(times) != 10 {
			t.Fatalf("%d tries in an hour, want 9 after the first and then none", len(times))
		}
		for i, at := range times[1:] {
			if wait := at.Sub(times[i]); wait < firstRetry/2 || wait > lastRetry {
				t.Errorf("try %d came after %s", i+2, wait)
			}
		}
		if last := times[9].Sub(times[8]); last < lastRetry/2 {
			t.Errorf("the last try came after %s: the time between tries does not grow", last)
		}
		cancel()
		q.wait()
		if len(q.items) != 0 {
			t.Errorf("left in the queue: %v", q.items)
		}
	})
}

func TestARunThatPanicsLeavesTheQueueUsable(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	panics := true
	q := newQueue(ctx, func(context.Context, volume.Unit) (bool, error) {
		if panics {
			panics = false
			panic("a defect")
		}
		return false, nil
	})
	func() {
		defer func() { _ = recover() }()
		_ = q.do(ctx, unit("t"), laneTask)
	}()
	if err := <-q.add(unit("t"), laneTask); err != nil {
		t.Error(err)
	}
	cancel()
	q.wait()
	if n := q.running[laneTask]; n != 0 {
		t.Errorf("%d places of the lane are taken for ever", n)
	}
}

func TestAQueueThatHasEndedTellsSo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	q := newQueue(ctx, func(context.Context, volume.Unit) (bool, error) { return false, nil })
	cancel()
	q.wait()
	if err := <-q.add(unit("t"), laneTask); !errors.Is(err, context.Canceled) {
		t.Errorf("add after the end: %v", err)
	}
	if err := q.do(t.Context(), unit("t"), laneTask); !errors.Is(err, context.Canceled) {
		t.Errorf("do after the end: %v", err)
	}
}
