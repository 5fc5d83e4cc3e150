package acceptance

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenon/agent/access"
	"tenon/agent/api"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// A site is the API of a node, as one client sees it.
type site struct {
	*node
	client *http.Client
}

// serve serves a node under rules to this process, which the agent knows as principal, or
// does not know where that is "".
func serve(n *node, principal string, acls access.ACLs) *site {
	n.t.Helper()
	dir, err := os.MkdirTemp("", "acceptance") // short enough for a socket
	if err != nil {
		n.t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	var known access.Principals
	if principal != "" {
		known = access.Principals{{Name: principal, UID: ptr(os.Getuid())}}
	}
	server := api.New(api.Options{Agent: n.a, Log: slog.New(slog.DiscardHandler), Version: "test", Principals: known, ACLs: acls})
	ln, err := api.Listen(path, "")
	if err != nil {
		n.t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	n.t.Cleanup(func() {
		transport.CloseIdleConnections()
		for _, err := range []error{server.Shutdown(context.Background()), <-served, os.RemoveAll(dir)} {
			if err != nil {
				n.t.Error(err)
			}
		}
	})
	return &site{n, &http.Client{Transport: transport}}
}

// open serves a new node to somebody unknown, without rules.
func open(t *testing.T) *site {
	t.Helper()
	return serve(start(t, root), "", access.ACLs{})
}

// post sends a body and gives the status and the text of the answer.
func (s *site) post(path, media, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://tenon"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// form posts one of the operators' forms of Mesos' master: fields are name and value by turns.
func (s *site) form(path string, fields ...string) (int, string) {
	s.t.Helper()
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return s.post(path, "application/x-www-form-urlencoded", values.Encode())
}

// Paths of the forms, and the field that each has resources in.
var fieldOf = map[string]string{
	"/reserve": "resources", "/unreserve": "resources", "/create-volumes": "volumes", "/destroy-volumes": "volumes",
}

// answers fails the test unless a form about resources is answered with a status, in words
// like these. What is not accepted changes nothing.
func (s *site) answers(status int, says, path string, list ...resource.Resource) {
	s.t.Helper()
	before := s.all()
	got, text := s.form(path, "slaveId", s.a.State().Agent, fieldOf[path], toJSON(s.t, list))
	if got != status || !strings.Contains(text, says) {
		s.t.Errorf("POST %s %v: %d %s, want %d and %q", path, list, got, text, status, says)
	}
	if status != http.StatusAccepted {
		same(s.t, "after POST "+path, s.all(), before)
	}
}

// call makes a call of v1 about this agent; body has the rest of its fields.
func (s *site) call(kind string, body map[string]any) (int, string) {
	s.t.Helper()
	body["agent_id"] = map[string]string{"value": s.a.State().Agent}
	return s.post("/api/v1", "application/json", toJSON(s.t, map[string]any{"type": kind, strings.ToLower(kind): body}))
}

// accepted fails the test unless a call of v1 is.
func (s *site) accepted(kind string, body map[string]any) {
	s.t.Helper()
	if status, text := s.call(kind, body); status != http.StatusAccepted {
		s.t.Errorf("%s: %d %s, want accepted", kind, status, text)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func volumesOnStatic(t *testing.T) {
	d := configured(space(4096))
	held := space(1024, static("eng"))
	d.Parts = []volume.Part{{Size: 3072 * resource.One}, {Reservations: held.Reservations, Size: held.Scalar}}
	s := serve(startOn(t, root, d), "", access.ACLs{})
	v := vol(space(64, static("eng")), "id")
	s.answers(http.StatusAccepted, "", "/create-volumes", v)
	s.has("made", v, space(960, static("eng")))
	s.answers(http.StatusAccepted, "", "/destroy-volumes", v)
	s.has("destroyed", held)
}

func volumesOnDynamic(t *testing.T) {
	s := open(t)
	v := vol(eng(64), "id")
	s.answers(http.StatusAccepted, "", "/reserve", eng(64))
	s.answers(http.StatusAccepted, "", "/create-volumes", v)
	s.has("made", v)
	s.answers(http.StatusAccepted, "", "/destroy-volumes", v)
	s.has("destroyed", eng(64))
	s.answers(http.StatusAccepted, "", "/unreserve", eng(64))
	s.has("unreserved")
}

func volumeOfAnotherRole(t *testing.T) {
	s := open(t)
	s.must(reserve(eng(64)))
	s.answers(http.StatusConflict, "", "/create-volumes", vol(space(8, dynamic("web")), "id"))
}

func unreserveBeneathAVolume(t *testing.T) {
	s := open(t)
	s.must(reserve(eng(64)), create(vol(eng(64), "id")))
	s.answers(http.StatusConflict, "", "/unreserve", eng(64))
}

func volumesOfNobody(t *testing.T) {
	s := open(t)
	for _, path := range []string{"/create-volumes", "/destroy-volumes"} {
		s.answers(http.StatusBadRequest, "reserv", path, vol(space(8, dynamic("*")), "id"))
	}
}

func volumeLargerThanItsReservation(t *testing.T) {
	s := open(t)
	s.must(reserve(eng(64)))
	s.answers(http.StatusConflict, "", "/create-volumes", vol(eng(65), "id"))
}

func destroyOfAnother(t *testing.T) {
	s := open(t)
	s.must(reserve(eng(64), space(8, dynamic("web"))), create(vol(eng(8), "id")))
	for _, other := range []resource.Resource{vol(eng(8), "id2"), vol(space(8, dynamic("web")), "id"), vol(eng(9), "id")} {
		s.answers(http.StatusBadRequest, "", "/destroy-volumes", other)
	}
	s.answers(http.StatusAccepted, "", "/destroy-volumes", changed(vol(eng(8), "id"), func(d *resource.Disk) {
		d.Volume = &resource.Volume{ContainerPath: "another", Mode: resource.RW}
	}))
}

const opsMayMakeForTwo = `{"permissive": false,
	"view_roles": [{"principals": {"type": "ANY"}, "roles": {"type": "ANY"}}],
	"create_volumes": [{"principals": {"values": ["ops"]}, "roles": {"values": ["eng", "web"]}}],
	"destroy_volumes": [{"principals": {"values": ["ops"]}, "creator_principals": {"values": ["ops"]}}]}`

func allowedByRules(t *testing.T) {
	n := start(t, root)
	s := serve(n, "ops", rules(t, opsMayMakeForTwo))
	one, two := owned(eng(8), "id", "ops"), owned(space(8, dynamic("web")), "id", "ops")
	n.must(reserve(eng(8), space(8, dynamic("web"))))
	s.answers(http.StatusAccepted, "", "/create-volumes", one, two)
	s.has("made", one, two)
	s.answers(http.StatusAccepted, "", "/destroy-volumes", one, two)
}

func deniedByRules(t *testing.T) {
	n := start(t, root)
	s := serve(n, "ops", rules(t, opsMayMake))
	n.must(reserve(eng(64), space(64, dynamic("web"))), create(owned(eng(8), "old", "dev")))
	other := owned(space(8, dynamic("web")), "id", "ops")
	s.answers(http.StatusForbidden, "", "/create-volumes", other)
	s.answers(http.StatusForbidden, "", "/create-volumes", owned(eng(8), "id", "ops"), other)
	s.answers(http.StatusForbidden, "", "/destroy-volumes", vol(eng(8), "old"))
}

func missingFields(t *testing.T) {
	s := open(t)
	s.must(reserve(eng(64)))
	for path, field := range fieldOf {
		list := toJSON(t, []resource.Resource{eng(8)})
		for what, fields := range map[string][]string{
			"without slaveId":   {field, list},
			"without resources": {"slaveId", s.a.State().Agent},
			"of another agent":  {"slaveId", "another", field, list},
			"with bad JSON":     {"slaveId", s.a.State().Agent, field, "["},
		} {
			if status, text := s.form(path, fields...); status != http.StatusBadRequest {
				t.Errorf("POST %s %s: %d %s, want a bad request", path, what, status, text)
			}
		}
	}
	s.has("afterwards", eng(64))
}

func endpointAndOperation(t *testing.T) {
	s := open(t)
	v := vol(eng(64), "id")
	s.must(reserve(eng(64)), create(v))
	s.answers(http.StatusAccepted, "", "/destroy-volumes", v)
	s.answers(http.StatusAccepted, "", "/unreserve", eng(64))
	s.has("what operations made and endpoints removed")
	s.answers(http.StatusAccepted, "", "/reserve", eng(64))
	s.answers(http.StatusAccepted, "", "/create-volumes", v)
	s.must(destroy(v), unreserve(eng(64)))
	s.has("what endpoints made and operations removed")
}

func callsOfV1(t *testing.T) {
	s := open(t)
	v := sharing(eng(64), "id")
	s.accepted("RESERVE_RESOURCES", map[string]any{"resources": []resource.Resource{eng(64)}})
	s.accepted("CREATE_VOLUMES", map[string]any{"volumes": []resource.Resource{v}})
	s.must(launch("task", v))
	status, _ := s.call("DESTROY_VOLUMES", map[string]any{"volumes": []resource.Resource{v}})
	is(t, "destroy while a task uses it", status, http.StatusBadRequest)
	s.release("task")
	s.accepted("DESTROY_VOLUMES", map[string]any{"volumes": []resource.Resource{v}})
	s.accepted("UNRESERVE_RESOURCES", map[string]any{"resources": []resource.Resource{eng(64)}})
	s.has("afterwards")
}

func resizesOfV1(t *testing.T) {
	s := open(t)
	s.must(reserve(eng(64)), create(vol(eng(8), "id")))
	s.accepted("GROW_VOLUME", map[string]any{"volume": vol(eng(8), "id"), "addition": eng(8)})
	s.has("grown", vol(eng(16), "id"), eng(48))
	s.accepted("SHRINK_VOLUME", map[string]any{"volume": vol(eng(16), "id"), "subtract": map[string]int{"value": 4}})
	s.has("shrunk", vol(eng(12), "id"), eng(52))
}

func bothFormatsOfV1(t *testing.T) {
	s := open(t)
	v := vol(eng(8), "id")
	for _, format := range []func(resource.Resource) ([]byte, error){resource.Resource.MarshalOld, resource.Resource.MarshalJSON} {
		of := func(r resource.Resource) []json.RawMessage {
			text, err := format(r)
			allowed(t, r.String(), err)
			return []json.RawMessage{text}
		}
		s.accepted("RESERVE_RESOURCES", map[string]any{"resources": of(eng(64))})
		s.accepted("CREATE_VOLUMES", map[string]any{"volumes": of(v)})
		s.has("made", v, eng(56))
		s.accepted("DESTROY_VOLUMES", map[string]any{"volumes": of(v)})
		s.accepted("UNRESERVE_RESOURCES", map[string]any{"resources": of(eng(64))})
		s.has("afterwards")
	}
}

func badReservations(t *testing.T) {
	s := open(t)
	s.answers(http.StatusBadRequest, "", "/reserve", space(8, dynamic("*")))
	s.answers(http.StatusBadRequest, "", "/reserve", space(8))
	s.answers(http.StatusBadRequest, "", "/unreserve", space(8))
	s.answers(http.StatusConflict, "", "/reserve", eng(4097))
	s.answers(http.StatusConflict, "", "/unreserve", eng(8))
}

func reservingUnderRules(t *testing.T) {
	n := start(t, root)
	acls := rules(t, `{"permissive": false,
		"reserve_resources": [{"principals": {"values": ["ops"]}, "roles": {"values": ["eng", "web"]}}],
		"unreserve_resources": [{"principals": {"values": ["ops"]}, "reserver_principals": {"values": ["ops"]}}]}`)
	ops, dev := serve(n, "ops", acls), serve(n, "dev", acls)
	web := space(8, by("ops", "web"))
	ops.answers(http.StatusAccepted, "", "/reserve", byOps(64), web)
	ops.answers(http.StatusAccepted, "", "/unreserve", web)
	ops.answers(http.StatusForbidden, "", "/reserve", byOps(8), space(8, by("ops", "ads")))
	dev.answers(http.StatusForbidden, "", "/reserve", space(8, by("dev", "eng")))
	dev.answers(http.StatusForbidden, "", "/unreserve", byOps(8))
	n.has("afterwards", byOps(64))
}

func principalsThatDoNotMatch(t *testing.T) {
	missingFields(t)
	s := serve(start(t, root), "ops", access.ACLs{})
	s.answers(http.StatusBadRequest, "principal", "/reserve", space(8, by("dev", "eng")))
	s.answers(http.StatusAccepted, "", "/reserve", byOps(8))
}

func anyPrincipalWillDo(t *testing.T) {
	s := open(t)
	for _, r := range []resource.Resource{eng(8), byOps(8), space(8, by("dev", "eng"))} {
		s.answers(http.StatusAccepted, "", "/reserve", r)
		s.answers(http.StatusAccepted, "", "/unreserve", r)
	}
}

func operationsAreListed(t *testing.T) {
	s := open(t)
	op := reserve(eng(8))
	op.ID = "op-1"
	s.must(op)
	status, text := s.post("/api/v1", "application/json", `{"type":"GET_OPERATIONS"}`)
	is(t, "status", status, http.StatusOK)
	for _, part := range []string{"op-1", "RESERVE", "OPERATION_FINISHED", s.a.State().Agent} {
		is(t, "the list has "+part, strings.Contains(text, part), true)
	}
}

// get asks for JSON.
func (s *site) get(path string, into any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://tenon"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
	}
}

func stateInMesosWords(t *testing.T) {
	s := serve(startOn(t, root, configured(space(4096))), "", access.ACLs{})
	v := sharing(space(64, by("ops", "role1")), "id")
	s.must(reserve(space(1024, by("ops", "role1"))), create(v), launch("t1", v), launch("t2", v))
	var state struct {
		Resources  map[string]any               `json:"resources"`
		Reserved   map[string]map[string]any    `json:"reserved_resources"`
		Unreserved map[string]any               `json:"unreserved_resources"`
		Full       map[string][]json.RawMessage `json:"reserved_resources_full"`
		Allocated  map[string]map[string]any    `json:"reserved_resources_allocated"`
		Free       []resource.Resource          `json:"unreserved_resources_full"`
	}
	s.get("/v1/resources", &state)
	for what, c := range map[string]struct {
		in   map[string]any
		disk float64
	}{"resources": {state.Resources, 4096}, "role1": {state.Reserved["role1"], 1024}, "unreserved": {state.Unreserved, 3072}, "used by role1": {state.Allocated["role1"], 64}} {
		is(t, "disk of "+what, c.in["disk"], any(c.disk))
		for _, name := range []string{"cpus", "gpus", "mem"} {
			is(t, name+" of "+what, c.in[name], any(0.0))
		}
	}
	same(t, "unreserved in full", resource.SetOf(state.Free...), resource.SetOf(space(3072)))
	var full resource.Set
	for _, text := range state.Full["role1"] {
		for _, field := range []string{`"role":"role1"`, `"reservation":{"principal":"ops"}`, `"reservations":[`} {
			is(t, string(text)+" has "+field, strings.Contains(string(text), field), true)
		}
		full = full.Add(read(t, string(text)))
	}
	same(t, "role1 in full", full, resource.SetOf(v, space(960, by("ops", "role1"))))
}
