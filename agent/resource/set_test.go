package resource

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func wantSet(t *testing.T, what string, got Set, want string) {
	t.Helper()
	if got.String() != want {
		t.Errorf("%s = %s, want %s", what, got, want)
	}
}

func TestScalarsAddAndSubtract(t *testing.T) {
	t.Parallel()
	a, b := mustSet(t, "cpus:45.55;mem:10"), mustSet(t, "cpus:45.55;ports:[1-2]")
	sum := a.AddSet(b)
	wantSet(t, "sum", sum, "cpus:91.1; mem:10; ports:[1-2]")
	wantSet(t, "difference", sum.SubtractSet(b), "cpus:45.55; mem:10")
	wantSet(t, "difference below zero", a.SubtractSet(sum), "{}")
	wantSet(t, "operand afterwards", a, "cpus:45.55; mem:10")
}

func TestRangesAddAndSubtract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, sum, difference string }{
		{"ports:[1-4]", "ports:[5-9]", "ports:[1-9]", "ports:[1-4]"},
		{"ports:[1-4]", "ports:[6-9]", "ports:[1-4, 6-9]", "ports:[1-4]"},
		{"ports:[1-9]", "ports:[3-5,7-7]", "ports:[1-9]", "ports:[1-2, 6-6, 8-9]"},
		{"ports:[3-5]", "ports:[1-9]", "ports:[1-9]", "{}"},
		{"ports:[8-9,1-3]", "ports:[3-8]", "ports:[1-9]", "ports:[1-2, 9-9]"},
		{"ports:[0-18446744073709551615]", "ports:[0-0,18446744073709551615-18446744073709551615]",
			"ports:[0-18446744073709551615]", "ports:[1-18446744073709551614]"},
	} {
		wantSet(t, c.a+" + "+c.b, mustSet(t, c.a).AddSet(mustSet(t, c.b)), c.sum)
		wantSet(t, c.a+" - "+c.b, mustSet(t, c.a).SubtractSet(mustSet(t, c.b)), c.difference)
	}
	if !mustSet(t, "ports:[1-9]").Contains(mustText(t, "ports:[2-3,5-6]")[0]) {
		t.Error("[1-9] does not contain [2-3,5-6]")
	}
	if mustSet(t, "ports:[1-4,6-9]").Contains(mustText(t, "ports:[4-6]")[0]) {
		t.Error("[1-4,6-9] contains [4-6]")
	}
}

func TestSetsOfItemsAddAndSubtract(t *testing.T) {
	t.Parallel()
	a, b := mustSet(t, "disks:{sda1,sda2}"), mustSet(t, "disks:{sda2,sda3}")
	wantSet(t, "sum", a.AddSet(b), "disks:{sda1, sda2, sda3}")
	wantSet(t, "difference", a.SubtractSet(b), "disks:{sda1}")
	wantSet(t, "nothing left", a.SubtractSet(a), "{}")
	if a.ContainsSet(b) || !a.Contains(mustText(t, "disks:{sda2}")[0]) {
		t.Error("containment of items is wrong")
	}
	if !mustSet(t, "disks:{x,y}").Equal(mustSet(t, "disks:{y,x}")) {
		t.Error("order of items counts")
	}
}

func TestEmptyAndInvalidResourcesAreNotAdded(t *testing.T) {
	t.Parallel()
	s := SetOf(disk(0, ""), disk(-1, ""), Resource{}, disk(1, "*"), disk(64, "eng").shared(),
		Resource{Name: "ports", Type: TypeRanges}, Resource{Name: "tags", Type: TypeSet}, disk(5, ""))
	wantSet(t, "set", s, "disk:5")
	if s.Contains(disk(-1, "")) {
		t.Error("a set contains an invalid resource")
	}
	wantSet(t, "no copies", s.AddCopies(disk(1, ""), 0), "disk:5")
	wantSet(t, "nothing subtracted", s.Subtract(disk(0, "")), "disk:5")
}

func TestAbsentQuantitiesAreNoneRatherThanZero(t *testing.T) {
	t.Parallel()
	s := mustSet(t, "cpus:2;disk:1;disk(eng):2;ports:[1-2]")
	if q, ok := s.Quantity("disk"); !ok || q != 3*One {
		t.Errorf("disk = %s, %t; want 3", q, ok)
	}
	for _, name := range []string{"mem", "ports"} {
		if q, ok := s.Quantity(name); ok {
			t.Errorf("%s = %s, want none", name, q)
		}
	}
}

