package resource

import "strconv"

// SameMetadata reports whether a and b are the same thing, however much of it
// (spec.md 2.2). Where and how a volume is mounted, and who made it, do not count.
func SameMetadata(a, b Resource) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Allocation == b.Allocation &&
		a.Provider == b.Provider && a.Revocable == b.Revocable && a.Shared == b.Shared &&
		EqualStacks(a.Reservations, b.Reservations) && sameDisk(a.Disk, b.Disk)
}

func sameDisk(a, b *Disk) bool {
	if a == nil || b == nil {
		return a == b
	}
	if (a.Source == nil) != (b.Source == nil) || a.Source.Key() != b.Source.Key() {
		return false
	}
	if a.Persistence == nil || b.Persistence == nil {
		return a.Persistence == b.Persistence
	}
	return a.Persistence.ID == b.Persistence.ID
}

// Equal reports whether a and b are the same amount of the same thing.
func Equal(a, b Resource) bool { return SameMetadata(a, b) && equalValues(a, b) }

// Key names what r is: two resources have one key if and only if SameMetadata holds.
func (r Resource) Key() string {
	b := strconv.AppendQuote(nil, r.Name)
	b = strconv.AppendQuote(b, string(r.Type))
	b = append(append(append(b, '('), StackKey(r.Reservations)...), ')')
	if d := r.Disk; d != nil {
		b = append(b, " disk"...)
		if d.Source != nil {
			b = strconv.AppendQuote(append(b, " source="...), d.Source.Key())
		}
		if d.Persistence != nil {
			b = strconv.AppendQuote(append(b, " id="...), d.Persistence.ID)
		}
	}
	for _, f := range []struct{ name, value string }{{" allocated=", r.Allocation}, {" provider=", r.Provider}} {
		if f.value != "" {
			b = strconv.AppendQuote(append(b, f.name...), f.value)
		}
	}
	if r.Revocable {
		b = append(b, " revocable"...)
	}
	if r.Shared {
		b = append(b, " shared"...)
	}
	return string(b)
}

// Addable reports whether a and b can become one entry of a Set (spec.md 2.3): amounts
// add up, copies of a shared volume are counted, and volumes, MOUNT and BLOCK disks stay
// single.
func Addable(a, b Resource) bool {
	return SameMetadata(a, b) && addableTwins(a, b)
}

// addableTwins is Addable for two resources of one identity.
func addableTwins(a, b Resource) bool {
	switch {
	case a.Shared:
		return equalValues(a, b)
	case a.IsVolume():
		return false
	}
	return !a.indivisible()
}

// Subtractable reports whether b can be taken from a (spec.md 2.4): any amount from an
// amount, but of a volume or an indivisible disk only the whole. It says nothing about
// whether a is enough.
func Subtractable(a, b Resource) bool {
	return SameMetadata(a, b) && subtractableTwins(a, b)
}

// subtractableTwins is Subtractable for two resources of one identity.
func subtractableTwins(a, b Resource) bool {
	if a.Shared || a.IsVolume() || a.indivisible() {
		return equalValues(a, b)
	}
	return true
}

// indivisible reports whether r's disk is used whole or not at all.
func (r Resource) indivisible() bool {
	if r.Disk == nil || r.Disk.Source == nil {
		return false
	}
	switch s := r.Disk.Source; s.Type {
	case SourceMount, SourceBlock:
		return true
	case SourceRaw:
		return s.ID != nil
	}
	return false
}
