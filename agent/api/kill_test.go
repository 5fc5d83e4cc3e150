package api

import (
	"os"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

const workerPID = 4711

// working has a task t, held by a process, with web/data mounted for it.
func working(t *testing.T, claim volume.Claim) (*fixture, *agent.Agent, *agenttest.Kernel) {
	t.Helper()
	f, a, k := running(t)
	f.withVolumes()
	k.Lock()
	k.Processes[workerPID] = 7
	k.Unlock()
	claim.Task = "t"
	if _, err := a.Do(t.Context(), claim, volume.Attach{Task: "t", Use: volume.Use{Volume: "web/data"}, Via: volume.ByPath}); err != nil {
		t.Fatal(err)
	}
	return f, a, k
}

func TestAKillIsAnsweredWhenTheTaskIsGone(t *testing.T) {
	t.Parallel()
	f, a, k := working(t, volume.Claim{Lease: volume.Lease{PID: workerPID}})
	f.must(204, "POST", "/v1/tasks/t/kill", "", nil)
	if _, there := a.State().Task("t"); there || k.Processes[workerPID] != 0 || len(k.Mounts) > 0 {
		t.Errorf("of the task is left: %v, processes %v, mounts %v", there, k.Processes, k.Mounts)
	}
	f.problem(404, "not_found", "POST", "/v1/tasks/t/kill", "")
	f.must(200, "POST", "/v1/tasks/t/attachments", `{"volume":"web/data"}`, nil)
	f.problem(400, "invalid", "POST", "/v1/tasks/t/kill", "")
}

func TestAKillThatTakesLongerThanARequestGoesOn(t *testing.T) {
	t.Parallel()
	f, a, k := working(t, volume.Claim{Cgroup: true, Lease: volume.Lease{PID: os.Getpid()}})
	if _, err := a.Do(t.Context(), volume.Kill{Task: "t"}); err != nil {
		t.Fatal(err)
	}
	f.server.timeout = time.Millisecond
	var task wire.Task
	f.must(202, "POST", "/v1/tasks/t/kill", "", &task) // this process has claimed, and lives
	if !task.Killing || task.Releasing || len(k.Cgroups) > 0 {
		t.Errorf("the task is %+v, cgroups %v", task, k.Cgroups)
	}
	k.Exit("t", os.Getpid())
	for st := a.State(); st.CountTasks() > 0; {
		var err error
		if st, err = a.Watch(t.Context(), st.Version); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABusyMountIsTheErrorOfAKill(t *testing.T) {
	t.Parallel()
	f, a, k := working(t, volume.Claim{Lease: volume.Lease{PID: workerPID}})
	k.Lock()
	target := agenttest.Root + "/t/data"
	k.Mounts[target] = agenttest.Mount{Volume: k.Mounts[target].Volume, Busy: true}
	k.Unlock()
	f.problem(409, "busy", "POST", "/v1/tasks/t/kill", "")
	f.must(204, "DELETE", "/v1/tasks/t?lazy=true", "", nil)
	if n := a.State().CountTasks(); n > 0 {
		t.Errorf("%d tasks are left", n)
	}
}
