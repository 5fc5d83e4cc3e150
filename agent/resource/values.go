package resource

import "cmp"

func compareRanges(a, b Range) int {
	return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End))
}
