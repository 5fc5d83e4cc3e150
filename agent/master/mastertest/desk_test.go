package mastertest_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"tenon/agent/master"
	"tenon/agent/master/mastertest"
)

// desk is what the masters of these tests have in common: orders that are open, what agents
// have told, and whoever waits for it.
type desk struct {
	mu      sync.Mutex
	changed chan struct{}                       // closed and replaced when anything changes; guarded by mu
	orders  map[string]map[string][]byte        // that are open, by agent and id; guarded by mu
	given   map[string]map[string]bool          // those that the agent was told of; guarded by mu
	results map[string]map[string]master.Result // of open orders; guarded by mu
	reports map[string]master.Report            // guarded by mu
	harm    mastertest.Harm                     // guarded by mu
	met     bool                                // the harm, by an agent; guarded by mu
}

func newDesk() *desk {
	return &desk{
		changed: make(chan struct{}), harm: mastertest.Fine,
		orders: map[string]map[string][]byte{}, given: map[string]map[string]bool{},
		results: map[string]map[string]master.Result{}, reports: map[string]master.Report{},
	}
}

// change changes the desk and tells whoever waits.
func (d *desk) change(how func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how()
	close(d.changed)
	d.changed = make(chan struct{})
}

// await waits for something to be so.
func (d *desk) await(ctx context.Context, so func() bool) error {
	for {
		d.mu.Lock()
		is, changed := so(), d.changed
		d.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *desk) must(t testing.TB, what string, so func() bool) {
	t.Helper()
	if err := d.await(t.Context(), so); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// Order opens an order.
func (d *desk) Order(_ testing.TB, agent, id string, order []byte) {
	d.change(func() {
		if d.orders[agent] == nil {
			d.orders[agent], d.given[agent], d.results[agent] = map[string][]byte{}, map[string]bool{}, map[string]master.Result{}
		}
		d.orders[agent][id] = order
		delete(d.given[agent], id)
		delete(d.results[agent], id)
	})
}

// Result waits for the result of an order and closes it.
func (d *desk) Result(t testing.TB, agent, id string) (r master.Result) {
	t.Helper()
	d.must(t, "the result of order "+id, func() (there bool) {
		r, there = d.results[agent][id]
		return there
	})
	d.change(func() { delete(d.orders[agent], id) })
	return r
}

// Report waits for a report.
func (d *desk) Report(t testing.TB, agent string, wanted func(master.Report) bool) {
	t.Helper()
	d.must(t, "a report", func() bool {
		r, there := d.reports[agent]
		return there && wanted(r)
	})
}

// Break does harm and waits until an agent has met it.
func (d *desk) Break(t testing.TB, h mastertest.Harm) {
	t.Helper()
	d.change(func() { d.harm, d.met = h, h == mastertest.Fine })
	d.must(t, "an agent that meets a master that "+string(h), func() bool { return d.met })
}

// meet is called for each visit of an agent.
func (d *desk) meet() (h mastertest.Harm) {
	d.change(func() { h, d.met = d.harm, true })
	return h
}

// mended waits until the harm is over.
func (d *desk) mended(ctx context.Context) error {
	return d.await(ctx, func() bool { return d.harm == mastertest.Fine })
}

// accept takes a report, and gives the orders that are open and the ids of results that are
// not needed any more.
func (d *desk) accept(r master.Report) (orders map[string][]byte, done []string) {
	d.change(func() {
		old := d.reports[r.Agent]
		if then := old.Status.Started.Compare(r.Status.Started); then > 0 || then == 0 && old.Sequence >= r.Sequence {
			return // it was overtaken
		}
		d.reports[r.Agent] = r
		for _, result := range r.Results {
			switch _, open := d.orders[r.Agent][result.ID]; {
			case !open:
				done = append(done, result.ID)
			case d.given[r.Agent][result.ID] && result.Final():
				d.results[r.Agent][result.ID] = result
			}
		}
		orders = maps.Clone(d.orders[r.Agent])
		for id := range orders {
			d.given[r.Agent][id] = true
		}
	})
	return orders, done
}
