package agenttest

import (
	"cmp"
	"context"
	"errors"

	"tenon/agent"
	"tenon/agent/volume"
)

// Gauge is the kernel as an agent.Gauge: what is Used is counted on disks whose Enforcement is
// hard, and measured elsewhere.
type Gauge struct{ *Kernel }

// Usage is of volumes on disks that enforce limits.
func (g Gauge) Usage(_ context.Context, s *volume.State, ids ...volume.UUID) (map[volume.UUID]agent.Usage, error) {
	g.Lock()
	defer g.Unlock()
	used := map[volume.UUID]agent.Usage{}
	if len(ids) == 0 {
		for v := range s.Volumes(volume.Name{}) {
			ids = append(ids, v.UUID)
		}
	}
	for _, id := range ids {
		v, ok := s.Volume(id)
		if !ok || v.Project == 0 || !g.has(v.Disk) || !g.Pools[v.Disk].enforces() {
			continue
		}
		used[id] = agent.Usage{Bytes: g.Used[id], Astray: g.Pools[v.Disk].Limits[v.Project] != v.Size}
	}
	return used, nil
}

// Life is not known.
func (g Gauge) Life(*volume.Task) (agent.Life, error) { return agent.Life{}, nil }

// Measure is a walk through a volume.
func (g Gauge) Measure(ctx context.Context, s *volume.State, id volume.UUID) (agent.Usage, error) {
	g.Lock()
	walked, used := g.Walked, g.Used[id]
	err := errors.New("no such volume")
	if v, ok := s.Volume(id); ok {
		err = g.reach(v)
	}
	g.Unlock()
	if walked != nil {
		walked(id)
	}
	return agent.Usage{Bytes: used}, cmp.Or(err, ctx.Err())
}

// Rooms are those of the disks that are there.
func (g Gauge) Rooms(context.Context, *volume.State) map[string]volume.Room {
	g.Lock()
	defer g.Unlock()
	rooms := map[string]volume.Room{}
	for key, p := range g.Pools {
		if p.open && p.Room != (volume.Room{}) {
			rooms[key] = p.Room
		}
	}
	return rooms
}
