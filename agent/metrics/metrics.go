// Package metrics shows an agent to Prometheus: what it has, what is wrong with it, what it
// does and how long that takes. It reads versions of the state and is an agent.Meter; it
// decides nothing and keeps nothing but counters.
//
// Labels are bounded: operations, steps, kinds and outcomes are of fixed sets, disks are
// those of the configuration, and so are masters; routes are those of the API. Volumes have
// series of their own up to a limit, above which only the sums are shown and
// tenon_volumes_unlisted says how many are missing.
package metrics

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tenon/agent"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// maxVolumes is how many volumes have series of their own.
const maxVolumes = 1000

// maxScrapes is how many scrapes may be at work.
const maxScrapes = 4

// Metrics are those of one agent. Its methods may be called at the same time.
type Metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.HistogramVec
	steps      *prometheus.HistogramVec
	syncs      *prometheus.HistogramVec
	requests   *prometheus.CounterVec
	agent      atomic.Pointer[named] // has the agent that is shown; nil is none yet
	slots      chan struct{}         // one for each scrape at work
}

// buckets go from the 100 µs of an attach to the minute that a request may take.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}

// New makes the metrics of a program's version. They count from now on; Watch adds the
// agent itself.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		operations: histogram("operation_duration_seconds", "Operations by verb and outcome, until all they touched had converged.",
			"operation", "outcome"),
		steps: histogram("step_duration_seconds", "Effects on the kernel or a disk by step and outcome.", "step", "outcome"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenon_http_requests_total", Help: "Answered requests by route and status; those for no route are none's.",
		}, []string{"route", "code"}),
		slots: make(chan struct{}, maxScrapes),
		syncs: histogram("journal_sync_duration_seconds", "Waits for the journal to be durable, by outcome.", "outcome"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tenon_build_info", Help: "1, with the program's version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.operations, m.steps, m.syncs, m.requests, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{Namespace: "tenon"}))
	return m
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tenon_" + name, Help: help, Buckets: buckets}, labels)
}

// Agent is what is shown: *agent.Agent is one.
type Agent interface {
	// State is the newest version.
	State() *volume.State
	// Health is nil while the agent can do its work.
	Health() error
	// Usage is what volumes take of their disks, where that is counted.
	Usage(ctx context.Context, ids ...volume.UUID) (map[volume.UUID]agent.Usage, error)
}

// Watch shows an agent from now on; once.
func (m *Metrics) Watch(a Agent) {
	m.agent.Store(&named{agent: a})
	m.registry.MustRegister(&collector{agent: a})
}

// WatchMasters shows how it stands with masters from now on; once.
func (m *Metrics) WatchMasters(status func() []wire.Master) {
	m.registry.MustRegister(masters(status))
}

// Handler answers GET /metrics in the formats of Prometheus and OpenMetrics. Volumes that the
// view hides have no series; nil hides none. All handlers together answer few scrapes at once,
// and refuse more of them.
func (m *Metrics) Handler(view wire.View) http.Handler {
	from := prometheus.Gatherers{m.registry}
	if n := m.agent.Load(); n != nil {
		seen := prometheus.NewRegistry()
		seen.MustRegister(&named{agent: n.agent, view: view})
		from = append(from, seen)
	}
	h := promhttp.HandlerFor(from, promhttp.HandlerOpts{EnableOpenMetrics: true})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
			h.ServeHTTP(w, r)
		default:
			http.Error(w, "too many scrapes are at work, ask again later", http.StatusServiceUnavailable)
		}
	})
}

// Request counts an answered request. Routes must be few: the patterns of what is served.
func (m *Metrics) Request(route string, status int) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
}

// Operation counts an operation.
func (m *Metrics) Operation(name string, err error, took time.Duration) {
	m.operations.WithLabelValues(name, outcome(err)).Observe(took.Seconds())
}

// Step counts a step.
func (m *Metrics) Step(kind volume.StepKind, err error, took time.Duration) {
	m.steps.WithLabelValues(string(kind), outcome(err)).Observe(took.Seconds())
}

// Sync counts a wait for the journal.
func (m *Metrics) Sync(err error, took time.Duration) {
	m.syncs.WithLabelValues(outcome(err)).Observe(took.Seconds())
}

// outcome is "ok", or the kind of an error.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return wire.ProblemOf(err).Kind
}
