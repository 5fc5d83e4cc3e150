package api

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/checkpoint"
)

// capture is what somebody asked of a real master or agent, and what it answered. What is
// not replayed has neither the request nor the answer.
type capture struct {
	Name    string
	Status  int
	Request json.RawMessage
	Answer  json.RawMessage
}

// replay is what a capture comes to here. What is not said is as in the capture.
type replay struct {
	name   string
	words  string // that the answer must contain, and the captured one contains
	status int    // where it is another one
	says   string // that only the answer of this agent contains
	why    string // it is another one
	do     func(*stage)
	edit   func(request string) string
}

const (
	acceptWhy = "a master accepts first and tells later; this agent has done it, or refused it, when it answers"
	noRequest = "the request was not kept; it is that of 064"
)

// replays are the captures that a single agent can answer, in their order.
var replays = map[string][]replay{
	"A-main": {
		{name: "002-bad-create-without-reservation", words: "does not contain disk(reservations: [(DYNAMIC,web,ops)]):64"},
		{name: "003-bad-create-unreserved-role", words: "Persistent volumes cannot be created from unreserved resources"},
		{name: "004-reserve-1024"},
		{name: "005-bad-reserve-wrong-principal", words: "A reserve operation was attempted by authenticated principal 'ops', which does not match a reserved resource in the request with principal 'other'"},
		{name: "006-bad-reserve-no-principal", words: "A reserve operation was attempted by principal 'ops', but there is a reserved resource in the request with no principal set"},
		{name: "007-bad-reserve-too-much", words: "does not contain disk:99999"},
		{name: "008-bad-create-wrong-principal", words: "Create volume operation attempted by authenticated principal 'ops', which does not match a volume in the operation with principal 'other' set in 'disk.persistence'"},
		{name: "009-bad-create-no-principal", words: "Create volume operation attempted by principal 'ops', but there is a volume in the operation with no principal set in 'disk.persistence'"},
		{name: "010-bad-create-mode-RO", words: "Not a persistent volume: Read-only persistent volume not supported"},
		{name: "011-create-absolute-path-accepted", status: 400, says: "must be relative to the sandbox",
			why: "Mesos takes an absolute path and mounts it over the host's own files, or nowhere; here it must be relative to the sandbox"},
		{name: "012-bad-create-slash-id", words: "Invalid DiskInfo: Invalid persistence ID for persistent volume: 'a/b' contains invalid characters"},
		{name: "013-create-space-id-accepted"},
		{name: "014-destroy-absolute-path", status: 400, says: "must be relative to the sandbox", why: "011 made nothing that could be destroyed"},
		{name: "015-destroy-space-id"},
		{name: "016-bad-create-dotdot-id", words: "'..' is disallowed"},
		{name: "017-bad-create-empty-id", words: "Invalid persistence ID for persistent volume: ID must not be empty"},
		{name: "018-bad-create-host-path", words: "Expecting 'host_path' to be unset for persistent volume"},
		{name: "019-bad-create-no-volume", words: "Expecting 'volume' to be set for persistent volume"},
		{name: "020-bad-create-shared-no-persistence", words: "Only persistent volumes can be shared"},
		{name: "021-bad-reserve-shared", words: "Only persistent volumes can be shared"},
		{name: "022-bad-agent-id", words: "No agent found with specified ID"},
		{name: "023-create-shared-vol1"},
		{name: "024-bad-create-duplicate-id", words: "Persistence ID 'vol1' is not unique"},
		{name: "025-bad-create-duplicate-in-one-call", words: "Persistence ID 'dd' is not unique"},
		{name: "026-bad-create-too-big", words: "does not contain disk(reservations: [(DYNAMIC,web,ops)]):4000"},
		{name: "027-bad-grow-shared", status: 202, why: "shared volumes can grow here, also while they are in use"},
		{name: "028-bad-shrink-shared", status: 202, why: "and shrink, when nobody holds them; the request must name the size that 027 has made",
			edit: func(r string) string { return strings.Replace(r, `{"value":256}`, `{"value":288}`, 1) }},
		{name: "029-bad-destroy-unknown", words: "Invalid DESTROY operation: Persistent volumes not found"},
		{name: "030-bad-destroy-wrong-size", words: "Invalid DESTROY operation: Persistent volumes not found"},
		{name: "031-bad-destroy-not-shared-flag", words: "Invalid DESTROY operation: Persistent volumes not found"},
		{name: "032-bad-unreserve-volume", words: "Invalid UNRESERVE operation: A dynamically reserved persistent volume disk(reservations: [(DYNAMIC,web,ops)])[vol1:volume]<SHARED>:256 cannot be unreserved directly. Please destroy the persistent volume first then unreserve the resource"},
		{name: "033-bad-unreserve-too-much", words: "does not contain disk(reservations: [(DYNAMIC,web,ops)]):1024"},
		{name: "034-create-excl"},
		{name: "035-grow-excl"},
		{name: "036-bad-grow-stale-size", words: "does not contain disk(reservations: [(DYNAMIC,web,ops)])[excl:volume]:64"},
		{name: "037-bad-grow-unreserved-addition", words: "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields"},
		{name: "038-bad-shrink-to-zero", words: "Value of 'ShrinkVolume.subtract' must be smaller than the size of 'ShrinkVolume.volume'"},
		{name: "039-shrink-excl"},
		{name: "040-destroy-excl"},
		{name: "041-GET_OPERATIONS"},
		{name: "042-agent-GET_OPERATIONS"},
		{name: "045-created-agent-state"},
		{name: "049-ACCEPT-launch-rw-ro", status: 200, why: acceptWhy},
		{name: "055-inuse-agent-state"},
		{name: "064-bad-destroy-in-use", words: "Invalid DESTROY operation: Persistent volumes in use"},
		{name: "065-ACCEPT-destroy-in-use", status: 409, says: "Persistent volumes in use", why: acceptWhy},
		{name: "067-ACCEPT-destroy-in-use-with-op-id", status: 409, says: "Persistent volumes in use", why: acceptWhy},
		{name: "073-KILL-ro1", do: release("ro1")},
		{name: "075-bad-destroy-in-use-one-left", words: "Invalid DESTROY operation: Persistent volumes in use"},
		{name: "076-KILL-rw1", do: release("rw1")},
		{name: "078-destroy-vol1-after-kill", do: func(s *stage) { s.call(replay{name: "064-bad-destroy-in-use", status: 202, why: noRequest}) }},
		{name: "081-destroyed-agent-state"},
		{name: "085-ACCEPT-reserve-create-launch", status: 200, why: acceptWhy},
		{name: "088-op-status-events", do: (*stage).acknowledge},
		{name: "089-GET_OPERATIONS-2"},
		{name: "091-agent-state-2"},
		{name: "092-bad-destroy-fwvol-in-use", words: "Invalid DESTROY operation: Persistent volumes in use"},
		{name: "097-TEARDOWN", do: release("one", "two")},
		{name: "098-destroy-fwvol"},
		{name: "099-unreserve-fw"},
		{name: "100-unreserve-ops"},
		{name: "103-end-agent-state"},
	},
	"B-recovery": {
		{name: "001-reserve"},
		{name: "002-create-vol1"},
		{name: "003-create-vol2"},
		{name: "004-create-excl"},
		{name: "005-ACCEPT", do: func(s *stage) {
			s.accept(replay{name: "005-ACCEPT", status: 200, why: acceptWhy})
			release("g-rw", "g-ro")(s) // a master refuses a group of which two tasks share a volume; here they start
		}},
		{name: "012-running-agent-state"},
		{name: "019-after-agent-restart-agent-state"},
		{name: "027-after-master-restart-agent-state"},
		{name: "029-bad-destroy-in-use-after-failover", words: "Invalid DESTROY operation: Persistent volumes in use"},
		{name: "035-GET_OPERATIONS-after"},
		{name: "038-after-lost-operation-agent-state"},
		{name: "046-after-partition-agent-state"},
		{name: "050-DRAIN_AGENT", do: release("rw1", "ro1")},
		{name: "057-drained-agent-state"},
		{name: "069-after-new-id-agent-state"},
		{name: "071-destroy-vol2"},
	},
}

