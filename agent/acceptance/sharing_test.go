package acceptance

import (
	"encoding/json"
	"strings"
	"testing"

	"tenon/agent/resource"
)

// quantity is how much there is of a name; -1 is none.
func quantity(s resource.Set, name string) resource.Scalar {
	if q, ok := s.Quantity(name); ok {
		return q
	}
	return -1
}

func plainAmounts(t *testing.T) {
	revocable, provided := scalar("cpus", 1), space(8)
	revocable.Revocable, provided.Provider = true, "p"
	s := resource.SetOf(sharing(space(64, static("eng")), "id"), space(8, dynamic("eng")), provided, revocable, scalar("cpus", 2)).
		Add(texts(t, "ports:[1-2];disks:{sda1}")...).Allocate("eng")
	for name, want := range map[string]resource.Scalar{"disk": 80 * resource.One, "cpus": 3 * resource.One, "ports": -1, "disks": -1} {
		is(t, name, quantity(s, name), want)
	}
	same(t, "all of it", s.Quantities(), set(t, "disk:80;cpus:3"))
}

func formatsOfReservations(t *testing.T) {
	const head = `{"name":"disk","type":"SCALAR","scalar":{"value":8}`
	for text, want := range map[string]resource.Resource{
		head + `}`:                               space(8),
		head + `,"role":"*"}`:                    space(8),
		head + `,"role":"eng"}`:                  space(8, static("eng")),
		head + `,"role":"eng","reservation":{}}`: space(8, dynamic("eng")),
		head + `,"role":"eng","reservation":{"principal":"ops"}}`:                                     space(8, by("ops", "eng")),
		head + `,"reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ml"}]}`: space(8, static("eng"), dynamic("eng/ml")),
		head + `,"role":"eng","reservations":[{"type":"STATIC","role":"eng"}]}`:                       space(8, static("eng")),
		head + `,"role":"eng","reservation":{},"reservations":[{"type":"DYNAMIC","role":"eng"}]}`:     space(8, dynamic("eng")),
	} {
		r := read(t, text)
		is(t, text, resource.Equal(r, want), true)
		allowed(t, text, r.Validate())
	}
	for _, bad := range []string{
		head + `,"role":"*","reservation":{}}`,
		head + `,"role":"eng/"}`,
		head + `,"role":"eng","reservation":{"type":"DYNAMIC","role":"eng"}}`,
		head + `,"reservations":[{"type":"STATIC"}]}`,
		head + `,"reservations":[{"role":"eng"}]}`,
		head + `,"reservations":[{"type":"STATIC","role":"*"}]}`,
		head + `,"reservations":[{"type":"DYNAMIC","role":"eng"},{"type":"STATIC","role":"eng/ml"}]}`,
		head + `,"reservations":[{"type":"DYNAMIC","role":"eng"},{"type":"DYNAMIC","role":"web"}]}`,
		head + `,"role":"eng","reservation":{},"reservations":[{"type":"STATIC","role":"eng"}]}`,
		head + `,"reservation":{"principal":"a"},"role":"eng","reservations":[{"type":"DYNAMIC","role":"eng"}]}`,
		head + `,"role":"eng/ml","reservations":[{"type":"DYNAMIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ml"}]}`,
	} {
		var r resource.Resource
		err := json.Unmarshal([]byte(bad), &r)
		if err == nil {
			err = r.Validate()
		}
		refused(t, bad, err, "")
	}
}

func refinementsHaveNoOldFormat(t *testing.T) {
	for _, r := range []resource.Resource{space(8), space(8, static("eng")), space(8, by("ops", "eng"))} {
		old, err := r.MarshalOld()
		allowed(t, r.String(), err)
		is(t, string(old), resource.Equal(read(t, string(old)), r), true)
	}
	refined := space(8, static("eng"), dynamic("eng/ml"))
	_, err := refined.MarshalOld()
	refused(t, "a refined reservation", err, "refined reservation")
	list := []resource.Resource{space(8, static("eng")), refined, space(4, static("web"))}
	mixed, err := resource.MarshalListOld(list)
	refused(t, "a list with one", err, "refined reservation")
	is(t, "the old format before it", strings.Contains(string(mixed), `"role":"eng"}`), true)
	back, err := resource.ParseList(string(mixed))
	allowed(t, "a mixed list", err)
	same(t, "a mixed list", resource.SetOf(back...), resource.SetOf(list...))
}

// v50 and w50 are shared volumes, x50 is v50's exclusive twin.
func v50() resource.Resource { return sharing(space(50, static("eng")), "v") }
func w50() resource.Resource { return sharing(space(50, static("eng")), "w") }
func x50() resource.Resource { return vol(space(50, static("eng")), "v") }

// copies is a set of n copies of v50.
func copies(n int) resource.Set { return resource.Set{}.AddCopies(v50(), n) }

