package api

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/access"
	"tenon/agent/volume"
)

// audited serves an agent with an audit file, whose entries it gives.
func audited(t *testing.T, a Agent, change func(*Server)) *ruled {
	t.Helper()
	r := &ruled{audit: filepath.Join(t.TempDir(), "audit")}
	audit, err := access.OpenAudit(r.audit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = audit.Close() }) // a test may have closed it
	r.fixture = serving(t, a, func(s *Server) {
		s.audit = audit
		if change != nil {
			change(s)
		}
	})
	return r
}

// told are the operations and outcomes in the audit file, and that nothing else is.
func (r *ruled) told() (list []string) {
	for _, e := range r.entries() {
		list = append(list, strings.Join(e.Operations, "; ")+": "+e.Outcome)
	}
	return list
}

func TestEachCallThatAsksTheAgentForSomethingIsAuditedOnce(t *testing.T) {
	t.Parallel()
	answers := map[string]error{
		"t1": &volume.Error{Kind: volume.ErrInUse, Message: "held"},
		"t2": context.DeadlineExceeded,
		"t3": os.ErrPermission,
	}
	r := audited(t, &fakeAgent{do: func(_ context.Context, ops ...volume.Operation) (*volume.State, error) {
		claim, _ := ops[0].(volume.Claim)
		if claim.Task == "t4" {
			panic("a defect")
		}
		return volume.Empty().With(volume.Change{Task: &volume.Task{ID: claim.Task}}), answers[claim.Task]
	}}, nil)
	for _, task := range []string{"t0", "t1", "t2", "t3", "t4"} {
		r.do("POST", "/v1/tasks", `{"task":"`+task+`"}`)
	}
	r.do("DELETE", "/v1/volumes/web/none", "")
	// These change nothing and ask the agent for nothing.
	for _, q := range [][3]string{{"GET", "/v1/status"}, {"GET", "/v1/volumes/web/none"}, {"POST", "/v1/tasks", `{"task":1}`},
		{"POST", "/nowhere", `{}`}, {"POST", "/v1/status", `{}`}, {"DELETE", "/v1/tasks/t1?lasy=true"}} {
		r.do(q[0], q[1], q[2])
	}
	want := []string{
		"claim task t0: ok", "claim task t1: in use", "claim task t2: pending", "claim task t3: failed", "claim task t4: failed",
		"destroy volume web/none: not found",
	}
	if diff := cmp.Diff(want, r.told()); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}

func TestSomebodyWhoMayNotAskAtAllIsAuditedForWhatWouldChangeSomething(t *testing.T) {
	t.Parallel()
	r := audited(t, &fakeAgent{}, func(s *Server) {
		s.credentials = func(net.Conn) (credentials, error) { return credentials{uid: 1000, gid: 1000, pid: 7}, nil }
	})
	r.problem(403, "forbidden", "GET", "/v1/status", "")
	r.problem(403, "forbidden", "DELETE", "/v1/tasks/t1", "")
	e := r.entryAfter(0)
	if e.UID == nil || *e.UID != 1000 || e.PID != 7 || e.Outcome != "forbidden" || !strings.Contains(e.Reason, "user 1000") ||
		!cmp.Equal(e.Operations, []string{"DELETE /v1/tasks/t1"}) {
		t.Errorf("audited as %+v, want user 1000, what it asked for and why not", e)
	}
}

func TestACallIsDoneThoughItCannotBeAudited(t *testing.T) {
	t.Parallel()
	r := audited(t, &fakeAgent{do: func(context.Context, ...volume.Operation) (*volume.State, error) {
		return volume.Empty().With(volume.Change{Task: &volume.Task{ID: "t1"}}), nil
	}}, nil)
	if err := r.server.audit.Close(); err != nil {
		t.Fatal(err)
	}
	r.must(200, "POST", "/v1/tasks", `{"task":"t1"}`, nil)
	r.must(200, "POST", "/v1/tasks", `{"task":"t1"}`, nil)
	if log := r.log.String(); strings.Count(log, "audit entry not written") != 2 || !strings.Contains(log, r.audit) {
		t.Errorf("the log does not say each time that the call was not audited:\n%s", log)
	}
}
