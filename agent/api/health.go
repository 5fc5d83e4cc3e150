package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

// health tells whether the agent can do its work.
func (s *Server) health(*call) (answer, error) {
	return ok(wire.Health{Healthy: true}), s.agent.Health()
}

// ready tells whether volumes can be made and used here: the agent is healthy, and the root
// disk is there. Other disks may come and go.
func (s *Server) ready(*call) (answer, error) {
	if err := s.agent.Health(); err != nil {
		return answer{}, err
	}
	if f, bad := s.agent.State().Fault(volume.UnitOfDisk("")); bad {
		return answer{}, refusal(volume.ErrUnavailable, "the root disk is not available: %s", f.Reason)
	}
	return ok(wire.Health{Healthy: true}), nil
}

// scrape has the metrics write themselves.
func (s *Server) scrape(c *call) (answer, error) {
	if s.metrics == nil {
		return answer{}, refusal(volume.ErrNotFound, "this agent has no metrics")
	}
	h := s.metrics(c.peer.view)
	return answer{stream: func(_ context.Context, w *recorder) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // a connection that is gone says so
		w.status = http.StatusOK                                                         // where it says nothing else
		h.ServeHTTP(w, c.Request)
	}}, nil
}

// mastersAnswer lists the masters with their last contacts.
func (s *Server) mastersAnswer(*call) (answer, error) {
	return ok(wire.Masters{Masters: append([]wire.Master{}, s.masters()...)}), nil
}

// steady leaves out what changes all the time: when a master was heard from that is heard
// from still.
func steady(masters []wire.Master) []wire.Master {
	masters = slices.Clone(masters)
	for i := range masters {
		if masters[i].Connected {
			masters[i].LastContact = time.Time{}
		}
	}
	return masters
}
