package agent

import (
	"context"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Usage is what a volume takes of its disk, its directories included.
type Usage struct {
	Bytes    resource.Bytes
	Inodes   uint64    // 0 where the file system does not count them (btrfs)
	Measured time.Time // when it was found by a walk; zero where the file system counts
	Astray   bool      // the file system counts it, and holds it to another limit than its size, or none
}

// Life is what of a task's lease holds it at the moment.
type Life struct {
	Process   bool          // the process lives
	Processes int           // how many are in the cgroup
	Left      time.Duration // of its time to live; not above zero when it has passed
}

// Gauge knows what is looked at only when somebody asks, and what volumes take: *host.Host is one.
type Gauge interface {
	// Life looks at what holds a task. It costs a call or two, and one for each group beneath
	// the task's cgroup.
	Life(t *volume.Task) (Life, error)
	// Usage is asked about volumes of s, or about all where it names none. Those that
	// nothing counts for are left out, and those of a disk that does not answer. It costs a call or two for each volume.
	Usage(ctx context.Context, s *volume.State, ids ...volume.UUID) (map[volume.UUID]Usage, error)
	// Measure walks through a volume of s, at a cost that grows with what is in it.
	Measure(ctx context.Context, s *volume.State, id volume.UUID) (Usage, error)
	// Rooms gives the file systems of the disks of s that are there and answer, by key: a call
	// for each.
	Rooms(ctx context.Context, s *volume.State) map[string]volume.Room
}

// Life tells what holds a task at the moment; nothing where there is no Gauge.
func (a *Agent) Life(t *volume.Task) (Life, error) {
	if a.gauge == nil {
		return Life{}, nil
	}
	return a.gauge.Life(t)
}

// Usage tells what volumes take of their disks, those that are named or all: as the file
// system has counted it, or as it was measured last. Volumes of which that is not known are
// left out, and so are all where there is no Gauge.
func (a *Agent) Usage(ctx context.Context, ids ...volume.UUID) (map[volume.UUID]Usage, error) {
	if a.gauge == nil {
		return nil, nil
	}
	s := a.State()
	used, err := a.gauge.Usage(ctx, s, ids...)
	a.scales.add(s, used, ids)
	if len(ids) == 0 && err == nil {
		a.press(ctx, used)
	}
	return used, err
}

// press notes which disks have too little room for what their volumes may still take.
func (a *Agent) press(ctx context.Context, used map[volume.UUID]Usage) {
	rooms := a.gauge.Rooms(ctx, a.State())
	took := func(id volume.UUID) (resource.Bytes, bool) { u, known := used[id]; return u.Bytes, known }
	for _, c := range a.note(func(s *volume.State) []volume.Change { return volume.Press(s, rooms, took, a.now()) }) {
		if p := c.Disk.Pressure; p != nil {
			a.log.Warn("disk has too little room", "disk", volume.DiskName(c.Disk.Key), "reason", p.Reason())
		} else {
			a.log.Info("disk has room again", "disk", volume.DiskName(c.Disk.Key))
		}
	}
}

// note records what was observed, and gives it back once it is shown.
func (a *Agent) note(decide func(*volume.State) []volume.Change) (changes []volume.Change) {
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		if changes = decide(s); len(changes) == 0 {
			return volume.Outcome{}, nil
		}
		return volume.Outcome{Next: s.With(changes...), Changes: changes}, nil
	})
	if err != nil || len(changes) == 0 || a.await(v) != nil {
		return nil // an error is the journal's, which is kept and told by Health
	}
	return changes
}
