package agent_test

import (
	"errors"
	"testing"
	"time"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

func TestATaskIsReleasedWhenItsTimeHasPassedAndNotBefore(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	dir := t.TempDir()
	a, stop := agenttest.StartOn(t, k, dir, "boot")
	must(t, a, reserve("web", 64), create("web", "v", 32, false))
	timed := attach("timed", "v", resource.RW)
	timed.TTL = time.Minute
	must(t, a, timed)
	k.Pass(time.Minute - 1)
	must(t, a, volume.Renew{Task: "timed"})
	k.Pass(time.Minute-1, "timed") // the time that it had first has passed, and more
	must(t, a, volume.SetMode{Task: "timed", Volume: "web/v", Mode: resource.RO})
	if _, err := a.Do(t.Context(), volume.Destroy{Ref: "web/v"}); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("destroy while its time has not passed: %v", err)
	}
	stop()
	k.Pass(1) // while no agent runs
	a, stop = agenttest.StartOn(t, k, dir, "boot")
	gone(t, a)
	timed.TTL = time.Hour
	must(t, a, timed)
	stop()
	k.Pass(time.Hour - 1)
	a, _ = agenttest.StartOn(t, k, dir, "boot")
	if _, there := a.State().Task("timed"); !there {
		t.Error("a restart has taken a task's time away")
	}
	k.Pass(1, "timed")
	gone(t, a)
	must(t, a, volume.Destroy{Ref: "web/v"})
}

func TestATaskIsKilledWhateverTimeItHas(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 64), create("web", "v", 32, false))
	k.Lock()
	k.Processes[7] = 70
	k.Unlock()
	must(t, a, volume.Claim{Task: "task", Lease: volume.Lease{PID: 7, TTL: time.Hour}, Uses: []volume.Use{{Volume: "web/v"}}})
	must(t, a, volume.Kill{Task: "task"})
	gone(t, a)
	if k.Processes[7] != 0 {
		t.Error("its process lives")
	}
}
