package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"tenon/agent"
	"tenon/agent/pool"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/quota"
)

// Usage tells what volumes take, as far as the file systems count it: with a call for each
// volume that is named, or one for each that a disk has. On btrfs it is as of its last
// commit (quota.Usage).
func (h *Host) Usage(ctx context.Context, s *volume.State, ids ...volume.UUID) (map[volume.UUID]agent.Usage, error) {
	if len(ids) == 0 {
		return h.usageOfAll(ctx, s)
	}
	all := map[volume.UUID]agent.Usage{}
	for _, id := range ids {
		v, ok := s.Volume(id)
		if !ok {
			continue
		}
		if u, whole := h.whole(s, v); whole {
			all[id] = u
			continue
		}
		l := h.limitsOf(v)
		if v.Project == 0 || !l.enforces() {
			continue
		}
		u, err := l.quota.Usage(v.Project)
		if err := errors.Join(ctx.Err(), ignoreOff(err)); err != nil {
			return all, err
		}
		if err == nil {
			all[id] = l.usageOf(v, u)
		}
	}
	return all, nil
}

// usageOfAll lists the projects of each disk, and says whose they are.
func (h *Host) usageOfAll(ctx context.Context, s *volume.State) (map[volume.UUID]agent.Usage, error) {
	all := map[volume.UUID]agent.Usage{}
	used := map[string]map[uint32]quota.Usage{}
	for v := range s.Volumes(volume.Name{}) {
		if u, whole := h.whole(s, v); whole {
			all[v.UUID] = u
			continue
		}
		l := h.limitsOf(v)
		if v.Project == 0 || !l.enforces() {
			continue
		}
		if _, listed := used[v.Disk]; !listed {
			entries, err := l.quota.List(h.projects)
			if err := errors.Join(ctx.Err(), ignoreOff(err)); err != nil {
				return all, err
			}
			used[v.Disk] = byProject(entries)
		}
		all[v.UUID] = l.usageOf(v, used[v.Disk][v.Project]) // one that is not listed has nothing, no limit either
	}
	return all, nil
}

// whole is what is taken of a file system that is one volume's as a whole, if it is such a one
// and there.
func (h *Host) whole(s *volume.State, v *volume.Volume) (agent.Usage, bool) {
	if d, ok := h.disks[v.Disk]; !ok || !d.mount {
		return agent.Usage{}, false
	}
	p, err := h.poolOf(s, v)
	if err != nil {
		return agent.Usage{}, false
	}
	space, err := p.Space()
	return agent.Usage{Bytes: space.Total - space.Free}, err == nil
}

func byProject(entries []quota.Entry) map[uint32]quota.Usage {
	all := make(map[uint32]quota.Usage, len(entries))
	for _, e := range entries {
		all[e.ID] = e.Usage
	}
	return all
}

func (l *limits) usageOf(v *volume.Volume, u quota.Usage) agent.Usage {
	return agent.Usage{Bytes: sizeFrom(u.Bytes), Inodes: u.Inodes, Astray: u.LimitBytes != l.quota.Round(uint64(v.Size.Bytes()))}
}

// Measure finds by a walk what is in a volume.
func (h *Host) Measure(ctx context.Context, s *volume.State, id volume.UUID) (agent.Usage, error) {
	v, ok := s.Volume(id)
	if !ok {
		return agent.Usage{}, fmt.Errorf("there is no volume %s", id)
	}
	p, err := h.poolOf(s, v)
	if err != nil {
		return agent.Usage{}, faulty(v, volume.ErrUnavailable, err)
	}
	u, err := p.Used(ctx, string(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = faulty(v, volume.ErrLost, err)
	}
	return agent.Usage{Bytes: u.Bytes, Inodes: u.Inodes}, err
}

// Rooms asks each file system how much room it has.
func (h *Host) Rooms(s *volume.State) map[string]volume.Room {
	rooms := map[string]volume.Room{}
	for key, d := range h.disks {
		want, known := s.Disk(key)
		if !known {
			continue
		}
		p, err := d.use(want.Pool)
		if err != nil {
			continue // it is away
		}
		fs := d.fileSystem()
		space, err := p.Space()
		if err != nil {
			h.log.Warn("room of a disk not known", "disk", volume.DiskName(key), "err", err)
			continue
		}
		rooms[key] = volume.Room{FileSystem: fs, Size: space.Total, Free: space.Available}
	}
	return rooms
}

func sizeFrom(n uint64) resource.Bytes { return resource.Bytes(min(n, math.MaxInt64)) }

// counted says whether the file system counts what a volume takes.
func (h *Host) counted(v *volume.Volume) bool { return v.Project != 0 && h.limitsOf(v).enforces() }

// measure says what is in a volume: what the file system has counted, if it limits the
// volume, or else what a walk finds. A volume that is not live is fs.ErrNotExist.
func (h *Host) measure(ctx context.Context, p *pool.Pool, v *volume.Volume) (resource.Bytes, error) {
	if h.counted(v) {
		dir, err := p.Data(string(v.UUID))
		if err != nil {
			return 0, err
		}
		defer dir.Close()
		l := h.limitsOf(v)
		project, err := l.quota.ProjectOf(dir)
		if err == nil && project == v.Project {
			u, err := l.quota.Exact(v.Project)
			if err == nil && u.LimitBytes > 0 {
				return sizeFrom(u.Bytes), nil
			}
		}
	}
	u, err := p.Used(ctx, string(v.UUID))
	return u.Bytes, err
}

// used measures what is in a volume that is to become smaller. Where Apply refuses that
// itself, since the volume is known to be out of reach or on its way out, there is nothing
// to measure; nor is there in one that is still being made.
func (h *Host) used(ctx context.Context, s *volume.State, v *volume.Volume) (resource.Bytes, error) {
	f, bad := s.Fault(volume.UnitOfVolume(v.UUID))
	if v.Phase != volume.Ready || bad && (f.Kind == volume.ErrLost || f.Kind == volume.ErrUnavailable) {
		return 0, nil
	}
	p, err := h.poolOf(s, v)
	if err != nil {
		return 0, faulty(v, volume.ErrUnavailable, err)
	}
	used, err := h.measure(ctx, p, v)
	if errors.Is(err, fs.ErrNotExist) {
		err = faulty(v, volume.ErrLost, err)
	}
	return used, err
}
