package volume

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whoever has acknowledged an operation may still ask for it again, and it is done once.
func TestAnAcknowledgedOperationIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	s, env := roomyDisk(t)
	once := as("one", "RESERVE", reserve(mib(5, "d")))
	s = mustApply(t, s, env, once, Acknowledge{ID: "one"})
	if d := cmp.Diff(dump(s), dump(mustApply(t, s, env, once))); d != "" {
		t.Errorf("asked for again (-before +after):\n%s", d)
	}
}
