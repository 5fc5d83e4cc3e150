package api

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// lively says that everything lives, and counts how often it was asked.
type lively struct{ asked *[]string }

func (l lively) Life(t *volume.Task) (agent.Life, error) {
	*l.asked = append(*l.asked, t.ID)
	return agent.Life{Process: true, Processes: 2, Left: 42 * time.Second}, nil
}

func (l lively) Usage(context.Context, ...volume.UUID) (map[volume.UUID]agent.Usage, error) {
	return nil, nil
}

func TestWhatHoldsTasksIsLookedAtForThePageThatAsks(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	var asked []string
	f.server.gauge = lively{&asked}
	f.withVolumes()
	for _, task := range []string{"a", "b", "c"} {
		f.must(200, "POST", "/v1/tasks", `{"task":"`+task+`","ttl":"1m","volumes":[{"volume":"web/data"}]}`, nil)
	}
	var page wire.Tasks
	f.must(200, "GET", "/v1/tasks", "", &page)
	if len(asked) > 0 || page.Tasks[0].Held != nil || page.Tasks[0].Lease.TTL != "1m0s" {
		t.Errorf("nobody asked, and looked at were %v: %+v", asked, page.Tasks[0])
	}
	f.must(200, "GET", "/v1/tasks?held=true&limit=1&after=a", "", &page)
	if d := cmp.Diff([]string{"b"}, asked); d != "" {
		t.Errorf("looked at (-want +got):\n%s", d)
	}
	if d := cmp.Diff(&wire.Held{Process: true, Processes: 2, ExpiresIn: "42s"}, page.Tasks[0].Held); d != "" {
		t.Errorf("held (-want +got):\n%s", d)
	}
	var task wire.Task
	f.must(200, "GET", "/v1/tasks/c", "", &task)
	if task.Held == nil {
		t.Error("what holds one task is not told")
	}
	f.problem(400, "invalid", "GET", "/v1/tasks?held=perhaps", "")
	f.problem(404, "not_found", "GET", "/v1/tasks/none", "")
}

func TestATaskIsRenewed(t *testing.T) {
	t.Parallel()
	f, a, k := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/t/attachments", `{"volume":"web/data","ttl":"1m"}`, nil)
	k.Pass(59 * time.Second)
	var task wire.Task
	f.must(200, "PUT", "/v1/tasks/t/lease", `{}`, &task)
	if got, _ := a.State().Task("t"); task.Lease.TTL != "1m0s" || got.Lease.Until != 119*time.Second {
		t.Errorf("renewed to %+v, answered with %+v", got.Lease, task.Lease)
	}
	f.must(200, "PUT", "/v1/tasks/t/lease", `{"ttl":"1h"}`, &task)
	if task.Lease.TTL != "1h0m0s" {
		t.Errorf("renewed to %+v", task.Lease)
	}
	f.problem(400, "invalid", "PUT", "/v1/tasks/t/lease", `{"ttl":"10ms"}`)
	f.problem(404, "not_found", "PUT", "/v1/tasks/u/lease", `{}`)
	f.problem(409, "exists", "POST", "/v1/tasks/t/attachments", `{"volume":"web/data","ttl":"1m"}`)
	f.must(204, "DELETE", "/v1/tasks/t", "", nil)
}
