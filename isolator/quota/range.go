package quota

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Range is the projects that the agent may use, both ends included.
type Range struct {
	First, Last uint32
}

// DefaultRange is that of Mesos' --xfs_project_range (spec.md 7.1).
var DefaultRange = Range{5000, 10000}

// ParseRange reads a range as Mesos writes it: "[5000-10000]".
func ParseRange(s string) (Range, error) {
	inner, closed := strings.CutSuffix(strings.TrimSpace(s), "]")
	inner, opened := strings.CutPrefix(inner, "[")
	first, last, divided := strings.Cut(inner, "-")
	if !closed || !opened || !divided {
		return Range{}, fmt.Errorf("project range %q is not of the form [5000-10000]", s)
	}
	var ends [2]uint64
	for i, text := range []string{first, last} {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil {
			return Range{}, fmt.Errorf("project range %q: %w", s, err)
		}
		ends[i] = n
	}
	r := Range{uint32(ends[0]), uint32(ends[1])}
	return r, r.Check()
}

// Check refuses a range that is empty, or has a number that is no project: 0 is that of
// all files in none, and 4294967295 is what the kernel calls no project.
func (r Range) Check() error {
	switch {
	case r.First == 0:
		return fmt.Errorf("project range %s has project 0, which is that of all files in no project", r)
	case r.Last == math.MaxUint32:
		return fmt.Errorf("project range %s has project %d, which the kernel does not allow", r, r.Last)
	case r.First > r.Last:
		return fmt.Errorf("project range %s ends before it begins", r)
	}
	return nil
}

// String writes the range as Mesos does.
func (r Range) String() string { return fmt.Sprintf("[%d-%d]", r.First, r.Last) }

// Len is how many projects the range has.
func (r Range) Len() uint64 {
	if r.First > r.Last {
		return 0
	}
	return uint64(r.Last) - uint64(r.First) + 1
}

// Contains says whether a project is in the range.
func (r Range) Contains(id uint32) bool { return r.First <= id && id <= r.Last }

// Next returns the first project that is not used, looking from the number from on and
// then from the beginning; a from that is not in the range is its beginning. It is pure.
// used says of a project that it is somebody's: a volume's, a destroyed one's until its
// purge has ended, or, because List has it, a stranger's. There is none left if the
// result is false.
//
// With from behind the last one that was given out it costs the same however many are
// used, and a number rests as long as possible before it is used again.
func (r Range) Next(from uint32, used func(id uint32) bool) (id uint32, found bool) {
	if !r.Contains(from) {
		from = r.First
	}
	for n := range r.Len() {
		id := uint64(from) + n
		if id > uint64(r.Last) {
			id -= r.Len()
		}
		if !used(uint32(id)) {
			return uint32(id), true
		}
	}
	return 0, false
}

// checkID refuses what is no project.
func checkID(id uint32) error {
	if id == 0 || id == math.MaxUint32 {
		return fmt.Errorf("%d is no project: %w", id, unix.EINVAL)
	}
	return nil
}
