package api

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// asker is one who asks: on this host or, with a certificate, elsewhere.
type asker struct {
	credentials
	certificate string // its common name
	principal   string // that they must be known as
}

const socketGroup = 50 // whose members may use the socket

// askers are all kinds of them: a known user, a member of a known group, an unknown one,
// somebody else that is known, and the same two elsewhere.
var askers = map[string]asker{
	"a user":                  {credentials: credentials{uid: 1001, gid: socketGroup}, principal: "ops"},
	"a member of a group":     {credentials: credentials{uid: 1002, gid: 100, groups: []int{7, socketGroup}}, principal: "ops"},
	"a primary group":         {credentials: credentials{uid: 1002, gid: 7, groups: []int{socketGroup}}, principal: "ops"},
	"nobody that is known":    {credentials: credentials{uid: 1003, gid: socketGroup}},
	"root":                    {credentials: credentials{uid: 0, gid: 0}, principal: "admin"},
	"another user":            {credentials: credentials{uid: 1004, gid: socketGroup}, principal: "guest"},
	"a certificate":           {certificate: "ops", principal: "ops"},
	"another's certificate":   {certificate: "guest", principal: "guest"},
	"a certificate of no uid": {certificate: "1001", principal: "1001"},
}

var principals = access.Principals{
	{Name: "ops", UID: new(1001)}, {Name: "ops", GID: new(7)}, {Name: "guest", UID: new(1004)}, {Name: "admin", UID: new(0)},
}

var changing = []access.Action{access.Reserve, access.Unreserve, access.Create, access.Destroy, access.Resize, access.Attach}

// aclsBy are the ACLs that are tried: who may change something by them, and which rule
// refuses an action to others.
var aclsBy = map[string]struct {
	acls access.ACLs
	may  func(principal string) bool
	rule func(access.Action) string
}{
	"none": {access.ACLs{}, func(string) bool { return true }, nil},
	"ops alone": {rulesOf(true, access.Rule{Principals: access.Entity{Values: []string{"ops"}}, Objects: access.Entity{Type: access.Any}}),
		func(p string) bool { return p == "ops" }, func(access.Action) string { return "permissive = false" }},
	"nobody": {rulesOf(false, access.Rule{Principals: access.Entity{Type: access.None}, Objects: access.Entity{Type: access.Any}}),
		func(string) bool { return false }, func(a access.Action) string { return string(a) + "[0]" }},
}

// rulesOf has one rule for all that changes something; all may be seen.
func rulesOf(strict bool, rule access.Rule) access.ACLs {
	anybody := access.Entity{Type: access.Any}
	a := access.ACLs{Strict: strict, Rules: map[access.Action][]access.Rule{access.View: {{Principals: anybody, Objects: anybody}}}}
	for _, action := range changing {
		a.Rules[action] = []access.Rule{rule}
	}
	return a
}

// ruled is a server with rules, asked by somebody.
type ruled struct {
	*fixture
	agent  *agent.Agent
	who    *atomic.Pointer[asker]
	audit  string // file
	remote *remote
}

// victim is a process that doom makes a task of.
const victim = 1 << 22

// ruling serves an agent by ACLs that has web/data and web/alone, of which the task t0 holds
// the second, and an operation with an id of each asker's, "done-" and the principal.
func ruling(t *testing.T, acls access.ACLs) *ruled {
	t.Helper()
	k := agenttest.NewKernel("/mnt/d1")
	k.Processes[os.Getpid()], k.Processes[victim] = 1, 1
	r := &ruled{agent: agenttest.Start(t, k), who: &atomic.Pointer[asker]{}, audit: filepath.Join(t.TempDir(), "audit")}
	r.prepare(t)
	audit, err := access.OpenAudit(r.audit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := audit.Close(); err != nil {
			t.Error(err)
		}
	})
	r.fixture = serving(t, r.agent, func(s *Server) {
		s.gid, s.principals, s.acls, s.audit = socketGroup, principals, acls, audit
		s.credentials = func(net.Conn) (credentials, error) {
			c := r.who.Load().credentials
			c.pid = os.Getpid()
			return c, nil
		}
	})
	return r
}

