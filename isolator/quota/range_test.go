package quota

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestARangeIsReadAsMesosWritesIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Range{
		"[5000-10000]":   DefaultRange,
		" [ 1 - 1 ] ":    {1, 1},
		"[1-4294967294]": {1, 4294967294},
	} {
		r, err := ParseRange(text)
		if err != nil || r != want {
			t.Errorf("%q: %v, %v; want %v", text, r, err, want)
		}
		if again, err := ParseRange(r.String()); err != nil || again != r {
			t.Errorf("%q is not what it was: %v, %v", r.String(), again, err)
		}
	}
}

func TestAWrongRangeIsRefusedWithItsText(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"":                      "form",
		"foo":                   "form",
		"100":                   "form",
		"5000-10000":            "form",
		"[5000-10000":           "form",
		"[0-10]":                "project 0",
		"[100-1099511627776]":   "out of range",
		"[1-4294967295]":        "does not allow",
		"[10-9]":                "before it begins",
		"[-1-9]":                "invalid",
		"[1-2-3]":               "invalid",
		"[5000-6000,7000-8000]": "invalid",
	} {
		_, err := ParseRange(text)
		if err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: error is %v, want one that has %q", text, err, reason)
		}
	}
}

func TestNextGivesAFreeProjectIfThereIsOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint32Range(1, 1<<32-40).Draw(t, "first")
		r := Range{first, first + rapid.Uint32Range(0, 30).Draw(t, "more")}
		used := map[uint32]bool{}
		for _, n := range rapid.SliceOf(rapid.Uint32Range(0, 31)).Draw(t, "used") {
			used[first+n] = true
		}
		from := rapid.OneOf(rapid.Uint32(), rapid.Uint32Range(r.First, r.Last)).Draw(t, "from")
		asked := 0
		id, ok := r.Next(from, func(id uint32) bool {
			asked++
			if !r.Contains(id) {
				t.Fatalf("it asked for %d, which is not in %s", id, r)
			}
			return used[id]
		})
		if free := firstFree(r, from, used); id != free || ok != (free != 0) {
			t.Fatalf("Next is %d, %t; want %d", id, ok, free)
		}
		if uint64(asked) > r.Len() {
			t.Fatalf("it asked %d times for %d projects", asked, r.Len())
		}
	})
}

// firstFree is Next by way of a list of all candidates in order; 0 is none.
func firstFree(r Range, from uint32, used map[uint32]bool) uint32 {
	var order []uint32
	for id := uint64(r.First); id <= uint64(r.Last); id++ {
		order = append(order, uint32(id))
	}
	if r.Contains(from) {
		n := from - r.First
		order = append(order[n:], order[:n]...)
	}
	for _, id := range order {
		if !used[id] {
			return id
		}
	}
	return 0
}

func TestANumberRestsBeforeItIsUsedAgain(t *testing.T) {
	t.Parallel()
	r := Range{10, 13}
	next := func(from uint32, used ...uint32) uint32 {
		id, _ := r.Next(from, func(id uint32) bool {
			for _, u := range used {
				if u == id {
					return true
				}
			}
			return false
		})
		return id
	}
	if id := next(12); id != 12 { // 10 and 11 are free again by now
		t.Errorf("Next is %d, want 12", id)
	}
	if id := next(14); id != 10 {
		t.Errorf("behind the last one Next is %d, want 10", id)
	}
	if id := next(13, 13, 10); id != 11 {
		t.Errorf("around the end Next is %d, want 11", id)
	}
}

func TestAnEmptyRangeHasNoProject(t *testing.T) {
	t.Parallel()
	r := Range{10, 9}
	if id, ok := r.Next(10, func(uint32) bool { return false }); ok || r.Len() != 0 {
		t.Errorf("Next is %d of %d", id, r.Len())
	}
}
