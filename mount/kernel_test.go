package mount_test

import (
	"testing"

	"tenon/mount"
	"tenon/mount/mounttest"
)

func TestKernelFeaturesAreThoseThatAreUsed(t *testing.T) {
	mounttest.RequireRoot(t)
	for feature, probe := range map[string]mounttest.Probe{"statmount": mounttest.Statmount, "clone of a detached tree": mounttest.CloneDetached} {
		has := func() bool {
			for _, f := range mount.KernelFeatures() {
				if f.Name == feature {
					return f.Has
				}
			}
			t.Fatalf("%s is not listed", feature)
			return false
		}
		with := true
		mounttest.WithAndWithout(t, probe, func(t *testing.T) {
			if has() != with {
				t.Errorf("%s is there: %v, want %v", feature, has(), with)
			}
			with = false
		})
	}
}