// as has all that follows asked by somebody.
func (r *ruled) as(who asker) {
	r.client.CloseIdleConnections()
	r.who.Store(&who)
}

// send makes a request as whoever asks.
func (r *ruled) send(q request) (int, string) {
	r.t.Helper()
	who := r.who.Load()
	if who.certificate == "" {
		return sendTo(r.t, r.client, "http://tenon", q)
	}
	if r.remote == nil {
		r.remote = r.serveTLS()
	}
	client := r.remote.client(r.remote.config(r.remote.clients.client(who.certificate)))
	defer client.CloseIdleConnections()
	return sendTo(r.t, client, "https://"+r.remote.addr, q)
}

// prepare makes what there is, as it came about before there were rules.
func (r *ruled) prepare(t *testing.T) {
	t.Helper()
	maker := "maker"
	stack := []resource.Reservation{{Type: resource.Dynamic, Role: "web", Principal: &maker}}
	disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 1024 * resource.One, Reservations: stack}
	create := func(id string, shared bool) volume.Create {
		v := disk
		v.Scalar, v.Shared = 64*resource.One, shared
		v.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: id, Principal: &maker},
			Volume: &resource.Volume{ContainerPath: id, Mode: resource.RW}}
		return volume.Create{Volume: v, Owner: volume.Owner{Mode: 0o755}}
	}
	ops := []volume.Operation{
		volume.Reserve{Resources: []resource.Resource{disk}}, create("data", true), create("alone", false),
		volume.Claim{Task: "t0", Uses: []volume.Use{{Volume: "web/alone", Mode: resource.RW}}},
	}
	for _, by := range []string{"", "ops", "guest", "admin", "1001"} {
		ops = append(ops, volume.Identified{ID: "done-" + by, Type: "RESERVE", Digest: "1", Principal: by})
	}
	for _, op := range ops {
		if _, err := r.agent.Do(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
}

// doom adds a task that can be killed, where a change is about one.
func (r *ruled) doom(c change) {
	r.t.Helper()
	if !strings.Contains(c.path, "doomed") {
		return
	}
	if _, err := r.agent.Do(r.t.Context(), volume.Claim{Task: "doomed", Lease: volume.Lease{PID: victim}, Uses: []volume.Use{{Volume: "web/data"}}}); err != nil {
		r.t.Fatal(err)
	}
}

// change is a request that changes something, by the route that it is for.
type change struct {
	action access.Action // that must be allowed; "" needs none
	request
	local bool // cannot be asked for from elsewhere
}

// changes has a request for every route that changes something. PRINCIPAL stands where
// Mesos' rule wants a known principal to be named, AGENT for the id of the agent, and at the
// end of a path BY for whoever asks.
func changes() map[string]change {
	const (
		space    = `{"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"DYNAMIC","role":"web"PRINCIPAL}]}`
		old      = `{"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"DYNAMIC","role":"web","principal":"maker"}]}`
		volume   = `{"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"DYNAMIC","role":"web","principal":"maker"}],"disk":{"persistence":{"id":"new"PRINCIPAL},"volume":{"container_path":"new","mode":"RW"}}}`
		existing = `{"name":"disk","type":"SCALAR","scalar":{"value":64},"shared":{},"reservations":[{"type":"DYNAMIC","role":"web","principal":"maker"}],"disk":{"persistence":{"id":"data","principal":"maker"},"volume":{"container_path":"data","mode":"RW"}}}`
		json     = "application/json"
	)
	all := map[string]change{
		"POST /v1/operations":                 {access.Reserve, request{"POST", "/v1/operations", json, `{"type":"RESERVE","reserve":{"resources":[` + space + `]}}`}, false},
		"DELETE /v1/operations/{id}":          {"", request{"DELETE", "/v1/operations/done-BY", "", ""}, false},
		"POST /v1/volumes":                    {access.Create, request{"POST", "/v1/volumes", json, `{"role":"web","id":"new","size":1048576}`}, false},
		"PATCH /v1/volumes/{ref...}":          {access.Resize, request{"PATCH", "/v1/volumes/web/data", json, `{"size":134217728}`}, false},
		"DELETE /v1/volumes/{ref...}":         {access.Destroy, request{"DELETE", "/v1/volumes/web/data", "", ""}, false},
		"POST /v1/tasks":                      {access.Attach, request{"POST", "/v1/tasks", json, `{"task":"t1","volumes":[{"volume":"web/data"}]}`}, false},
		"DELETE /v1/tasks/{task}":             {access.Attach, request{"DELETE", "/v1/tasks/t0", "", ""}, false},
		"PUT /v1/tasks/{task}/lease":          {access.Attach, request{"PUT", "/v1/tasks/t0/lease", json, `{"ttl":"10m"}`}, false},
		"POST /v1/tasks/{task}/kill":          {access.Attach, request{"POST", "/v1/tasks/doomed/kill", "", ""}, false},
		"POST /v1/tasks/{task}/attachments":   {access.Attach, request{"POST", "/v1/tasks/t2/attachments", json, `{"volume":"web/data"}`}, false},
		"DELETE /v1/tasks/{task}/attachments": {access.Attach, request{"DELETE", "/v1/tasks/t0/attachments?volume=web/alone", "", ""}, false},
		"PATCH /v1/tasks/{task}/attachments":  {access.Attach, request{"PATCH", "/v1/tasks/t0/attachments", json, `{"volume":"web/alone","mode":"RO"}`}, false},
		"POST /v1/tasks/{task}/mounts":        {access.Attach, request{"POST", "/v1/tasks/t3/mounts", json, `{"volume":"web/data"}`}, true},
	}
	form := func(list, resource string) string {
		return url.Values{"slaveId": {"AGENT"}, list: {"[" + resource + "]"}}.Encode()
	}
	const call = `{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":"AGENT"},"resources":[` + space + `]}}`
	for _, prefix := range []string{"", "/master"} {
		for path, c := range map[string]change{
			"/reserve":         {access.Reserve, request{body: form("resources", space)}, false},
			"/unreserve":       {access.Unreserve, request{body: form("resources", old)}, false},
			"/create-volumes":  {access.Create, request{body: form("volumes", volume)}, false},
			"/destroy-volumes": {access.Destroy, request{body: form("volumes", existing)}, false},
			"/api/v1":          {access.Reserve, request{media: json, body: call}, false},
		} {
			c.method, c.path = "POST", prefix+path
			if c.media == "" {
				c.media = "application/x-www-form-urlencoded"
			}
			all["POST "+prefix+path] = c
		}
	}
	return all
}

// fill puts in what only the server and the asker know.
func (c change) fill(principal, agent string) request {
	named := ""
	if principal != "" {
		named = `,"principal":"` + principal + `"`
	}
	pairs := []string{"PRINCIPAL", named, "AGENT", agent}
	if c.media != "application/json" {
		pairs[1] = url.QueryEscape(named)
	}
	c.request.body = strings.NewReplacer(pairs...).Replace(c.request.body)
	if path, by := strings.CutSuffix(c.path, "BY"); by {
		c.path = path + principal
	}
	return c.request
}

func TestEveryRouteThatChangesSomethingIsTriedWithRules(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, r := range routes {
		if r.method != http.MethodGet {
			want = append(want, r.method+" "+r.pattern)
		}
	}
	for route := range changes() {
		got = append(got, route)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-code +tried):\n%s", diff)
	}
}

