package resource

import (
	"cmp"
	"slices"
)

// Values are what resources amount to. The functions below compare and combine those of
// two resources of the same type.

func equalValues(a, b Resource) bool {
	switch a.Type {
	case TypeRanges:
		return slices.Equal(mergeRanges(a.Ranges), mergeRanges(b.Ranges))
	case TypeSet:
		return slices.Equal(slices.Sorted(slices.Values(a.Set)), slices.Sorted(slices.Values(b.Set)))
	}
	return a.Scalar == b.Scalar
}

// coversValue reports whether b's value is part of a's.
func coversValue(a, b Resource) bool {
	switch a.Type {
	case TypeRanges:
		return len(cutRanges(b.Ranges, a.Ranges)) == 0
	case TypeSet:
		return len(without(b.Set, a.Set)) == 0
	}
	return b.Scalar <= a.Scalar
}

// addValue is a with b's value added; ok is false when no resource may amount to so much.
func addValue(a, b Resource) (sum Resource, ok bool) {
	switch a.Type {
	case TypeRanges:
		a.Ranges = mergeRanges(slices.Concat(a.Ranges, b.Ranges))
	case TypeSet:
		a.Set = slices.Concat(a.Set, without(b.Set, a.Set))
	default:
		a.Scalar, ok = a.Scalar.Add(b.Scalar)
		return a, ok
	}
	return a, true
}

// subtractValue is a with b's value taken away, which leaves nothing rather than less.
func subtractValue(a, b Resource) Resource {
	switch a.Type {
	case TypeRanges:
		a.Ranges = cutRanges(a.Ranges, b.Ranges)
	case TypeSet:
		a.Set = without(a.Set, b.Set)
	default:
		a.Scalar = max(a.Scalar-b.Scalar, 0)
	}
	return a
}

// without are the items of a that b lacks, in a's order.
func without(a, b []string) []string {
	drop := make(map[string]bool, len(b))
	for _, item := range b {
		drop[item] = true
	}
	var kept []string
	for _, item := range a {
		if !drop[item] {
			kept = append(kept, item)
		}
	}
	return kept
}

func compareRanges(a, b Range) int {
	return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End))
}

// mergeRanges is the normal form: sorted, with neighbours and overlaps joined.
func mergeRanges(ranges []Range) []Range {
	var merged []Range
	for _, r := range slices.SortedFunc(slices.Values(ranges), compareRanges) {
		last := len(merged) - 1
		if last < 0 || r.Begin > merged[last].End && r.Begin-merged[last].End > 1 {
			merged = append(merged, r)
			continue
		}
		merged[last].End = max(merged[last].End, r.End)
	}
	return merged
}

// cutRanges is a without b, in normal form.
func cutRanges(a, b []Range) []Range {
	rest := mergeRanges(a)
	for _, cut := range b {
		var kept []Range
		for _, r := range rest {
			kept = append(kept, cutRange(r, cut)...)
		}
		rest = kept
	}
	return rest
}

// cutRange is what of r lies before and behind the cut.
func cutRange(r, cut Range) []Range {
	if cut.End < r.Begin || cut.Begin > r.End {
		return []Range{r}
	}
	var kept []Range
	if cut.Begin > r.Begin {
		kept = append(kept, Range{r.Begin, cut.Begin - 1})
	}
	if cut.End < r.End {
		kept = append(kept, Range{cut.End + 1, r.End})
	}
	return kept
}
