package api

import (
	"tenon/agent/resource"
	"tenon/agent/wire"
)

// resources tells what there is, in the words of masters.
func (s *Server) resources(c *call) (answer, error) {
	shared, err := c.flag("shared", true)
	if err != nil {
		return answer{}, err
	}
	role := c.URL.Query().Get("role")
	if role != "" {
		if err := resource.CheckRole(role); err != nil {
			return answer{}, err
		}
	}
	return ok(wire.ResourcesOf(s.agent.State(), role, shared, c.peer.view)), nil
}
