package agent

import (
	"context"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Usage is what a volume takes of its disk, its directories included.
type Usage struct {
	Bytes  resource.Bytes
	Inodes uint64 // 0 where the file system does not count them (btrfs)
}

// Life is what of a task's lease holds it at the moment.
type Life struct {
	Process   bool          // the process lives
	Processes int           // how many are in the cgroup
	Left      time.Duration // of its time to live; not above zero when it has passed
}

// Gauge knows what is measured only when somebody asks: *host.Host is one.
type Gauge interface {
	// Life looks at what holds a task. It costs a call or two, and one for each group beneath
	// the task's cgroup.
	Life(t *volume.Task) (Life, error)
	// Usage is asked about volumes of s, or about all where it names none. Those that
	// nothing counts for are left out. It costs a call or two for each volume.
	Usage(ctx context.Context, s *volume.State, ids ...volume.UUID) (map[volume.UUID]Usage, error)
}

// Life tells what holds a task at the moment; nothing where there is no Gauge.
func (a *Agent) Life(t *volume.Task) (Life, error) {
	if a.gauge == nil {
		return Life{}, nil
	}
	return a.gauge.Life(t)
}

// Usage tells what volumes take of their disks, as the file system has counted it: those
// that are named, or all. Volumes whose file system does not count are left out, and so are
// all where there is no Gauge.
func (a *Agent) Usage(ctx context.Context, ids ...volume.UUID) (map[volume.UUID]Usage, error) {
	if a.gauge == nil {
		return nil, nil
	}
	return a.gauge.Usage(ctx, a.State(), ids...)
}
