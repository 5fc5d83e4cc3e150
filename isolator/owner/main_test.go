package owner

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tenon/mount"
	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }

// must fails the test at once on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDir makes a directory of a user, as a volume's data directory is made, and opens it as the
// agent does.
func newDir(t testing.TB, uid, gid int, mode os.FileMode) (dir *os.File, path string) {
	t.Helper()
	mounttest.RequireRoot(t)
	path = t.TempDir() + "/data"
	must(t, os.Mkdir(path, 0o700))
	must(t, os.Chown(path, uid, gid))
	must(t, os.Chmod(path, mode))
	dir, err := mount.OpenDir(path)
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	return dir, path
}

// shell runs a script as somebody who has no capability, with $d as the directory. Tests that
// use it do not run in parallel: a new process holds a copy of every descriptor for a moment.
func shell(t testing.TB, uid uint32, groups []uint32, dir *os.File, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "d=/proc/self/fd/3; "+script)
	cmd.ExtraFiles = []*os.File{dir}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
