package host

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"tenon/agent/check"
	"tenon/agent/pool"
	"tenon/agent/volume"
	"tenon/isolator/sandbox"
	"tenon/mount"
)

// OpenToLook opens a host that is only looked at: nothing is made, mounted or watched, and
// what is missing is a finding. Only Observe, Survey, Mark, Unmount and Close may be called.
func OpenToLook(o Options) (*Host, error) {
	o.Log = slog.New(slog.DiscardHandler) // whoever looks tells what is found
	h := newHost(o)
	for i, path := range slices.Concat(o.SandboxRoots, o.SharedRoots) {
		r, err := sandbox.OpenToLook(path)
		if errors.Is(err, fs.ErrNotExist) {
			h.absent = append(h.absent, path)
			continue
		}
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		if i == 0 {
			h.own = r
		}
		h.roots = append(h.roots, r)
	}
	return h, nil
}

// Survey looks for what no unit of s stands for: the whole mount table, every pool and every
// sandbox.
func (h *Host) Survey(s *volume.State) (y check.Survey, err error) {
	strays, err := h.strayMounts(s)
	if err != nil {
		return y, err
	}
	for _, m := range strays {
		y.Mounts = append(y.Mounts, check.Mount{ID: m.ID, Path: m.Point, Volume: volumeOf(m)})
	}
	var errs []error
	for key, d := range h.disks {
		if want, ok := s.Disk(key); ok && !want.Absent {
			errs = append(errs, h.surveyDisk(s, want, d, &y))
		}
	}
	for _, r := range h.roots {
		own, err := r.Own()
		errs = append(errs, err)
		for _, m := range own {
			if _, known := s.Task(m.Task); !known && m.Boot == s.Boot {
				y.Sandboxes = append(y.Sandboxes, filepath.Join(r.Path(), m.Task))
			}
		}
	}
	return y, errors.Join(errs...)
}

// surveyDisk lists what is in a disk's pool, or finds that its marker is gone.
func (h *Host) surveyDisk(s *volume.State, want *volume.Disk, d *disk, y *check.Survey) error {
	seen := d.see(want.Pool)
	switch {
	case seen.Pool != want.Pool:
		if d.lacksMarker(volumesOn(s, want.Key)) {
			y.Unmarked = append(y.Unmarked, want.Key)
		}
		return nil
	case want.Phase != volume.Ready:
		return nil
	}
	p, err := d.use(want.Pool)
	if err != nil {
		return err
	}
	all, err := p.List()
	for _, e := range all {
		if _, ok := s.Volume(volume.UUID(e.Name)); !ok {
			y.Entries = append(y.Entries, check.Entry{Disk: want.Key, Path: filepath.Join(d.dir, string(e.Place), e.Name)})
		}
	}
	return err
}

// volumesOn are the volumes whose data has to be on a disk.
func volumesOn(s *volume.State, disk string) (ids []string) {
	for v := range s.Volumes(volume.Name{}) {
		if v.Disk == disk && v.Phase == volume.Ready {
			ids = append(ids, string(v.UUID))
		}
	}
	return ids
}

// lacksMarker says whether a directory would be the pool with these volumes if it had a marker.
func (d *disk) lacksMarker(volumes []string) bool {
	p, done, err := d.unopened()
	if err != nil {
		return false
	}
	defer done()
	return p.Unmarked(volumes) == nil
}

// Mark writes the marker of a disk again.
func (h *Host) Mark(s *volume.State, key string) error {
	d, ok := h.disks[key]
	want, known := s.Disk(key)
	if !ok || !known {
		return fmt.Errorf("no disk %q is configured", key)
	}
	p, done, err := d.unopened()
	if err != nil {
		return err
	}
	defer done()
	return p.Mark(want.Pool, volumesOn(s, key))
}

// unopened opens whatever is at the directory of a disk.
func (d *disk) unopened() (p *pool.Pool, done func() error, err error) {
	dir, err := mount.OpenDir(d.dir)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	if err := d.checkMount(dir); err != nil {
		return nil, nil, err
	}
	p, err = pool.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	return p, p.Close, nil
}

// Unmount unmounts a mount that Survey has found, if that is still what is mounted there.
// While something uses it it stays, with an error that says what.
func (h *Host) Unmount(m check.Mount) error {
	now, err := mount.Find(m.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if now.Point != m.Path || volumeOf(now) != m.Volume {
		return fmt.Errorf("%s is not what it was a moment ago; look again", m.Path)
	}
	point, err := h.pointAt(m.Path)
	if err != nil {
		return err
	}
	defer point.Close()
	return mount.Detach(point.Parent, point.Name, false)
}

// volumeOf is the volume that a mount shows, as far as its root tells.
func volumeOf(m mount.Info) volume.UUID {
	_, rest, _ := strings.Cut(m.Root, "/live/")
	id, _, _ := strings.Cut(rest, "/")
	return volume.UUID(id)
}
