package api

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestEveryKindOfErrorHasItsStatus(t *testing.T) {
	t.Parallel()
	want := map[error]int{
		volume.ErrInvalid: 400, volume.ErrForbidden: 403, volume.ErrNotFound: 404, volume.ErrExists: 409, volume.ErrInUse: 409,
		volume.ErrInsufficient: 409, volume.ErrPending: 409, volume.ErrBusy: 409, volume.ErrLost: 410,
		volume.ErrUnavailable: 503, volume.ErrFailed: 500, volume.ErrStopped: 503, volume.ErrJournal: 503,
	}
	for _, kind := range volume.Kinds() {
		failure := &volume.Error{Kind: kind, Message: "why it is so", Holders: []volume.Holder{{Task: "t1", Mode: resource.RW}}}
		f := serving(t, failing(failure), nil)
		for _, request := range [][3]string{
			{"POST", "/v1/operations", reserve2G},
			{"POST", "/v1/volumes", createData},
			{"POST", "/v1/tasks", `{"task":"t1"}`},
			{"DELETE", "/v1/tasks/t1", ""},
			{"POST", "/v1/tasks/t1/attachments", `{"volume":"web/data"}`},
			{"DELETE", "/v1/tasks/t1/attachments?volume=web/data", ""},
			{"POST", "/v1/tasks/t1/mounts", `{"volume":"web/data"}`},
		} {
			p := f.problem(want[kind], wire.KindName(kind), request[0], request[1], request[2])
			if p.Detail != "why it is so" || len(p.Holders) != 1 {
				t.Errorf("%s is told as %+v, want its sentence and its holders", kind, p)
			}
		}
	}
}

// failing is an agent whose every operation fails.
func failing(err error) *fakeAgent {
	return &fakeAgent{
		do:   func(context.Context, ...volume.Operation) (*volume.State, error) { return nil, err },
		hand: func(context.Context, volume.Attach) (*os.File, error) { return nil, err },
	}
}

func TestWhatIsNotThereIsAProblemToo(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	for _, path := range []string{"/", "/v1", "/v1/", "/v2/status", "/v1/status/", "/v1/volumes/", "/v1//status", "/v1/x/../status", "/v1/tasks/a%2F..%2Fb", "/v1/tasks/a/b"} {
		f.problem(404, "not_found", "GET", path, "")
	}
	f.problem(404, "not_found", "GET", "/v1/volumes/web/data", "")
	f.problem(404, "not_found", "DELETE", "/v1/volumes/web/data", "")
	f.problem(404, "not_found", "GET", "/v1/tasks/t1", "")
}

func TestAWrongMethodIsToldWithTheRightOnes(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	for _, tc := range [][3]string{
		{"PUT", "/v1/volumes", "GET, POST"},
		{"DELETE", "/v1/volumes", "GET, POST"},
		{"POST", "/v1/status", "GET"},
		{"PUT", "/v1/volumes/web/data", "GET, PATCH, DELETE"},
		{"PUT", "/v1/operations", "GET, POST"},
		{"POST", "/v1/operations/o1", "GET, DELETE"},
		{"POST", "/v1/resources", "GET"},
		{"OPTIONS", "/v1/tasks/t1/attachments", "POST, PATCH, DELETE"},
	} {
		status, header, data := f.do(tc[0], tc[1], "")
		checkProblem(t, tc[0]+" "+tc[1], status, header, data, 405, "invalid")
		if header.Get("Allow") != tc[2] {
			t.Errorf("%s %s: Allow is %q, want %q", tc[0], tc[1], header.Get("Allow"), tc[2])
		}
	}
}

func TestARequestThatCannotBeReadNeverReachesTheAgent(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil) // its Do would panic
	for body, want := range map[string]string{
		`{"role":"web","id":"v","size":1,"sise":1}`: `unknown field "sise"`,
		`{"role":"web"} trailing`:                   "after its JSON value",
		`{"role":`:                                  "ends too early",
		`{"role":"web","id":"v","size":"1G"}`:       "size: string is not a whole number",
		`{"role":"web","id":"v","size":NaN}`:        "invalid character",
		`{"role":"web","id":"v","size":0}`:          "size must be greater than zero",
		`{"id":"v","size":1}`:                       "role must be one",
		`[]`:                                        "not an object",
	} {
		if p := f.problem(400, "invalid", "POST", "/v1/volumes", body); !strings.Contains(p.Detail, want) {
			t.Errorf("%s: told %q, want %q in it", body, p.Detail, want)
		}
	}
	f.problem(400, "invalid", "POST", "/v1/operations", `{"operations":[]}`)
	f.problem(400, "invalid", "POST", "/v1/tasks/t1/mounts", `{}`)
	for _, query := range []string{
		"GET /v1/volumes?limit=0", "GET /v1/volumes?limit=1001", "GET /v1/volumes?limit=x", "GET /v1/volumes?after=x",
		"GET /v1/volumes?limit=1&limit=2", "GET /v1/status?wait=1", "DELETE /v1/volumes/web/data?wiat=false",
		"DELETE /v1/volumes/web/data?wait=no", "DELETE /v1/tasks/t1?lazy=1", "DELETE /v1/tasks/t1/attachments",
		"DELETE /v1/tasks/t1/attachments?volume=web/data&lazy=x",
	} {
		method, path, _ := strings.Cut(query, " ")
		f.problem(400, "invalid", method, path, "")
	}
}

