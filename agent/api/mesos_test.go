package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

const formType = "application/x-www-form-urlencoded"

// foreign sends a body of a type and gives the answer's status and text.
func (f *fixture) foreign(path, media, body string, headers ...string) (int, string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), "POST", "http://tenon"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	status, header, data := f.send(req)
	if got := header.Get("Content-Type"); status >= 400 && got != "text/plain; charset=utf-8" {
		f.t.Errorf("%s: %d came as %q with %s, want plain text", path, status, got, data)
	}
	return status, string(data)
}

// post sends a form of names and values.
func (f *fixture) post(path string, fields ...string) (int, string) {
	f.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return f.foreign(path, formType, form.Encode())
}

func list(resources ...string) string { return "[" + strings.Join(resources, ",") + "]" }

func TestVolumesAreMadeAndDestroyedByTheFormsOfMesos(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "/master"} {
		f, a, _ := running(t)
		me := a.State().Agent
		accepted := func(path string, fields ...string) {
			t.Helper()
			if status, text := f.post(prefix+path, append(fields, "slaveId", me)...); status != 202 || text != "" {
				t.Fatalf("%s: got %d %q, want 202 and nothing", path, status, text)
			}
		}
		accepted("/reserve", "resources", list(res()))
		accepted("/create-volumes", "volumes", list(vol()))
		if status, text := f.post(prefix+"/unreserve", "slaveId", me, "resources", list(res())); status != 409 || !strings.Contains(text, "does not contain") {
			t.Errorf("unreserve beneath a volume: %d %q", status, text) // EP-04
		}
		accepted("/destroy-volumes", "volumes", list(inDisk("volume", `{"container_path":"elsewhere","mode":"RW"}`))) // EP-07
		accepted("/reserve", "resources", list(res("reservations", role("db"))), "source", list(res()))
		accepted("/unreserve", "resources", list(res("reservations", role("db"))))
		if free := a.State().Free("", nil); free != 4096_000 {
			t.Errorf("%s MiB are free, want all", free)
		}
	}
}

func TestAVolumeOfAStaticReservationIsOfferedAndThenItsSpaceAgain(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	web := []resource.Reservation{{Type: resource.Static, Role: "web"}}
	k.Configure(volume.Disk{Total: 2048 * resource.One, Parts: []volume.Part{{Reservations: web, Size: 2048 * resource.One}}})
	a := agenttest.Start(t, k)
	f := serving(t, a, nil)
	offered := func() (texts []string) {
		var r wire.Resources
		f.must(200, "GET", "/v1/resources?role=web", "", &r)
		for _, c := range r.Offerable {
			texts = append(texts, c.Resource.String())
		}
		return texts
	}
	volumes := list(vol("reservations", "", "role", `"web"`)) // in the old format
	const space, rest, made = "disk(reservations: [(STATIC,web)]):2048", "disk(reservations: [(STATIC,web)]):1984", "disk(reservations: [(STATIC,web)])[new:data]:64"
	for _, step := range []struct {
		path string
		want []string
	}{{"/create-volumes", []string{rest, made}}, {"/destroy-volumes", []string{space}}} {
		if status, text := f.post(step.path, "slaveId", a.State().Agent, "volumes", volumes); status != 202 {
			t.Fatalf("%s: got %d %q", step.path, status, text)
		}
		if diff := cmp.Diff(step.want, offered()); diff != "" {
			t.Errorf("offerable after %s (-want +got):\n%s", step.path, diff)
		}
	}
}

