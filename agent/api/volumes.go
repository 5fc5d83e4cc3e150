package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

// caller tells who asks: what a reservation of theirs must name, and ACLs go by.
func (s *Server) caller(c *call) (answer, error) {
	return ok(wire.Caller{Principal: c.peer.principal, UID: c.peer.uid, PID: c.peer.pid}), nil
}

func (s *Server) describe(*call) (answer, error) {
	return answer{status: http.StatusOK, body: openapi, media: "application/yaml"}, nil
}

func (s *Server) volumes(c *call) (answer, error) {
	limit, name, err := c.volumePage()
	if err != nil {
		return answer{}, err
	}
	return selectFields(c, wire.VolumesOf(s.agent.State(), name, limit, c.peer.view), "volumes")
}

// volumePage reads which page of volumes is asked for.
func (c *call) volumePage() (limit int, name volume.Name, err error) {
	if limit, err = c.limit(); err != nil {
		return 0, name, err
	}
	after := c.URL.Query().Get("after")
	name, valid := volume.ParseName(after)
	if after != "" && !valid {
		return 0, name, invalid("parameter after must be a volume's name, role/id, not %.64q", after)
	}
	return limit, name, nil
}

func (s *Server) volume(c *call) (answer, error) {
	st := s.agent.State()
	v, err := c.peer.view.Find(st, c.PathValue("ref"))
	if err != nil {
		return answer{}, err
	}
	return ok(s.volumeWithUsage(c.Context(), st, v)), nil
}

func (s *Server) create(c *call, request wire.CreateVolume) (answer, error) {
	op, err := request.Operation(s.agent.State())
	if err != nil {
		return answer{}, err
	}
	if principal := c.peer.principal; principal != "" {
		op.Principal, op.Volume.Disk.Persistence.Principal = principal, &principal
	}
	op.UUID = volume.UUID(uuid.NewString()) // the name may be another's when the answer is made
	st, err := s.ask(c, op)
	if err != nil {
		return answer{}, err
	}
	v, there := st.Volume(op.UUID)
	if !there || v.Phase == volume.Destroying {
		name := volume.Name{Role: request.Role, ID: request.ID}
		return answer{}, &volume.Error{Kind: volume.ErrNotFound, Message: fmt.Sprintf("volume %s was made, and destroyed by somebody else", name)}
	}
	if c.dryRun {
		return ok(wire.VolumeOf(st, v)), nil
	}
	return answer{status: http.StatusCreated, body: wire.VolumeOf(st, v)}, nil
}

// resize makes a volume larger or smaller.
func (s *Server) resize(c *call, request wire.ResizeVolume) (answer, error) {
	c.asks(volume.Resize{Ref: s.nameOf(c.PathValue("ref"))})
	v, err := s.find(c, c.PathValue("ref"))
	if err != nil {
		return answer{}, err
	}
	op, err := request.Operation(string(v.UUID))
	if err != nil {
		return answer{}, err
	}
	st, err := s.ask(c, op)
	if err != nil {
		return answer{}, err
	}
	now, err := st.Find(op.Ref)
	if err != nil {
		return answer{}, &volume.Error{Kind: volume.ErrNotFound, Message: fmt.Sprintf("volume %s was resized, and destroyed by somebody else", v.Name)}
	}
	return ok(wire.VolumeOf(st, now)), nil
}

// destroy answers 204 when the volume's space is back. When that takes longer than the
// request has, or than the client wants to wait, it answers 202 with the tombstone.
func (s *Server) destroy(c *call) (answer, error) {
	wait, err := c.flag("wait", true)
	if err != nil {
		return answer{}, err
	}
	c.asks(volume.Destroy{Ref: s.nameOf(c.PathValue("ref"))})
	v, err := s.find(c, c.PathValue("ref"))
	if err != nil {
		return answer{}, err
	}
	if c.dryRun {
		return s.tryDestroy(c, v)
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

// tryDestroy answers with the tombstone that the volume would be.
func (s *Server) tryDestroy(c *call, v *volume.Volume) (answer, error) {
	st, err := s.ask(c, volume.Destroy{Ref: string(v.UUID)})
	if err != nil {
		return answer{}, err
	}
	v, err = st.Find(string(v.UUID))
	if err != nil {
		return answer{}, err
	}
	return ok(wire.VolumeOf(st, v)), nil
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