// TestWhoMayDoWhat tries everybody on every route that changes something, by all ACLs: it is
// done, or it is refused by the rule and nothing has changed. Either way the audit file says
// so.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	for by, rules := range aclsBy {
		for route, c := range changes() {
			t.Run(by+": "+route, func(t *testing.T) {
				t.Parallel()
				var r *ruled // until something has changed
				for name, who := range askers {
					if c.local && who.certificate != "" {
						continue
					}
					if r == nil {
						r = ruling(t, rules.acls)
						r.doom(c)
					}
					r.as(who)
					before, logged, audited := r.agent.State().Version, len(r.log.String()), len(r.entries())
					status, body := r.send(c.fill(who.principal, r.agent.State().Agent))
					entry := r.entryAfter(audited)
					r.checkAsker(name, entry, who)
					if c.action == "" || rules.may(who.principal) {
						if status/100 != 2 || r.agent.State().Version == before || entry.Outcome != "ok" {
							t.Errorf("%s: got %d %s, audited as %+v; want it done", name, status, body, entry)
						}
						r = nil
						continue
					}
					rule := rules.rule(c.action)
					if status != 403 || !strings.Contains(body, rule) || r.agent.State().Version != before {
						t.Errorf("%s: got %d %s at version %d after %d; want 403 by %s", name, status, body, r.agent.State().Version, before, rule)
					}
					if entry.Outcome != "forbidden" || !strings.Contains(entry.Reason, rule) {
						t.Errorf("%s: audited as %+v, want it forbidden by %s", name, entry, rule)
					}
					if log := r.log.String()[logged:]; !strings.Contains(log, "refused by the ACLs") || !strings.Contains(log, rule) {
						t.Errorf("%s: the log does not say that %s refused:\n%s", name, rule, log)
					}
				}
			})
		}
	}
}

