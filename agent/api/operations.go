package api

import (
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// maxOperations bounds the body of a request for operations, which may be as many as
// volume.MaxBatch of some size.
const maxOperations = 16 << 20

// apply takes Mesos' operations, all of them or none.
func (s *Server) apply(c *call) (answer, error) {
	data, err := c.body(maxOperations)
	if err != nil {
		return answer{}, err
	}
	mesos, err := resource.ParseOperations(data)
	if err != nil {
		return answer{}, err
	}
	st, err := s.askMesos(c, mesos)
	if err != nil {
		return answer{}, err
	}
	return ok(wire.AppliedOf(st, mesos, c.dryRun)), nil
}

// askMesos has Mesos' operations applied.
func (s *Server) askMesos(c *call, mesos []resource.Operation) (*volume.State, error) {
	if err := wire.CheckAgent(mesos, s.agent.State().Agent); err != nil {
		return nil, err
	}
	ops, err := wire.FromMesos(mesos, c.peer.principal)
	if err != nil {
		return nil, err
	}
	c.asks(ops...)
	if err := s.checkIDs(c, mesos); err != nil {
		return nil, err
	}
	return s.ask(c, ops...)
}

// checkIDs refuses ids that are those of a master's orders to anybody else: whoever took one
// first would keep the master from its order.
func (s *Server) checkIDs(c *call, mesos []resource.Operation) error {
	for _, m := range s.masters() {
		for _, op := range mesos {
			if strings.HasPrefix(op.ID, m.Name+":") && c.peer.principal != m.Principal {
				return refusal(volume.ErrForbidden, "operation %.64q: ids that begin with %q are for orders of the master %s, which asks as %s; choose another id",
					op.ID, m.Name+":", m.Name, m.Principal)
			}
		}
	}
	return nil
}

func (s *Server) operations(c *call) (answer, error) {
	limit, err := c.limit()
	if err != nil {
		return answer{}, err
	}
	all, err := c.flag("all", false)
	if err != nil {
		return answer{}, err
	}
	page, err := wire.OperationsOf(s.agent.State(), c.URL.Query().Get("after"), all, limit, c.peer.asked)
	return ok(page), err
}

func (s *Server) operation(c *call) (answer, error) {
	st := s.agent.State()
	o, err := c.peer.asked.Find(st, c.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	return ok(wire.OperationOf(st, o)), nil
}

// acknowledge has the agent note that whoever asked knows how the operation ended. Rules let
// nobody else say so.
func (s *Server) acknowledge(c *call) (answer, error) {
	_, err := s.ask(c, volume.Acknowledge{ID: c.PathValue("id")})
	return nothing(), err
}
