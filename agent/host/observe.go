package host

import (
	"context"
	"errors"
	"io/fs"

	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/isolator/lease"
	"tenon/isolator/sandbox"
	"tenon/mount"
)

// Observe looks at a unit with a handful of system calls, whatever else there is. A task
// that is looked at is watched from then on, as long as its lease lasts.
func (h *Host) Observe(ctx context.Context, s *volume.State, u volume.Unit) (seen volume.Seen, err error) {
	switch u.Kind {
	case volume.DiskUnit:
		h.start.Do(func() { h.lookAround(s); h.listOwn(s) })
		seen.Disk = volume.SeenDisk{Missing: "it is not configured"}
		d, ok := h.disks[u.Disk]
		if want, known := s.Disk(u.Disk); ok && known {
			seen.Disk = d.see(want.Pool)
			seen.Disk.Enforcement = d.enforcement(want.Pool)
			h.reportUnknown(s, d, want.Pool)
		}
		if u.Disk == "" {
			seen.Disk.Leftover = h.leftovers(s)
		}
	case volume.VolumeUnit:
		if v, ok := s.Volume(u.Volume); ok {
			seen.Volume, err = h.seeVolume(s, v)
		}
	case volume.TaskUnit:
		if t, ok := s.Task(u.Task); ok {
			seen.Task, err = h.seeTask(t)
			if err == nil && h.leases != nil {
				err = errors.Join(h.watch(t, seen.Task), h.leaveUnused(s, t.ID))
			}
		}
	case volume.AttachmentUnit:
		switch a, ok := s.Attachment(u); {
		case !ok, a.Via == volume.ByDescriptor && !a.Gone:
		case a.PID != 0:
			seen.Attachment, err = h.seeInside(ctx, s, a)
		default:
			seen.Attachment, err = h.seeAttachment(s, a)
		}
	}
	return seen, err
}

func (h *Host) seeVolume(s *volume.State, v *volume.Volume) (volume.SeenVolume, error) {
	p, err := h.poolOf(s, v)
	if err != nil {
		return volume.SeenVolume{Unavailable: err.Error()}, nil
	}
	at, err := p.Find(string(v.UUID))
	seen := volume.SeenVolume{Incoming: at.Incoming, Live: at.Live, Data: at.Data, Trash: at.Trash}
	if err == nil {
		err = h.seeLimit(s, v, &seen)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.Phase != volume.Creating {
		delete(h.published, v.UUID)
	}
	seen.Durable = h.published[v.UUID]
	return seen, err
}

func (h *Host) seeTask(t *volume.Task) (seen volume.SeenTask, err error) {
	if t.Own {
		if seen.Sandbox, err = h.sandboxMade(t.Sandbox); err != nil {
			return seen, err
		}
	}
	if t.Lease.PID != 0 {
		if seen.Claimant, err = processOf(t).Held(); err != nil {
			return seen, err
		}
	}
	if t.Lease.Cgroup != "" {
		if seen.Cgroup, err = cgroup.Exists(t.Lease.Cgroup); err == nil && seen.Cgroup {
			seen.Inside, err = cgroup.Populated(t.Lease.Cgroup)
		}
		if err == nil && seen.Cgroup && len(t.IO) > 0 && !t.Releasing && !t.Killing {
			seen.Unlimited, err = h.unlimited(t)
		}
	}
	seen.At = lease.Now()
	return seen, err
}

// sandboxMade says whether a sandbox of the agent's own is there. Something else in its
// place is none.
func (h *Host) sandboxMade(path string) (bool, error) {
	r, rel, err := h.root(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // nor is what it is to be in
	}
	if err != nil {
		return false, err
	}
	return r.Made(rel)
}

func (h *Host) sandbox(path string) (*sandbox.Sandbox, error) {
	r, rel, err := h.root(path)
	if err != nil {
		return nil, err
	}
	return r.Open(rel)
}

// watch has the lease of a living task watched, once everything that it names exists (the
// cgroup of one that is killed does not any more), and forgets that of one that is being released.
// One that has ended is not told of again: it was just seen, and whoever cannot record that yet
// looks again later.
func (h *Host) watch(t *volume.Task, seen volume.SeenTask) error {
	want := lease.Lease{PID: t.Lease.PID, Start: t.Lease.Start, Cgroup: t.Lease.Cgroup, Until: t.Lease.Until}
	if t.Killing {
		want.Until = 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	have, watched := h.watched[t.ID]
	switch {
	case t.Releasing || want == (lease.Lease{}):
		if watched {
			h.leases.Remove(t.ID)
			delete(h.watched, t.ID)
		}
	case !seen.Claimant && !seen.Inside && want.Until <= seen.At:
	case have != want && (want.Cgroup == "" || seen.Cgroup || t.Killing):
		if err := h.leases.Add(t.ID, want); err != nil {
			return err
		}
		h.watched[t.ID] = want
	}
	return nil
}

// seeAttachment compares what lies at the target with the volume's directory. Where
// that can't be looked at (the volume is lost, the disk away), whatever is mounted on a
// target that is to go is taken for the volume: nothing else is put there.
func (h *Host) seeAttachment(s *volume.State, a *volume.Attachment) (seen volume.SeenAttachment, err error) {
	t, ok := s.Task(a.Task)
	if !ok {
		return volume.SeenAttachment{Unreachable: "its task is not there"}, nil
	}
	if v, known := s.Volume(a.Volume); known && h.disks[v.Disk].mute() {
		return volume.SeenAttachment{Unreachable: h.disks[v.Disk].silence().Error()}, nil
	}
	sb, err := h.sandbox(t.Sandbox)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, sandbox.ErrNotDirectory):
		return h.seeMoved(t, a), nil
	case err != nil && a.Via == volume.Claimed && !a.Gone: // nothing has to be there yet
		return volume.SeenAttachment{Unreachable: err.Error()}, nil
	case errors.Is(err, mount.ErrMounted):
		return h.seeCovered(t, a, err)
	case err != nil:
		return seen, err
	}
	defer sb.Close()
	point, err := sb.Find(a.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, sandbox.ErrNotDirectory):
		return h.seeUnmounted(t, a, sb, mount.Point{}) // nothing can be mounted there as it is
	case errors.Is(err, mount.ErrMounted):
		return h.seeCovered(t, a, err)
	case err != nil:
		return seen, err
	}
	if !point.Mounted {
		return h.seeUnmounted(t, a, sb, point)
	}
	want, err := h.identity(s, a.Volume)
	seen.Mounted = err == nil && point.Identity == want || err != nil && a.Gone
	seen.Foreign = !seen.Mounted
	seen.ReadOnly = point.ReadOnly
	if seen.Foreign && left(point, a.Volume) {
		if !a.Gone && a.Via == volume.ByPath {
			return volume.SeenAttachment{Unreachable: "what is mounted there is of a file system that is gone or was mounted again; detach it, and attach it again"}, nil
		}
		seen.Mounted, seen.Foreign = true, false
	}
	if seen.Mounted {
		h.sawAt(a, point.MountID)
	}
	if seen.Foreign && a.Gone && h.seeMoved(t, a).Mounted {
		return volume.SeenAttachment{Unreachable: "something is mounted on top of it or in its place; it is still mounted"}, nil
	}
	return seen, nil
}

