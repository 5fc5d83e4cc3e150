package owner

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRangesAreReadAsMesosWritesThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Ranges{
		"[10000-20000]":           {{10000, 20000}},
		"[1-5,10-20]":             {{1, 5}, {10, 20}},
		" [ 10 - 20 , 1 - 5 ] ":   {{1, 5}, {10, 20}},
		"[7-7]":                   {{7, 7}},
		"[65535-4294967294]":      {{65535, 4294967294}},
		"[6-9,1-5,65535-65535]":   {{1, 5}, {6, 9}, {65535, 65535}},
		"[65000-65533]":           {{65000, 65533}},
		"[100-199,300-399,50-60]": {{50, 60}, {100, 199}, {300, 399}},
	} {
		got, err := ParseRanges(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
		if again, err := ParseRanges(got.String()); err != nil || !cmp.Equal(again, got) {
			t.Errorf("%q is not what it was: %v, %v", got.String(), again, err)
		}
	}
}

// TestWrongRangesAreRefusedWithTheirText begins with those of Mesos' own test (GI-01).
func TestWrongRangesAreRefusedWithTheirText(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"foo":                   "form",
		"10000":                 "form",
		"[10000-1099511627776]": "out of range",
		"[10000-5000]":          "before it begins",
		"":                      "form",
		"[]":                    "form",
		"[10000]":               "form",
		"10000-20000":           "form",
		"[10000-20000":          "form",
		"[1-5,]":                "form",
		"[-1-9]":                "invalid",
		"[1-2-3]":               "invalid",
		"[0-10]":                "root",
		"[60000-70000]":         "65534",
		"[100000-4294967295]":   "no group",
		"[1-5,5-9]":             "5 is in two ranges",
		"[1-9,3-4]":             "3 is in two ranges",
	} {
		_, err := ParseRanges(text)
		if err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: error is %v, want one that has %q", text, err, reason)
		}
	}
}

// someRanges draws ranges of few groups, so that all of them can be listed.
func someRanges(t *rapid.T) (rs Ranges, all []uint32) {
	next := rapid.SampledFrom([]uint32{1, 10000, 1<<32 - 60}).Draw(t, "first")
	for range rapid.IntRange(1, 4).Draw(t, "ranges") {
		first := next + rapid.Uint32Range(0, 3).Draw(t, "gap")
		last := first + rapid.Uint32Range(0, 8).Draw(t, "more")
		rs = append(rs, Range{first, last})
		for gid := first; gid <= last; gid++ {
			all = append(all, gid)
		}
		next = last + 1
	}
	return rs, all
}

func TestNextGivesAFreeGroupIfThereIsOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rs, all := someRanges(t)
		if rs.Len() != uint64(len(all)) {
			t.Fatalf("%s has %d groups, want %d", rs, rs.Len(), len(all))
		}
		used := map[uint32]bool{}
		for _, gid := range rapid.SliceOf(rapid.SampledFrom(all)).Draw(t, "used") {
			used[gid] = true
		}
		from := rapid.OneOf(rapid.Uint32(), rapid.SampledFrom(all)).Draw(t, "from")
		// What is to come: from on, then from the beginning.
		at, _ := slices.BinarySearch(all, from)
		var want uint32
		for _, gid := range slices.Concat(all[at:], all[:at]) {
			if !used[gid] {
				want = gid
				break
			}
		}
		asked := map[uint32]int{}
		got, found := rs.Next(from, func(gid uint32) bool {
			asked[gid]++
			return used[gid]
		})
		if got != want || found != (want != 0) {
			t.Fatalf("Next is %d, %t; want %d", got, found, want)
		}
		for gid, times := range asked {
			if !rs.Contains(gid) || times > 1 {
				t.Fatalf("%d was asked for %d times; contained: %t", gid, times, rs.Contains(gid))
			}
		}
	})
}

func TestAGroupThatWasGivenBackRestsAsLongAsPossible(t *testing.T) {
	t.Parallel()
	rs := Ranges{{10, 12}, {20, 21}}
	var got []uint32
	last := uint32(0)
	for range 7 {
		gid, _ := rs.Next(last+1, func(uint32) bool { return false }) // all are given back at once
		got, last = append(got, gid), gid
	}
	if diff := cmp.Diff([]uint32{10, 11, 12, 20, 21, 10, 11}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGroupsOfTheHostThatAreInTheRangesAreFound(t *testing.T) {
	t.Parallel()
	file := strings.Join([]string{
		"root:x:0:", "web:x:10000:www,ftp", "# a comment", "nonsense", "bad:x:many:", "", "last:x:10009:", "out:x:10010:",
		"many:x:10005:" + strings.Repeat("somebody,", 20000),
	}, "\n")
	rs := Ranges{{10000, 10009}}
	got, err := rs.Clashes(strings.NewReader(file))
	must(t, err)
	if diff := cmp.Diff(map[string]uint32{"web": 10000, "last": 10009, "many": 10005}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	broken := errors.New("broken")
	if _, err := rs.Clashes(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
