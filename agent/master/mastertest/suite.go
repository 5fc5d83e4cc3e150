// Package mastertest holds every kind of client of package master to the same requirements.
//
// A kind brings a Master, the far end that the suite drives; the suite runs the client against
// it under a Supervisor, on an agent with a journal on disk and a kernel in memory. Etcd is a
// real etcd for tests. It is not for tests of what only one kind has: those are that kind's.
package mastertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/volume"
)

// Master is the far end of a kind of client, as a test drives it. Its methods are called by
// one goroutine.
type Master interface {
	// Config is how to reach it, the name left out.
	Config() master.Config
	// Order gives an agent what is to be an order, replacing what it has under that id.
	Order(t testing.TB, agent, id string, order []byte)
	// Result waits for the result of an order, takes it away and has it acknowledged. The
	// master does not name the order after that.
	Result(t testing.TB, agent, id string) master.Result
	// Report waits until all that an agent has told last, together, is as wanted.
	Report(t testing.TB, agent string, wanted func(master.Report) bool)
	// Break does harm, until it is called with Fine; it returns when the harm is there.
	Break(t testing.TB, h Harm)
}

// Harm is what a master does wrong.
type Harm string

// What a master may do wrong.
const (
	Fine     Harm = "is fine"
	Gone     Harm = "is gone"
	Hanging  Harm = "hangs"
	Flooding Harm = "floods" // with orders or bytes
	Lying    Harm = "lies"   // says what makes no sense, in its own words
)

// Kind is a kind of client with its far end.
type Kind struct {
	Name  string
	New   master.Kind
	Start func(t testing.TB) Master // ends with the test, may skip it
}

// requirement is something that each kind must fulfil.
type requirement struct {
	name  string
	check func(t *testing.T, h *host)
	rough bool // the connection is lost in it
}

// Run checks all kinds and logs a table of what they fulfil.
func Run(t *testing.T, kinds ...Kind) {
	t.Helper()
	table := newTable(kinds)
	t.Cleanup(func() { t.Log("\n" + table.String()) })
	for _, k := range kinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			for _, r := range requirements() {
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					defer table.note(t, k.Name, r.name)
					h := newHost(t, k)
					r.check(t, h)
					if s := h.supervisor.Status()[0]; !r.rough && (s.Restarts > 0 || s.LastError != "") {
						t.Errorf("the client was lost although nothing was wrong: %+v", s)
					}
				})
			}
		})
	}
}

// host is a host with an agent and its one master.
type host struct {
	Master
	kind   Kind
	kernel *agenttest.Kernel
	dir    string
	boots  int
	id     string // of the agent

	agent      *agent.Agent
	supervisor *master.Supervisor
	stop       func()
}

func newHost(t *testing.T, k Kind) *host {
	t.Helper()
	h := &host{Master: k.Start(t), kind: k, kernel: agenttest.NewKernel(), dir: t.TempDir(), boots: 1}
	h.start(t)
	h.id = h.agent.State().Agent
	t.Cleanup(func() { h.stop() })
	return h
}

// start starts the agent, and the client beside it.
func (h *host) start(t *testing.T) {
	t.Helper()
	a, stopAgent := agenttest.StartOn(t, h.kernel, h.dir, fmt.Sprint("boot-", h.boots))
	c := h.Config()
	c.Name = "m"
	if c.Interval == 0 {
		c.Interval = time.Nanosecond // each new version is told
	}
	member, err := master.Kinds{strings.Split(c.URL, "://")[0]: h.kind.New}.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := master.NewSupervisor(master.Options{
		Agent: a, Members: []master.Member{member}, Version: "1.0", Pause: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { s.Run(ctx) })
	h.agent, h.supervisor = a, s
	h.stop = sync.OnceFunc(func() {
		end()
		run.Wait()
		stopAgent()
	})
}

// restart ends the agent and starts it again; reboot says that the host does so, too.
func (h *host) restart(t *testing.T, reboot bool) {
	t.Helper()
	h.stop()
	if reboot {
		h.kernel.Reboot()
		h.boots++
	}
	h.start(t)
}

// do has the agent do something at its own door.
func (h *host) do(t *testing.T, ops ...volume.Operation) {
	t.Helper()
	if _, err := h.agent.Do(t.Context(), ops...); err != nil {
		t.Fatalf("the agent does not do its work: %v", err)
	}
}

// await waits until the agent's state is so.
func (h *host) await(t *testing.T, so func(*volume.State) bool) {
	t.Helper()
	for st := h.agent.State(); !so(st); {
		next, err := h.agent.Watch(t.Context(), st.Version)
		if err != nil {
			t.Fatal(err)
		}
		st = next
	}
}

// hang lets whatever makes something on the host hang, until goOn is called.
func (h *host) hang() (goOn func()) {
	hung := make(chan struct{})
	h.kernel.Lock()
	defer h.kernel.Unlock()
	h.kernel.Acting = func(volume.Step) { <-hung }
	return sync.OnceFunc(func() { close(hung) })
}

// want checks the result of an order.
func (h *host) want(t *testing.T, id string, state volume.OperationState, kind string) {
	t.Helper()
	if r := h.Result(t, h.id, id); r.ID != id || r.State != state || r.Kind != kind || (r.Message == "") != (kind == "") {
		t.Fatalf("order %s has the result %+v; want %s %s", id, r, state, kind)
	}
}

// table is what each kind fulfils, as the tests have shown.
type table struct {
	kinds []Kind
	mu    sync.Mutex
	cells map[[2]string]string // guarded by mu
}

func newTable(kinds []Kind) *table { return &table{kinds: kinds, cells: map[[2]string]string{}} }

// outcome is that of a test: *testing.T is one.
type outcome interface {
	Failed() bool
	Skipped() bool
}

func (t *table) note(test outcome, kind, requirement string) {
	word := "yes"
	switch {
	case test.Failed():
		word = "NO"
	case test.Skipped():
		word = "not tried"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cells[[2]string{kind, requirement}] = word
}

// String is the table with a line for each requirement.
func (t *table) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := []string{"requirement"}
	for _, k := range t.kinds {
		line = append(line, k.Name)
	}
	var failed error
	write := func() {
		_, err := fmt.Fprintln(w, strings.Join(line, "\t"))
		failed = errors.Join(failed, err)
	}
	write()
	for _, r := range requirements() {
		line = []string{r.name}
		for _, k := range t.kinds {
			line = append(line, cmp.Or(t.cells[[2]string{k.Name, r.name}], "not run"))
		}
		write()
	}
	if err := errors.Join(failed, w.Flush()); err != nil {
		return err.Error()
	}
	return b.String()
}