// beyond are the captures that one agent by itself has no answer to, by patterns of their
// names, each with how many there are in both folders.
var beyond = []struct {
	pattern string
	n       int
	why     string
}{
	{"*-master-state*", 15, "what a master knows"},
	{"*-master-slaves*", 16, "what a master knows of its agents"},
	{"*-GET_AGENTS*", 6, "what a master knows of its agents"},
	{"*-master-GET_STATE", 1, "what a master knows"},
	{"*-master-metrics", 1, "a master's figures"},
	{"*-agent-metrics", 1, "Mesos' own figures; those of this agent have names of their own"},
	{"*-flags", 2, "Mesos' own flags"},
	{"*agent-containers", 15, "containers, which are not this agent's business"},
	{"*-agent-GET_CONTAINERS", 2, "containers"},
	{"*-agent-monitor-statistics", 1, "containers"},
	{"*-agent-GET_STATE", 1, "frameworks and executors; its resources are those of /state"},
	{"*-agent-GET_RESOURCE_PROVIDERS", 1, "there are none"},
	{"*-offer*", 6, "a master makes offers, of what is offerable here"},
	{"*-UPDATE-*", 14, "a framework is told of its tasks by its executors"},
	{"*-UPDATE_OPERATION_STATUS-*", 2, "a refusal is told at once: 067, and what a master has to know of its frameworks"},
	{"*-ACCEPT-create-shared-without-cap", 1, "a master knows what its frameworks can do; /v1/resources?shared=false is for those that cannot share"},
	{"*-STEP-*", 7, "a note of what was done to the processes"},
	{"*-agent-up-*", 4, "a note of what was done to the processes"},
	{"*-master-up-*", 1, "a note of what was done to the processes"},
	{"*-agent-back-at-new-master", 1, "registration"},
	{"*-resubscribed", 1, "a framework's"},
	{"*-new-agent-id", 1, "registration"},
	{"*-create-lost", 1, "a master accepts for an agent that is down, and its operation is lost; nobody accepts anything for this one"},
	{"*-GET_OPERATIONS-pending", 1, "of the lost operation"},
	{"*-create-on-unreachable", 1, "an agent that cannot be reached answers nothing"},
	{"*-events-partition", 1, "a framework's"},
	{"*-REACTIVATE_AGENT", 1, "a master drains and reactivates"},
	{"073-MARK_AGENT_GONE", 1, "a master marks"},
	{"*-agent-log-tail", 1, "Mesos' own log"},
	{"*-after-sigusr1-agent-state", 1, "the agent had ended"},
	{"*-gone*-agent-state", 2, "the agent had ended"},
}

