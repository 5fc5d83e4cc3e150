package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"tenon/agent/volume"
)

const (
	// maxWalks bounds how many volumes of a disk are walked through at the same time.
	maxWalks = 1
	// restPart is how long a disk is left alone after its volumes were measured, as a multiple
	// of the time that it took.
	restPart = 10
)

// scales have what was found in volumes whose file system does not count, and say when a disk's
// volumes are measured again. Nothing of it is stored.
type scales struct {
	walks turns

	mu   sync.Mutex
	last map[volume.UUID]Usage // guarded by mu
	busy map[string]bool       // disks that are at it; guarded by mu
	rest map[string]time.Time  // until when a disk is left alone; guarded by mu
}

func newScales() *scales {
	return &scales{walks: newTurns(maxWalks), last: map[volume.UUID]Usage{}, busy: map[string]bool{}, rest: map[string]time.Time{}}
}

// add joins what was measured last of volumes, those that are named or all, to what file
// systems have counted.
func (w *scales) add(s *volume.State, used map[volume.UUID]Usage, ids []volume.UUID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	add := func(id volume.UUID) {
		if v, ok := s.Volume(id); !ok || s.EnforcementOf(v) != volume.EnforcedSoft {
			return
		}
		if u, known := w.last[id]; known {
			used[id] = u
		}
	}
	for _, id := range ids {
		add(id)
	}
	if len(ids) == 0 {
		for id := range w.last {
			add(id)
		}
	}
}

// keep remembers what was found in a volume.
func (w *scales) keep(id volume.UUID, u Usage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[id] = u
}

// forget drops what is known of volumes that are gone.
func (w *scales) forget(s *volume.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.last {
		if _, there := s.Volume(id); !there {
			delete(w.last, id)
		}
	}
}

// begin says whether the volumes of a disk may be measured now; end has to follow.
func (w *scales) begin(disk string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[disk] || now.Before(w.rest[disk]) {
		return false
	}
	w.busy[disk] = true
	return true
}

// end has a disk left alone for as long as it may expect.
func (w *scales) end(disk string, now time.Time, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy[disk], w.rest[disk] = false, now.Add(restPart*took)
}

// measureDisks begins to measure the volumes of every disk that is due.
func (a *Agent) measureDisks(ctx context.Context) {
	s := a.State()
	a.scales.forget(s)
	disks := map[string]bool{}
	for v := range s.Volumes(volume.Name{}) {
		disks[v.Disk] = disks[v.Disk] || s.Measured(v)
	}
	for disk, some := range disks {
		if some && a.scales.begin(disk, a.now()) {
			a.queue.aside(func() { a.measureDisk(ctx, disk) })
		}
	}
}

// measureDisk measures the volumes of a disk, one after the other.
func (a *Agent) measureDisk(ctx context.Context, disk string) {
	start := a.now()
	for v := range a.State().Volumes(volume.Name{}) {
		if v.Disk == disk && ctx.Err() == nil {
			a.measureNow(ctx, v.UUID)
		}
	}
	now := a.now()
	a.scales.end(disk, now, now.Sub(start))
}

// measureNow finds out what is in a volume, if nothing else holds it to its size, and what
// follows from that.
func (a *Agent) measureNow(ctx context.Context, id volume.UUID) {
	s := a.State()
	v, ok := s.Volume(id)
	if !ok || !s.Measured(v) {
		return
	}
	done, err := a.scales.walks.take(ctx, v.Disk)
	if err != nil {
		return
	}
	defer done()
	u, err := a.gauge.Measure(ctx, s, id)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, volume.ErrLost) && !errors.Is(err, volume.ErrUnavailable) {
			a.log.Warn("volume not measured", "volume", v.Name, "err", err)
		}
		return
	}
	u.Measured = a.now()
	a.scales.keep(id, u)
	a.follows(a.note(func(s *volume.State) []volume.Change { return volume.Weigh(s, id, u.Bytes, u.Measured) }))
}

// follows has done what follows from volumes that are exceeded, or no longer.
func (a *Agent) follows(changes []volume.Change) {
	for _, c := range changes {
		switch {
		case c.Notice != nil && len(c.Notice.Killed) > 0:
			a.log.Warn("tasks killed for a volume that holds more than its size", "volume", a.nameOf(c.Notice.Volume), "task", c.Notice.Killed)
		case c.Task != nil:
			a.enqueue(volume.UnitOfTask(c.Task.ID))
		case c.Notice != nil && c.Notice.Over:
			a.log.Warn("volume holds more than its size", "volume", a.nameOf(c.Notice.Volume), "bytes", c.Notice.Used)
		case c.Notice != nil:
			a.log.Info("volume is within its size again", "volume", a.nameOf(c.Notice.Volume), "bytes", c.Notice.Used)
		case c.Volume != nil:
			for at := range a.State().AttachmentsOf(c.Volume.UUID) {
				a.enqueue(at.Unit())
			}
		}
	}
}

// nameOf is what people call a volume.
func (a *Agent) nameOf(id volume.UUID) string {
	if v, ok := a.State().Volume(id); ok {
		return v.Name.String()
	}
	return string(id)
}
