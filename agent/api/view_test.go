package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/access"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// webIsHidden lets guest see all roles but web, and everybody else see everything.
func webIsHidden() access.ACLs {
	anybody := access.Entity{Type: access.Any}
	return access.ACLs{Rules: map[access.Action][]access.Rule{access.View: {
		{Principals: access.Entity{Values: []string{"guest"}}, Objects: access.Entity{Values: []string{"art", "zoo", "web/sub"}}},
		{Principals: access.Entity{Values: []string{"guest"}}, Objects: access.Entity{Type: access.None}},
		{Principals: anybody, Objects: anybody},
	}}}
}

// withOthers adds volumes of other roles on both sides of web's, one of which has a fault,
// and a task that uses volumes of web and of art.
func (r *ruled) withOthers() {
	r.t.Helper()
	use := []volume.Use{{Volume: "web/data", Mode: resource.RW}}
	for _, role := range []string{"art", "zoo"} {
		stack := []resource.Reservation{{Type: resource.Dynamic, Role: role}}
		disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 64 * resource.One, Reservations: stack}
		v := disk
		v.Scalar = 16 * resource.One
		v.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: "v"}, Volume: &resource.Volume{ContainerPath: "of " + role, Mode: resource.RW}}
		use = append(use, volume.Use{Volume: role + "/v", Mode: resource.RW})
		if _, err := r.agent.Do(r.t.Context(), volume.Reserve{Resources: []resource.Resource{disk}},
			volume.Create{Volume: v, Owner: volume.Owner{Mode: 0o755}}); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := r.agent.Do(r.t.Context(), volume.Claim{Task: "all", Uses: use}); err != nil {
		r.t.Fatal(err)
	}
}