// stage is an agent with what was captured of a run of Mesos.
type stage struct {
	*testing.T
	agent     *agent.Agent
	ops       *fixture // asked by principal ops, as Mesos' operators were
	framework *fixture // asked by principal web-principal, as its frameworks were
	captures  map[string]capture
}

func TestTheCapturesOfMesosAreAnsweredAsMesosDid(t *testing.T) {
	t.Parallel()
	for run, rows := range replays {
		t.Run(run, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, run)
			for _, r := range rows {
				s.replay(r)
			}
			if err := s.agent.State().Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNoCaptureIsLeftOut(t *testing.T) {
	t.Parallel()
	counts := make([]int, len(beyond))
	for run, n := range map[string]int{"A-main": 105, "B-recovery": 83} {
		list := capturesOf(t, run)
		if len(list) != n {
			t.Errorf("%s has %d captures, want %d", run, len(list), n)
		}
		for _, c := range list {
			var places []int
			for i, b := range beyond {
				if match, err := path.Match(b.pattern, c.Name); err != nil {
					t.Fatal(err)
				} else if match {
					places = append(places, i)
				}
			}
			replayed := slices.ContainsFunc(replays[run], func(r replay) bool { return r.name == c.Name })
			switch {
			case replayed && len(places) == 0:
			case !replayed && len(places) == 1:
				counts[places[0]]++
			default:
				t.Errorf("%s/%s is replayed: %v, and stands %d times among those that are not", run, c.Name, replayed, len(places))
			}
		}
	}
	for i, b := range beyond {
		if counts[i] != b.n || b.why == "" {
			t.Errorf("%s: there are %d, want %d", b.pattern, counts[i], b.n)
		}
	}
}

func capturesOf(t *testing.T, run string) (list []capture) {
	t.Helper()
	data, err := os.ReadFile("../../testdata/mesos/captures/" + run + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// newStage starts an agent like the one that was captured: its disk, its other resources,
// its attribute.
func newStage(t *testing.T, run string) *stage {
	t.Helper()
	s := &stage{T: t, captures: map[string]capture{}}
	for _, c := range capturesOf(t, run) {
		s.captures[c.Name] = c
	}
	k := agenttest.NewKernel()
	k.Processes[os.Getpid()] = 1
	quiet := slog.New(slog.DiscardHandler)
	journal, err := checkpoint.Open(t.TempDir(), checkpoint.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	s.agent, err = agent.Start(t.Context(), agent.Options{
		Kernel: k, Journal: journal, Boot: "boot-1", Disks: k.Disks(), Host: capturedHost(), Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.agent.Stop()
		if err := journal.Close(); err != nil {
			t.Error(err)
		}
	})
	uid := os.Geteuid()
	as := func(principal string) func(*Server) {
		return func(s *Server) { s.principals = access.Principals{{Name: principal, UID: &uid}} }
	}
	s.ops, s.framework = serving(t, s.agent, as("ops")), serving(t, s.agent, as("web-principal"))
	return s
}

func capturedHost() volume.HostInfo {
	scalar := func(name string, n resource.Scalar) resource.Resource {
		return resource.Resource{Name: name, Type: resource.TypeScalar, Scalar: n * resource.One}
	}
	return volume.HostInfo{
		Resources: []resource.Resource{
			scalar("cpus", 2), scalar("mem", 1024),
			{Name: "ports", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 31000, End: 32000}}},
		},
		Attributes: []resource.Attribute{{Name: "rack", Type: resource.TypeText, Text: "r1"}},
	}
}

// replay does what a capture did.
func (s *stage) replay(r replay) {
	s.Helper()
	c, there := s.captures[r.name]
	switch {
	case !there:
		s.Fatalf("there is no capture %s", r.name)
	case r.do != nil:
		r.do(s)
	case strings.Contains(r.name, "ACCEPT"):
		s.accept(r)
	case strings.Contains(r.name, "agent-state"):
		s.compareState(c)
	default:
		s.call(r)
	}
}

// call asks an operator's call of a capture again, and holds the answer against its.
func (s *stage) call(r replay) {
	s.Helper()
	c := s.captures[r.name]
	status, header, data := s.ops.do("POST", "/api/v1", s.request(r))
	want := c.Status
	if r.status != 0 {
		want = r.status
	}
	var captured string
	_ = json.Unmarshal(c.Answer, &captured) // of a refusal it is text
	switch {
	case status != want:
		s.Errorf("%s: got %d %s, want %d", r.name, status, data, want)
	case (r.status != 0) != (r.why != ""):
		s.Errorf("%s: another status needs a reason, and only that", r.name)
	case status == http.StatusOK && !sameJSON(s.T, data, c.Answer):
		s.Errorf("%s: got %s, want %s", r.name, data, c.Answer)
	case status == http.StatusAccepted && len(data) != 0:
		s.Errorf("%s: got %s, want nothing", r.name, data)
	case status >= 400 && header.Get("Content-Type") != "text/plain; charset=utf-8":
		s.Errorf("%s: answered as %s, want plain text", r.name, header.Get("Content-Type"))
	case status >= 400 && (!strings.Contains(string(data), r.words+r.says) || r.words+r.says == ""):
		s.Errorf("%s: got %q, want %q in it", r.name, data, r.words+r.says)
	case !strings.Contains(captured, r.words):
		s.Errorf("%s: %q is not in the captured answer %q", r.name, r.words, captured)
	}
}

// accept asks for the operations that a framework has sent to its master.
func (s *stage) accept(r replay) {
	s.Helper()
	status, _, data := s.framework.do("POST", "/v1/operations", s.request(r))
	if status != r.status || !strings.Contains(string(data), r.says) {
		s.Errorf("%s: got %d %s, want %d with %q", r.name, status, data, r.status, r.says)
	}
}

// request is that of a capture, made to this agent.
func (s *stage) request(r replay) string {
	request := regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-S[0-9]+`).
		ReplaceAllString(string(s.captures[r.name].Request), s.agent.State().Agent)
	if r.edit != nil {
		request = r.edit(request)
	}
	return request
}

// release ends tasks.
func release(tasks ...string) func(*stage) {
	return func(s *stage) {
		for _, t := range tasks {
			s.ops.must(204, "DELETE", "/v1/tasks/"+t, "", nil)
		}
	}
}

// acknowledge notes the ends of the two operations of 085.
func (s *stage) acknowledge() {
	for _, id := range []string{"op-reserve", "op-create"} {
		var o wire.OperationStatus
		if s.ops.must(200, "GET", "/v1/operations/"+id, "", &o); o.State != volume.OperationFinished {
			s.Errorf("%s is %+v, want it finished", id, o)
		}
		s.ops.must(204, "DELETE", "/v1/operations/"+id, "", nil)
	}
}

// compareState holds what the agent says of its resources against what Mesos' agent said.
func (s *stage) compareState(c capture) {
	s.Helper()
	var want, got map[string]any
	if err := json.Unmarshal(c.Answer, &want); err != nil {
		s.Fatalf("%s: %v", c.Name, err)
	}
	s.ops.must(200, "GET", "/v1/resources", "", nil)
	_, _, data := s.ops.do("GET", "/v1/resources", "")
	if err := json.Unmarshal(data, &got); err != nil {
		s.Fatal(err)
	}
	if len(want) != 7 {
		s.Errorf("%s has %d fields of resources", c.Name, len(want))
	}
	for field := range want { // unreserved_resources_allocated is cpus and mem, which a launcher counts
		if diff := cmp.Diff(sorted(want[field]), sorted(got[field])); diff != "" {
			s.Errorf("%s: %s (-Mesos +this agent):\n%s", c.Name, field, diff)
		}
	}
}

// sorted is JSON with its lists in an order of their own.
func sorted(v any) any {
	switch v := v.(type) {
	case []any:
		list := slices.Clone(v)
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return list
	case map[string]any:
		for name, value := range v {
			v[name] = sorted(value)
		}
	}
	return v
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}
