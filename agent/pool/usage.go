package pool

import (
	"context"
	"math"

	"tenon/agent/resource"
	"tenon/mount"
)

// Usage is what a volume takes of its disk.
type Usage struct {
	Bytes  resource.Bytes // allocated: holes in files do not count, its directories do
	Inodes uint64         // its data directory included
}

// Used measures live/<v>/data by walking it, at a cost that grows with what is in it: a
// few microseconds a file. Tasks may be at work in it meanwhile, which makes the sum
// inexact (see mount.Measure). A volume that is not live is fs.ErrNotExist, and the end
// of ctx ends it.
func (p *Pool) Used(ctx context.Context, v string) (Usage, error) {
	data, err := p.Data(v)
	if err != nil {
		return Usage{}, err
	}
	defer data.Close()
	sum, err := mount.Measure(ctx, data)
	if err != nil {
		return Usage{}, p.fail("measure", v, err)
	}
	return Usage{Bytes: resource.Bytes(min(sum.Bytes, math.MaxInt64)), Inodes: sum.Inodes}, nil
}
