package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/quota"
)

// limits is what the file system of a pool does about sizes.
type limits struct {
	quota  *quota.Quota
	status atomic.Pointer[quota.Status] // when it was looked at last: they are switched on and off meanwhile

	mu     sync.Mutex // held by one that looks for a project, which the disk may keep waiting
	cursor uint32     // where the next one is looked for; guarded by mu
}

// openLimits looks at a file system.
func openLimits(dir *os.File) (*limits, error) {
	q, err := quota.Open(dir)
	if err != nil {
		return nil, err
	}
	l := &limits{quota: q}
	st, err := q.Status()
	l.status.Store(&st)
	return l, err
}

// look asks the file system again. Where it does not answer, it does what it did before.
func (l *limits) look(log *slog.Logger) quota.Status {
	st, err := l.quota.Status()
	if err != nil {
		log.Warn("limits not looked at", "err", err)
		return *l.status.Load()
	}
	l.status.Store(&st)
	return st
}

func (l *limits) close() error {
	if l == nil {
		return nil
	}
	return l.quota.Close()
}

// enforces says whether a write beyond a limit fails.
func (l *limits) enforces() bool { return l != nil && l.status.Load().Enforcement == quota.Hard }

// prepareCreate finds a project for a volume, where its disk has such things. A disk that
// could enforce limits and does not gives one too: they are enforced when it is told to.
func (h *Host) prepareCreate(ctx context.Context, s *volume.State, o volume.Create) (volume.Create, error) {
	var source *resource.Source
	if o.Volume.Disk != nil {
		source = o.Volume.Disk.Source
	}
	key := source.Key()
	d, ok := h.disks[key]
	if !ok || d.mount || h.projects == (quota.Range{}) {
		return o, nil // a MOUNT disk is limited by its own size
	}
	l := d.now().limits
	if l == nil {
		return o, nil
	}
	project, err := ask(ctx, d, func() (uint32, error) {
		return l.free(h.projects, func(id uint32) bool { return s.ProjectUsed(key, id) })
	})
	if err != nil {
		return o, err
	}
	if project == 0 && l.enforces() {
		return o, &volume.Error{Kind: volume.ErrInsufficient, Message: fmt.Sprintf("disk %s has no project of %s left to limit a volume by; "+
			"configure a larger project_range", volume.DiskName(key), h.projects)}
	}
	o.Project = project
	return o, nil
}

// free finds a project that is no volume's, that was not found a moment ago, and that nobody
// else uses either: nothing is in it, and it has no limit; 0 where there is none left. What has no
// limits does not know who else uses it.
func (l *limits) free(r quota.Range, ours func(id uint32) bool) (project uint32, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := func(id uint32) bool {
		if ours(id) || err != nil || !l.enforces() {
			return ours(id)
		}
		var used []quota.Entry
		used, err = l.quota.List(quota.Range{First: id, Last: id})
		return len(used) > 0
	}
	project, _ = r.Next(l.cursor, taken)
	l.cursor = project + 1
	return project, ignoreOff(err)
}

// limit has the file system hold a volume to its size. Where it does not enforce limits
// there is nothing to do.
func (h *Host) limit(ctx context.Context, s *volume.State, v *volume.Volume) error {
	l := h.limitsOf(v)
	if !l.enforces() {
		return nil
	}
	p, err := h.poolOf(s, v)
	if err != nil {
		return err
	}
	dir, err := p.DataOf(string(v.UUID))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := l.quota.Assign(ctx, dir, v.Project); err != nil && !errors.Is(err, quota.ErrOff) {
		return err
	}
	return ignoreOff(l.quota.SetLimit(v.Project, uint64(v.Size.Bytes()), 0))
}

// What was removed leaves a project of XFS and btrfs within moments; it is looked for that
// often, each time after twice the time before.
const (
	firstClear = time.Millisecond
	lastClear  = 512 * time.Millisecond
)

// unlimit gives a volume's project back, which works only once nothing is left in it.
func (h *Host) unlimit(ctx context.Context, v *volume.Volume) error {
	l := h.limitsOf(v)
	if l == nil {
		return nil
	}
	for wait := firstClear; ; wait *= 2 {
		err := ignoreOff(l.quota.Clear(v.Project))
		switch {
		case !errors.Is(err, quota.ErrInUse):
			return err
		case wait > lastClear:
			return &volume.Error{Kind: volume.ErrBusy, Cause: err, Message: fmt.Sprintf("project %d is in use until the last removed file is closed: %v", v.Project, err)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// ignoreOff passes over that there are no limits (any more).
func ignoreOff(err error) error {
	if errors.Is(err, quota.ErrOff) || errors.Is(err, quota.ErrUnsupported) {
		return nil
	}
	return err
}

// seeLimit looks how a volume is limited, with a call or two.
func (h *Host) seeLimit(s *volume.State, v *volume.Volume, seen *volume.SeenVolume) error {
	l := h.limitsOf(v)
	if v.Project == 0 || !l.enforces() {
		return nil
	}
	usage, err := l.quota.Usage(v.Project)
	if err != nil {
		return ignoreOff(err)
	}
	seen.Limited = usage != quota.Usage{}
	seen.Unlimited = usage.LimitBytes != l.quota.Round(uint64(v.Size.Bytes()))
	if seen.Unlimited || !seen.Live || !seen.Data {
		return nil
	}
	p, err := h.poolOf(s, v)
	if err != nil {
		return nil // it is gone meanwhile, which another look tells
	}
	dir, err := p.DataOf(string(v.UUID))
	if err != nil {
		return err
	}
	defer dir.Close()
	project, err := l.quota.ProjectOf(dir)
	seen.Unlimited = project != v.Project
	return err
}

// limitsOf are those of the file system that a volume lies on; nil while that is away.
func (h *Host) limitsOf(v *volume.Volume) *limits {
	d, ok := h.disks[v.Disk]
	if !ok {
		return nil
	}
	return d.now().limits
}
