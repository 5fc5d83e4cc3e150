package mounttest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/mount/internal/sys"
	"tenon/mount/mounttest"
)

func TestWithAndWithoutRunsTheBodyBothWays(t *testing.T) {
	mounttest.RequireMounts(t)
	mounttest.RequireKernel(t, "6.15")
	for probe, available := range map[mounttest.Probe]func() bool{
		mounttest.Statmount:     sys.HasStatmount.Available,
		mounttest.CloneDetached: sys.HasCloneDetached.Available,
	} {
		var got []bool
		mounttest.WithAndWithout(t, probe, func(*testing.T) { got = append(got, available()) })
		if diff := cmp.Diff([]bool{true, false}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !available() {
			t.Error("the feature stayed switched off")
		}
	}
}

func TestWithAndWithoutRefusesParallelTests(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("it ran in a parallel test")
		}
	}()
	mounttest.WithAndWithout(t, mounttest.Statmount, func(*testing.T) {})
}
