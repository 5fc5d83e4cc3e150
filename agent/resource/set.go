package resource

import (
	"iter"
	"math"
	"strconv"
	"strings"
)

// Set is Mesos' Resources object: what an agent has, or somebody uses, with a count of
// copies beside each shared volume. The zero Set is empty. A Set never changes: every
// method returns a new one, so Sets may be kept and read by many at once.
//
// What is empty or invalid is not in a Set, and adding it changes nothing, as in Mesos;
// Validate says beforehand what is wrong. Nor does a sum exceed MaxScalar: an amount that
// would take an entry above it stands as an entry of its own.
type Set struct {
	entries []entry
}

// entry is one resource of a Set.
type entry struct {
	resource Resource
	key      string // of the resource
	copies   int    // of a shared volume; 1 of all else
}

// SetOf is the Set of resources, each added in turn.
func SetOf(resources ...Resource) Set { return Set{}.Add(resources...) }

// Add returns s with resources added; of a shared volume, one copy.
func (s Set) Add(resources ...Resource) Set {
	sum := s.sum()
	for _, r := range resources {
		sum.addValid(r, 1)
	}
	return sum.set()
}

// AddCopies returns s with n copies of a shared volume added; of anything else, with r
// added once. n below one adds nothing.
func (s Set) AddCopies(r Resource, n int) Set {
	if n < 1 {
		return s
	}
	sum := s.sum()
	sum.addValid(r, n)
	return sum.set()
}

// AddSet returns s with all that t holds added, copies included.
func (s Set) AddSet(t Set) Set {
	sum := s.sum()
	for _, e := range t.entries {
		sum.add(e)
	}
	return sum.set()
}

// Subtract returns s with resources taken away; of a shared volume, one copy. What is not
// there is passed over, and nothing falls below zero: ask Contains first.
func (s Set) Subtract(resources ...Resource) Set {
	sum := s.sum()
	for _, r := range resources {
		if !r.IsEmpty() {
			sum.subtract(entryOf(r, 1))
		}
	}
	return sum.set()
}

// SubtractSet returns s with all that t holds taken away, as Subtract does.
func (s Set) SubtractSet(t Set) Set {
	sum := s.sum()
	for _, e := range t.entries {
		sum.subtract(e)
	}
	return sum.set()
}

// Contains reports whether r, if it is valid, is part of one of s' entries.
func (s Set) Contains(r Resource) bool {
	if r.Validate() != nil {
		return false
	}
	wanted := entryOf(r, 1)
	for _, e := range s.entries {
		if e.covers(wanted) {
			return true
		}
	}
	return false
}

// ContainsSet reports whether all that t holds is in s at once. What never merges, such
// as a volume, t may hold more than once, and then so must s.
func (s Set) ContainsSet(t Set) bool {
	sum := s.sum()
	for _, e := range t.entries {
		if !sum.covers(e) {
			return false
		}
		if !addableTwins(e.resource, e.resource) {
			sum.subtract(e)
		}
	}
	return true
}

// Equal reports whether s and t hold the same, in whatever order.
func (s Set) Equal(t Set) bool { return s.ContainsSet(t) && t.ContainsSet(s) }

// Count is the number of copies of r, which must match in amount too: of what is not
// shared, one or none.
func (s Set) Count(r Resource) int {
	key := r.Key()
	for _, e := range s.entries {
		if e.key == key && equalValues(e.resource, r) {
			return e.copies
		}
	}
	return 0
}

// Quantity is how much there is of a scalar by name, each shared volume counted once; ok
// is false when there is none of that name. A sum that an int64 cannot hold stops there.
func (s Set) Quantity(name string) (total Scalar, ok bool) {
	for _, e := range s.entries {
		if e.resource.Name != name || e.resource.Type != TypeScalar {
			continue
		}
		total, ok = total+min(e.resource.Scalar, math.MaxInt64-total), true
	}
	return total, ok
}

// Len is the number of entries.
func (s Set) Len() int { return len(s.entries) }

// All yields the entries with their copies, in the order in which they came.
func (s Set) All() iter.Seq2[Resource, int] {
	return func(yield func(Resource, int) bool) {
		for _, e := range s.entries {
			if !yield(e.resource, e.copies) {
				return
			}
		}
	}
}

// Resources are the entries as a list, without their counts: so Mesos sends them.
func (s Set) Resources() []Resource {
	list := make([]Resource, len(s.entries))
	for i, e := range s.entries {
		list[i] = e.resource
	}
	return list
}

// String is the set as Mesos prints it: entries joined by "; ", the copies of a shared
// volume in "<n>" behind it, "{}" when empty.
func (s Set) String() string {
	if len(s.entries) == 0 {
		return "{}"
	}
	texts := make([]string, len(s.entries))
	for i, e := range s.entries {
		texts[i] = e.resource.String()
		if e.resource.Shared {
			texts[i] += "<" + strconv.Itoa(e.copies) + ">"
		}
	}
	return strings.Join(texts, "; ")
}