func copiesAreCounted(t *testing.T) {
	s := copies(3).Add(x50(), space(5))
	is(t, "copies", s.Count(v50()), 3)
	is(t, "of an exclusive volume", s.Count(x50()), 1)
	is(t, "of plain disk", s.Count(space(5)), 1)
	is(t, "of another amount", s.Count(space(4)), 0)
	is(t, "of what is not there", s.Count(w50()), 0)
}

func sharedPrints(t *testing.T) {
	is(t, "one", v50().String(), "disk(reservations: [(STATIC,eng)])[v:data]<SHARED>:50")
	is(t, "two", copies(2).String(), "disk(reservations: [(STATIC,eng)])[v:data]<SHARED>:50<2>")
}

func copiesAddUp(t *testing.T) {
	sum := resource.SetOf(scalar("cpus", 1), v50()).AddSet(resource.SetOf(scalar("cpus", 2), v50()))
	is(t, "disk", quantity(sum, "disk"), 50*resource.One)
	is(t, "cpus", quantity(sum, "cpus"), 3*resource.One)
	is(t, "copies", sum.Count(v50()), 2)
}

func copiesComeOff(t *testing.T) {
	one := copies(2).Subtract(v50())
	is(t, "copies", one.Count(v50()), 1)
	is(t, "disk", quantity(one, "disk"), 50*resource.One)
	same(t, "below none", copies(2).SubtractSet(copies(3)), resource.Set{})
}

func compoundExpressions(t *testing.T) {
	a, b := copies(4), copies(3)
	same(t, "A+B-A", a.AddSet(b).SubtractSet(a), b)
	same(t, "A+B-B", a.AddSet(b).SubtractSet(b), a)
	same(t, "B-A", b.SubtractSet(a), resource.Set{})
	same(t, "B-A+A", b.SubtractSet(a).AddSet(a), a)
	same(t, "A-B", a.SubtractSet(b), copies(1))
}

func differentSharedVolumes(t *testing.T) {
	both := copies(2).Add(w50())
	is(t, "entries", both.Len(), 2)
	is(t, "disk", quantity(both, "disk"), 100*resource.One)
	same(t, "less the other", copies(2).Subtract(w50()), copies(2))
	is(t, "contains the other", copies(2).Contains(w50()), false)
}

func sharedAndExclusiveTwins(t *testing.T) {
	both := resource.SetOf(v50(), x50())
	is(t, "disk", quantity(both, "disk"), 100*resource.One)
	is(t, "shared contains exclusive", resource.SetOf(v50()).Contains(x50()), false)
	is(t, "exclusive contains shared", resource.SetOf(x50()).Contains(v50()), false)
	same(t, "shared less exclusive", resource.SetOf(v50()).Subtract(x50()), resource.SetOf(v50()))
	same(t, "exclusive less shared", resource.SetOf(x50()).Subtract(v50()), resource.SetOf(x50()))
}

func filtersOfShared(t *testing.T) {
	s := copies(2).Add(x50(), space(5))
	same(t, "shared", s.Shared(), copies(2))
	same(t, "exclusive", s.NonShared(), resource.SetOf(x50(), space(5)))
}

func allocationCounts(t *testing.T) {
	plain := resource.SetOf(space(8), v50())
	given := plain.Allocate("eng")
	is(t, "equal", plain.Equal(given), false)
	is(t, "contained", plain.ContainsSet(given), false)
	same(t, "given to two", given.AddSet(plain.Allocate("web")).Unallocate(), resource.SetOf(space(16), v50(), v50()))
	same(t, "taken off", given.Unallocate(), plain)
}

func ancestorsAndRevocables(t *testing.T) {
	deep := space(8, static("a"), dynamic("a/b"), by("ops", "a/b/c"))
	stack := []resource.Resource{deep, space(8, static("a"), dynamic("a/b")), space(8, static("a")), space(8)}
	for i, r := range stack[:3] {
		popped, ok := r.PopReservation()
		is(t, "popped off "+r.String(), ok && resource.Equal(popped, stack[i+1]), true)
	}
	for _, c := range []struct{ a, b, want int }{{0, 1, 1}, {0, 2, 2}, {0, 3, 3}, {1, 1, 1}} {
		common := resource.ReservationAncestor(stack[c.a].Reservations, stack[c.b].Reservations)
		is(t, "common ancestor", resource.EqualStacks(common, stack[c.want].Reservations), true)
	}
	is(t, "ancestor of two kinds", len(resource.ReservationAncestor(deep.Reservations, space(1, dynamic("a"), dynamic("a/b")).Reservations)), 0)
	same(t, "flattened", resource.SetOf(stack...).Flatten(), resource.SetOf(space(32)))
	_, ok := stack[3].PopReservation()
	is(t, "popped off nothing", ok, false)
	revocable := scalar("cpus", 1)
	revocable.Revocable = true
	s := resource.SetOf(scalar("cpus", 2), revocable)
	is(t, "entries", s.Len(), 2)
	same(t, "revocable", s.Revocable(), resource.SetOf(revocable))
	is(t, "plain contains revocable", resource.SetOf(scalar("cpus", 2)).Contains(revocable), false)
}