// entries reads the audit file.
func (r *ruled) entries() (list []access.Entry) {
	r.t.Helper()
	data, err := os.ReadFile(r.audit)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e access.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		list = append(list, e)
	}
	return list
}

// entryAfter is the one entry that one call has made after some others.
func (r *ruled) entryAfter(others int) access.Entry {
	r.t.Helper()
	list := r.entries()
	if len(list) != others+1 {
		r.t.Fatalf("the audit file has %+v, want one entry after %d", list, others)
	}
	return list[others]
}

func (r *ruled) checkAsker(name string, e access.Entry, who asker) {
	r.t.Helper()
	switch {
	case e.Principal != who.principal || len(e.Operations) == 0 || time.Since(e.Time) > time.Hour:
		r.t.Errorf("%s: audited as %+v, want principal %q", name, e, who.principal)
	case who.certificate != "" && (e.Subject != "CN="+who.certificate || e.Remote == "" || e.UID != nil || e.PID != 0):
		r.t.Errorf("%s: audited as %+v, want the certificate and the address", name, e)
	case who.certificate == "" && (e.UID == nil || *e.UID != who.uid || e.PID != os.Getpid() || e.Subject != "" || e.Remote != ""):
		r.t.Errorf("%s: audited as %+v, want user %d and the process", name, e, who.uid)
	}
}

func TestAnOperationIsAcknowledgedByWhoeverAskedForIt(t *testing.T) {
	t.Parallel()
	hides := aclsBy["ops alone"].acls
	shows := access.ACLs{Rules: map[access.Action][]access.Rule{access.Create: hides.Rules[access.Create]}}
	for _, tc := range []struct {
		name      string
		acls      access.ACLs
		want      int
		audited   string
		explained string
	}{
		{"operations of others are hidden", hides, 404, "not found", "there is no operation"},
		{"operations of others are shown", shows, 403, "forbidden", "as it is another's"},
	} {
		r := ruling(t, tc.acls)
		for _, who := range []string{"another user", "nobody that is known", "root", "another's certificate"} {
			r.as(askers[who])
			before, audited := r.agent.State().Version, len(r.entries())
			status, body := r.send(request{"DELETE", "/v1/operations/done-ops", "", ""})
			if status != tc.want || !strings.Contains(body, tc.explained) || r.agent.State().Version != before {
				t.Errorf("%s: %s: got %d %s; want %d and nothing changed", tc.name, who, status, body, tc.want)
			}
			if e := r.entryAfter(audited); e.Outcome != tc.audited {
				t.Errorf("%s: %s: audited as %+v, want %s", tc.name, who, e, tc.audited)
			}
			if missing, _ := r.send(request{"DELETE", "/v1/operations/none", "", ""}); missing != 404 {
				t.Errorf("%s: %s: got %d for an operation that is not there", tc.name, who, missing)
			}
		}
		r.as(askers["a user"])
		if status, body := r.send(request{"DELETE", "/v1/operations/done-ops", "", ""}); status != 204 {
			t.Errorf("%s: ops itself got %d %s", tc.name, status, body)
		}
	}
}

