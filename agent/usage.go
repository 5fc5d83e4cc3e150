package agent

import (
	"context"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Usage is what a volume takes of its disk, its directories included.
type Usage struct {
	Bytes  resource.Bytes
	Inodes uint64 // 0 where the file system does not count them (btrfs)
}

// Gauge knows what volumes take without walking through them: *host.Host is one.
type Gauge interface {
	// Usage is asked about volumes of s, or about all where it names none. Those that
	// nothing counts for are left out. It costs a call or two for each volume.
	Usage(ctx context.Context, s *volume.State, ids ...volume.UUID) (map[volume.UUID]Usage, error)
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
