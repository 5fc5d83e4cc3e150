package api

import (
	"context"
	"fmt"
	"os"
	"time"

	"tenon/agent"
	"tenon/agent/resource"
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
// there, one on an operation of somebody else in the same way, and one that is not allowed by
// its rule.
func (g *guard) check(st *volume.State, op volume.Operation) error {
	if o, is := op.(volume.Acknowledge); is {
		if err := g.know(st, o.ID); err != nil {
			return err
		}
	}
	for _, ref := range refsOf(op) {
		if err := g.see(st, ref); err != nil {
			return g.without(st, ref, op, err)
		}
	}
	if g.allow != nil {
		g.refused = g.allow(st, op)
	}
	return g.refused
}

// know refuses an operation that is there and may not be seen.
func (g *guard) know(st *volume.State, id string) error {
	_, err := g.asked.Find(st, id)
	if _, kept := st.Operation(id); kept && err != nil {
		g.refused = fmt.Errorf("operation %s may not be seen: refused by view_roles of the ACLs, told that it is not there", id)
	}
	return err
}

// without gives the refusal of an operation as it is where a volume that may not be seen is
// not there: what else is wrong with it comes first, or not, as it does then.
func (g *guard) without(st *volume.State, ref string, op volume.Operation, unseen error) error {
	v, err := st.Find(ref)
	if err != nil {
		return unseen
	}
	st = st.With(volume.Change{Drop: &volume.Drop{Volume: v.UUID}})
	if g.allow != nil {
		if err := g.allow(st, op); err != nil {
			return err
		}
	}
	if _, err := volume.Apply(st, volume.Env{Now: time.Now()}, op); err != nil {
		return err
	}
	return unseen
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

// refsOf are the volumes that an operation is about, by name or UUID. One that makes a volume
// has none: that a name is taken cannot be hidden from whoever may use it.
func refsOf(op volume.Operation) (refs []string) {
	switch o := op.(type) {
	case volume.Destroy:
		if o.Ref != "" {
			return []string{o.Ref}
		}
		return namesOf(o.Volume)
	case volume.Grow:
		return namesOf(o.Volume)
	case volume.Shrink:
		return namesOf(o.Volume)
	case volume.Resize:
		return []string{o.Ref}
	case volume.Launch:
		return namesOf(o.Resources...)
	case volume.Attach:
		return []string{o.Volume}
	case volume.Detach:
		return []string{o.Volume}
	case volume.SetMode:
		return []string{o.Volume}
	case volume.Claim:
		for _, u := range o.Uses {
			refs = append(refs, u.Volume)
		}
		for _, t := range o.IO {
			if t.Volume != "" {
				refs = append(refs, t.Volume)
			}
		}
	}
	return refs
}

// namesOf are the names of those resources that are volumes, as Mesos' own operations carry
// them.
func namesOf(rs ...resource.Resource) (names []string) {
	for _, r := range rs {
		if r.IsVolume() {
			names = append(names, volume.Name{Role: r.Role(), ID: r.Disk.Persistence.ID}.String())
		}
	}
	return names
}
