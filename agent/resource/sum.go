package resource

import "slices"

func entryOf(r Resource, copies int) entry {
	if !r.Shared {
		copies = 1
	}
	return entry{resource: r, key: r.Key(), copies: copies}
}

// covers reports whether o is part of e.
func (e entry) covers(o entry) bool {
	if e.key != o.key || !subtractableTwins(e.resource, o.resource) {
		return false
	}
	return e.copies >= o.copies && coversValue(e.resource, o.resource)
}

// sum is a Set under construction. Its index makes an operation on two sets cost their
// sizes added, not multiplied.
type sum struct {
	entries []entry          // one with no copies is gone
	byKey   map[string][]int // places in entries, in order
}

func (s Set) sum() *sum {
	u := &sum{entries: slices.Clone(s.entries), byKey: make(map[string][]int, len(s.entries))}
	for i, e := range u.entries {
		u.byKey[e.key] = append(u.byKey[e.key], i)
	}
	return u
}

// set is what was built; the sum must not be used any more.
func (u *sum) set() Set {
	return Set{entries: slices.DeleteFunc(u.entries, func(e entry) bool { return e.copies == 0 })}
}

// addValid adds r unless it is empty or invalid.
func (u *sum) addValid(r Resource, copies int) {
	if !r.IsEmpty() && r.Validate() == nil {
		u.add(entryOf(r, copies))
	}
}

// add merges e into the first entry that takes it, or appends it.
func (u *sum) add(e entry) {
	for _, i := range u.byKey[e.key] {
		if u.merge(&u.entries[i], e) {
			return
		}
	}
	u.byKey[e.key] = append(u.byKey[e.key], len(u.entries))
	u.entries = append(u.entries, e)
}

func (u *sum) merge(into *entry, e entry) bool {
	if into.copies == 0 || !addableTwins(into.resource, e.resource) {
		return false
	}
	if e.resource.Shared {
		into.copies += e.copies
		return true
	}
	merged, ok := addValue(into.resource, e.resource)
	if ok {
		into.resource = merged
	}
	return ok
}

// subtract takes e from the first entry that it can be taken from.
func (u *sum) subtract(e entry) {
	for _, i := range u.byKey[e.key] {
		from := &u.entries[i]
		if from.copies == 0 || !subtractableTwins(from.resource, e.resource) {
			continue
		}
		from.take(e)
		return
	}
}

func (e *entry) take(o entry) {
	if e.resource.Shared {
		e.copies = max(e.copies-o.copies, 0)
		return
	}
	e.resource = subtractValue(e.resource, o.resource)
	if e.resource.IsEmpty() {
		e.copies = 0
	}
}

func (u *sum) covers(e entry) bool {
	return slices.ContainsFunc(u.byKey[e.key], func(i int) bool {
		return u.entries[i].copies > 0 && u.entries[i].covers(e)
	})
}
