package host_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Nothing can be run from a volume that is attached without: not as its mode is flipped, and
// not by a descriptor. Another task of the same volume is not affected.
func TestNothingIsRunFromAVolumeThatIsAttachedNoExec(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	open, shut := use("open", "data", "", resource.RW), use("shut", "data", "", resource.RW)
	shut.NoExec = true
	s := n.must(t, open, shut)
	program := func(task string) string {
		found, _ := s.Task(task)
		return filepath.Join(found.Sandbox, "data", "program")
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "/bin/true", program("shut")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(path string) error { return exec.CommandContext(t.Context(), path).Run() }
	if err := run(program("open")); err != nil {
		t.Errorf("where it may be run: %v", err)
	}
	if err := run(program("shut")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("where nothing may be run: %v; want EACCES", err)
	}
	n.must(t, volume.SetMode{Task: "shut", Volume: "web/data", Mode: resource.RO})
	n.must(t, volume.SetMode{Task: "shut", Volume: "web/data", Mode: resource.RW})
	if err := run(program("shut")); !errors.Is(err, syscall.EACCES) {
		t.Errorf("after its mode was flipped: %v; want EACCES", err)
	}
	handed := volume.Attach{Task: "handed", Use: shut.Use}
	f, err := n.Hand(t.Context(), handed, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := exec.CommandContext(t.Context(), "/bin/sh", "-c", "exec /proc/self/fd/3/program")
	c.ExtraFiles = append(c.ExtraFiles, f)
	out, err := c.CombinedOutput()
	if left := (*exec.ExitError)(nil); !errors.As(err, &left) || left.ExitCode() != 126 {
		t.Errorf("by a descriptor: %v: %s; want 126, which is a shell's EACCES", err, out)
	}
	for _, task := range []string{"open", "shut", "handed"} {
		n.must(t, volume.Release{Task: task})
	}
}
