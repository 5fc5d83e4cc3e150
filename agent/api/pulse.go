package api

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"tenon/agent/wire"
)

// pulseInterval is how long changes are gathered for those who wait for them: the first one
// after a while is told at once, and after that as many as there are, together. It bounds
// what any number of pollers cost while the agent is busy.
const pulseInterval = 250 * time.Millisecond

// perAnswer is how much longer than that they are gathered where many wait: an answer takes
// about a tenth of it from a processor.
const perAnswer = 500 * time.Microsecond

// pulse wakes those who wait for a version, however many they are, with one watch of the
// agent; and it keeps the newest status encoded, so that it is encoded once for all of them.
type pulse struct {
	agent Agent
	run   string // tells the versions of this run of the agent from those of others
	ctx   context.Context
	beat  sync.Once
	work  sync.WaitGroup

	mu      sync.Mutex
	next    chan struct{} // closed at the next beat; guarded by mu
	shown   uint64        // version at the last beat; guarded by mu
	waiting int           // those who wait; guarded by mu
	version uint64        // of the status that is kept; guarded by mu
	healthy bool          // guarded by mu
	masters uint64        // edition of those in it; guarded by mu
	status  []byte        // guarded by mu
	newest  []wire.Master // of the last edition; guarded by mu
	count   uint64        // of editions; guarded by mu
}

// newPulse makes a pulse that ends with ctx.
func newPulse(ctx context.Context, a Agent, started time.Time) *pulse {
	return &pulse{agent: a, ctx: ctx, run: fmt.Sprintf("%x", started.UnixNano()), next: make(chan struct{})}
}

// wait returns when there was a beat with a version after the one given, or when a context
// ends. Whoever was told of a version since the last beat waits for the next one, so that
// nobody is answered more than once a beat, however fast versions follow each other.
func (p *pulse) wait(ctx context.Context, after uint64) {
	p.beat.Do(func() {
		first := p.agent.State().Version // before anybody looks: what comes after it is told
		p.mu.Lock()
		p.shown = first
		p.mu.Unlock()
		p.work.Go(func() { p.follow(first) })
	})
	p.enter(1)
	defer p.enter(-1)
	for {
		p.mu.Lock()
		next, shown := p.next, p.shown
		p.mu.Unlock()
		if shown > after {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		case <-p.ctx.Done():
			return
		}
	}
}

// enter counts those who wait.
func (p *pulse) enter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += n
}

// follow beats when there is a version after the one given, until the pulse ends.
func (p *pulse) follow(version uint64) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		st, err := p.agent.Watch(p.ctx, version)
		if err != nil {
			return
		}
		version = st.Version
		p.mu.Lock()
		close(p.next)
		p.next, p.shown = make(chan struct{}), version
		gather := max(pulseInterval, time.Duration(p.waiting)*perAnswer)
		p.mu.Unlock()
		pause.Reset(gather)
		select {
		case <-pause.C:
		case <-p.ctx.Done():
			return
		}
	}
}

// edition numbers what is told of masters, which changes without a version of the state: it
// is another number whenever something else is told than at the last call.
func (p *pulse) edition(masters []wire.Master) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.newest, masters) {
		p.newest = masters
		p.count++
	}
	return p.count
}

// encoded gives a status that make makes, encoded, with its tag. It is made anew where the
// version, the agent's health or the edition of masters is another than at the last call.
func (p *pulse) encoded(edition uint64, make func() wire.Status) (body []byte, tag string, err error) {
	version, healthy := p.agent.State().Version, p.agent.Health() == nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status == nil || p.version != version || p.healthy != healthy || p.masters != edition {
		st := make()
		body, _, err := ok(st).encode()
		if err != nil {
			return nil, "", err
		}
		p.status, p.version, p.healthy, p.masters = body, st.Index, st.Healthy, edition
	}
	return p.status, p.tag(p.version, p.healthy, p.masters), nil
}

// tag is the entity tag of a status (RFC 9110, 8.8.3).
func (p *pulse) tag(version uint64, healthy bool, edition uint64) string {
	if !healthy {
		return fmt.Sprintf(`"%s-%d-%d-unhealthy"`, p.run, version, edition)
	}
	return fmt.Sprintf(`"%s-%d-%d"`, p.run, version, edition)
}
