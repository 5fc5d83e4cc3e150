package metrics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.yaml.in/yaml/v3"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/metrics"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// scrape answers GET /metrics in the text format.
func scrape(t *testing.T, m *metrics.Metrics, accept string) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	m.Handler(nil).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// measured is an agent with metrics, a shared volume in use and refused operations.
func measured(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := metrics.New("v1.2.3")
	k := agenttest.NewKernel("/mnt/d1")
	a := agenttest.StartWith(t, k, agent.Options{Meter: m})
	m.Watch(a)
	stack := []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}
	disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 100 * resource.One, Reservations: stack}
	data := disk
	data.Scalar, data.Shared = 64*resource.One, true
	data.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: "data"}, Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}
	for _, op := range []volume.Operation{
		volume.Reserve{Resources: []resource.Resource{disk}}, volume.Create{Volume: data},
		volume.Attach{Task: "t1", Use: volume.Use{Volume: "web/data"}, Via: volume.ByPath},
		volume.Attach{Task: "t2", Use: volume.Use{Volume: "web/data"}, Via: volume.ByPath},
	} {
		if _, err := a.Do(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Do(t.Context(), volume.Destroy{Ref: "web/data"}); err == nil {
		t.Fatal("a volume in use was destroyed")
	}
	return m
}

func TestAScrapeTellsWhatThereIsAndWhatWasDone(t *testing.T) {
	t.Parallel()
	text := scrape(t, measured(t), "text/plain")
	for _, want := range []string{
		`tenon_build_info{version="v1.2.3"} 1`, "tenon_healthy 1", "tenon_tasks 2", "tenon_attachments 2",
		`tenon_volumes{phase="ready"} 1`, `tenon_volumes{phase="destroying"} 0`,
		`tenon_volume_size_bytes{volume="web/data"} 6.7108864e+07`, `tenon_volume_holders{volume="web/data"} 2`, "tenon_volumes_unlisted 0",
		`tenon_disk_total_bytes{disk="root"} 4.294967296e+09`, `tenon_disk_unreserved_bytes{disk="root"} 4.190109696e+09`,
		`tenon_disk_uncarved_bytes{disk="root"} 4.22785843`, `tenon_disk_available{disk="PATH:/mnt/d1"} 1`,
		`tenon_disk_limits_enforced{disk="root"} 0`,
		`tenon_operation_duration_seconds_count{operation="attach",outcome="ok"} 2`,
		`tenon_operation_duration_seconds_count{operation="destroy",outcome="in_use"} 1`,
		`tenon_step_duration_seconds_count{outcome="ok",step="publish"} 1`,
		`tenon_journal_sync_duration_seconds_count{outcome="ok"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestPrometheusHasNothingToSayAboutTheNames(t *testing.T) {
	t.Parallel()
	problems, err := promlint.New(strings.NewReader(scrape(t, measured(t), "text/plain"))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestOpenMetricsEndsAsItMust(t *testing.T) {
	t.Parallel()
	text := scrape(t, measured(t), "application/openmetrics-text; version=1.0.0")
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("it ends with %q", text[max(0, len(text)-100):])
	}
}

func TestVolumesBeyondTheLimitAreCountedOnly(t *testing.T) {
	t.Parallel()
	var changes []volume.Change
	for i := range 1005 {
		v := &volume.Volume{UUID: volume.UUID(fmt.Sprint("u", i)), Name: volume.Name{Role: "web", ID: fmt.Sprintf("v%04d", i)}, Size: resource.One, Phase: volume.Ready}
		changes = append(changes, volume.Change{Volume: v})
	}
	changes = append(changes, volume.Change{Fault: &volume.FaultOf{Unit: volume.UnitOfVolume("u1"), Fault: volume.Fault{Kind: volume.ErrLost}}})
	m := metrics.New("")
	m.Watch(still{volume.Empty().With(changes...)})
	text := scrape(t, m, "text/plain")
	if n := strings.Count(text, "\ntenon_volume_size_bytes{"); n != 1000 {
		t.Errorf("%d volumes have series, want 1000", n)
	}
	if n := strings.Count(text, "\ntenon_volume_used_bytes{"); n != 999 {
		t.Errorf("what %d volumes take is told, want 999, that of one not being known", n)
	}
	for _, want := range []string{"tenon_volumes_unlisted 5", `tenon_volume_used_bytes{volume="web/v0007"} 7`, `tenon_volumes{phase="ready"} 1005`, `tenon_faults{kind="lost",unit="volume"} 1`, "tenon_healthy 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
}

// still is an agent whose journal has failed.
type still struct{ state *volume.State }

func (s still) State() *volume.State { return s.state }
func (s still) Health() error        { return volume.ErrJournal }

// Usage counts what is in each volume that is asked for but the first.
func (s still) Usage(_ context.Context, ids ...volume.UUID) (map[volume.UUID]agent.Usage, error) {
	used := map[volume.UUID]agent.Usage{}
	for i, id := range ids {
		if id != "u0" {
			used[id] = agent.Usage{Bytes: resource.Bytes(i)}
		}
	}
	return used, nil
}

// troubled is an agent of which a volume is lost, and masters are.
func troubled() *metrics.Metrics {
	m := metrics.New("")
	fault := volume.FaultOf{Unit: volume.UnitOfVolume("u1"), Fault: volume.Fault{Kind: volume.ErrLost}}
	m.Watch(still{volume.Empty().With(volume.Change{Fault: &fault})})
	m.WatchMasters(func() []wire.Master {
		return []wire.Master{{Name: "up", Connected: true, LastContact: time.UnixMilli(1_700_000_000_500)}, {Name: "never", Restarts: 7}}
	})
	return m
}

func TestMastersAreShownAsTheyStand(t *testing.T) {
	t.Parallel()
	text := scrape(t, troubled(), "text/plain")
	for _, want := range []string{
		`tenon_master_connected{master="up"} 1`, `tenon_master_connected{master="never"} 0`,
		`tenon_master_restarts_total{master="up"} 0`, `tenon_master_restarts_total{master="never"} 7`,
		`tenon_master_last_contact_timestamp_seconds{master="up"} 1.7000000005e+09`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, `timestamp_seconds{master="never"}`) {
		t.Error("a master that was never heard from has a last contact")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

func TestRequestsAreCountedByRouteAndStatus(t *testing.T) {
	t.Parallel()
	m := metrics.New("")
	m.Request("GET /v1/status", 200)
	m.Request("GET /v1/status", 200)
	m.Request("GET /v1/status", 304)
	text := scrape(t, m, "text/plain")
	for _, want := range []string{
		`tenon_http_requests_total{code="200",route="GET /v1/status"} 2`, `tenon_http_requests_total{code="304",route="GET /v1/status"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestVolumesThatMayNotBeSeenHaveNoSeries(t *testing.T) {
	t.Parallel()
	m := measured(t)
	w := httptest.NewRecorder()
	m.Handler(func(role string) bool { return role != "web" }).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	text := w.Body.String()
	if strings.Contains(text, "web/data") || !strings.Contains(text, "tenon_volumes_unlisted 1") || !strings.Contains(text, `tenon_volumes{phase="ready"} 1`) {
		t.Errorf("the volume is told of, or not counted:\n%s", text)
	}
}

// metricName finds the metrics of an expression of Prometheus.
var metricName = regexp.MustCompile(`\btenon_[a-z_]+`)

// TestTheDashboardAndTheAlertsAskForWhatThereIs reads both files strictly enough to find
// every expression, and looks for each metric among those that are exposed.
func TestTheDashboardAndTheAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	known := metricName.FindAllString(scrape(t, measured(t), "text/plain"), -1)
	exprs := append(dashboard(t), alerts(t)...)
	if len(exprs) < 10 {
		t.Fatalf("only %d expressions", len(exprs))
	}
	for _, rare := range []string{"tenon_faults", "tenon_master_connected", "tenon_master_last_contact_timestamp_seconds"} {
		if slices.Contains(known, rare) {
			t.Errorf("%s is shown although there is nothing to show", rare)
		}
	}
	known = append(known, metricName.FindAllString(scrape(t, troubled(), "text/plain"), -1)...)
	for _, expr := range exprs {
		names := metricName.FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%q asks for nothing of ours", expr)
		}
		for _, name := range names {
			if !slices.Contains(known, name) {
				t.Errorf("%q asks for %s, which there is not", expr, name)
			}
		}
	}
}

func dashboard(t *testing.T) (exprs []string) {
	t.Helper()
	var d struct {
		Title  string
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	data, err := os.ReadFile("dashboard.json")
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
		if p.Title == "" || p.Type == "" || len(p.Targets) == 0 {
			t.Errorf("panel %+v is not whole", p)
		}
	}
	return exprs
}

func alerts(t *testing.T) (exprs []string) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert       string
				Expr        string
				For         string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	data, err := os.ReadFile("alerts.yaml")
	if err == nil {
		err = yaml.Unmarshal(data, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			exprs = append(exprs, r.Expr)
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("rule %+v is not whole", r)
			}
		}
	}
	return exprs
}

// few are groups for volumes.
type few struct{ volume.Groups }

func (few) Len() uint64          { return 9 }
func (few) Contains(uint32) bool { return true }

func TestGroupsAreCountedWhereThereAreAny(t *testing.T) {
	t.Parallel()
	of := func(info volume.HostInfo) string {
		v := &volume.Volume{UUID: "u", Name: volume.Name{Role: "web", ID: "v"}, Size: resource.One, Phase: volume.Ready, Group: 60}
		m := metrics.New("")
		m.Watch(still{volume.Empty().With(volume.Change{Volume: v}, volume.Change{Host: &info})})
		return scrape(t, m, "text/plain")
	}
	text := of(volume.HostInfo{Groups: few{}})
	for _, want := range []string{"\ntenon_volume_gids 9\n", "\ntenon_volume_gids_free 8\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if text := of(volume.HostInfo{}); strings.Contains(text, "gids") {
		t.Error("there are series of groups where there are no groups")
	}
}