func TestTheFormsOfMesosRefuseAsItsMasterDoes(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/holder/attachments", `{"volume":"web/data"}`, nil)
	me, before := a.State().Agent, a.State()
	for _, tc := range []struct {
		name, path string
		fields     []string
		status     int
		want       string
	}{
		{"no agent", "/create-volumes", []string{"volumes", list(vol())}, 400, "Missing 'slaveId' query parameter"},
		{"no volumes", "/create-volumes", []string{"slaveId", me}, 400, "Missing 'volumes' query parameter"},
		{"no resources", "/unreserve", []string{"slaveId", me}, 400, "Missing 'resources' query parameter"},
		{"nothing", "/reserve", nil, 400, "Missing 'slaveId'"},
		{"another agent", "/reserve", []string{"slaveId", "S0", "resources", list(res())}, 400, "No agent found with specified ID"},
		{"an empty list", "/reserve", []string{"slaveId", me, "resources", "[]"}, 400, "contains no resources"},
		{"no list", "/reserve", []string{"slaveId", me, "resources", res()}, 400, "Error in parsing 'resources'"},
		{"an empty field", "/reserve", []string{"slaveId", me, "resources", ""}, 400, "Error in parsing 'resources'"},
		{"two lists", "/reserve", []string{"slaveId", me, "resources", list(res()) + list(res())}, 400, "Error in parsing 'resources'"},
		{"a source that is none", "/reserve", []string{"slaveId", me, "resources", list(res()), "source", "x"}, 400, "Error in parsing 'source'"},
		{"a source of unreserve", "/unreserve", []string{"slaveId", me, "resources", list(res()), "source", "[]"}, 400, `unknown parameter "source"`},
		{"an unknown field", "/reserve", []string{"slaveId", me, "resources", list(res()), "role", "x"}, 400, `unknown parameter "role"`},
		{"a field twice", "/reserve", []string{"slaveId", me, "slaveId", me, "resources", list(res())}, 400, "twice"},
		{"an operation in a list", "/reserve", []string{"slaveId", me, "resources", `[],"id":{"value":"x"}`}, 400, "Error in parsing"},
		{"size zero", "/reserve", []string{"slaveId", me, "resources", list(res("scalar", `{"value":0}`))}, 400, "Invalid RESERVE operation: "},
		{"size zero", "/create-volumes", []string{"slaveId", me, "volumes", list(vol("scalar", `{"value":0}`))}, 400, "Invalid CREATE operation: "},
		{"an unknown field of a resource", "/reserve", []string{"slaveId", me, "resources", list(res("colour", `"red"`))}, 400, `unknown field "colour"`},
		{"a resource that is not disk", "/reserve", []string{"slaveId", me, "resources", list(res("name", `"cpus"`))}, 400, "not disk"},
		{"role star", "/create-volumes", []string{"slaveId", me, "volumes", list(vol("reservations", role("*")))}, 400, "Invalid CREATE operation: "},
		{"role star", "/destroy-volumes", []string{"slaveId", me, "volumes", list(vol("reservations", role("*")))}, 400, "Invalid DESTROY operation: "},
		{"another role", "/create-volumes", []string{"slaveId", me, "volumes", list(vol("reservations", role("db")))}, 409, "does not contain"},
		{"too large", "/create-volumes", []string{"slaveId", me, "volumes", list(vol("scalar", `{"value":9999}`))}, 409, "does not contain"},
		{"on a disk that is not there", "/create-volumes", []string{"slaveId", me, "volumes", list(inDisk("source", `{"type":"PATH","path":{"root":"/mnt/d2"}}`))}, 409, "does not contain"},
		{"an id that is taken", "/create-volumes", []string{"slaveId", me, "volumes", list(id("data"))}, 400, "Invalid CREATE operation: Persistence ID 'data' is not unique"},
		{"one that is not there", "/destroy-volumes", []string{"slaveId", me, "volumes", list(vol())}, 400, "Invalid DESTROY operation: Persistent volumes not found"},
		{"one of another size", "/destroy-volumes", []string{"slaveId", me, "volumes", list(strings.Replace(sharedData, "1024", "1", 1))}, 400, "Persistent volumes not found"},
		{"one in use", "/destroy-volumes", []string{"slaveId", me, "volumes", list(sharedData)}, 400, "Invalid DESTROY operation: Persistent volumes in use: held by task holder"},
		{"one good and one bad", "/destroy-volumes", []string{"slaveId", me, "volumes", list(strings.Replace(vol("scalar", `{"value":1}`), "new", "alone", 1), sharedData)}, 400, "Persistent volumes in use"},
	} {
		status, text := f.post(tc.path, tc.fields...)
		if status != tc.status || !strings.Contains(text, tc.want) || strings.Contains(text, "\n") {
			t.Errorf("%s %s: got %d %q, want %d with %q", tc.path, tc.name, status, text, tc.status, tc.want)
		}
	}
	if diff := cmp.Diff(stored(t, before), stored(t, a.State())); diff != "" || a.State().Version != before.Version {
		t.Errorf("a refused request has changed the state (-before +after):\n%s", diff)
	}
}

