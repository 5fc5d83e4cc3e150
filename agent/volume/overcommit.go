package volume

import (
	"fmt"
	"slices"
	"strings"

	"tenon/agent/resource"
)

// overcommitted refuses a configuration by which the disks of a file system are larger
// than it is: what can never be there must not be given away. What the file system decides
// (Auto) is not counted, nor is a disk that is not there, whose directory is on another file
// system then. Where more is taken already than the file system has, there is no configuration
// that would be right, and the disks are as they are: Pressure tells.
func (s *State) overcommitted(disks []Disk, taken map[partKey]share) error {
	sums, had := map[string]resource.Scalar{}, map[string]resource.Scalar{}
	for _, d := range disks {
		if !s.counts(d) {
			continue
		}
		sums[d.On.ID] += d.Total
		for key, n := range taken {
			if key.disk == d.Key {
				had[d.On.ID] += n.size
			}
		}
	}
	for _, d := range disks {
		size := d.On.Size
		if !s.counts(d) || sums[d.On.ID].Bytes() <= size || had[d.On.ID].Bytes() > size {
			continue
		}
		var all []string
		for _, other := range disks {
			if s.counts(other) && other.On.ID == d.On.ID {
				all = append(all, fmt.Sprintf("disk %s with %s", DiskName(other.Key), other.Total.Bytes()))
			}
		}
		slices.Sort(all)
		return refuse(ErrInsufficient, "more is configured than there is: %s, on a file system of %s; configure at most that, "+
			"leave the size to the agent, or make the file system larger", strings.Join(all, " and "), size)
	}
	return nil
}

// counts says whether a disk's configured size has to be on the file system that it was seen on.
func (s *State) counts(d Disk) bool {
	if d.Auto || d.Total == 0 || d.On.ID == "" {
		return false
	}
	known, ok := s.Disk(d.Key)
	return !ok || known.Phase != Ready || known.Pool == d.On.Pool
}
