package api

import (
	"context"

	"tenon/agent"
	"tenon/agent/volume"
)

// ask has the agent apply a batch for whoever calls. Every change that a request makes goes
// through here.
func (s *Server) ask(c *call, ops ...volume.Operation) (*volume.State, error) {
	return s.askIn(c.Context(), c, ops...)
}

// askIn is ask that waits no longer than ctx.
func (s *Server) askIn(ctx context.Context, c *call, ops ...volume.Operation) (*volume.State, error) {
	return s.agent.Ask(ctx, agent.Request{Operations: ops})
}
