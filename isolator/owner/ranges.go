package owner

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	overflowGID = 65534     // what unknown groups appear as, and often "nogroup"
	lastGID     = 1<<32 - 2 // 2^32-1 means "leave it" to chown(2)
)

// Range is a row of group ids, both ends included.
type Range struct {
	First, Last uint32
}

// Ranges are the group ids that the agent may give to volumes, in ascending order and apart
// from each other, as ParseRanges makes them.
type Ranges []Range

// ParseRanges reads ranges as Mesos' --volume_gid_range has them: "[10000-20000]" or
// "[10000-10099,20000-20099]", in any order. It refuses ranges that are empty or meet, and
// ids that must be nobody's: 0, 65534 and 4294967295.
func ParseRanges(s string) (Ranges, error) {
	inner, closed := strings.CutSuffix(strings.TrimSpace(s), "]")
	inner, opened := strings.CutPrefix(inner, "[")
	if !closed || !opened {
		return nil, fmt.Errorf("range of group ids %q is not of the form [10000-20000]", s)
	}
	var all Ranges
	for part := range strings.SplitSeq(inner, ",") {
		r, err := parseRange(part)
		if err != nil {
			return nil, fmt.Errorf("range of group ids %q: %w", s, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	for i := range all[1:] {
		if all[i].Last >= all[i+1].First {
			return nil, fmt.Errorf("range of group ids %q: %d is in two ranges", s, all[i+1].First)
		}
	}
	return all, nil
}

// parseRange reads "10000-20000".
func parseRange(s string) (Range, error) {
	first, last, divided := strings.Cut(s, "-")
	if !divided {
		return Range{}, fmt.Errorf("%q is not of the form 10000-20000", s)
	}
	var ends [2]uint32
	for i, text := range []string{first, last} {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil {
			return Range{}, err
		}
		ends[i] = uint32(n)
	}
	r := Range{ends[0], ends[1]}
	return r, r.check()
}

// check refuses a range that is empty or has a group that is no volume's.
func (r Range) check() error {
	switch {
	case r.First > r.Last:
		return fmt.Errorf("%d-%d ends before it begins", r.First, r.Last)
	case r.contains(0):
		return errors.New("group 0 is root's")
	case r.contains(overflowGID):
		return fmt.Errorf("group %d is what the kernel shows instead of unknown ones", overflowGID)
	case r.Last > lastGID:
		return fmt.Errorf("%d is no group", r.Last)
	}
	return nil
}

func (r Range) contains(gid uint32) bool { return r.First <= gid && gid <= r.Last }

// String writes the ranges as ParseRanges reads them.
func (rs Ranges) String() string {
	var parts []string
	for _, r := range rs {
		parts = append(parts, fmt.Sprintf("%d-%d", r.First, r.Last))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Len is how many groups there are.
func (rs Ranges) Len() (n uint64) {
	for _, r := range rs {
		n += uint64(r.Last) - uint64(r.First) + 1
	}
	return n
}

// Contains says whether a group is in a range. One that is recorded with a volume and is not,
// since the ranges have changed, stays the volume's all the same.
func (rs Ranges) Contains(gid uint32) bool {
	return slices.ContainsFunc(rs, func(r Range) bool { return r.contains(gid) })
}

// Next returns the first group that is not used, looking from the number from on and then from
// the beginning. It is pure. used says of a group that it is somebody's: a volume's, a
// destroyed one's until its purge has ended, or one that Clashes has found. There is none left
// if the result is false.
//
// With from behind the last one that was given out it costs the same however many are used.
func (rs Ranges) Next(from uint32, used func(gid uint32) bool) (gid uint32, found bool) {
	for _, r := range rs {
		if r.Last >= from {
			if gid, found := next(max(r.First, from), r.Last, used); found {
				return gid, true
			}
		}
	}
	for _, r := range rs {
		if r.First < from {
			if gid, found := next(r.First, min(r.Last, from-1), used); found {
				return gid, true
			}
		}
	}
	return 0, false
}

func next(first, last uint32, used func(uint32) bool) (uint32, bool) {
	for gid := uint64(first); gid <= uint64(last); gid++ {
		if !used(uint32(gid)) {
			return uint32(gid), true
		}
	}
	return 0, false
}

// Clashes reads a file like /etc/group (group(5)) and returns the groups in it that are in the
// ranges, by name: their members would have a volume that is not theirs. Groups of other
// sources (nsswitch.conf(5)) are not seen. Lines that make no sense are passed over.
func (rs Ranges) Clashes(file io.Reader) (map[string]uint32, error) {
	found := map[string]uint32{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20) // a group may have many members
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), ":", 4)
		if len(fields) < 3 {
			continue
		}
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		if err == nil && rs.Contains(uint32(gid)) {
			found[fields[0]] = uint32(gid)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return found, nil
}
