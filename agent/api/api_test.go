package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"
	"tenon/agent/wire"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

// fixture is a server on a socket of its own.
type fixture struct {
	t      *testing.T
	server *Server
	path   string
	client *http.Client
	log    *syncBuffer
}

// serving serves an agent; change, if set, is applied to the server before it begins.
func serving(t *testing.T, a Agent, change func(*Server)) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(shortDir(t), "s"), log: &syncBuffer{}}
	log := slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.server = New(Options{Agent: a, Log: log, Version: "test"})
	if change != nil {
		change(f.server)
	}
	ln, err := Listen(f.path, "")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", f.path)
	}}
	f.client = &http.Client{Transport: transport}
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(ln) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return f
}

// running serves a real agent on a fake kernel, in which this process is alive.
func running(t *testing.T) (*fixture, *agent.Agent, *agenttest.Kernel) {
	t.Helper()
	k := agenttest.NewKernel("/mnt/d1")
	k.Processes[os.Getpid()] = 1
	a := agenttest.Start(t, k)
	return serving(t, a, nil), a, k
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// do makes a request and gives its status, its header and its body. A body that is set
// is sent as JSON.
func (f *fixture) do(method, path, body string) (int, http.Header, []byte) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://tenon"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return f.send(req)
}

func (f *fixture) send(req *http.Request) (int, http.Header, []byte) {
	f.t.Helper()
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return resp.StatusCode, resp.Header, data
}

// must makes a request that is answered with that status, and reads the answer into v.
func (f *fixture) must(status int, method, path, body string, v any) {
	f.t.Helper()
	got, _, data := f.do(method, path, body)
	if got != status {
		f.t.Fatalf("%s %s %s: got %d %s, want %d", method, path, body, got, data, status)
	}
	if v != nil {
		decode(f.t, data, v)
	}
}

// problem makes a request that is refused with that status and kind.
func (f *fixture) problem(status int, kind, method, path, body string) wire.Problem {
	f.t.Helper()
	got, header, data := f.do(method, path, body)
	return checkProblem(f.t, method+" "+path+" "+body, got, header, data, status, kind)
}

func checkProblem(t *testing.T, what string, got int, header http.Header, data []byte, status int, kind string) (p wire.Problem) {
	t.Helper()
	if media := header.Get("Content-Type"); media != wire.ProblemType {
		t.Fatalf("%.200s: answered %d as %q with %s, want a problem", what, got, media, data)
	}
	decode(t, data, &p)
	if got != status || p.Status != status || p.Kind != kind {
		t.Errorf("%.200s: got %d %+v, want %d and %s", what, got, p, status, kind)
	}
	return p
}

func decode(t *testing.T, data []byte, v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
}

const (
	reserve2G   = `{"type":"RESERVE","reserve":{"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":2048},"reservations":[{"type":"DYNAMIC","role":"web"}]}]}}`
	createData  = `{"role":"web","id":"data","size":1073741824,"shared":true}`
	createAlone = `{"role":"web","id":"alone","size":1048576,"container_path":"a/b","uid":1000,"gid":100,"mode":"2770"}`
)

// withVolumes reserves 2 GiB for web and makes the shared web/data and the exclusive
// web/alone of it.
func (f *fixture) withVolumes() {
	f.t.Helper()
	f.must(200, "POST", "/v1/operations", reserve2G, &wire.Applied{})
	f.must(201, "POST", "/v1/volumes", createData, &wire.Volume{})
	f.must(201, "POST", "/v1/volumes", createAlone, &wire.Volume{})
}

func TestTheMainJobFromReserveToDestroy(t *testing.T) {
	t.Parallel()
	f, a, k := running(t)
	f.withVolumes()

	var task wire.Task
	f.must(200, "POST", "/v1/tasks", `{"task":"t1","volumes":[{"volume":"web/data","mode":"RO"},{"volume":"web/alone"}]}`, &task)
	if task.Lease.PID != os.Getpid() || !task.Own || len(task.Attachments) != 2 {
		t.Errorf("claimed %+v, want two volumes held by pid %d in a sandbox of the agent's", task, os.Getpid())
	}
	var at wire.Attachment
	f.must(200, "POST", "/v1/tasks/t1/attachments", `{"volume":"web/data","mode":"RO"}`, &at)
	if at.Volume != "web/data" || at.Via != volume.ByPath || at.Path != "data" {
		t.Errorf("attached %+v, want web/data at data by path", at)
	}
	if m := k.Mounts[agenttest.Root+"/t1/data"]; !m.ReadOnly {
		t.Errorf("the kernel has %+v, want a read-only mount", k.Mounts)
	}
	if p := f.problem(409, "in_use", "DELETE", "/v1/volumes/web/data", ""); len(p.Holders) != 1 || p.Holders[0].Task != "t1" {
		t.Errorf("refused with holders %+v, want t1", p.Holders)
	}
	f.must(204, "DELETE", "/v1/tasks/t1/attachments?volume=web/data&path=data", "", nil)
	f.must(204, "DELETE", "/v1/tasks/t1", "", nil)
	f.problem(404, "not_found", "GET", "/v1/tasks/t1", "")
	f.must(204, "DELETE", "/v1/volumes/web/data", "", nil)
	f.problem(404, "not_found", "GET", "/v1/volumes/web/data", "")

	var st wire.Status
	f.must(200, "GET", "/v1/status", "", &st)
	if st.Reservations[0].Free != 2047<<20 || st.Counts.Volumes != 1 || !st.Healthy || st.Version != "test" {
		t.Errorf("status is %+v, want 2047 MiB free for web and one volume", st)
	}
	if err := a.State().Check(); err != nil {
		t.Error(err)
	}
}

