package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// Agent is what masters act on: *agent.Agent is one.
type Agent interface {
	// Ask applies operations and waits until what they touched has converged.
	Ask(ctx context.Context, r agent.Request) (*volume.State, error)
	// State is the newest version.
	State() *volume.State
	// Watch waits for a version after the one given.
	Watch(ctx context.Context, after uint64) (*volume.State, error)
	// Health is nil while the agent can do its work.
	Health() error
}

// Options are what a Supervisor is made of. Agent must be set.
type Options struct {
	Agent   Agent
	Members []Member
	ACLs    access.ACLs   // the zero value allows everything
	Audit   *access.Audit // of orders; nil is none. The caller closes it
	Version string        // of the program, for reports
	Log     *slog.Logger
	// Pause is how long to wait before a client is started again that has been lost so many
	// times in a row before; nil is from a second to a minute, with a part at random.
	Pause func(failures int) time.Duration
}

// Supervisor runs the clients of all masters.
type Supervisor struct {
	agent   Agent
	acls    access.ACLs
	audit   *access.Audit
	version string
	started time.Time
	log     *slog.Logger
	pause   func(failures int) time.Duration
	nodes   []*node
}

const (
	shortestPause = time.Second
	longestPause  = time.Minute
	endTime       = 5 * time.Second // for clients to return when Run ends
)

// NewSupervisor makes a Supervisor. Two members of one name are an error.
func NewSupervisor(o Options) (*Supervisor, error) {
	s := &Supervisor{agent: o.Agent, acls: o.ACLs, audit: o.Audit, version: o.Version, started: time.Now().UTC(), log: o.Log, pause: o.Pause}
	if s.pause == nil {
		s.pause = pause
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	names := map[string]bool{}
	for _, m := range o.Members {
		if names[m.Name] {
			return nil, fmt.Errorf("master %s is configured twice", m.Name)
		}
		names[m.Name] = true
		s.nodes = append(s.nodes, newNode(s, m))
	}
	return s, nil
}

// Run keeps all clients running until ctx ends. It then waits for them to return, but not
// for ever: a client that hangs is left behind.
func (s *Supervisor) Run(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		var all sync.WaitGroup
		for _, n := range s.nodes {
			all.Go(func() { n.keep(ctx) })
		}
		all.Wait()
		close(ended)
	}()
	<-ctx.Done()
	limit := time.NewTimer(endTime)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		s.log.Warn("clients of masters left behind, they do not end")
	}
}

// Status tells how it stands with each master, in the order of the configuration.
func (s *Supervisor) Status() []wire.Master {
	list := make([]wire.Master, len(s.nodes))
	for i, n := range s.nodes {
		list[i] = n.snapshot()
	}
	return list
}

// keep runs the client again and again.
func (n *node) keep(ctx context.Context) {
	for failures := 0; ; failures++ {
		err := n.once(ctx)
		if ctx.Err() != nil {
			n.lost(nil)
			return
		}
		if n.lost(err) {
			failures = 0
		}
		if sleep(ctx, n.pause(failures)) != nil {
			return
		}
		n.restarted()
	}
}

// once runs the client until it returns, or panics.
func (n *node) once(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	if err := n.member.Client.Run(ctx, n); err != nil {
		return err
	}
	return errors.New("the client ended without a reason")
}

// panicError is what a client panicked with.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the client panicked: %v", e.value) }

// panicked must be called where the panic is recovered.
func panicked(p any) error { return &panicError{p, debug.Stack()} }

// pause is how long to wait after so many failures in a row, less up to half of it at random:
// agents that have lost the same master do not come back all at once.
func pause(failures int) time.Duration {
	d := longestPause
	if doublings := 6; failures < doublings {
		d = min(d, 2*shortestPause<<failures)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // nothing is secret here
}

// sleep waits so long, or until ctx ends, which is its error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
