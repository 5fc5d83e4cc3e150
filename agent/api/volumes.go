package api

import (
	"context"
	"errors"
	"net/http"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func (s *Server) status(*call) (answer, error) {
	about := wire.About{Version: s.version, Started: s.started, Health: s.agent.Health()}
	return ok(wire.StatusOf(s.agent.State(), about)), nil
}

func (s *Server) health(*call) (answer, error) {
	return ok(wire.Health{Healthy: true}), s.agent.Health()
}

func (s *Server) describe(*call) (answer, error) {
	return answer{status: http.StatusOK, body: openapi, media: "application/yaml"}, nil
}

// apply takes Mesos' operations, all of them or none.
func (s *Server) apply(c *call) (answer, error) {
	data, err := c.body()
	if err != nil {
		return answer{}, err
	}
	mesos, err := resource.ParseOperations(data)
	if err != nil {
		return answer{}, err
	}
	ops, err := wire.FromMesos(mesos, c.peer.principal)
	if err != nil {
		return answer{}, err
	}
	st, err := s.ask(c, ops...)
	if err != nil {
		return answer{}, err
	}
	return ok(wire.Applied{Index: st.Version}), nil
}

func (s *Server) volumes(c *call) (answer, error) {
	limit, err := c.limit()
	if err != nil {
		return answer{}, err
	}
	after := c.URL.Query().Get("after")
	name, valid := volume.ParseName(after)
	if after != "" && !valid {
		return answer{}, invalid("parameter after must be a volume's name, role/id, not %.64q", after)
	}
	return ok(wire.VolumesOf(s.agent.State(), name, limit)), nil
}

func (s *Server) volume(c *call) (answer, error) {
	st := s.agent.State()
	v, err := st.Find(c.PathValue("ref"))
	if err != nil {
		return answer{}, err
	}
	return ok(wire.VolumeOf(st, v)), nil
}

func (s *Server) create(c *call, request wire.CreateVolume) (answer, error) {
	op, err := request.Operation(s.agent.State())
	if err != nil {
		return answer{}, err
	}
	st, err := s.ask(c, op)
	if err != nil {
		return answer{}, err
	}
	v, err := st.Find(volume.Name{Role: request.Role, ID: request.ID}.String())
	if err != nil {
		return answer{}, err // destroyed by somebody else by now
	}
	return answer{status: http.StatusCreated, body: wire.VolumeOf(st, v)}, nil
}

// destroy answers 204 when the volume's space is back. When that takes longer than the
// request has, or than the client wants to wait, it answers 202 with the tombstone.
func (s *Server) destroy(c *call) (answer, error) {
	wait, err := c.flag("wait", true)
	if err != nil {
		return answer{}, err
	}
	v, err := s.agent.State().Find(c.PathValue("ref"))
	if err != nil {
		return answer{}, err
	}
	ctx := c.Context()
	if !wait {
		until, stop := s.untilRecorded(ctx, v.UUID)
		defer stop()
		ctx = until
	}
	_, err = s.askIn(ctx, c, volume.Destroy{Ref: string(v.UUID)})
	st := s.agent.State()
	left, there := st.Volume(v.UUID)
	switch {
	case err == nil, !there, errors.Is(err, volume.ErrNotFound): // its end may have come since it was found
		return nothing(), nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()) && left.Phase == volume.Destroying:
		return answer{status: http.StatusAccepted, body: wire.VolumeOf(st, left)}, nil
	}
	return answer{}, err
}

// untilRecorded gives a context that ends as soon as a volume is being destroyed. stop
// must be called.
func (s *Server) untilRecorded(ctx context.Context, id volume.UUID) (until context.Context, stop func()) {
	until, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		st, err := s.agent.State(), error(nil)
		for err == nil {
			if v, there := st.Volume(id); !there || v.Phase == volume.Destroying {
				return
			}
			st, err = s.agent.Watch(until, st.Version)
		}
	}()
	return until, func() { cancel(); <-done }
}
