package volume

import (
	"cmp"
	"slices"

	"tenon/agent/resource"
)

// Rate bounds input and output; zero is no bound.
type Rate struct {
	Read     resource.Bytes `json:"read,omitempty"`      // a second
	Write    resource.Bytes `json:"write,omitempty"`     // a second
	ReadOps  uint64         `json:"read_ops,omitempty"`  // a second
	WriteOps uint64         `json:"write_ops,omitempty"` // a second
}

// Throttle asks for a bound of what a task reads and writes: on the disk of one of its volumes
// or, where none is named, on each disk under its volumes that no other Throttle is for. The
// kernel has one limit for a device, so those for volumes of one disk add up to the disk's.
type Throttle struct {
	Volume string // "role/id" or UUID; empty is every disk
	Rate
}

// DiskLimit is what a task may read from one disk and write to it, whatever lies there.
type DiskLimit struct {
	Disk string `json:"disk"` // key
	Rate
}

// DiskLimits gives what a claim's throttles come to, by disk. It refuses with ErrInvalid, or
// with ErrNotFound for volumes that are not there.
func (s *State) DiskLimits(c Claim) ([]DiskLimit, error) {
	if len(c.IO) == 0 {
		return nil, nil
	}
	used, limits := map[UUID]string{}, map[string]*Rate{}
	for _, u := range c.Uses {
		v, err := s.Find(u.Volume)
		if err != nil {
			return nil, err
		}
		used[v.UUID] = v.Disk
	}
	if len(used) == 0 {
		return nil, refuse(ErrInvalid, "task %s has no volumes whose disks its limits could be for", c.Task)
	}
	var rest *Rate
	for _, t := range c.IO {
		if err := t.check(c.Task); err != nil {
			return nil, err
		}
		if t.Volume == "" {
			if rest != nil {
				return nil, refuse(ErrInvalid, "task %s: limits for every disk are given twice", c.Task)
			}
			rest = &t.Rate
			continue
		}
		v, err := s.Find(t.Volume)
		if err != nil {
			return nil, err
		}
		disk, uses := used[v.UUID]
		if !uses {
			return nil, refuse(ErrInvalid, "task %s: limits for volume %s, which it does not use", c.Task, v.Name)
		}
		if limits[disk] == nil {
			limits[disk] = &Rate{}
		}
		limits[disk].add(t.Rate)
	}
	for _, disk := range used {
		if limits[disk] == nil && rest != nil {
			limits[disk] = rest
		}
	}
	return sortedLimits(limits), nil
}

func sortedLimits(limits map[string]*Rate) (all []DiskLimit) {
	for disk, rate := range limits {
		all = append(all, DiskLimit{disk, *rate})
	}
	slices.SortFunc(all, func(a, b DiskLimit) int { return cmp.Compare(a.Disk, b.Disk) })
	return all
}

// add makes one limit of those of two volumes; a volume without a bound leaves that of the other.
func (r *Rate) add(other Rate) {
	r.Read += other.Read
	r.Write += other.Write
	r.ReadOps += other.ReadOps
	r.WriteOps += other.WriteOps
}

// maxRate bounds each number: what is more is no limit for any disk.
const maxRate = 1 << 50

func (t Throttle) check(task string) error {
	const maxOps = 1 << 31
	switch {
	case t.Rate == Rate{}:
		return refuse(ErrInvalid, "task %s: limits without any bound", task)
	case t.Read < 0 || t.Write < 0 || t.Read > maxRate || t.Write > maxRate || t.ReadOps > maxOps || t.WriteOps > maxOps:
		return refuse(ErrInvalid, "task %s: a limit is from 1 to %d bytes, or %d operations, a second", task, int64(maxRate), maxOps)
	}
	return nil
}
