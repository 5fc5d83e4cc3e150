package host_test

import (
	"errors"
	"os"
	"testing"

	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/mount/mounttest"
)

// requireIO skips where the tests' directory can have no limits.
func requireIO(t *testing.T) {
	t.Helper()
	dir, err := os.Open(os.TempDir())
	must(t, err)
	defer dir.Close()
	_, err = cgroup.DeviceOf(dir)
	if groups, gerr := cgroup.Open(cgroup.Options{Parent: "/"}); err == nil && gerr == nil {
		err = groups.LimitsIO()
	}
	if err != nil {
		mounttest.Skip(t, "io", err.Error())
	}
}

// Not parallel, as those of kill_test.go.
func TestATaskIsHeldToItsLimitsOfInputAndOutput(t *testing.T) {
	mounttest.RequireRoot(t)
	requireIO(t)
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	claimant := worker(t, nil)
	claim := volume.Claim{Task: "task", Cgroup: true, Lease: volume.Lease{PID: claimant.Process.Pid},
		Uses: []volume.Use{{Volume: "web/data"}}, IO: []volume.Throttle{{Rate: volume.Rate{Write: 5 << 20, ReadOps: 100}}}}
	s := n.must(t, claim)
	task, _ := s.Task("task")
	group, err := cgroup.Find(task.Lease.Cgroup)
	must(t, err)
	limits, err := group.IOLimits()
	if err != nil || len(limits) != 1 || limits[0].Write != 5<<20 || limits[0].ReadOps != 100 || limits[0].Read+limits[0].WriteOps != 0 {
		t.Errorf("the kernel has limits %+v, %v", limits, err)
	}
	if at := group.IOPath(); at != task.Lease.Cgroup && at != task.IOGroup {
		t.Errorf("the limits are in %s, told is %q", at, task.IOGroup)
	}
	other := limits[0]
	other.Write = 1 << 20
	must(t, group.LimitIO(other))
	n.stop()
	n = start(t, n.dir) // which finds that the limit is not what it should be
	if again, err := group.IOLimits(); err != nil || len(again) != 1 || again[0] != limits[0] {
		t.Errorf("after a restart the kernel has limits %+v, %v, want %+v", again, err, limits)
	}
	must(t, claimant.Process.Kill())
	until(t, n.Agent, gone("task"))
	if _, err := os.Stat(group.IOPath()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the limits are left: %v", err)
	}
	naked := claim
	naked.Cgroup, naked.Lease.PID = false, os.Getpid()
	if _, err := n.Do(t.Context(), naked); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("limits without a cgroup: %v", err)
	}
}
