package api

import (
	"testing"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestAVolumeComesToAProcessThatRuns(t *testing.T) {
	t.Parallel()
	f, a, k := running(t)
	f.withVolumes()
	k.Lock()
	k.Processes[77] = 5
	k.Unlock()

	var at wire.Attachment
	f.must(200, "POST", "/v1/tasks/hot/attachments", `{"volume":"web/data","path":"/mnt/x","pid":77}`, &at)
	if at.Via != volume.ByNamespace || at.PID != 77 || at.Path != "/mnt/x" {
		t.Errorf("attached %+v, want it at /mnt/x in the namespace of process 77", at)
	}
	f.must(200, "PATCH", "/v1/tasks/hot/attachments", `{"volume":"web/data","mode":"RO"}`, &wire.Task{})
	k.Lock()
	m := k.Mounts[agenttest.Inside(77, "/mnt/x")]
	k.Unlock()
	if !m.ReadOnly || m.Volume != at.UUID {
		t.Errorf("the process has %+v", m)
	}
	var task wire.Task
	f.must(200, "GET", "/v1/tasks/hot", "", &task)
	if task.Sandbox != "" || task.Lease.PID != 77 || task.Attachments[0].Mode != resource.RO {
		t.Errorf("the task is %+v", task)
	}

	f.problem(400, "invalid", "POST", "/v1/tasks/hot/attachments", `{"volume":"web/data","path":"/mnt/y","pid":78}`)
	f.problem(400, "invalid", "POST", "/v1/tasks/hot/attachments", `{"volume":"web/data","path":"/mnt/y","pid":-1}`)
	f.problem(400, "invalid", "POST", "/v1/tasks/hot/attachments", `{"volume":"web/data","pid":77}`) // it has no sandbox
	f.problem(400, "invalid", "POST", "/v1/tasks/hot/mounts", `{"volume":"web/data","path":"/mnt/y","pid":77}`)

	k.Exit("hot", 77)
	for s := a.State(); s.CountTasks() > 0; {
		var err error
		if s, err = a.Watch(t.Context(), s.Version); err != nil {
			t.Fatal(err)
		}
	}
	f.must(204, "DELETE", "/v1/volumes/web/data", "", nil)
}

func TestAProcessIsNamedOnItsOwnHostOnly(t *testing.T) {
	t.Parallel()
	c := &call{peer: peer{remote: "192.0.2.1:7"}}
	if _, err := (&Server{}).attach(c, wire.Attach{Use: wire.Use{Volume: "web/data"}, PID: 77}); problemOf(err).Status != 400 {
		t.Errorf("got %v, want it refused as invalid", err)
	}
}
