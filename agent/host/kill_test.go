package host_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/mount/mounttest"
)

// The tests here are not parallel: what one forks would hold the lock of another's journal for
// a moment.

// worker starts a process that does nothing, and is ended with the test at the latest.
func worker(t *testing.T, as *syscall.Credential) *exec.Cmd {
	t.Helper()
	c := exec.Command("cat")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	in, err := c.StdinPipe()
	if err == nil {
		c.Stdout = io.Discard
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

func killed(c *exec.Cmd) bool {
	_ = c.Wait()
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

var root = 0

func gone(task string) func(*volume.State) bool {
	return func(s *volume.State) bool { _, there := s.Task(task); return !there }
}

func TestATaskIsKilledWithAllThatIsInItsCgroupAndItsClaimantIsNot(t *testing.T) {
	mounttest.RequireRoot(t)
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	claimant := worker(t, nil)
	s := n.must(t, volume.Claim{Task: "task", Cgroup: true, Lease: volume.Lease{PID: claimant.Process.Pid},
		Uses: []volume.Use{{Volume: "web/data", Path: "data", Mode: resource.RW}}}, use("task", "data", "data", resource.RW))
	task, _ := s.Task("task")
	group, err := cgroup.Find(task.Lease.Cgroup)
	if err != nil {
		t.Fatal(err)
	}
	inside := []*exec.Cmd{worker(t, nil), worker(t, nil)}
	for _, c := range inside {
		if err := group.Join(c.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	s = n.must(t, volume.Kill{Task: "task"})
	for _, c := range inside {
		if !killed(c) {
			t.Errorf("a process of the task ended with %v", c.ProcessState)
		}
	}
	if task, there := s.Task("task"); !there || !task.Killing || task.Releasing {
		t.Errorf("the task of a living claimant is %+v", task)
	}
	if err := group.Join(claimant.Process.Pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something may still be started in the task's cgroup: %v", err)
	}
	if _, err := n.Do(t.Context(), use("task", "data", "more", resource.RW)); !errors.Is(err, volume.ErrPending) {
		t.Errorf("one volume more: %v", err)
	}
	n.stop()
	n = start(t, dir) // which watches the claimant, although the cgroup is gone
	if claimant.Process.Signal(syscall.SIGTERM) != nil {
		t.Fatal("the claimant was killed")
	}
	_ = claimant.Wait()
	until(t, n.Agent, gone("task"))
	n.must(t, volume.Destroy{Ref: "web/data"})
}

func TestAProcessIsKilledForRootAndItsOwnUserAlone(t *testing.T) {
	mounttest.RequireRoot(t)
	nobody, other := 65534, 65533
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	for _, c := range []struct {
		name    string
		user    *int
		refusal string
	}{
		{"for nobody", nil, "only root or user 65534, on its host, may have it killed"},
		{"for another user", &other, "is user 65534's, not user 65533's"},
		{"for its user", &nobody, ""},
		{"for root", &root, ""},
	} {
		w := worker(t, &syscall.Credential{Uid: uint32(nobody), Gid: uint32(nobody)})
		n.must(t, volume.Claim{Task: "task", Lease: volume.Lease{PID: w.Process.Pid}, Uses: []volume.Use{{Volume: "web/data"}}})
		_, err := n.Do(t.Context(), volume.Kill{Task: "task", User: c.user})
		if c.refusal == "" && (err != nil || !killed(w)) {
			t.Errorf("%s: %v, and the process ended with %v", c.name, err, w.ProcessState)
		}
		if c.refusal != "" && (!errors.Is(err, volume.ErrForbidden) || !strings.Contains(err.Error(), c.refusal)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.refusal)
		}
		if c.refusal != "" {
			_ = w.Process.Kill()
			_ = w.Wait()
		}
		until(t, n.Agent, gone("task"))
	}
	n.must(t, volume.Destroy{Ref: "web/data"})
}

func TestTheAgentIsNotKilledByItself(t *testing.T) {
	n := start(t, directory(t))
	n.must(t, volume.Claim{Task: "task", Lease: volume.Lease{PID: os.Getpid()}})
	if _, err := n.Do(t.Context(), volume.Kill{Task: "task", User: &root}); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("kill: %v, want invalid", err)
	}
	n.must(t, volume.Release{Task: "task", By: os.Getpid()})
}

func TestATaskThatWasToBeKilledIsKilledByTheNextAgent(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	for points, dead := 1, true; dead; points++ {
		w := worker(t, nil)
		n.must(t, volume.Claim{Task: "task", Lease: volume.Lease{PID: w.Process.Pid}, Uses: []volume.Use{{Volume: "web/data"}}})
		n.stop()
		l := &life{}
		mortal, err := startOrDie(t, n.dir, "this", l)
		must(t, err)
		l.lasts(points)
		_, err = mortal.Do(t.Context(), volume.Kill{Task: "task", User: &root})
		var where string
		if dead, where = l.ended(); !dead {
			must(t, err)
		}
		mortal.stop()
		n = start(t, n.dir)
		if where == "append" { // of the kill, so that nothing was recorded, or of what came of it
			if _, err := n.Do(t.Context(), volume.Kill{Task: "task", User: &root}); !errors.Is(err, volume.ErrNotFound) {
				must(t, err)
			}
		}
		if !killed(w) {
			t.Errorf("ended at %s, the process ended with %v", where, w.ProcessState)
		}
		until(t, n.Agent, gone("task"))
		if !dead && points < 5 {
			t.Errorf("a kill has %d points only", points)
		}
	}
	n.must(t, volume.Destroy{Ref: "web/data"})
}

func TestAKillEndsWithItsContextAndGoesOn(t *testing.T) {
	n := start(t, directory(t))
	w := worker(t, nil)
	n.must(t, volume.Claim{Task: "task", Lease: volume.Lease{PID: w.Process.Pid}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Do(ctx, volume.Kill{Task: "task", User: &root}); !errors.Is(err, context.Canceled) {
		t.Errorf("kill without time: %v", err)
	}
	n.must(t, volume.Kill{Task: "task", User: &root})
	until(t, n.Agent, gone("task"))
	if !killed(w) {
		t.Errorf("the process ended with %v", w.ProcessState)
	}
}