// left says whether what is mounted at a point is a volume's, of a file system that has been
// replaced by another with the same volume.
func left(point mount.Point, id volume.UUID) bool {
	m, err := mount.Find(point.MountID)
	return err == nil && shows(m, id)
}

// seeCovered is for a target that a mount of somebody else's is on the way to: the volume is
// mounted beneath that, or nowhere. Only the mount table tells.
func (h *Host) seeCovered(t *volume.Task, a *volume.Attachment, cause error) (volume.SeenAttachment, error) {
	table, err := mount.Table()
	if err != nil {
		return volume.SeenAttachment{}, err
	}
	for _, m := range table {
		if m.Point == t.Sandbox+"/"+a.Path && shows(m, a.Volume) {
			return volume.SeenAttachment{Unreachable: cause.Error()}, nil
		}
	}
	return h.seeMoved(t, a), nil
}

// seeMoved is what there is of a mount that is not to be seen at its target.
func (h *Host) seeMoved(t *volume.Task, a *volume.Attachment) volume.SeenAttachment {
	m, ok := h.moved(t, a)
	if !ok {
		return volume.SeenAttachment{}
	}
	return volume.SeenAttachment{Mounted: true, Moved: m.Point, ReadOnly: m.ReadOnly}
}

// seeUnmounted is for a target at which nothing is mounted: the mount may be elsewhere by
// now, or its point may be left.
func (h *Host) seeUnmounted(t *volume.Task, a *volume.Attachment, sb *sandbox.Sandbox, point mount.Point) (seen volume.SeenAttachment, err error) {
	if seen = h.seeMoved(t, a); !seen.Mounted && a.Gone && point.Dir {
		seen.Point, err = sb.Empty(a.Path)
	}
	return seen, err
}

func (h *Host) identity(s *volume.State, id volume.UUID) (mount.Identity, error) {
	dir, err := h.data(s, id)
	if err != nil {
		return mount.Identity{}, err
	}
	defer dir.Close()
	return mount.Identify(dir)
}