func TestNoSumOverflows(t *testing.T) {
	t.Parallel()
	huge := disk(0, "").with(func(r *Resource) { r.Scalar = MaxScalar })
	s := SetOf(huge, disk(1, ""), disk(1, ""))
	wantSet(t, "sum", s, "disk:4398046511104; disk:2")
	for range 12 {
		s = s.AddSet(s)
	}
	if q, _ := s.Quantity("disk"); q != 1<<63-1 {
		t.Errorf("quantity = %s, want the largest there is", q)
	}
}

func TestVolumesNeverMerge(t *testing.T) {
	t.Parallel()
	v := disk(64, "eng").volume("v", "p")
	s := SetOf(v, v, disk(32, "eng").volume("w", "p"))
	wantSet(t, "set", s, "disk(reservations: [(DYNAMIC,eng)])[v:p]:64; disk(reservations: [(DYNAMIC,eng)])[v:p]:64; disk(reservations: [(DYNAMIC,eng)])[w:p]:32")
	if !s.ContainsSet(SetOf(v, v)) || s.ContainsSet(SetOf(v, v, v)) || SetOf(v).ContainsSet(SetOf(v, v)) {
		t.Error("two volumes alike do not count as two")
	}
	if s.Count(v) != 1 || s.Subtract(v).Count(v) != 1 || s.Subtract(v, v).Count(v) != 0 {
		t.Error("volumes alike do not come off one by one")
	}
	wantSet(t, "part of a volume taken", SetOf(v).Subtract(disk(32, "eng").volume("v", "p")), SetOf(v).String())
	if SetOf(v).Contains(disk(32, "eng").volume("v", "p")) {
		t.Error("a volume contains a smaller one")
	}
}

func TestMountDisksAreUsedWhole(t *testing.T) {
	t.Parallel()
	whole, part := disk(64, "eng").on(SourceMount, "/d"), disk(32, "eng").on(SourceMount, "/d")
	s := SetOf(whole)
	if !s.Contains(whole) || s.Contains(part) {
		t.Error("a mount disk is not contained exactly whole")
	}
	wantSet(t, "part taken", s.Subtract(part), s.String())
	wantSet(t, "whole taken", s.Subtract(whole), "{}")
	if s.Add(part).Len() != 2 {
		t.Error("mount disks merge")
	}
	path := SetOf(disk(64, "eng").on(SourcePath, "/d"))
	wantSet(t, "path disk", path.Subtract(disk(24, "eng").on(SourcePath, "/d")), "disk(reservations: [(DYNAMIC,eng)])[PATH:/d]:40")
}

func sharedVolume(mib int, id string) Resource { return disk(mib, "eng").volume(id, "p").shared() }

func TestSharedVolumesCountCopies(t *testing.T) {
	t.Parallel()
	v := sharedVolume(50, "v")
	const printed = "disk(reservations: [(DYNAMIC,eng)])[v:p]<SHARED>:50"
	two := SetOf(v, v)
	wantSet(t, "two copies", two, printed+"<2>")
	wantSet(t, "sum", two.AddSet(SetOf(v)), printed+"<3>")
	wantSet(t, "one less", two.Subtract(v), printed+"<1>")
	wantSet(t, "below zero", SetOf(v).SubtractSet(two), "{}")
	wantSet(t, "copies added", SetOf(v).AddCopies(v, 4), printed+"<5>")
	if q, _ := two.Quantity("disk"); q != 50*One {
		t.Errorf("two copies amount to %s, want 50", q)
	}
	if two.Count(v) != 2 || two.Count(sharedVolume(51, "v")) != 0 || SetOf(disk(5, "")).Count(disk(5, "")) != 1 {
		t.Error("Count is wrong")
	}
	if !two.ContainsSet(SetOf(v)) || SetOf(v).ContainsSet(two) {
		t.Error("copies are not compared")
	}
}

func TestCompoundExpressionsOfSharedVolumes(t *testing.T) {
	t.Parallel()
	v := sharedVolume(100, "v")
	a, b := Set{}.AddCopies(v, 4), Set{}.AddCopies(v, 3)
	for name, c := range map[string]struct{ got, want Set }{
		"A+B-A": {a.AddSet(b).SubtractSet(a), b},
		"A-B+B": {a.SubtractSet(b).AddSet(b), a},
		"B-A":   {b.SubtractSet(a), Set{}},
		"B-A+A": {b.SubtractSet(a).AddSet(a), a},
		"A-B":   {a.SubtractSet(b), SetOf(v)},
	} {
		if !c.got.Equal(c.want) {
			t.Errorf("%s = %s, want %s", name, c.got, c.want)
		}
	}
}

