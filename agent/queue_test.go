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
	defer func() { cancel(); q.wait(time.Hour) }()
	one := q.add(unit("t"), lane{class: laneTask})
	<-first
	two, three := q.add(unit("t"), lane{class: laneTask}), q.add(unit("t"), lane{class: laneTask})
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
	defer func() { cancel(); q.wait(time.Hour) }()
	var slow []<-chan error
	for _, id := range []volume.UUID{"a", "b", "c", "d", "e"} {
		slow = append(slow, q.add(volume.UnitOfVolume(id), lane{class: laneRemove}))
	}
	if err := q.do(ctx, unit("quick"), lane{class: laneTask}); err != nil {
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
		if err := q.do(ctx, unit("t"), lane{class: laneTask}); !errors.Is(err, broken) {
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
		q.wait(time.Hour)
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
		_ = q.do(ctx, unit("t"), lane{class: laneTask})
	}()
	if err := <-q.add(unit("t"), lane{class: laneTask}); err != nil {
		t.Error(err)
	}
	cancel()
	q.wait(time.Hour)
	if n := q.running[lane{class: laneTask}]; n != 0 {
		t.Errorf("%d places of the lane are taken for ever", n)
	}
}

func TestAQueueThatHasEndedTellsSo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	q := newQueue(ctx, func(context.Context, volume.Unit) (bool, error) { return false, nil })
	cancel()
	q.wait(time.Hour)
	if err := <-q.add(unit("t"), lane{class: laneTask}); !errors.Is(err, context.Canceled) {
		t.Errorf("add after the end: %v", err)
	}
	if err := q.do(t.Context(), unit("t"), lane{class: laneTask}); !errors.Is(err, context.Canceled) {
		t.Errorf("do after the end: %v", err)
	}
}

func TestADiskThatDoesNotAnswerHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	asked, answers := make(chan struct{}, 3*width[laneTask]), make(chan struct{})
	q := newQueue(ctx, func(_ context.Context, u volume.Unit) (bool, error) {
		if u.Kind == volume.VolumeUnit {
			asked <- struct{}{}
			<-answers
		}
		return false, nil
	})
	hung := lane{laneTask, "PATH:/hung"}
	for i := range 3 * width[laneTask] {
		q.add(volume.UnitOfVolume(volume.UUID(rune('a'+i))), hung)
	}
	for range width[laneTask] {
		<-asked
	}
	for range 3 * width[laneTask] {
		if err := <-q.add(unit("t"), lane{laneTask, ""}); err != nil {
			t.Error(err)
		}
	}
	if err := q.do(ctx, unit("t"), lane{laneTask, ""}); err != nil {
		t.Error(err)
	}
	cancel()
	if q.wait(time.Millisecond) {
		t.Error("nothing runs, though a disk does not answer")
	}
	close(answers)
	if !q.wait(time.Hour) {
		t.Error("something runs, though the disk has answered")
	}
}

func TestAUnitThatIsSlowIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		q := newQueue(ctx, func(_ context.Context, u volume.Unit) (bool, error) {
			switch u.Task {
			case "slow":
				time.Sleep(3 * slow)
			case "fast":
				time.Sleep(slow - 1)
			}
			return false, nil
		})
		var late []string
		q.late = func(u volume.Unit) { late = append(late, u.Task) }
		for _, task := range []string{"fast", "slow"} {
			if err := <-q.add(unit(task), lane{class: laneTask}); err != nil {
				t.Error(err)
			}
		}
		if err := <-q.add(unit("slow"), lane{class: laneEnd}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(late) != 1 || late[0] != "slow" {
			t.Errorf("told of %q", late)
		}
		cancel()
		q.wait(time.Hour)
	})
}
