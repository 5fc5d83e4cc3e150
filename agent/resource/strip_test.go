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
