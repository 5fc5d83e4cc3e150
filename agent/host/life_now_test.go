package host_test

import (
	"os/exec"
	"testing"
	"time"

	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/mount/mounttest"
)

// Not parallel, as those of kill_test.go.
func TestWhatHoldsATaskIsSeen(t *testing.T) {
	mounttest.RequireRoot(t)
	n := start(t, directory(t))
	claimant := worker(t, nil)
	s := n.must(t, volume.Claim{Task: "task", Cgroup: true, Lease: volume.Lease{PID: claimant.Process.Pid, TTL: time.Hour}})
	task, _ := s.Task("task")
	group, err := cgroup.Find(task.Lease.Cgroup)
	must(t, err)
	for _, c := range []*exec.Cmd{worker(t, nil), worker(t, nil)} {
		must(t, group.Join(c.Process.Pid))
	}
	life, err := n.Life(task)
	if err != nil || !life.Process || life.Processes != 2 || life.Left <= 0 || life.Left > time.Hour {
		t.Errorf("it is held by %+v, %v", life, err)
	}
	must(t, claimant.Process.Kill())
	_ = claimant.Wait()
	must(t, group.Kill(t.Context()))
	if life, err := n.Life(task); err != nil || life.Process || life.Processes != 0 {
		t.Errorf("when all have ended it is held by %+v, %v", life, err)
	}
	if s := n.must(t, volume.Renew{Task: "task", TTL: time.Second}); s.CountTasks() > 0 { // unless that has passed
		until(t, n.Agent, gone("task"))
	}
}
