package host

import (
	"context"
	"errors"
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
		if !ok || !h.counted(v) {
			continue
		}
		u, err := h.limitsOf(v).quota.Usage(v.Project)
		if err := errors.Join(ctx.Err(), ignoreOff(err)); err != nil {
			return all, err
		}
		if err == nil {
			all[id] = usageOf(u)
		}
	}
	return all, nil
}

// usageOfAll lists the projects of each disk, and says whose they are.
func (h *Host) usageOfAll(ctx context.Context, s *volume.State) (map[volume.UUID]agent.Usage, error) {
	all := map[volume.UUID]agent.Usage{}
	used := map[string]map[uint32]quota.Usage{}
	for v := range s.Volumes(volume.Name{}) {
		if !h.counted(v) {
			continue
		}
		if _, listed := used[v.Disk]; !listed {
			entries, err := h.limitsOf(v).quota.List(h.projects)
			if err := errors.Join(ctx.Err(), ignoreOff(err)); err != nil {
				return all, err
			}
			used[v.Disk] = byProject(entries)
		}
		if u, there := used[v.Disk][v.Project]; there {
			all[v.UUID] = usageOf(u)
		}
	}
	return all, nil
}

func byProject(entries []quota.Entry) map[uint32]quota.Usage {
	all := make(map[uint32]quota.Usage, len(entries))
	for _, e := range entries {
		all[e.ID] = e.Usage
	}
	return all
}

func usageOf(u quota.Usage) agent.Usage {
	return agent.Usage{Bytes: sizeFrom(u.Bytes), Inodes: u.Inodes}
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
