package agent_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

func TestWhatIsGivenUpGoesOnAlthoughItsFirstStepFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		k := agenttest.NewKernel()
		a, _ := agenttest.StartTimed(t, k, dir, agent.Options{})
		must(t, a, reserve("web", 64), create("web", "v", 32, true))
		ctx, giveUp := context.WithCancel(t.Context())
		k.Fail = func(s volume.Step) error {
			if s.Kind == volume.MakeSandbox && ctx.Err() == nil {
				giveUp()
				return errors.New("not now")
			}
			return nil
		}
		if _, err := a.Do(ctx, attach("task", "v", resource.RW)); !errors.Is(err, context.Canceled) {
			t.Fatalf("given up: %v", err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		k.Lock()
		defer k.Unlock()
		if len(k.Mounts) != 1 {
			t.Errorf("five minutes later there are the mounts %v of %d attachments", k.Mounts, a.State().CountAttachments())
		}
	})
}

// Which of two that fail at the same time is taken back first is by chance, so it is tried often.
func TestWhatCameToATaskGoesWithItWhenThatIsTakenBack(t *testing.T) {
	t.Parallel()
	for range 60 {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			k := agenttest.NewKernel()
			a, _ := agenttest.StartTimed(t, k, dir, agent.Options{})
			must(t, a, reserve("web", 128), create("web", "old", 32, true))
			fail(k, volume.MakeSandbox, errors.New("not there"))
			var side sync.WaitGroup
			side.Go(func() {
				_, _ = a.Do(t.Context(), reserve("web", 32), create("web", "v", 32, true), launch("task", "v", 32, true))
			})
			side.Go(func() { _, _ = a.Do(t.Context(), attach("task", "old", resource.RW)) })
			side.Wait()
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if s := a.State(); s.CountTasks()+s.CountAttachments() > 0 {
				t.Errorf("five minutes later %d tasks and %d attachments are left", s.CountTasks(), s.CountAttachments())
			}
		})
	}
}