func TestAVolumeBelongsToThePrincipalOfWhoeverMadeIt(t *testing.T) {
	t.Parallel()
	for name, who := range askers {
		r := ruling(t, access.ACLs{})
		r.as(who)
		status, body := r.send(request{"POST", "/v1/volumes", "application/json", `{"role":"web","id":"new","size":1048576}`})
		var v wire.Volume
		if status != 201 {
			t.Fatalf("%s: got %d %s", name, status, body)
		}
		decode(t, []byte(body), &v)
		got := ""
		if p := v.Resource.Disk.Persistence.Principal; p != nil {
			got = *p
		}
		if got != who.principal {
			t.Errorf("%s: it is of principal %q, want %q", name, got, who.principal)
		}
	}
}

func TestAKnownPrincipalThatIsNotNamedIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	r := ruling(t, access.ACLs{})
	r.as(askers["a user"])
	all := changes()
	for _, tc := range []struct{ route, named string }{
		{"POST /v1/operations", ""}, {"POST /v1/operations", "other"}, {"POST /create-volumes", ""}, {"POST /create-volumes", "other"},
	} {
		status, body := r.send(all[tc.route].fill(tc.named, r.agent.State().Agent))
		if status != 400 || !strings.Contains(body, "'ops'") || !strings.Contains(body, "; set ") {
			t.Errorf("%s by ops, named %q: got %d %s, want 400 that says what to set", tc.route, tc.named, status, body)
		}
	}
}

func TestADryRunIsRefusedByTheSameRules(t *testing.T) {
	t.Parallel()
	r := ruling(t, aclsBy["ops alone"].acls)
	before := r.agent.State().Version
	for _, tc := range []struct {
		who  string
		want int
	}{{"a user", 200}, {"another user", 403}} {
		r.as(askers[tc.who])
		status, body := r.send(request{"DELETE", "/v1/volumes/web/data?dry_run=true", "", ""})
		if status != tc.want || r.agent.State().Version != before {
			t.Errorf("%s: got %d %s, want %d and nothing changed", tc.who, status, body, tc.want)
		}
	}
	for _, e := range r.entries() {
		if !e.DryRun {
			t.Errorf("audited as %+v, want a dry run", e)
		}
	}
}

func TestOneRefusedOperationRefusesTheBatch(t *testing.T) {
	t.Parallel()
	acls := rulesOf(false, access.Rule{Principals: access.Entity{Type: access.Any}, Objects: access.Entity{Type: access.Any}})
	acls.Rules[access.Create] = []access.Rule{{Principals: access.Entity{Type: access.None}, Objects: access.Entity{Values: []string{"web"}}}}
	r := ruling(t, acls)
	r.as(askers["a user"])
	all := changes()
	reserve := all["POST /v1/operations"].fill("ops", "").body
	create, err := url.ParseQuery(all["POST /create-volumes"].fill("ops", "").body)
	if err != nil {
		t.Fatal(err)
	}
	before := r.agent.State().Version
	status, body := r.send(request{"POST", "/v1/operations", "application/json",
		`[` + reserve + `,{"type":"CREATE","create":{"volumes":` + create.Get("volumes") + `}}]`})
	if status != 403 || !strings.Contains(body, "create_volumes[0]") || r.agent.State().Version != before {
		t.Errorf("got %d %s, want 403 by create_volumes[0] and nothing changed", status, body)
	}
	if e := r.entryAfter(0); len(e.Operations) != 2 || e.Outcome != "forbidden" {
		t.Errorf("audited as %+v, want both operations, forbidden", e)
	}
}

func TestWithoutRulesNothingIsAsked(t *testing.T) {
	t.Parallel()
	s := New(Options{Agent: &fakeAgent{}})
	s.acls = access.ACLs{Rules: map[access.Action][]access.Rule{}}
	p := peer{rules: s.rulesFor("ops")}
	g := guard{rules: p.rules}
	if p.view != nil || p.allow != nil || g.function() != nil {
		t.Errorf("a server without rules has %+v, want nothing to be asked", p.rules)
	}
}
