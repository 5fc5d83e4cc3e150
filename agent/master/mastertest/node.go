package mastertest

import (
	"sync/atomic"
	"time"

	"tenon/agent"
	"tenon/agent/master"
	"tenon/agent/wire"
)

// Node is a master.Node of an agent, for tests that run a client without a Supervisor.
type Node struct {
	*agent.Agent
	Contacts chan error // what Contact was called with; what does not fit is dropped
	View     wire.View
	reports  atomic.Uint64
}

// NewNode makes the Node of an agent.
func NewNode(a *agent.Agent) *Node { return &Node{Agent: a, Contacts: make(chan error, 100)} }

// About is the client of the master m.
func (n *Node) About() master.About {
	return master.About{Name: "m", Principal: Principal, Reports: &n.reports, About: wire.About{
		Version: "1.0", Started: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Health: n.Health(), View: n.View,
	}}
}

// Contact notes that the master was heard from, or what was wrong.
func (n *Node) Contact(err error) {
	select {
	case n.Contacts <- err:
	default:
	}
}
