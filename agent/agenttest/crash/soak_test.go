package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/mount/mounttest"
)

// looksOfTests are as many as each run of the tests can bear; `make soak` has more.
const looksOfTests = 8

func TestEverythingAtOnceLeavesNothingBehind(t *testing.T) {
	mounttest.RequireRoot(t)
	mounttest.RequireMounts(t)
	mounttest.NewDisk(t, mounttest.BtrfsSimple) // or skip: the soak makes another
	var out strings.Builder
	err := soak(options{tenon: mustBuild(t), clients: 4, seed: uint64(time.Now().UnixNano()), looks: looksOfTests, every: 100 * time.Millisecond}, &out)
	t.Log(out.String())
	if err != nil {
		t.Error(err)
	}
}

func TestWhatIsWrongForAMomentIsNoErrorAndWhatLastsIs(t *testing.T) {
	t.Parallel()
	e := &eye{since: map[string]int{}}
	for n := range 3 * lasting {
		wrong := []string{"lasts"}
		if n%lasting == 0 {
			wrong = nil
		}
		if err := e.note(append(wrong, time.Duration(n).String())); err != nil {
			t.Fatalf("look %d: %v", n, err)
		}
	}
	err := e.note(nil)
	for range lasting + 1 {
		if err != nil {
			t.Fatal("too early: ", err)
		}
		err = e.note([]string{"lasts"})
	}
	if err == nil || !strings.Contains(err.Error(), "lasts") {
		t.Errorf("what lasts: %v", err)
	}
}

func TestWhatOnlyOneSideHasIsADifference(t *testing.T) {
	t.Parallel()
	got := differ("mount", []string{"/b", "/a", "/b", "/x"}, []string{"/a", "/b", "/c"})
	want := []string{"mount /b: the host has it twice", "mount /x: the agent does not know it", "mount /c: the host does not have it"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := differ("mount", []string{"/b", "/a"}, []string{"/a", "/b"}); got != nil {
		t.Errorf("nothing differs: %v", got)
	}
}

func TestGrowthIsTold(t *testing.T) {
	t.Parallel()
	const quarter = 60
	var flat, grown, few book
	for n := range 4 * quarter {
		flat.add(sample{rss: 50 + float64(n%5), goroutines: 100, descriptors: 70})
		grown.add(sample{rss: 50, goroutines: 100 + float64(n)/10, descriptors: 70})
	}
	few.samples = grown.samples[:quarter]
	if err := flat.drift(quarter); err != nil {
		t.Errorf("what moves up and down: %v", err)
	}
	if err := grown.drift(quarter); err == nil || !strings.Contains(err.Error(), "goroutines has grown from 109.0 in the second quarter to 121.0") {
		t.Errorf("what grows: %v", err)
	}
	if err := few.drift(quarter); err != nil {
		t.Errorf("too few samples: %v", err)
	}
}

func TestTheTableHasRowsOfMedians(t *testing.T) {
	t.Parallel()
	var b book
	for _, s := range []sample{{rss: 1, operations: 10}, {rss: 9, operations: 30}, {rss: 2, operations: 5}, {rss: 7, operations: 6}} {
		b.add(s)
		if s.operations == 30 {
			b.restarted()
		}
	}
	lines := strings.Split(b.table(3), "\n")
	want := []string{"3", "2.0", "0.0", "0.0", "0.0", "0.0", "0.0", "0.0", "25", "1"}
	if diff := cmp.Diff(want, strings.Fields(lines[1])); diff != "" || len(lines) != 4 {
		t.Errorf("%d lines: %s", len(lines), diff)
	}
}

func TestMetricsThatAreNoneAreFound(t *testing.T) {
	t.Parallel()
	got, err := parseMetrics("# HELP a b\n# TYPE a gauge\na{b=\"c d\"} 1e3\nx 2\n")
	if diff := cmp.Diff(map[string]float64{`a{b="c d"}`: 1000, "x": 2}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, text := range []string{"x", "x y", "x 1\nx 2", "# else", " 1"} {
		if _, err := parseMetrics(text); err == nil {
			t.Errorf("%q is taken for metrics", text)
		}
	}
}
