package api

import (
	"context"
	"fmt"
	"os"

	"tenon/agent"
	"tenon/agent/volume"
)

// ask has the agent apply a batch for whoever calls. Every change that a request makes goes
// through here or through askMount.
func (s *Server) ask(c *call, ops ...volume.Operation) (*volume.State, error) {
	return s.askIn(c.Context(), c, ops...)
}

// askIn is ask that waits no longer than ctx.
func (s *Server) askIn(ctx context.Context, c *call, ops ...volume.Operation) (*volume.State, error) {
	c.asks(ops...)
	g := guard{rules: c.peer.rules}
	st, err := s.agent.Ask(ctx, agent.Request{Operations: ops, Allow: g.function(), DryRun: c.dryRun})
	s.logRefused(c, g.refused)
	return st, err
}

// askMount has the agent attach a volume for whoever calls and give its mount.
func (s *Server) askMount(c *call, op volume.Attach) (*os.File, error) {
	c.asks(op)
	g := guard{rules: c.peer.rules}
	f, err := s.agent.Hand(c.Context(), op, g.function())
	s.logRefused(c, g.refused)
	return f, err
}

// find finds a volume that whoever calls wants to change, if they may see it.
func (s *Server) find(c *call, ref string) (*volume.Volume, error) {
	g, st := guard{rules: c.peer.rules}, s.agent.State()
	if err := g.see(st, ref); err != nil {
		s.logRefused(c, g.refused)
		return nil, err
	}
	return st.Find(ref)
}

// nameOf is a volume's name for the audit, which may have been asked for by its UUID.
func (s *Server) nameOf(ref string) string {
	if v, err := s.agent.State().Find(ref); err == nil {
		return v.Name.String()
	}
	return ref
}

// asks notes what a call is about, unless its handler did so before.
func (c *call) asks(ops ...volume.Operation) {
	if c.asked == nil {
		c.asked = ops
	}
}

// logRefused logs what the ACLs have refused, if anything.
func (s *Server) logRefused(c *call, refused error) {
	if refused != nil {
		s.log.Warn("refused by the ACLs", "principal", c.peer.name(), "pid", c.peer.pid,
			"method", c.Method, "path", c.URL.Path, "reason", refused)
	}
}

// guard asks the rules about the operations of one batch.
type guard struct {
	rules
	refused error // why, with the rule
}

// function is what the agent calls; nil where there are no rules.
func (g *guard) function() func(*volume.State, volume.Operation) error {
	if g.allow == nil && g.view == nil {
		return nil
	}
	return g.check
}

// check refuses an operation on a volume that may not be seen just as if it were not
// there, and one that is not allowed by its rule.
func (g *guard) check(st *volume.State, op volume.Operation) error {
	for _, ref := range refsOf(op) {
		if err := g.see(st, ref); err != nil {
			return err
		}
	}
	if g.allow != nil {
		g.refused = g.allow(st, op)
	}
	return g.refused
}

// see refuses a volume that is there and may not be seen.
func (g *guard) see(st *volume.State, ref string) error {
	v, err := st.Find(ref)
	if err != nil || g.view.Volume(v) {
		return nil
	}
	g.refused = fmt.Errorf("volume %s may not be seen: refused by view_roles of the ACLs, told that it is not there", v.Name)
	_, err = g.view.Find(st, ref)
	return err
}

// refsOf are the volumes that an operation calls by name or UUID. Mesos' own operations
// carry the whole resource instead, as somebody has it who was shown it.
func refsOf(op volume.Operation) (refs []string) {
	switch o := op.(type) {
	case volume.Destroy:
		refs = []string{o.Ref}
	case volume.Resize:
		refs = []string{o.Ref}
	case volume.Attach:
		refs = []string{o.Volume}
	case volume.Detach:
		refs = []string{o.Volume}
	case volume.SetMode:
		refs = []string{o.Volume}
	case volume.Claim:
		for _, u := range o.Uses {
			refs = append(refs, u.Volume)
		}
	}
	return refs
}
