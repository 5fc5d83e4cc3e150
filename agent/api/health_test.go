package api

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

func readInto(w io.Writer, resp *http.Response) (int64, error) { return io.Copy(w, resp.Body) }

// recorded is an answer without a connection.
type recorded struct {
	header http.Header
	status int
	body   strings.Builder
}

func (r *recorded) Header() http.Header         { return r.header }
func (r *recorded) WriteHeader(status int)      { r.status = status }
func (r *recorded) Write(p []byte) (int, error) { return r.body.Write(p) }

func TestAnAgentIsReadyWhileItIsHealthyAndHasItsRootDisk(t *testing.T) {
	t.Parallel()
	gone := func(disk string) *volume.State {
		fault := volume.Fault{Kind: volume.ErrUnavailable, Reason: "nothing is mounted"}
		return volume.Empty().With(volume.Change{Fault: &volume.FaultOf{Unit: volume.UnitOfDisk(disk), Fault: fault}})
	}
	for name, c := range map[string]struct {
		agent *fakeAgent
		kind  string
	}{
		"well":              {&fakeAgent{}, ""},
		"another disk gone": {&fakeAgent{state: gone("PATH:/mnt/d1")}, ""},
		"root disk gone":    {&fakeAgent{state: gone("")}, "unavailable"},
		"journal failed":    {&fakeAgent{health: &volume.Error{Kind: volume.ErrJournal, Message: "it has failed"}}, "journal"},
	} {
		f := serving(t, c.agent, nil)
		if c.kind == "" {
			var h wire.Health
			if f.must(200, "GET", "/readyz", "", &h); !h.Healthy {
				t.Errorf("%s: got %+v", name, h)
			}
		} else {
			f.problem(503, c.kind, "GET", "/readyz", "")
		}
		if c.kind == "journal" {
			f.problem(503, "journal", "GET", "/healthz", "")
		} else {
			f.must(200, "GET", "/healthz", "", &wire.Health{})
		}
	}
}

func TestMetricsAreToldAsTheirOwnHandlerTellsThem(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, func(s *Server) {
		s.metrics = func(view wire.View) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				_, _ = io.WriteString(w, "up 1\n")
			})
		}
	})
	status, h, body := f.do("GET", "/metrics", "")
	if status != 200 || string(body) != "up 1\n" || h.Get("Content-Type") != "text/plain" {
		t.Errorf("got %d %s %q", status, h, body)
	}
	serving(t, &fakeAgent{}, nil).problem(404, "not_found", "GET", "/metrics", "")
}

func TestRequestsAreCountedByTheirRoutes(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	counted := map[string][]int{}
	f := serving(t, &fakeAgent{}, func(s *Server) {
		s.count = func(route string, status int) {
			mu.Lock()
			defer mu.Unlock()
			counted[route] = append(counted[route], status)
		}
	})
	f.do("GET", "/v1/status", "")
	f.do("HEAD", "/v1/status", "")
	f.do("GET", "/v1/volumes/web/a", "")
	f.do("GET", "/v1/volumes/web/b", "")
	f.do("GET", "/nowhere", "")
	f.do("GET", "/v1/volumes//", "")
	f.do("PATCH", "/v1/status", "")
	if err := f.server.Shutdown(t.Context()); err != nil { // all are counted by then
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for route, want := range map[string][]int{
		"GET /v1/status": {200, 200}, "GET /v1/volumes/{ref...}": {404, 404}, "none": {404, 404, 405},
	} {
		if !slices.Equal(counted[route], want) {
			t.Errorf("%s: counted %v, want %v", route, counted[route], want)
		}
	}
	if len(counted) != 3 {
		t.Errorf("counted %v", counted)
	}
}

func TestAStatusHasItsMastersAndIsNewWhenOneIsLostAndNotWhenOneIsHeardFrom(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	master := wire.Master{Name: "m", Kind: "https", Connected: true, LastContact: time.Unix(1, 0).UTC()}
	f := serving(t, &fakeAgent{}, func(s *Server) {
		s.masters = func() []wire.Master {
			mu.Lock()
			defer mu.Unlock()
			return []wire.Master{master}
		}
	})
	change := func(to func(*wire.Master)) {
		mu.Lock()
		defer mu.Unlock()
		to(&master)
	}
	var st wire.Status
	_, h, body := f.get("/v1/status")
	if decode(t, body, &st); len(st.Masters) != 1 || !st.Masters[0].Connected || !st.Masters[0].LastContact.IsZero() {
		t.Errorf("got %+v, want it connected, without a last contact", st.Masters)
	}
	tag := h.Get("ETag")
	change(func(m *wire.Master) { m.LastContact = time.Unix(2, 0).UTC() })
	if status, _, _ := f.get("/v1/status", "If-None-Match", tag); status != 304 {
		t.Errorf("heard from: got %d, want 304", status)
	}
	change(func(m *wire.Master) { m.Connected, m.LastError, m.Restarts = false, "it hung up", 1 })
	status, h, body := f.get("/v1/status", "If-None-Match", tag)
	if status != 200 || h.Get("ETag") == tag {
		t.Fatalf("lost: got %d with tag %s", status, h.Get("ETag"))
	}
	if decode(t, body, &st); st.Masters[0].Connected || st.Masters[0].LastError != "it hung up" || st.Masters[0].LastContact != time.Unix(2, 0).UTC() {
		t.Errorf("lost: got %+v", st.Masters[0])
	}
	tag = h.Get("ETag")
	change(func(m *wire.Master) { m.Connected = true })
	if status, _, _ := f.get("/v1/status", "If-None-Match", tag); status != 200 {
		t.Errorf("found again: got %d, want 200", status)
	}
	var all wire.Masters
	if f.must(200, "GET", "/v1/masters", "", &all); len(all.Masters) != 1 || all.Masters[0].LastContact.IsZero() {
		t.Errorf("got %+v, want the last contact", all)
	}
	if _, _, body := serving(t, &fakeAgent{}, nil).do("GET", "/v1/masters", ""); string(body) != "{\"masters\":[]}\n" {
		t.Errorf("without masters: got %q", body)
	}
}
