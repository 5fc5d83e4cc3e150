package api

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// taskInfo is a task of Mesos with the shared volume web/data.
func taskInfo(id, agentID, mode string) string {
	at := ""
	if agentID != "" {
		at = fmt.Sprintf(`"agent_id":{"value":%q},`, agentID)
	}
	return fmt.Sprintf(`{"name":%q,"task_id":{"value":%q},%s"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},%s]}`,
		id, id, at, strings.Replace(sharedData, "RW", mode, 1))
}

func TestALaunchOfMesosMountsItsVolumes(t *testing.T) {
	t.Parallel()
	f, a, k := running(t)
	f.withVolumes()
	me := a.State().Agent
	f.must(200, "POST", "/v1/operations", `{"type":"LAUNCH","launch":{"task_infos":[`+taskInfo("t1", me, "RW")+","+taskInfo("t2", "", "RO")+`]}}`, nil)
	f.must(200, "POST", "/v1/operations", `{"type":"LAUNCH_GROUP","launch_group":{"executor":{"executor_id":{"value":"e"}},"task_group":{"tasks":[`+taskInfo("t3", me, "RO")+`]}}}`, nil)
	var v wire.Volume
	f.must(200, "GET", "/v1/volumes/web/data", "", &v)
	if v.References != 3 || len(k.Mounts) != 3 {
		t.Errorf("%d tasks hold the volume and %d mounts are there, want 3 of each", v.References, len(k.Mounts))
	}
	for _, kind := range []string{`{"type":"LAUNCH","launch":{"task_infos":[%s]}}`,
		`{"type":"LAUNCH_GROUP","launch_group":{"executor":{"executor_id":{"value":"e"}},"task_group":{"tasks":[%s]}}}`} {
		p := f.problem(400, "invalid", "POST", "/v1/operations", fmt.Sprintf(kind, taskInfo("t4", "another", "RW")))
		if !strings.Contains(p.Detail, "agent another") {
			t.Errorf("told %q, want the other agent named", p.Detail)
		}
	}
}

