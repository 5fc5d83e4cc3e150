package agent_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

func resize(id string, size float64) volume.Resize {
	return volume.Resize{Ref: "web/" + id, Size: resource.Scalar(size * float64(resource.One))}
}

func shrink(id string, from int, by float64) volume.Shrink {
	v := create("web", id, from, true).Volume
	v.Reservations = reserve("web", 1).Resources[0].Reservations
	return volume.Shrink{Volume: v, Subtract: resource.Scalar(by * float64(resource.One))}
}

// measuring has f called whenever something is measured.
func measuring(k *agenttest.Kernel, f func()) {
	k.Lock()
	defer k.Unlock()
	k.Measuring = f
}

func TestAVolumeIsMeasuredOnlyForWhatWouldBeAcceptedOtherwise(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 200), create("web", "v", 32, true), create("web", "held", 32, true))
	must(t, a, attach("task", "held", resource.RW))
	walks := 0
	measuring(k, func() { walks++ })
	never := func(*volume.State, volume.Operation) error {
		return &volume.Error{Kind: volume.ErrForbidden, Message: "not you"}
	}
	for _, c := range []struct {
		name  string
		batch []volume.Operation
		allow func(*volume.State, volume.Operation) error
		want  error
		walks int
	}{
		{"resize that is forbidden", ops(resize("v", 16)), never, volume.ErrForbidden, 0},
		{"shrink that is forbidden", ops(shrink("v", 32, 16)), never, volume.ErrForbidden, 0},
		{"resize of what is in use", ops(resize("held", 16)), nil, volume.ErrInUse, 0},
		{"shrink of what is in use", ops(as("one", shrink("held", 32, 16))), nil, volume.ErrInUse, 0},
		{"before what is refused", ops(resize("v", 16), volume.Destroy{Ref: "web/none"}), nil, volume.ErrNotFound, 0},
		{"shrink of another size", ops(shrink("v", 31, 16)), nil, volume.ErrNotFound, 0},
		{"larger", ops(resize("held", 33)), nil, nil, 1}, // which the host knows at once
		{"smaller", ops(resize("v", 31)), nil, nil, 1},
		{"smaller, with an id", ops(as("two", shrink("v", 31, 1)), reserve("web", 1)), nil, nil, 1},
		{"again", ops(as("two", shrink("v", 31, 1))), nil, nil, 0},
	} {
		for _, dry := range []bool{true, false} {
			walks = 0
			_, err := a.Ask(t.Context(), agent.Request{Operations: c.batch, Allow: c.allow, DryRun: dry})
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || walks != c.walks {
				t.Errorf("%s, dry=%v: %d walks, %v; want %d and %v", c.name, dry, walks, err, c.walks, c.want)
			}
		}
	}
}

func TestTwoVolumesAreMeasuredAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := agenttest.NewKernel()
		a := agenttest.Start(t, k)
		must(t, a, reserve("web", 200))
		for i := range 5 {
			must(t, a, create("web", fmt.Sprint("v", i), 32, true))
		}
		var mu sync.Mutex
		atWork, release := 0, make(chan struct{})
		measuring(k, func() {
			mu.Lock()
			atWork++
			mu.Unlock()
			<-release
		})
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				if _, err := a.Do(t.Context(), resize(fmt.Sprint("v", i), 16)); err != nil {
					t.Error(err)
				}
			})
		}
		for _, want := range []int{2, 4, 5} {
			synctest.Wait()
			mu.Lock()
			if atWork != want {
				t.Errorf("%d have begun, want %d", atWork, want)
			}
			mu.Unlock()
			for range min(2, 5-want+2) {
				select {
				case release <- struct{}{}:
				default:
				}
			}
		}
		all.Wait()
	})
}

// A task that comes and goes while a volume is measured may have filled it.
func TestWhatWasMeasuredIsVoidWhenATaskHasHadTheVolumeSince(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 200), create("web", "v", 32, true), create("web", "w", 32, true))
	for _, op := range []volume.Operation{resize("v", 16), shrink("v", 32, 16)} {
		measuring(k, func() {
			must(t, a, attach("task", "v", resource.RW))
			must(t, a, volume.Detach{Task: "task", Volume: "web/v"})
		})
		if _, err := a.Do(t.Context(), op); !errors.Is(err, volume.ErrPending) || !strings.Contains(err.Error(), "since what is in it was measured") {
			t.Errorf("%s: %v, want pending", op.Name(), err)
		}
		measuring(k, func() { must(t, a, attach("task", "w", resource.RW)) })
		must(t, a, op)
		must(t, a, resize("v", 32))
	}
}

func TestAVolumeThatIsDestroyedWhileItIsMeasuredIsNotThere(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 200), create("web", "v", 32, true), create("web", "lost", 32, true))
	measuring(k, func() {
		if _, err := a.State().Find("web/v"); err == nil {
			must(t, a, volume.Destroy{Ref: "web/v"})
		}
	})
	if _, err := a.Do(t.Context(), resize("v", 16)); !errors.Is(err, volume.ErrNotFound) {
		t.Errorf("destroyed by somebody else: %v", err)
	}
	v, err := a.State().Find("web/lost")
	if err != nil {
		t.Fatal(err)
	}
	k.Lock()
	delete(k.Pools[""].Live, v.UUID)
	k.Unlock()
	if _, err := a.Do(t.Context(), resize("lost", 16)); !errors.Is(err, volume.ErrLost) {
		t.Errorf("its directory is gone: %v", err)
	}
}