func TestDifferentSharedVolumesKeepApart(t *testing.T) {
	t.Parallel()
	v, w, twin := sharedVolume(50, "v"), sharedVolume(50, "w"), disk(50, "eng").volume("v", "p")
	both := SetOf(v, w)
	if q, _ := both.Quantity("disk"); q != 100*One || both.Len() != 2 {
		t.Errorf("two volumes amount to %s", q)
	}
	wantSet(t, "absent one taken", SetOf(v).Subtract(w), SetOf(v).String())
	if SetOf(v).Contains(twin) || SetOf(twin).Contains(v) {
		t.Error("a shared volume and its exclusive twin contain each other")
	}
	wantSet(t, "twin taken", SetOf(v).Subtract(twin), SetOf(v).String())
	if q, _ := SetOf(sharedVolume(100, "v"), disk(100, "eng").volume("v", "p")).Quantity("disk"); q != 200*One {
		t.Errorf("twins amount to %s, want 200", q)
	}
}

func TestAReadOnlyUseElsewhereIsTheSameSharedVolume(t *testing.T) {
	t.Parallel()
	v := sharedVolume(50, "v")
	use := disk(50, "eng").volume("v", "elsewhere").shared()
	use.Disk.Volume.Mode = RO
	if s := SetOf(v, v); !s.Contains(use) || s.Subtract(use).Count(v) != 1 {
		t.Error("mode and container path count")
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	v, x := sharedVolume(10, "v"), disk(20, "web").volume("x", "p")
	revocable := disk(5, "").with(func(r *Resource) { r.Revocable = true })
	sub := disk(7, "eng").PushReservation(Reservation{Type: Dynamic, Role: "eng/ml"})
	s := SetOf(v, v, x, revocable, disk(1, ""), sub)
	for name, c := range map[string]struct {
		got  Set
		want []Resource
	}{
		"PersistentVolumes": {s.PersistentVolumes(), []Resource{v, v, x}},
		"Shared":            {s.Shared(), []Resource{v, v}},
		"NonShared":         {s.NonShared(), []Resource{x, revocable, disk(1, ""), sub}},
		"Revocable":         {s.Revocable(), []Resource{revocable}},
		"Unreserved":        {s.Unreserved(), []Resource{revocable, disk(1, "")}},
		"Reserved":          {s.Reserved(""), []Resource{v, v, x, sub}},
		"Reserved(eng)":     {s.Reserved("eng"), []Resource{v, v}},
		"AllocatableTo":     {s.AllocatableTo("eng"), []Resource{v, v, revocable, disk(1, "")}},
		"AllocatableTo sub": {s.AllocatableTo("eng/ml"), []Resource{v, v, revocable, disk(1, ""), sub}},
	} {
		if want := SetOf(c.want...); !c.got.Equal(want) {
			t.Errorf("%s = %s, want %s", name, c.got, want)
		}
	}
}

func TestHierarchicalReservationsAreForDescendants(t *testing.T) {
	t.Parallel()
	for role, want := range map[string]bool{"": true, "a": true, "a/b": true, "a/b/c": false, "ab": false, "b": false} {
		if got := disk(1, role).AllocatableTo("a/b"); got != want {
			t.Errorf("a disk of %q for a/b: %t, want %t", role, got, want)
		}
	}
}

func TestAllocationIsPartOfIdentityAndComesOff(t *testing.T) {
	t.Parallel()
	v := sharedVolume(10, "v")
	s := SetOf(disk(4, ""), v, v)
	allocated := s.Allocate("web")
	if allocated.ContainsSet(s) || s.ContainsSet(allocated) {
		t.Error("allocation does not count")
	}
	wantSet(t, "both", SetOf(disk(4, "")).AddSet(SetOf(disk(4, "")).Allocate("web")), "disk:4; disk(allocated: web):4")
	merged := s.AddSet(allocated).Unallocate()
	wantSet(t, "unallocated", merged, "disk:8; disk(reservations: [(DYNAMIC,eng)])[v:p]<SHARED>:10<4>")
	if !allocated.Unallocate().Equal(s) {
		t.Errorf("%s unallocated is not %s", allocated, s)
	}
}

func TestProvidersKeepResourcesApart(t *testing.T) {
	t.Parallel()
	from := func(p string) Resource { return disk(4, "").with(func(r *Resource) { r.Provider = p }) }
	s := SetOf(from("a"), from("b"), from("a"), disk(4, ""))
	if s.Len() != 3 || !s.Contains(from("a").with(func(r *Resource) { r.Scalar = 8 * One })) || s.Contains(from("c")) {
		t.Errorf("%s: providers are mixed up", s)
	}
}

func TestSetsListTheirEntriesInOrder(t *testing.T) {
	t.Parallel()
	v := sharedVolume(10, "v")
	s := SetOf(disk(1, ""), v, disk(2, ""), v)
	var copies []int
	for _, n := range s.All() {
		copies = append(copies, n)
	}
	if !slices.Equal(copies, []int{1, 2}) || len(s.Resources()) != 2 || s.Resources()[1].Key() != v.Key() {
		t.Errorf("entries of %s: copies %v, resources %v", s, copies, s.Resources())
	}
	for range s.All() {
		break // an early end must not go on
	}
}

// apply converts as spec.md 2.6 says, and fails the test if it may not.
func apply(t *testing.T, s Set, consumed, converted []Resource) Set {
	t.Helper()
	if !s.ContainsSet(SetOf(consumed...)) {
		t.Fatalf("%s does not contain %s", s, SetOf(consumed...))
	}
	before, _ := s.Quantity("disk")
	next := s.Subtract(consumed...).Add(converted...)
	if after, _ := next.Quantity("disk"); after != before {
		t.Errorf("disk was %s and is %s: %s", before, after, next)
	}
	return next
}

func TestReserveCreateDestroyUnreserveLeadBackToTheStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ total, piece Resource }{
		"root disk":  {disk(4096, ""), disk(2048, "")},
		"path disk":  {disk(4096, "").on(SourcePath, "/d"), disk(2048, "").on(SourcePath, "/d")},
		"mount disk": {disk(4096, "").on(SourceMount, "/d"), disk(4096, "").on(SourceMount, "/d")},
	} {
		start := SetOf(c.total)
		r := c.piece.PushReservation(Reservation{Type: Dynamic, Role: "eng"})
		popped, ok := r.PopReservation()
		if !ok {
			t.Fatal("nothing to pop")
		}
		v := r.volume("v", "p").shared()
		afterReserve := apply(t, start, []Resource{popped}, []Resource{r})
		afterCreate := apply(t, afterReserve, []Resource{v.StripVolume()}, []Resource{v})
		if afterCreate.Count(v) != 1 {
			t.Errorf("%s: %d copies after CREATE, want 1", name, afterCreate.Count(v))
		}
		afterDestroy := apply(t, afterCreate, []Resource{v}, []Resource{v.StripVolume()})
		if !afterDestroy.Equal(afterReserve) || !apply(t, afterDestroy, []Resource{r}, []Resource{popped}).Equal(start) {
			t.Errorf("%s: DESTROY leaves %s, not %s", name, afterDestroy, afterReserve)
		}
	}
}

