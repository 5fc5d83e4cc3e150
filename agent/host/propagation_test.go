package host_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/mount"
)

// Who else sees a volume that comes to a process is up to the mount at its target there, and so is
// whether it can be made read-only later: what others have by propagation would stay writable.
func TestWhatIsAttachedPropagatesAsTheTargetSays(t *testing.T) {
	for _, c := range []struct {
		propagation string
		follower    string // how another namespace follows
		sees, flips bool
	}{
		{"private", "unchanged", false, true},
		{"private", "slave", false, true},
		{"slave", "unchanged", false, true},
		{"shared", "private", false, false}, // it has no copy, but one could come
		{"shared", "unchanged", true, false},
		{"shared", "slave", true, false},
	} {
		t.Run(c.propagation+", followed "+c.follower, func(t *testing.T) {
			n := withData(t)
			sh := startShell(t, c.propagation)
			sh.must("mkdir " + n.place(""))
			other := sh.follower(n.place("fifo"), c.follower)
			at := n.place("x")
			n.must(t, hot("shell", "data", at, "", sh.pid))
			if sees := mountedFor(t, other, at); sees != c.sees {
				t.Errorf("the other sees it is %v, want %v", sees, c.sees)
			}
			if mountedFor(t, os.Getpid(), at) {
				t.Error("the agent's own namespace has it")
			}
			_, err := n.Do(t.Context(), volume.SetMode{Task: "shell", Volume: "web/data", Mode: resource.RO})
			if c.flips && err != nil || !c.flips && (!errors.Is(err, volume.ErrInvalid) || !errors.Is(err, mount.ErrShared)) {
				t.Errorf("made read-only: %v; want that it can be is %v", err, c.flips)
			}
			if want := c.flips; mode(n, "shell") == resource.RO != want {
				t.Errorf("it is recorded as %s", mode(n, "shell"))
			}
			n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
			if mountedFor(t, other, at) || mountedFor(t, sh.pid, at) {
				t.Error("it is still there after the detach")
			}
			n.must(t, hot("shell", "data", at, resource.RO, sh.pid)) // which all have read-only
			if c.sees && !strings.Contains(mountsOf(t, other), " "+at+" ro,") {
				t.Error("the other does not have it read-only")
			}
			n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
		})
	}
}

func mountedFor(t *testing.T, pid int, at string) bool {
	t.Helper()
	return strings.Contains(mountsOf(t, pid), " "+at+" ")
}

func mountsOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
