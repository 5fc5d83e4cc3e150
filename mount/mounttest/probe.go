package mounttest

import (
	"testing"

	"tenon/mount/internal/sys"
)

// Probe is a feature of newer kernels that package mount finds by itself, and
// that tests can switch off to see what it does on an older one.
type Probe struct {
	feature *sys.Feature
}

// The probes of package mount.
var (
	Statmount     = Probe{sys.HasStatmount}     // Linux 6.8: mounts by unique ID
	CloneDetached = Probe{sys.HasCloneDetached} // Linux 6.15: sources without a trace
)

// WithAndWithout runs body as a subtest with the feature, where the kernel has
// it, and as another one with the feature switched off. The tests it is called
// from run alone: it panics in a parallel one.
func WithAndWithout(t *testing.T, p Probe, body func(t *testing.T)) {
	t.Helper()
	t.Setenv("TENON_TEST_PROBE", p.feature.Name) // refuses parallel tests
	t.Run("with "+p.feature.Name, func(t *testing.T) {
		RequireKernel(t, p.feature.Since)
		RequireMounts(t)
		if !p.feature.Available() {
			t.Fatalf("Linux %s or newer has no %s", p.feature.Since, p.feature.Name)
		}
		body(t)
	})
	t.Run("without "+p.feature.Name, func(t *testing.T) {
		defer p.feature.SwitchOff()()
		body(t)
	})
}
