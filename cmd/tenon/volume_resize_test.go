package main

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"tenon/agent/resource"
)

func TestSizesWithASignAreMoreOrLess(t *testing.T) {
	t.Parallel()
	const old = 100 * resource.MiB
	for in, want := range map[string]resource.Bytes{
		"64": 64 * resource.MiB, "1GiB": 1024 * resource.MiB, "0": 0,
		"+64": 164 * resource.MiB, "+1GiB": 1124 * resource.MiB, "+0": old,
		"-64": 36 * resource.MiB, "-99.5M": resource.MiB / 2, "-0": old,
	} {
		target, err := parseTarget(in)
		if err != nil {
			t.Errorf("parseTarget(%q): %v", in, err)
			continue
		}
		if got, err := target.from(old); err != nil || got != want {
			t.Errorf("%q of %s = %s, %v; want %s", in, old, got, err, want)
		}
	}
}

func TestSizesThatNothingCanHaveAreUsageErrors(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "+", "-", "++1", "+-1", "x", "1 2"} {
		if target, err := parseTarget(in); err == nil {
			t.Errorf("parseTarget(%q) = %v, want an error", in, target)
		}
	}
	for _, tc := range []struct {
		target target
		old    resource.Bytes
	}{
		{target{'-', 100}, 100}, {target{'-', 101}, 100}, {target{'+', math.MaxInt64}, 1}, {target{'+', 1}, math.MaxInt64},
	} {
		if got, err := tc.target.from(tc.old); exitCode(err) != exitUsage {
			t.Errorf("%c%d of %d = %d, %v", tc.target.sign, tc.target.amount, tc.old, got, err)
		}
	}
}

func TestWhatIsAddedAndTakenAwayAgainIsWhatItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		old := resource.Bytes(rapid.Int64Range(1, 1<<60).Draw(t, "old"))
		by := resource.Bytes(rapid.Int64Range(0, 1<<60).Draw(t, "by"))
		more, err := target{'+', by}.from(old)
		if err != nil || more < old {
			t.Fatalf("%d + %d = %d, %v", old, by, more, err)
		}
		if back, err := (target{'-', by}).from(more); err != nil || back != old {
			t.Fatalf("%d - %d = %d, %v; want %d", more, by, back, err, old)
		}
	})
}