func TestPartOfAMountDiskIsNoVolume(t *testing.T) {
	t.Parallel()
	v := disk(2048, "eng").on(SourceMount, "/d").volume("v", "p")
	if SetOf(disk(4096, "eng").on(SourceMount, "/d")).Contains(v.StripVolume()) {
		t.Error("part of a mount disk can be consumed")
	}
}

func TestASecondCopyOutlivesDestroy(t *testing.T) {
	t.Parallel()
	v := sharedVolume(10, "v")
	if !SetOf(v, v).Subtract(v).Contains(v) || SetOf(v).Subtract(v).Contains(v) {
		t.Error("what DESTROY leaves is wrong")
	}
}

func TestLawsOfAddition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawSet(t, anything), drawSet(t, anything), drawSet(t, anything)
		if !a.AddSet(b).Equal(b.AddSet(a)) {
			t.Fatalf("%s + %s depends on the order", a, b)
		}
		if !a.AddSet(b).AddSet(c).Equal(a.AddSet(b.AddSet(c))) {
			t.Fatalf("%s + %s + %s depends on the grouping", a, b, c)
		}
		if !a.AddSet(Set{}).Equal(a) || !a.SubtractSet(Set{}).Equal(a) {
			t.Fatalf("adding nothing to %s changes it", a)
		}
		if a.SubtractSet(a).Len() != 0 {
			t.Fatalf("%s less itself is %s", a, a.SubtractSet(a))
		}
	})
}

func TestSubtractionUndoesAddition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSet(t, countable), drawSet(t, countable)
		if back := a.AddSet(b).SubtractSet(b); !back.Equal(a) {
			t.Fatalf("%s + %s - %[2]s = %s", a, b, back)
		}
	})
}

func TestContainmentIsAPartialOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, more, most := drawSet(t, anything), drawSet(t, anything), drawSet(t, anything)
		b := a.AddSet(more)
		c := b.AddSet(most)
		if !a.ContainsSet(a) || !b.ContainsSet(a) || !c.ContainsSet(b) || !c.ContainsSet(a) {
			t.Fatalf("%s ⊆ %s ⊆ %s does not hold", a, b, c)
		}
		x := drawSet(t, anything)
		for _, pair := range [][2]Set{{a, b}, {a, x}, {x, c}} {
			if got, want := pair[0].Equal(pair[1]), canonical(pair[0]) == canonical(pair[1]); got != want {
				t.Fatalf("%s and %s contain each other: %t, are one: %t", pair[0], pair[1], got, want)
			}
		}
	})
}

// TestContainmentOfSetsMuchAlike draws sets from one small pool, so that each may or may
// not contain another.
func TestContainmentOfSetsMuchAlike(t *testing.T) {
	t.Parallel()
	chains := 0
	rapid.Check(t, func(t *rapid.T) {
		pool := drawPool(t)
		a, b, c := drawFrom(t, pool), drawFrom(t, pool), drawFrom(t, pool)
		if !a.ContainsSet(a) || !a.Equal(a) || !a.ContainsSet(Set{}) {
			t.Fatalf("%s does not contain itself", a)
		}
		if a.ContainsSet(b) && b.ContainsSet(a) != (canonical(a) == canonical(b)) {
			t.Fatalf("%s and %s contain each other: %t", a, b, b.ContainsSet(a))
		}
		if a.ContainsSet(b) && b.ContainsSet(c) {
			chains++
			if !a.ContainsSet(c) {
				t.Fatalf("%s ⊆ %s ⊆ %s does not carry over", c, b, a)
			}
		}
		if a.ContainsSet(b) && !a.SubtractSet(b).AddSet(b).Equal(a) {
			t.Fatalf("%s - %s + %[2]s = %s", a, b, a.SubtractSet(b).AddSet(b))
		}
	})
	if chains == 0 {
		t.Error("no set contained another that contained a third")
	}
}

// TestLawsOfAdditionOfSetsMuchAlike is TestLawsOfAddition where entries do merge.
func TestLawsOfAdditionOfSetsMuchAlike(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pool := drawPool(t)
		a, b, c := drawFrom(t, pool), drawFrom(t, pool), drawFrom(t, pool)
		if x, y := a.AddSet(b), b.AddSet(a); canonical(x) != canonical(y) || !x.Equal(y) {
			t.Fatalf("%s + %s = %s, the other way %s", a, b, x, y)
		}
		if x, y := a.AddSet(b).AddSet(c), a.AddSet(b.AddSet(c)); canonical(x) != canonical(y) || !x.Equal(y) {
			t.Fatalf("%s + %s + %s depends on the grouping", a, b, c)
		}
		x, y := a.Filter(countable), b.Filter(countable)
		if back := x.AddSet(y).SubtractSet(y); canonical(back) != canonical(x) {
			t.Fatalf("%s + %s - %[2]s = %s", x, y, back)
		}
		if !a.ContainsSet(a.SubtractSet(b)) {
			t.Fatalf("%s - %s = %s is not part of it", a, b, a.SubtractSet(b))
		}
	})
}

func TestWhatNeverMergesIsContainedAsOftenAsItIsThere(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Resource{
		"mount": disk(64, "eng").on(SourceMount, "/d"), "block": disk(64, "").on(SourceBlock, ""), "volume": disk(1, "eng").volume("v", "p"),
	} {
		one, two := SetOf(r), SetOf(r, r)
		if one.ContainsSet(two) || !two.ContainsSet(one) || one.Equal(two) || !two.Equal(two) {
			t.Errorf("%s: one entry contains two", name)
		}
	}
}

func TestWhatIsContainedCanBeTakenAndPutBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, r := drawSet(t, anything), drawResource(t, 2)
		rest := s.Subtract(r)
		if s.Contains(r) && !rest.Add(r).Equal(s) {
			t.Fatalf("%s - %s = %s, which is not undone", s, r, rest)
		}
		if !s.Contains(r) && s.Count(r) > 0 {
			t.Fatalf("%s counts %s but does not contain it", s, r)
		}
		if !s.ContainsSet(rest) {
			t.Fatalf("%s - %s = %s is not part of it", s, r, rest)
		}
	})
}

func TestSetsDoNotChange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSet(t, anything), drawSet(t, anything)
		before, other := a.String(), b.String()
		a.AddSet(b).Add(drawResource(t, 2))
		a.SubtractSet(b).Subtract(drawResource(t, 2))
		a.Allocate("x").Unallocate()
		a.ContainsSet(b)
		if a.String() != before || b.String() != other {
			t.Fatalf("%s became %s, or %s became %s", before, a, other, b)
		}
	})
}