func TestVolumesAreShownAndListed(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	var byName, byUUID wire.Volume
	f.must(200, "GET", "/v1/volumes/web/alone", "", &byName)
	f.must(200, "GET", "/v1/volumes/"+string(byName.UUID), "", &byUUID)
	if diff := cmp.Diff(byName, byUUID); diff != "" {
		t.Errorf("by name and by UUID differ:\n%s", diff)
	}
	if want := (wire.Owner{UID: 1000, GID: 100, Mode: "02770"}); byName.Owner != want || byName.ContainerPath != "a/b" {
		t.Errorf("made %+v, want owner %+v at a/b", byName, want)
	}
	var page wire.Volumes
	f.must(200, "GET", "/v1/volumes?limit=1", "", &page)
	if len(page.Volumes) != 1 || page.Next != "web/alone" {
		t.Errorf("first page is %+v, want web/alone and more after it", page)
	}
	f.must(200, "GET", "/v1/volumes?after=web/alone", "", &page)
	if len(page.Volumes) != 1 || page.Volumes[0].Name != "web/data" {
		t.Errorf("second page is %+v, want web/data", page)
	}
	v, err := a.State().Find("web/data")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wire.VolumeOf(a.State(), v), page.Volumes[0]); diff != "" {
		t.Errorf("what is listed is not what is (-want +got):\n%s", diff)
	}
	var tasks wire.Tasks
	f.must(200, "POST", "/v1/tasks", `{"task":"t1"}`, &wire.Task{})
	f.must(200, "GET", "/v1/tasks?limit=5&after=s", "", &tasks)
	if len(tasks.Tasks) != 1 || tasks.Tasks[0].ID != "t1" || tasks.Next != "" {
		t.Errorf("tasks are %+v, want t1", tasks)
	}
}

func TestNamesWithSpecialCharactersAreFound(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	for _, name := range []string{`100%`, `a b`, `ü?#&`, `..x`, `a+b`, `a%2Fb`} {
		body, err := json.Marshal(wire.CreateVolume{Role: "team/web", ID: name, Size: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		f.must(200, "POST", "/v1/operations", strings.Replace(reserve2G, `"web"`, `"team/web"`, 1), nil)
		f.must(201, "POST", "/v1/volumes", string(body), nil)
		var v wire.Volume
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://tenon/v1/volumes/"+wire.EscapeRef("team/web/"+name), nil)
		if err != nil {
			t.Fatal(err)
		}
		status, _, data := f.send(req)
		if status != 200 {
			t.Fatalf("%q: got %d %s", name, status, data)
		}
		if decode(t, data, &v); v.ID != name {
			t.Errorf("%q: found %q", name, v.ID)
		}
		f.must(204, "DELETE", "/v1/volumes/"+string(v.UUID), "", nil)
		f.must(200, "POST", "/v1/operations", strings.NewReplacer(`"web"`, `"team/web"`, "RESERVE", "UNRESERVE", "reserve\"", "unreserve\"").Replace(reserve2G), nil)
	}
}

func TestHealthIsTheAgents(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	f.must(200, "GET", "/v1/healthz", "", &wire.Health{})
	ill := serving(t, &fakeAgent{health: &volume.Error{Kind: volume.ErrJournal, Message: "the journal has failed"}}, nil)
	ill.problem(503, "journal", "GET", "/v1/healthz", "")
	var st wire.Status
	ill.must(200, "GET", "/v1/status", "", &st)
	if st.Healthy || st.Problem != "the journal has failed" {
		t.Errorf("status is %+v, want it not healthy", st)
	}
}

func TestTwoHundredRequestsAtOnceAreAllAnswered(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	var work sync.WaitGroup
	for n := range 200 {
		work.Go(func() {
			id := "t" + string(rune('a'+n%26)) + strings.Repeat("x", n/26)
			switch status, _, data := f.do("POST", "/v1/tasks/"+id+"/attachments", `{"volume":"web/data","mode":"RO"}`); status {
			case 200:
			default:
				t.Errorf("%s: got %d %s", id, status, data)
			}
			f.do("GET", "/v1/status", "")
		})
	}
	work.Wait()
	v, err := a.State().Find("web/data")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(a.State().Holders(v.UUID)); got != 200 {
		t.Errorf("%d tasks hold the volume, want 200", got)
	}
	f.client.CloseIdleConnections()
}

// fakeAgent answers as it is told.
type fakeAgent struct {
	do     func(context.Context, ...volume.Operation) (*volume.State, error)
	hand   func(context.Context, volume.Attach) (*os.File, error)
	state  *volume.State
	health error
}

func (a *fakeAgent) Do(ctx context.Context, ops ...volume.Operation) (*volume.State, error) {
	return a.do(ctx, ops...)
}

func (a *fakeAgent) Ask(ctx context.Context, r agent.Request) (*volume.State, error) {
	return a.do(ctx, r.Operations...)
}

func (a *fakeAgent) Hand(ctx context.Context, op volume.Attach, _ func(*volume.State, volume.Operation) error) (*os.File, error) {
	return a.hand(ctx, op)
}

func (a *fakeAgent) State() *volume.State {
	if a.state == nil {
		return volume.Empty()
	}
	return a.state
}

func (a *fakeAgent) Events(uint64, int) ([]agent.Event, bool) { return nil, false }

func (a *fakeAgent) Watch(ctx context.Context, _ uint64) (*volume.State, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (a *fakeAgent) Health() error { return a.health }