// get asks for something that is there, as JSON.
func get[T any](r *ruled, path string) (v T, body string) {
	r.t.Helper()
	status, body := r.send(request{"GET", path, "", ""})
	if status != 200 {
		r.t.Fatalf("GET %s: got %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		r.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
	return v, body
}

func TestWhatMayNotBeSeenIsInNoAnswer(t *testing.T) {
	t.Parallel()
	r := ruling(t, webIsHidden())
	r.withOthers()
	for _, who := range []string{"another user", "another's certificate"} {
		r.as(askers[who])
		for _, path := range []string{"/v1/status", "/v1/volumes", "/v1/tasks", "/v1/tasks/all", "/v1/tasks/t0", "/v1/resources",
			"/v1/resources?role=web", "/v1/volumes/art/v"} {
			if _, body := get[any](r, path); strings.Contains(body, "web") {
				t.Errorf("%s: GET %s shows web:\n%s", who, path, body)
			}
		}
		volumes, _ := get[wire.Volumes](r, "/v1/volumes")
		task, _ := get[wire.Task](r, "/v1/tasks/all")
		status, _ := get[wire.Status](r, "/v1/status")
		resources, _ := get[wire.Resources](r, "/v1/resources")
		if len(volumes.Volumes) != 2 || len(task.Attachments) != 2 || len(status.Reservations) != 2 || len(resources.ReservedResources) != 2 {
			t.Errorf("%s: sees %d volumes, %d uses, %d reservations and reserved %v; want two of each",
				who, len(volumes.Volumes), len(task.Attachments), len(status.Reservations), resources.ReservedResources)
		}
		if status.Counts.Volumes != 4 {
			t.Errorf("%s: the host has %d volumes, want all 4 counted", who, status.Counts.Volumes)
		}
	}
	r.as(askers["a user"])
	if volumes, _ := get[wire.Volumes](r, "/v1/volumes"); len(volumes.Volumes) != 4 {
		t.Errorf("ops sees %d volumes, want all", len(volumes.Volumes))
	}
}

func TestPagesGoOnBehindWhatMayNotBeSeen(t *testing.T) {
	t.Parallel()
	r := ruling(t, webIsHidden())
	r.withOthers()
	r.as(askers["another user"])
	var names []string
	for after := ""; len(names) < 5; {
		page, _ := get[wire.Volumes](r, "/v1/volumes?limit=1&after="+after)
		for _, v := range page.Volumes {
			names = append(names, v.Name)
		}
		if len(page.Volumes) != 1 || strings.HasPrefix(page.Next, "web/") {
			t.Errorf("after %q: got %+v, want one volume and the next one not of web", after, page)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"art/v", "zoo/v"}, names); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
}

func TestAVolumeThatMayNotBeSeenIsNotThereForWhoeverAsksForIt(t *testing.T) {
	t.Parallel()
	r := ruling(t, webIsHidden())
	v, err := r.agent.State().Find("web/data")
	if err != nil {
		t.Fatal(err)
	}
	r.as(askers["another user"])
	const json = "application/json"
	before := r.agent.State().Version
	for _, ref := range []string{"web/data", string(v.UUID)} {
		for _, q := range []request{
			{"GET", "/v1/volumes/REF", "", ""},
			{"PATCH", "/v1/volumes/REF", json, `{"size":134217728}`},
			{"DELETE", "/v1/volumes/REF", "", ""},
			{"DELETE", "/v1/volumes/REF?dry_run=true", "", ""},
			{"DELETE", "/v1/volumes/REF?wait=false", "", ""},
			{"POST", "/v1/tasks", json, `{"task":"t1","volumes":[{"volume":"REF"}]}`},
			{"POST", "/v1/tasks/t1/attachments", json, `{"volume":"REF"}`},
			{"POST", "/v1/tasks/t1/mounts", json, `{"volume":"REF"}`},
			{"DELETE", "/v1/tasks/t0/attachments?volume=REF", "", ""},
		} {
			as := func(ref string) (int, string) {
				q := q
				q.path, q.body = strings.ReplaceAll(q.path, "REF", ref), strings.ReplaceAll(q.body, "REF", ref)
				return r.send(q)
			}
			const none = "web/none" // which does not exist
			hidden, told := as(ref)
			missing, want := as(none)
			if want = strings.ReplaceAll(want, none, ref); hidden != http.StatusNotFound || missing != hidden || told != want {
				t.Errorf("%s %s: of %s it is told %d %s, of one that is not there %d %s", q.method, q.path, ref, hidden, told, missing, want)
			}
		}
	}
	if got := r.agent.State().Version; got != before {
		t.Errorf("version %d after %d, want nothing changed", got, before)
	}
	entries := r.entries()
	if len(entries) != 2*2*8 || strings.Count(r.log.String(), "view_roles") != 2*8 {
		t.Errorf("%d calls audited and %d logged as refused, want each of them", len(entries), strings.Count(r.log.String(), "view_roles"))
	}
	for _, e := range entries {
		if e.Principal != "guest" || e.Outcome != "not found" {
			t.Errorf("audited as %+v, want guest and not found", e)
		}
	}
}

// TestAVolumeThatMayNotBeSeenIsNotThereForMesosOperations names web/data by all of its
// resource, as somebody may who was shown it once, and a volume that is not there likewise.
func TestAVolumeThatMayNotBeSeenIsNotThereForMesosOperations(t *testing.T) {
	t.Parallel()
	const (
		resource = `{"name":"disk","type":"SCALAR","scalar":{"value":64},"shared":{},"reservations":[{"type":"DYNAMIC","role":"web","principal":"maker"}],` +
			`"disk":{"persistence":{"id":"NAME","principal":"maker"},"volume":{"container_path":"NAME","mode":"RW"}}}`
		more   = `{"name":"disk","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"web","principal":"maker"}]}`
		launch = `{"type":"LAUNCH","launch":{"task_infos":[{"name":"n","task_id":{"value":"TASK"},"agent_id":{"value":"AGENT"},"resources":[` + resource + `]}]}}`
		json   = "application/json"
	)
	r := ruling(t, webIsHidden())
	agent := r.agent.State().Agent
	before := r.agent.State().Version
	tried := map[string]request{
		"destroy":                 {"POST", "/v1/operations", json, `{"type":"DESTROY","destroy":{"volumes":[` + resource + `]}}`},
		"destroy with an id":      {"POST", "/v1/operations", json, `{"id":{"value":"o"},"type":"DESTROY","destroy":{"volumes":[` + resource + `]}}`},
		"destroy by a form":       {"POST", "/destroy-volumes", "application/x-www-form-urlencoded", "slaveId=" + agent + "&volumes=" + url.QueryEscape("["+resource+"]")},
		"destroy by a call":       {"POST", "/api/v1", json, `{"type":"DESTROY_VOLUMES","destroy_volumes":{"agent_id":{"value":"AGENT"},"volumes":[` + resource + `]}}`},
		"grow":                    {"POST", "/v1/operations", json, `{"type":"GROW_VOLUME","grow_volume":{"volume":` + resource + `,"addition":` + more + `}}`},
		"shrink":                  {"POST", "/v1/operations", json, `{"type":"SHRINK_VOLUME","shrink_volume":{"volume":` + resource + `,"subtract":{"value":1}}}`},
		"shrink by another size":  {"POST", "/v1/operations", json, strings.Replace(`{"type":"SHRINK_VOLUME","shrink_volume":{"volume":`+resource+`,"subtract":{"value":1}}}`, ":64}", ":65}", 1)},
		"launch":                  {"POST", "/v1/operations", json, strings.Replace(launch, "TASK", "new", 1)},
		"launch of a task of his": {"POST", "/v1/operations", json, strings.Replace(launch, "TASK", "t0", 1)},
	}
	r.as(askers["another user"])
	for name, q := range tried {
		as := func(id string) (int, string) {
			q := q
			q.body = strings.NewReplacer("NAME", id, "AGENT", agent).Replace(q.body)
			status, body := r.send(q)
			return status, strings.ReplaceAll(body, id, "NAME")
		}
		hidden, told := as("data")
		missing, want := as("none")
		if hidden/100 != 4 || missing != hidden || told != want {
			t.Errorf("%s: of a hidden volume it is told %d %s, of one that is not there %d %s", name, hidden, told, missing, want)
		}
	}
	if got := r.agent.State().Version; got != before {
		t.Errorf("version %d after %d, want nothing changed", got, before)
	}
	r.as(askers["a user"])
	for _, name := range []string{"launch", "grow"} {
		q := tried[name]
		q.body = strings.NewReplacer("NAME", "data", "AGENT", agent).Replace(q.body)
		if status, body := r.send(q); status != 200 {
			t.Errorf("%s by somebody who sees it: got %d %s", name, status, body)
		}
	}
}

func TestAVolumeIsSeenByWhomAllItsRolesMayBeSeen(t *testing.T) {
	t.Parallel()
	view := wire.View(webIsHidden().Visible("guest"))
	stack := func(roles ...string) (s []resource.Reservation) {
		for _, r := range roles {
			s = append(s, resource.Reservation{Type: resource.Dynamic, Role: r})
		}
		return s
	}
	for _, tc := range []struct {
		roles []string
		want  bool
	}{{[]string{"art"}, true}, {[]string{"web"}, false}, {[]string{"web", "web/sub"}, false}, {[]string{"web/sub"}, true}, {nil, true}} {
		if got := view.Reserved(stack(tc.roles...)); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.roles, got, tc.want)
		}
	}
	if none := wire.View(nil); !none.Reserved(stack("web")) {
		t.Error("without rules web is hidden")
	}
}