// scalars are amounts that no request may be granted with, and what each is told.
var scalars = map[string]string{
	"-64": "negative", "-0.001": "negative", "0.0004": "rounds to zero", "1e-300": "rounds to zero", "1e300": "above", "9223372036854775807": "above",
	"NaN": "invalid character", "Infinity": "invalid character", "0x10": "invalid character", `"64"`: "a number", "null": "null", "64.": "invalid character", "[64]": "a number",
}

func TestAmountsThatAreNoneAreRefusedAtEveryEntryAndChangeNothing(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	me, before := a.State().Agent, a.State()
	refused := func(what string, status int, text, want string) {
		t.Helper()
		if status != 400 || !strings.Contains(text, want) || len(text) > 800 {
			t.Errorf("%s: got %d %s, want 400 with %q", what, status, text, want)
		}
	}
	for n, want := range scalars {
		n = `{"value":` + n + `}`
		shrink := `{"type":"SHRINK_VOLUME","shrink_volume":{"volume":` + sharedData + `,"subtract":` + n + `}}`
		grow := `{"type":"GROW_VOLUME","grow_volume":{"volume":` + sharedData + `,"addition":` + res("scalar", n) + `}}`
		launch := `{"type":"LAUNCH","launch":{"task_infos":[` + strings.Replace(taskInfo("t", me, "RW"), `{"value":0.1}`, n, 1) + `]}}`
		for _, body := range []string{op("RESERVE", res("scalar", n)), op("CREATE", vol("scalar", n)), op("DESTROY", vol("scalar", n)), shrink, grow, launch} {
			status, _, data := f.do("POST", "/v1/operations", body)
			refused(body, status, string(data), want)
		}
		agentID := `{"agent_id":{"value":"` + me + `"},`
		for _, body := range []string{shrink, grow} {
			status, text := f.foreign("/api/v1", "application/json", strings.Replace(body, `_volume":{`, `_volume":`+agentID, 1))
			refused(body, status, text, want)
		}
		for call, field := range map[string]string{"RESERVE_RESOURCES": "resources", "UNRESERVE_RESOURCES": "resources", "CREATE_VOLUMES": "volumes", "DESTROY_VOLUMES": "volumes"} {
			body := fmt.Sprintf(`{"type":%q,%q:%s%q:%s}}`, call, strings.ToLower(call), agentID, field, list(vol("scalar", n)))
			status, text := f.foreign("/api/v1", "application/json", body)
			refused(body, status, text, want)
		}
		for path, field := range map[string]string{"/reserve": "resources", "/unreserve": "resources", "/create-volumes": "volumes", "/destroy-volumes": "volumes"} {
			status, text := f.post(path, "slaveId", me, field, list(vol("scalar", n)))
			refused(path+" "+n, status, text, want)
		}
		status, text := f.post("/reserve", "slaveId", me, "resources", list(res()), "source", list(res("scalar", n)))
		refused("source "+n, status, text, want)
	}
	if diff := cmp.Diff(stored(t, before), stored(t, a.State())); diff != "" || a.State().Version != before.Version {
		t.Errorf("the state has changed (-before +after):\n%s", diff)
	}
}

func TestCallsOfMesosRefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{state: volume.Empty().With(volume.Change{Agent: "a"})}, nil) // its Do would panic
	volumes := `{"agent_id":{"value":"a"},"volumes":[` + vol() + `]}`
	for body, want := range map[string]string{
		``:                          "ends too early",
		`{}`:                        "call type \"\" is unknown",
		`{"type":"GET_STATE"}`:      "unknown",
		`{"type":"CREATE_VOLUMES"}`: "'create' is not set",
		`{"type":"CREATE_VOLUMES","create_volumes":` + volumes + `,"create_volumes":` + volumes + `}`:                      "twice",
		`{"type":"CREATE_VOLUMES","destroy_volumes":` + volumes + `}`:                                                      "'create' is not set",
		`{"type":"CREATE_VOLUMES","create_volumes":` + volumes + `,"x":1}`:                                                 `unknown field "x"`,
		`{"type":"CREATE_VOLUMES","create_volumes":` + strings.Replace(volumes, `"volumes"`, `"resources"`, 1) + `}`:       `unknown field "resources"`,
		`{"type":"CREATE_VOLUMES","create_volumes":` + strings.Replace(volumes, `{"value":"a"}`, `{"value":"b"}`, 1) + `}`: "No agent found",
		`{"type":"CREATE_VOLUMES","create_volumes":{"volumes":[` + vol() + `]}}`:                                           "No agent found",
		`[]`: "not an object",
	} {
		if status, text := f.foreign("/api/v1", "application/json", body); status != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: got %d %q, want 400 with %q", body, status, text, want)
		}
	}
}

