package api

import (
	"context"

	"tenon/agent"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// Gauge tells what is measured when somebody asks. *agent.Agent is one.
type Gauge interface {
	// Life tells what holds a task.
	Life(t *volume.Task) (agent.Life, error)
	// Usage tells of those that are named, or of all. What nobody counts is left out.
	Usage(ctx context.Context, ids ...volume.UUID) (map[volume.UUID]agent.Usage, error)
}

// used asks for what volumes take.
func (s *Server) used(ctx context.Context, ids ...volume.UUID) (map[volume.UUID]wire.Used, error) {
	used := map[volume.UUID]wire.Used{}
	if s.gauge == nil {
		return used, nil
	}
	all, err := s.gauge.Usage(ctx, ids...)
	for id, u := range all {
		used[id] = usedOf(u)
	}
	return used, err
}

func usedOf(u agent.Usage) wire.Used {
	w := wire.Used{Bytes: u.Bytes, Inodes: u.Inodes}
	if !u.Measured.IsZero() {
		w.Measured = &u.Measured
	}
	return w
}

// usage lists what volumes take. It costs a system call for each volume that is counted,
// whatever the page.
func (s *Server) usage(c *call) (answer, error) {
	limit, name, err := c.volumePage()
	if err != nil {
		return answer{}, err
	}
	used, err := s.used(c.Context())
	if err != nil {
		return answer{}, err
	}
	return ok(wire.UsageOf(s.agent.State(), used, name, limit, c.peer.view)), nil
}

// volumeWithUsage tells all about one volume, and what it takes.
func (s *Server) volumeWithUsage(ctx context.Context, st *volume.State, v *volume.Volume) wire.Volume {
	w := wire.VolumeOf(st, v)
	used, err := s.used(ctx, v.UUID)
	if err != nil {
		s.log.Warn("usage of a volume not known", "volume", v.Name, "err", err)
	}
	if u, counted := used[v.UUID]; counted {
		w.Used = &u
	}
	return w
}