func TestVolumesGrowAndShrinkByMesosOperations(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/operations", `[{"type":"GROW_VOLUME","grow_volume":{"volume":`+sharedData+`,"addition":`+res()+`}},
		{"type":"SHRINK_VOLUME","shrink_volume":{"volume":`+strings.Replace(sharedData, "1024", "1088", 1)+`,"subtract":{"value":32}}}]`, nil)
	v, err := a.State().Find("web/data")
	if err != nil || v.Size != 1056_000 {
		t.Errorf("the volume is %+v, %v; want 1056 MiB", v, err)
	}
	moved := op("RESERVE", res("reservations", role("db")))
	moved = strings.Replace(moved, `]}}`, `],"source":[`+res()+`]}}`, 1)
	f.must(200, "POST", "/v1/operations", moved, nil)
	if free := a.State().Free("", []resource.Reservation{{Type: "DYNAMIC", Role: "db"}}); free != 64_000 {
		t.Errorf("%s MiB are reserved for db, want 64", free)
	}
}

func TestAnOperationWithAnIDIsToldAndDoneOnce(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	first := strings.Replace(op("RESERVE", res()), `{"type"`, `{"id":{"value":"one"},"type"`, 1)
	both := "[" + first + "," + strings.Replace(op("CREATE", vol()), `{"type"`, `{"id":{"value":"two"},"type"`, 1) + "," + op("RESERVE", res()) + "]"
	var applied wire.Applied
	f.must(200, "POST", "/v1/operations?dry_run=true", both, &applied)
	if !applied.DryRun || len(applied.Operations) != 2 || applied.Operations[1].State != volume.OperationPending || applied.Operations[0].Waiting != 1 {
		t.Errorf("dry run: %+v, want two operations at work on one volume", applied)
	}
	f.problem(404, "not_found", "GET", "/v1/operations/one", "")
	f.must(200, "POST", "/v1/operations", both, &applied)
	if applied.DryRun || applied.Index == 0 || len(applied.Operations) != 2 {
		t.Errorf("applied %+v, want two operations", applied)
	}
	for _, o := range applied.Operations {
		if o.State != volume.OperationFinished || o.Waiting != 0 {
			t.Errorf("%s is %+v, want it finished", o.ID, o)
		}
	}
	version := a.State().Version
	f.must(200, "POST", "/v1/operations", first, &applied)
	if len(applied.Operations) != 1 || applied.Operations[0].ID != "one" || a.State().Version > version+1 {
		t.Errorf("the same again: %+v", applied)
	}
	f.problem(409, "exists", "POST", "/v1/operations", strings.Replace(first, "64", "65", 1))

	var page wire.OperationStatuses
	f.must(204, "DELETE", "/v1/operations/one", "", nil)
	f.must(204, "DELETE", "/v1/operations/one", "", nil)
	if f.must(200, "GET", "/v1/operations", "", &page); len(page.Operations) != 1 || page.Operations[0].ID != "two" {
		t.Errorf("not acknowledged are %+v, want two", page)
	}
	if f.must(200, "GET", "/v1/operations?all=true&limit=1", "", &page); len(page.Operations) != 1 || page.Next == "" {
		t.Errorf("the first of all is %+v, want more after it", page)
	}
	f.problem(404, "not_found", "DELETE", "/v1/operations/three", "")
	for _, query := range []string{"?all=1", "?limit=0", "?after=x", "?from=x"} {
		f.problem(400, "invalid", "GET", "/v1/operations"+query, "")
	}
}

func TestIDsOfAMastersOrdersAreRefusedToEverybodyElse(t *testing.T) {
	t.Parallel()
	r := ruling(t, access.ACLs{})
	r.server.masters = func() []wire.Master {
		return []wire.Master{{Name: "fleet", Principal: "ops"}, {Name: "keys", Principal: "master:keys"}}
	}
	order := func(id string, who asker) string {
		space := res()
		if who.principal != "" {
			space = strings.Replace(space, `"web"`, `"web","principal":"`+who.principal+`"`, 1)
		}
		return strings.Replace(op("RESERVE", space), `{"type"`, `{"id":{"value":"`+id+`"},"type"`, 1)
	}
	for name, who := range askers {
		r.as(who)
		for id, owner := range map[string]string{"fleet:one": "ops", "keys:one": "master:keys", "keys:": "master:keys", "fleet": who.principal,
			"fleets:one": who.principal, "x:fleet:one": who.principal, "Fleet:one": who.principal} {
			body := "[" + order("mine", who) + "," + order(id, who) + "]"
			status, answer := r.send(request{"POST", "/v1/operations?dry_run=true", "application/json", body})
			if owner == who.principal && status != 200 {
				t.Errorf("%s asks with the id %s: got %d %s", name, id, status, answer)
			}
			if owner != who.principal && (status != 403 || !strings.Contains(answer, "which asks as "+owner+"; choose another id")) {
				t.Errorf("%s asks with the id %s: got %d %s, want it refused", name, id, status, answer)
			}
		}
	}
	r.as(askers["root"])
	if status, answer := r.send(request{"POST", "/v1/operations", "application/json", order("keys:one", askers["root"])}); status != 403 {
		t.Errorf("got %d %s", status, answer)
	}
	if _, taken := r.agent.State().Operation("keys:one"); taken {
		t.Error("the id is taken all the same")
	}
	if all := r.told(); !slices.ContainsFunc(all, func(line string) bool {
		return strings.HasPrefix(line, "operation keys:one: reserve") && strings.HasSuffix(line, ": forbidden")
	}) {
		t.Errorf("the audit has %q", all[len(all)-1])
	}
}

func TestAnOperationAtWorkCannotBeAcknowledged(t *testing.T) {
	t.Parallel()
	st := volume.Empty().With(volume.Change{Operation: &volume.OperationStatus{ID: "one", State: volume.OperationPending, Making: []volume.UUID{"u"}}})
	a := &fakeAgent{state: st, do: func(_ context.Context, ops ...volume.Operation) (*volume.State, error) {
		out, err := volume.Apply(st, volume.Env{}, ops...)
		return out.Next, err
	}}
	f := serving(t, a, nil)
	f.problem(409, "pending", "DELETE", "/v1/operations/one", "")
	var o wire.OperationStatus
	if f.must(200, "GET", "/v1/operations/one", "", &o); o.Waiting != 1 || o.State != volume.OperationPending {
		t.Errorf("got %+v, want it at work on one volume", o)
	}
}

func TestTenThousandOperationsAreOneBatchAndMoreAreRefused(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	one := op("RESERVE", res("scalar", `{"value":0.001}`, "reservations", role("many")))
	many := func(n int) string { return "[" + strings.Repeat(one+",", n-1) + one + "]" }
	if len(many(volume.MaxBatch)) <= maxBody {
		t.Fatalf("%d bytes are too few to prove anything", len(many(volume.MaxBatch)))
	}
	before := a.State()
	p := f.problem(400, "invalid", "POST", "/v1/operations", many(volume.MaxBatch+1))
	if !strings.Contains(p.Detail, "at most 10000 operations") || a.State().Version != before.Version {
		t.Errorf("told %q, want the limit named and nothing changed", p.Detail)
	}
	f.must(200, "POST", "/v1/operations", many(volume.MaxBatch), nil)
	if free := a.State().Free("", []resource.Reservation{{Type: "DYNAMIC", Role: "many"}}); free != volume.MaxBatch {
		t.Errorf("%s MiB are reserved, want a thousandth for each", free)
	}
	f.problem(413, "invalid", "POST", "/v1/operations", many(1)+strings.Repeat(" ", maxOperations))
}

func TestAThousandVolumesAreMadeInOneBatch(t *testing.T) {
	t.Parallel()
	const many = 1000
	a := agenttest.Start(t, agenttest.NewKernel())
	f := serving(t, a, func(s *Server) { s.timeout = time.Hour }) // however slow the disk of the journal is
	f.must(200, "POST", "/v1/operations", reserve2G, nil)
	volumes := make([]string, many)
	for n := range volumes {
		volumes[n] = strings.Replace(vol("scalar", `{"value":0.25}`), `"new"`, fmt.Sprintf(`"v%d"`, n), 1)
	}
	f.must(200, "POST", "/v1/operations", op("CREATE", volumes...), nil)
	if live, _ := a.State().CountVolumes(); live != many {
		t.Errorf("there are %d volumes", live)
	}
	for v := range a.State().Volumes(volume.Name{}) {
		if v.Phase != volume.Ready {
			t.Fatalf("%s is %s", v.Name, v.Phase)
		}
	}
	var r wire.Resources
	if f.must(200, "GET", "/v1/resources?role=web", "", &r); len(r.Offerable) < many {
		t.Errorf("%d resources are offerable, want all volumes", len(r.Offerable))
	}
}

func TestAVolumeIsResizedInPlace(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/t1/attachments", `{"volume":"web/data"}`, nil)
	var v wire.Volume
	f.must(200, "PATCH", "/v1/volumes/web/data?dry_run=true", `{"size":1610612736}`, &v)
	if now, err := a.State().Find("web/data"); v.Size != 1536<<20 || err != nil || now.Size != 1024_000 {
		t.Errorf("dry run: told %d bytes, and it is %+v, %v", v.Size, now, err)
	}
	f.must(200, "PATCH", "/v1/volumes/web/data", `{"size":1610612736}`, &v)
	if v.Size != 1536<<20 || v.References != 1 {
		t.Errorf("grown: %+v, want 1536 MiB held by one task", v)
	}
	f.problem(409, "in_use", "PATCH", "/v1/volumes/web/data", `{"size":1073741824}`)
	f.must(204, "DELETE", "/v1/tasks/t1", "", nil)
	f.must(200, "PATCH", "/v1/volumes/"+string(v.UUID), `{"size":1048577}`, &v)
	if v.Size != 1<<20+1<<20/1000+1 && v.Resource.Scalar != 1001 {
		t.Errorf("shrunk to %d bytes, %s MiB; want it rounded up to a thousandth", v.Size, v.Resource.Scalar)
	}
	before := a.State().Version
	for body, want := range map[string][2]any{
		`{"size":0}`: {400, "invalid"}, `{"size":-1}`: {400, "invalid"}, `{}`: {400, "invalid"}, `{"size":1.5}`: {400, "invalid"},
		`{"size":1e30}`: {400, "invalid"}, `{"size":NaN}`: {400, "invalid"}, `{"size":"1G"}`: {400, "invalid"}, `{"size":null}`: {400, "invalid"},
		`{"size":1,"sise":1}`: {400, "invalid"}, `{"size":9223372036854775807}`: {400, "invalid"}, `{"size":4294967296}`: {409, "insufficient"},
	} {
		f.problem(want[0].(int), want[1].(string), "PATCH", "/v1/volumes/web/data", body)
	}
	f.problem(404, "not_found", "PATCH", "/v1/volumes/web/other", `{"size":1}`)
	f.problem(413, "invalid", "PATCH", "/v1/volumes/web/data", `{"size":1}`+strings.Repeat(" ", maxBody))
	if after := a.State().Version; after != before {
		t.Errorf("version %d became %d", before, after)
	}
}

func TestADryRunIsRefusedAsTheRequestWouldBeAndChangesNothing(t *testing.T) {
	t.Parallel()
	f, a, k := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/t1/attachments", `{"volume":"web/data"}`, nil)
	before, births := stored(t, a.State()), k.Births
	version := a.State().Version
	for _, query := range []string{"?dry_run=true", "?dry_run=true&wait=false"} {
		f.problem(409, "in_use", "DELETE", "/v1/volumes/web/data"+query, "")
		var v wire.Volume
		if f.must(200, "DELETE", "/v1/volumes/web/alone"+query, "", &v); v.Phase != volume.Destroying {
			t.Errorf("told %+v, want a tombstone", v)
		}
	}
	var v wire.Volume
	if f.must(200, "POST", "/v1/volumes?dry_run=true", `{"role":"web","id":"new","size":1}`, &v); v.Phase != volume.Creating {
		t.Errorf("told %+v, want a volume that is being made", v)
	}
	f.problem(409, "insufficient", "POST", "/v1/volumes?dry_run=true", createData)
	f.problem(400, "invalid", "POST", "/v1/volumes?dry_run=1", createData)
	f.problem(404, "not_found", "DELETE", "/v1/volumes/web/none?dry_run=true", "")
	f.problem(400, "invalid", "DELETE", "/v1/tasks/t1?dry_run=true", "") // not a route that has dry runs
	if after := a.State().Version; after != version || k.Births != births || len(stored(t, a.State())) != len(before) {
		t.Errorf("version %d became %d", version, after)
	}
}

func TestADryRunReachesTheAgentAsOne(t *testing.T) {
	t.Parallel()
	asked := make(chan agent.Request, 1)
	f := serving(t, asking{fakeAgent: &fakeAgent{}, asked: asked}, nil)
	for query, want := range map[string]bool{"": false, "?dry_run=false": false, "?dry_run=true": true} {
		f.problem(409, "busy", "POST", "/v1/operations"+query, reserve2G)
		if r := <-asked; r.DryRun != want {
			t.Errorf("%q: dry run is %v", query, r.DryRun)
		}
	}
}

// asking is an agent that shows what it is asked.
type asking struct {
	*fakeAgent
	asked chan agent.Request
}

func (a asking) Ask(_ context.Context, r agent.Request) (*volume.State, error) {
	a.asked <- r
	return nil, &volume.Error{Kind: volume.ErrBusy, Message: "not now"}
}

func TestResourcesAreShownForARoleWithAndWithoutSharedVolumes(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/t1/attachments", `{"volume":"web/data"}`, nil)
	f.must(200, "POST", "/v1/tasks/t2/attachments", `{"volume":"web/data"}`, nil)
	f.must(200, "POST", "/v1/tasks/t1/attachments", `{"volume":"web/alone"}`, nil)
	for query, want := range map[string][3]int{ // volumes in total, allocated copies, volumes offerable
		"":                       {2, 3, 1},
		"?role=web":              {2, 3, 1},
		"?role=web/sub":          {2, 3, 1},
		"?role=db":               {2, 3, 0},
		"?shared=true":           {2, 3, 1},
		"?shared=false":          {1, 1, 0},
		"?role=web&shared=false": {1, 1, 0},
	} {
		var r wire.Resources
		f.must(200, "GET", "/v1/resources"+query, "", &r)
		got := [3]int{volumesIn(r.Total), 0, volumesIn(r.Offerable)}
		for _, c := range r.Allocated {
			got[1] += c.Copies
		}
		if got != want {
			t.Errorf("%s: %v, want %v of %+v", query, got, want, r)
		}
	}
	for _, query := range []string{"?role=a%20b", "?shared=yes", "?role=a&role=b", "?roles=a"} {
		f.problem(400, "invalid", "GET", "/v1/resources"+query, "")
	}
}

func volumesIn(list []wire.Copies) (n int) {
	for _, c := range list {
		if c.Resource.IsVolume() {
			n++
		}
	}
	return n
}

func TestAnIDInThePathMayHaveAnyCharacter(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	for _, id := range []string{`100%`, `a b`, `ü?#&`, `..x`, `a%2Fb`} {
		f.must(200, "POST", "/v1/operations", strings.Replace(op("RESERVE", res()), `{"type"`, fmt.Sprintf(`{"id":{"value":%q},"type"`, id), 1), nil)
		req, err := http.NewRequestWithContext(t.Context(), "DELETE", "http://tenon/v1/operations/"+wire.EscapeRef(id), nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, _, data := f.send(req); status != 204 {
			t.Errorf("%q: got %d %s", id, status, data)
		}
	}
}

func TestWhereRulesHideAnythingAPrincipalIsToldOfItsOwnOperations(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.NewKernel())
	uid := os.Geteuid()
	as := func(principal string, hides bool) *fixture {
		return serving(t, a, func(s *Server) {
			s.principals = access.Principals{{Name: principal, UID: &uid}}
			if hides {
				all := access.Entity{Type: access.Any}
				s.acls = access.ACLs{Rules: map[access.Action][]access.Rule{access.View: {{Principals: all, Objects: all}}}}
			}
		})
	}
	ops, other, open := as("ops", true), as("other", true), as("other", false)
	body := strings.Replace(op("RESERVE", res("reservations", `[{"type":"DYNAMIC","role":"web","principal":"ops"}]`)), `{"type"`, `{"id":{"value":"one"},"type"`, 1)
	ops.must(200, "POST", "/v1/operations", body, nil)
	for f, want := range map[*fixture]int{ops: 1, other: 0, open: 1} {
		var page wire.OperationStatuses
		f.must(200, "GET", "/v1/operations", "", &page)
		_, text := f.foreign("/api/v1", "application/json", `{"type":"GET_OPERATIONS"}`)
		if len(page.Operations) != want || strings.Count(text, `"info"`) != want {
			t.Errorf("told %+v and %s, want %d", page, text, want)
		}
	}
	other.problem(404, "not_found", "GET", "/v1/operations/one", "")
	open.must(200, "GET", "/v1/operations/one", "", nil)
	ops.must(204, "DELETE", "/v1/operations/one", "", nil)
}
