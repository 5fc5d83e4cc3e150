package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"

	"tenon/agent"
	"tenon/agent/pool"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/quota"
)

// Usage tells what volumes take, as far as the file systems count it: with a call for each
// volume that is named, or one for each that a disk has. On btrfs it is as of its last
// commit (quota.Usage). Volumes of a disk that does not answer are left out.
func (h *Host) Usage(ctx context.Context, s *volume.State, ids ...volume.UUID) (map[volume.UUID]agent.Usage, error) {
	byDisk := map[string][]*volume.Volume{}
	add := func(v *volume.Volume) { byDisk[v.Disk] = append(byDisk[v.Disk], v) }
	for _, id := range ids {
		if v, ok := s.Volume(id); ok {
			add(v)
		}
	}
	if len(ids) == 0 {
		for v := range s.Volumes(volume.Name{}) {
			add(v)
		}
	}
	all := map[volume.UUID]agent.Usage{}
	for key, volumes := range byDisk {
		d, ok := h.disks[key]
		if !ok {
			continue
		}
		some, err := ask(ctx, d, func() (map[volume.UUID]agent.Usage, error) { return h.usageOn(d, s, volumes, len(ids) == 0) })
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		if err != nil && !errors.Is(err, volume.ErrUnavailable) { // of which the disk's fault tells
			h.log.Warn("what volumes take not known", "disk", volume.DiskName(key), "err", err)
		}
		maps.Copy(all, some)
	}
	return all, nil
}

// usageOn tells what volumes of a disk take, with a call for each, or one for all that there are.
func (h *Host) usageOn(d *disk, s *volume.State, volumes []*volume.Volume, every bool) (map[volume.UUID]agent.Usage, error) {
	some := map[volume.UUID]agent.Usage{}
	l := d.now().limits
	var used map[uint32]quota.Usage
	if every && l.enforces() {
		entries, err := l.quota.List(h.projects)
		if err := ignoreOff(err); err != nil {
			return nil, err
		}
		used = byProject(entries)
	}
	for _, v := range volumes {
		switch {
		case d.mount:
			if u, known := h.whole(s, v); known {
				some[v.UUID] = u
			}
		case v.Project == 0 || !l.enforces():
		case every:
			some[v.UUID] = l.usageOf(v, used[v.Project]) // one that is not listed has nothing, no limit either
		default:
			u, err := l.quota.Usage(v.Project)
			if err := ignoreOff(err); err != nil {
				return nil, err
			}
			if err == nil {
				some[v.UUID] = l.usageOf(v, u)
			}
		}
	}
	return some, nil
}

// whole is what is taken of a file system that is one volume's as a whole, if it is there.
func (h *Host) whole(s *volume.State, v *volume.Volume) (agent.Usage, bool) {
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
func (h *Host) Rooms(ctx context.Context, s *volume.State) map[string]volume.Room {
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
		space, err := ask(ctx, d, p.Space)
		if err != nil {
			if !errors.Is(err, volume.ErrUnavailable) {
				h.log.Warn("room of a disk not known", "disk", volume.DiskName(key), "err", err)
			}
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