func TestABodyMustBeDeclaredAsJSON(t *testing.T) {
	t.Parallel()
	f := serving(t, failing(errors.New("reached")), nil)
	for media, status := range map[string]int{
		"application/json": 500, "application/json; charset=UTF-8": 500, "": 400, "text/json": 400, "text/plain": 400,
		"application/x-www-form-urlencoded": 400, "application/json; charset=latin1": 400, "application/json;": 500, ";": 400,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://tenon/v1/tasks", strings.NewReader(`{"task":"t1"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", media)
		kind := map[int]string{500: "failed", 400: "invalid"}[status]
		got, header, data := f.send(req)
		checkProblem(t, media, got, header, data, status, kind)
	}
}

func TestALargeBodyIsRefused(t *testing.T) {
	t.Parallel()
	f := serving(t, failing(errors.New("reached")), nil)
	fits := `{"task":"` + strings.Repeat("x", maxBody-11) + `"}`
	f.problem(500, "failed", "POST", "/v1/tasks", fits)
	f.problem(413, "invalid", "POST", "/v1/tasks", fits+" ")
}

func TestAPanicIsAnsweredAndLoggedAndOthersGoOn(t *testing.T) {
	t.Parallel()
	a := &fakeAgent{do: func(context.Context, ...volume.Operation) (*volume.State, error) { panic("kaboom") }}
	f := serving(t, a, nil)
	p := f.problem(500, "failed", "POST", "/v1/tasks", `{"task":"t1"}`)
	if strings.Contains(p.Detail, "kaboom") {
		t.Errorf("told %q, which is for the log", p.Detail)
	}
	if log := f.log.String(); !strings.Contains(log, "kaboom") || !strings.Contains(log, "errors_test.go") {
		t.Errorf("the log has neither the defect nor where it is: %s", log)
	}
	f.must(200, "GET", "/v1/healthz", "", nil)
}

func TestARequestThatTakesTooLongIsPending(t *testing.T) {
	t.Parallel()
	a := &fakeAgent{do: func(ctx context.Context, _ ...volume.Operation) (*volume.State, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	f := serving(t, a, func(s *Server) { s.timeout = 10 * time.Millisecond })
	f.problem(504, "pending", "POST", "/v1/tasks", `{"task":"t1"}`)
}

func TestADestroyThatTakesTooLongIsAcceptedAndGoesOn(t *testing.T) {
	t.Parallel()
	ready := &volume.Volume{UUID: "u1", Name: volume.Name{Role: "web", ID: "data"}, Phase: volume.Ready}
	tombstone := *ready
	tombstone.Phase = volume.Destroying
	for phase, want := range map[*volume.Volume]int{&tombstone: 202, ready: 504} {
		a := &fakeAgent{state: volume.Empty().With(volume.Change{Volume: phase})}
		a.do = func(ctx context.Context, _ ...volume.Operation) (*volume.State, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		f := serving(t, a, func(s *Server) { s.timeout = 10 * time.Millisecond })
		status, _, data := f.do("DELETE", "/v1/volumes/u1", "")
		if status != want {
			t.Errorf("%s: got %d %s, want %d", phase.Phase, status, data, want)
		}
		if status, _, data := f.do("DELETE", "/v1/volumes/u1?wait=false", ""); status != want {
			t.Errorf("%s, without waiting: got %d %s, want %d", phase.Phase, status, data, want)
		}
	}
}

func TestARefusedDestroyIsRefusedWhetherOrNotItIsWaitedFor(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	f.withVolumes()
	f.must(200, "POST", "/v1/tasks/t1/attachments", `{"volume":"web/data"}`, nil)
	for _, query := range []string{"", "?wait=true", "?wait=false"} {
		f.problem(409, "in_use", "DELETE", "/v1/volumes/web/data"+query, "")
	}
}

func TestARequestThatGetsNoTurnChangesNothing(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	a := &fakeAgent{do: func(context.Context, ...volume.Operation) (*volume.State, error) {
		close(entered) // a second call would panic
		<-release
		return nil, &volume.Error{Kind: volume.ErrBusy, Message: "done"}
	}}
	f := serving(t, a, func(s *Server) { s.slots = make(chan struct{}, 1) })
	first := make(chan int, 1)
	go func() {
		status, _, _ := f.do("POST", "/v1/tasks", `{"task":"t1"}`)
		first <- status
	}()
	<-entered
	f.server.timeout = time.Millisecond
	f.problem(503, "pending", "POST", "/v1/tasks", `{"task":"t2"}`)
	close(release)
	if got := <-first; got != 409 {
		t.Errorf("the first got %d, want its own answer", got)
	}
}

func TestTheLogHasWhoAskedForWhatAndNoBodies(t *testing.T) {
	t.Parallel()
	f := serving(t, failing(errors.New("no")), nil)
	f.do("POST", "/v1/tasks", `{"task":"a-secret"}`)
	f.do("GET", "/v1/status", "")
	log := f.log.String()
	for _, want := range []string{"level=INFO msg=request", "level=DEBUG msg=request", "method=POST path=/v1/tasks status=500", "pid="} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "a-secret") {
		t.Errorf("the log has a body:\n%s", log)
	}
}
