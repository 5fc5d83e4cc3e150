package sys_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

func TestSameComparesFilesAndNotPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{dir: true, dir + "/link": true, "/proc/self/cwd": false} {
		if got, err := sys.Same(mustOpen(t, dir), path); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", path, got, err, want)
		}
	}
	var pe *os.PathError
	if _, err := sys.Same(mustOpen(t, dir), dir+"/absent"); !errors.As(err, &pe) || pe.Path != dir+"/absent" {
		t.Errorf("got error %v, want one with the path", err)
	}
}

func TestOwnerOfANamespaceIsAUserNamespace(t *testing.T) {
	t.Parallel()
	ns, err := sys.Open("/proc/self/ns/mnt", unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	owner, err := sys.OwnerOf(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if same, err := sys.Same(owner, "/proc/self/ns/user"); err != nil || !same {
		t.Errorf("the test's own: %v, %v", same, err)
	}
}

func TestEnteringWhatIsNoNamespaceNamesTheCall(t *testing.T) {
	t.Parallel()
	dir := mustOpen(t, t.TempDir())
	done := make(chan error)
	sys.OnOwnThread(func() { done <- sys.EnterMounts(dir, dir) })
	var se *os.SyscallError
	if err := <-done; !errors.As(err, &se) || se.Syscall != "setns" {
		t.Errorf("got error %v, want one of setns", err)
	}
}
