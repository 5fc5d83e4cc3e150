package resource

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestPopUndoesPush(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawResource(t, 2)
		r.Reservations = slices.Grow(r.Reservations, 2) // room that a careless append would write to
		before := r.String()
		top := Reservation{Type: Dynamic, Role: "x"}
		pushed := r.PushReservation(top)
		r.PushReservation(Reservation{Type: Dynamic, Role: "other"}) // must not overwrite the first
		if got := pushed.Reservations[len(pushed.Reservations)-1]; !got.Equal(top) {
			t.Fatalf("top is %s, want %s", got, top)
		}
		popped, ok := pushed.PopReservation()
		if diff := cmp.Diff(r, popped, cmpopts.EquateEmpty(), exactly); !ok || diff != "" {
			t.Fatalf("popped, %t (-want +got):\n%s", ok, diff)
		}
		_ = append(popped.Reservations, Reservation{Type: Dynamic, Role: "third"})
		if r.String() != before || !pushed.Reservations[len(pushed.Reservations)-1].Equal(top) {
			t.Fatalf("%s became %s", before, r)
		}
	})
}

func TestNothingPopsOffTheUnreserved(t *testing.T) {
	t.Parallel()
	if r, ok := disk(1, "").PopReservation(); ok {
		t.Errorf("popped to %s", r)
	}
}

func TestStripVolumeLeavesTheDisk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ r, want Resource }{
		"on the root disk": {disk(4, "eng").volume("v", "p"), disk(4, "eng")},
		"shared":           {disk(4, "eng").volume("v", "p").shared(), disk(4, "eng")},
		"on a path":        {disk(4, "eng").on(SourcePath, "/d").volume("v", "p").shared(), disk(4, "eng").on(SourcePath, "/d")},
		"no volume":        {disk(4, "eng").on(SourcePath, "/d"), disk(4, "eng").on(SourcePath, "/d")},
		"no disk":          {disk(4, ""), disk(4, "")},
	} {
		before := c.r.String()
		if diff := cmp.Diff(c.want, c.r.StripVolume(), exactly); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if c.r.String() != before {
			t.Errorf("%s: the volume itself became %s", name, c.r)
		}
	}
}

func TestWhoAResourceBelongsTo(t *testing.T) {
	t.Parallel()
	static := reserved(Reservation{Type: Static, Role: "eng"})
	for name, c := range map[string]struct {
		r        Resource
		role     string
		reserved bool
		dynamic  bool
	}{
		"unreserved": {disk(1, ""), "*", false, false},
		"static":     {static, "eng", true, false},
		"refined":    {static.PushReservation(Reservation{Type: Dynamic, Role: "eng/ml"}), "eng/ml", true, true},
	} {
		if c.r.Role() != c.role || c.r.IsReserved() != c.reserved || c.r.IsDynamicallyReserved() != c.dynamic {
			t.Errorf("%s: role %s, reserved %t, dynamic %t", name, c.r.Role(), c.r.IsReserved(), c.r.IsDynamicallyReserved())
		}
	}
}

func TestFlattenTakesReservationsOff(t *testing.T) {
	t.Parallel()
	refined := refine(disk(4, "eng"), "eng/ml")
	s := SetOf(disk(1, ""), disk(2, "eng"), refined, disk(8, "web").on(SourcePath, "/d")).Add(mustText(t, "cpus(a):1;cpus(b):2;ports(a):[1-2];ports:[3-4]")...)
	wantSet(t, "flattened", s.Flatten(), "disk:7; disk[PATH:/d]:8; cpus:3; ports:[1-4]")
	wantSet(t, "of nothing", Set{}.Flatten(), "{}")
}

func TestQuantitiesAreBareAmounts(t *testing.T) {
	t.Parallel()
	v := sharedVolume(16, "v")
	odd := disk(4, "eng").with(func(r *Resource) { r.Provider, r.Allocation, r.Revocable = "p", "web", true })
	s := SetOf(disk(1, ""), odd, v, v, disk(32, "eng").on(SourceMount, "/m"), disk(2, "eng").volume("x", "p")).Add(mustText(t, "cpus(a):1;cpus:2;ports:[1-2];tags:{a}")...)
	wantSet(t, "quantities", s.Quantities(), "disk:55; cpus:3")
	wantSet(t, "of nothing", Set{}.Quantities(), "{}")
	rapid.Check(t, func(t *rapid.T) {
		s := drawSet(t, anything)
		for _, name := range []string{"disk", "cpus", "ports", "tags"} {
			want, there := s.Quantity(name)
			if got, ok := s.Quantities().Quantity(name); got != want || ok != there {
				t.Fatalf("%s of %s is %s, %t; want %s, %t", name, s, got, ok, want, there)
			}
		}
	})
}

func TestTheReservationAncestorIsWhatStacksHaveInCommon(t *testing.T) {
	t.Parallel()
	static, ops := Reservation{Type: Static, Role: "a"}, ptr("ops")
	b, c := Reservation{Type: Dynamic, Role: "a/b", Principal: ops}, Reservation{Type: Dynamic, Role: "a/b"}
	top := Reservation{Type: Dynamic, Role: "a/b/c"}
	for _, x := range []struct {
		name          string
		first, second []Reservation
		want          int
	}{
		{name: "nothing", want: 0},
		{name: "one and none", first: []Reservation{static}},
		{name: "the same", first: []Reservation{static, b}, second: []Reservation{static, b}, want: 2},
		{name: "one above the other", first: []Reservation{static, b, top}, second: []Reservation{static, b}, want: 2},
		{name: "of other principals", first: []Reservation{static, b}, second: []Reservation{static, c}, want: 1},
		{name: "of other types", first: []Reservation{static}, second: []Reservation{{Type: Dynamic, Role: "a"}}},
		{name: "equal above a difference", first: []Reservation{static, b, top}, second: []Reservation{static, c, top}, want: 1},
	} {
		for _, got := range [][]Reservation{ReservationAncestor(x.first, x.second), ReservationAncestor(x.second, x.first)} {
			if !EqualStacks(got, x.first[:x.want]) {
				t.Errorf("%s: %v, want the first %d of %v", x.name, got, x.want, x.first)
			}
		}
	}
}

func TestRevocableResourcesKeepApart(t *testing.T) {
	t.Parallel()
	revocable := disk(4, "").with(func(r *Resource) { r.Revocable = true })
	s := SetOf(disk(4, ""), revocable, revocable)
	wantSet(t, "sum", s, "disk:4; disk{REV}:8")
	wantSet(t, "difference", s.Subtract(revocable), "disk:4; disk{REV}:4")
	if SetOf(disk(4, "")).Contains(revocable) || SetOf(revocable).Contains(disk(4, "")) || Equal(disk(4, ""), revocable) {
		t.Error("whether a resource is revocable does not count")
	}
}