func TestFaultsOfWhatMayNotBeSeenAreNotTold(t *testing.T) {
	t.Parallel()
	data := &volume.Volume{UUID: "u1", Name: volume.Name{Role: "web", ID: "data"}, Phase: volume.Ready}
	other := &volume.Volume{UUID: "u2", Name: volume.Name{Role: "art", ID: "v"}, Phase: volume.Ready}
	at := &volume.Attachment{Volume: "u1", Task: "t1", Path: "p"}
	lost := func(u volume.Unit) volume.Change {
		return volume.Change{Fault: &volume.FaultOf{Unit: u, Fault: volume.Fault{Kind: volume.ErrLost, Reason: "lost"}}}
	}
	st := volume.Empty().With(volume.Change{Volume: data}, volume.Change{Volume: other}, volume.Change{Task: &volume.Task{ID: "t1"}},
		volume.Change{Attachment: at}, lost(volume.UnitOfVolume("u1")), lost(volume.UnitOfVolume("u2")), lost(at.Unit()), lost(volume.UnitOfTask("t1")))
	got := wire.StatusOf(st, wire.About{View: webIsHidden().Visible("guest")})
	var units []string
	for _, f := range got.Faults {
		units = append(units, f.Unit)
	}
	if diff := cmp.Diff([]string{"volume art/v", "task t1"}, units); diff != "" || got.Counts.Faults != 2 {
		t.Errorf("%d faults (-want +got):\n%s", got.Counts.Faults, diff)
	}
	if all := wire.StatusOf(st, wire.About{}); all.Counts.Faults != 4 {
		t.Errorf("%d faults without rules, want 4", all.Counts.Faults)
	}
}
