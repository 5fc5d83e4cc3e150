package master

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// What one master may ask at most.
const (
	maxAsks    = 16   // at work at once
	asksRate   = 1000 // operations a second, in the long run
	asksBurst  = 1000 // operations that may come at once before that
	maxMessage = 500  // bytes of an error that are kept
)

// node is a Node with the record of its client.
type node struct {
	*Supervisor
	member Member
	slots  chan struct{} // one for each Ask at work

	reports atomic.Uint64 // written

	mu      sync.Mutex
	status  wire.Master // guarded by mu
	heard   bool        // since the client was started; guarded by mu
	balance float64     // of operations that may be asked for; guarded by mu
	counted time.Time   // when balance was right; guarded by mu
}

func newNode(s *Supervisor, m Member) *node {
	return &node{
		Supervisor: s, member: m, slots: make(chan struct{}, maxAsks), balance: asksBurst, counted: time.Now(),
		status: wire.Master{Name: m.Name, Kind: m.Kind, URL: m.URL, Principal: m.Principal},
	}
}

// About tells whose client it is.
func (n *node) About() About {
	return About{Name: n.member.Name, Principal: n.member.Principal, Reports: &n.reports, About: wire.About{
		Version: n.version, Started: n.started, Health: n.agent.Health(), View: n.view(),
	}}
}

// view is nil where the rules hide nothing.
func (n *node) view() wire.View {
	if !n.acls.Strict && len(n.acls.Rules[access.View]) == 0 {
		return nil
	}
	return n.acls.Visible(n.member.Principal)
}

// State is the newest version.
func (n *node) State() *volume.State { return n.agent.State() }

// Watch waits for a version after the one given.
func (n *node) Watch(ctx context.Context, after uint64) (*volume.State, error) {
	return n.agent.Watch(ctx, after)
}

// Ask asks the agent as the master's principal, when it is the master's turn. What only
// acknowledges has its turn at once, so that a master is told of orders that hang; orders after
// it pay for it. There cannot be more of it than of orders.
func (n *node) Ask(ctx context.Context, r agent.Request) (*volume.State, error) {
	if acknowledges(r.Operations) {
		n.debt(len(r.Operations))
		return n.ask(ctx, r)
	}
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	operations := count(r.Operations)
	if err := sleep(ctx, n.debt(operations)); err != nil {
		n.debt(-operations)
		return nil, err
	}
	return n.ask(ctx, r)
}

func acknowledges(ops []volume.Operation) bool {
	return !slices.ContainsFunc(ops, func(op volume.Operation) bool {
		_, is := op.(volume.Acknowledge)
		return !is
	})
}

func (n *node) ask(ctx context.Context, r agent.Request) (*volume.State, error) {
	r.Allow = n.acls.For(n.member.Principal)
	s, err := n.agent.Ask(ctx, r)
	n.note(r, err)
	return s, err
}

// debt takes so many operations of the balance, and says how long to wait for it to be even.
func (n *node) debt(operations int) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.balance = min(asksBurst, n.balance+now.Sub(n.counted).Seconds()*asksRate)
	n.counted = now
	wait := time.Duration(-n.balance / asksRate * float64(time.Second))
	n.balance -= float64(operations)
	return max(wait, 0)
}

func count(ops []volume.Operation) (n int) {
	for _, op := range ops {
		if group, is := op.(volume.Identified); is {
			n += count(group.Operations)
		}
		n++
	}
	return n
}

// note writes what was asked to the audit.
func (n *node) note(r agent.Request, asked error) {
	if n.audit == nil {
		return
	}
	outcome, reason := access.Outcome(asked)
	err := n.audit.Write(access.Entry{
		Time: time.Now().UTC(), Principal: n.member.Principal, Remote: n.member.URL,
		Operations: access.Describe(r.Operations), DryRun: r.DryRun, Outcome: outcome, Reason: reason,
	})
	if err != nil {
		n.log.Error("audit not written", "master", n.member.Name, "err", err)
	}
}

// Contact notes that the master was heard from, or what was wrong with what it said.
func (n *node) Contact(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if lacks, is := errors.AsType[Incomplete](err); is {
		n.lack(lacks)
		return
	}
	if err != nil {
		n.fail(err)
		return
	}
	if !n.heard {
		n.log.Info("master reached", "master", n.member.Name, "addr", n.member.URL)
	}
	n.heard, n.status.Connected, n.status.LastContact = true, true, time.Now().UTC()
}

// lost notes that the client has returned, and says whether it had heard from the master. A
// nil error is the agent's own end.
func (n *node) lost(err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	heard := n.heard
	n.heard, n.status.Connected, n.status.Incomplete = false, false, ""
	if err == nil {
		return heard
	}
	n.fail(err)
	if p := (*panicError)(nil); errors.As(err, &p) {
		n.log.Error("client of a master panicked", "master", n.member.Name, "err", err, "reason", string(p.stack))
	} else if heard || n.status.Restarts == 0 {
		n.log.Warn("master lost", "master", n.member.Name, "addr", n.member.URL, "reason", n.status.LastError)
	}
	return heard
}

// lack notes what the master cannot be told, or that there is no such thing any more.
//
// Preconditions: n.mu is held.
func (n *node) lack(i Incomplete) {
	n.status.Incomplete = line(string(i))
	if i == "" {
		n.log.Info("master told all again", "master", n.member.Name)
		return
	}
	n.fail(i)
	n.log.Warn("master not told all", "master", n.member.Name, "reason", n.status.Incomplete)
}

// fail keeps an error.
//
// Preconditions: n.mu is held.
func (n *node) fail(err error) {
	n.status.LastError, n.status.ErrorAt = line(err.Error()), time.Now().UTC()
}

// line makes one line of bounded length of a text that a master may have had a hand in.
func line(text string) string {
	if len(text) > maxMessage {
		text = text[:maxMessage]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
}

func (n *node) restarted() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Restarts++
}

func (n *node) snapshot() wire.Master {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}