// mesosPaths are all of Mesos' paths.
var mesosPaths = []string{
	"/reserve", "/unreserve", "/create-volumes", "/destroy-volumes", "/api/v1",
	"/master/reserve", "/master/unreserve", "/master/create-volumes", "/master/destroy-volumes", "/master/api/v1",
}

func TestThePathsOfMesosTakeTheirOwnTypeOfBodyAndNothingOfABrowser(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil) // its Do would panic
	for _, path := range mesosPaths {
		right, wrong := formType, []string{"", "application/json", "multipart/form-data; boundary=x", "text/plain", formType + "; charset=latin1"}
		if strings.HasSuffix(path, "/v1") {
			right, wrong = "application/json", []string{"", formType, "text/plain", "application/x-protobuf"}
		}
		for _, media := range wrong {
			if status, text := f.foreign(path, media, "x=y"); status != 415 || !strings.Contains(text, right) {
				t.Errorf("%s as %q: got %d %q, want 415", path, media, status, text)
			}
		}
		for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://example.com"}} {
			if status, _ := f.foreign(path, right, "", headers...); status != 403 {
				t.Errorf("%s with %v: got %d, want 403", path, headers, status)
			}
		}
		if status, text := f.foreign(path+"?x=y", right, ""); status != 400 || !strings.Contains(text, "unknown parameter") {
			t.Errorf("%s with a parameter: got %d %q, want 400", path, status, text)
		}
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			status, header, data := f.do(method, path, "")
			if status != 405 || header.Get("Allow") != "POST" || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
				t.Errorf("%s %s: got %d %v %s, want 405 in plain text", method, path, status, header, data)
			}
		}
	}
	for path, media := range map[string]string{"/reserve": formType, "/api/v1": "application/json"} {
		if status, text := f.foreign(path, media, strings.Repeat("x", maxOperations+1)); status != 413 {
			t.Errorf("%s with too much: got %d %.100q, want 413", path, status, text)
		}
	}
	f.problem(404, "not_found", "GET", "/reserve/x", "") // which Mesos does not have either
}

func TestEveryKindOfErrorHasMesosStatus(t *testing.T) {
	t.Parallel()
	want := map[error][2]int{ // of /destroy-volumes and of the others
		volume.ErrForbidden: {403, 403}, volume.ErrNotFound: {400, 409}, volume.ErrExists: {400, 400}, volume.ErrInUse: {400, 409},
		volume.ErrInsufficient: {409, 409}, volume.ErrFailed: {500, 500}, volume.ErrStopped: {503, 503},
	}
	for kind, statuses := range want {
		f := serving(t, &fakeAgent{
			state: volume.Empty().With(volume.Change{Agent: "a"}),
			do: func(context.Context, ...volume.Operation) (*volume.State, error) {
				return nil, &volume.Error{Kind: kind, Message: "why it is so"}
			},
		}, nil)
		for i, path := range []string{"/destroy-volumes", "/create-volumes"} {
			if status, text := f.post(path, "slaveId", "a", "volumes", list(vol())); status != statuses[i] || !strings.Contains(text, "why it is so") {
				t.Errorf("%s with %s: got %d %q, want %d", path, kind, status, text, statuses[i])
			}
		}
	}
	late := serving(t, &fakeAgent{
		state: volume.Empty().With(volume.Change{Agent: "a"}),
		do: func(context.Context, ...volume.Operation) (*volume.State, error) {
			return nil, fmt.Errorf("wait: %w", errors.Join(context.DeadlineExceeded))
		},
	}, nil)
	if status, text := late.post("/reserve", "slaveId", "a", "resources", list(res())); status != 504 || !strings.Contains(text, "goes on") {
		t.Errorf("a request that takes too long: got %d %q, want 504", status, text)
	}
}

func TestAForeignUserIsTurnedAwayInPlainText(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, func(s *Server) {
		s.credentials = func(net.Conn) (credentials, error) { return credentials{uid: 1000, gid: 1000, pid: 7}, nil }
	})
	for _, path := range mesosPaths {
		if status, text := f.foreign(path, formType, ""); status != 403 || !strings.Contains(text, "user 1000") {
			t.Errorf("%s: got %d %q, want 403", path, status, text)
		}
	}
}
