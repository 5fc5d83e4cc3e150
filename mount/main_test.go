package mount

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) {
	runTask()
	mounttest.Main(m)
}

// mustOpen opens a trusted directory until the test ends.
func mustOpen(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// mustMount is mount(2); what is mounted is detached when the test ends.
func mustMount(t testing.TB, source, target, fstype string, flags uintptr) {
	t.Helper()
	mounttest.RequireMounts(t)
	if err := unix.Mount(source, target, fstype, flags, ""); err != nil {
		t.Fatalf("mount %s on %s: %v", source, target, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

// memory is a new directory on a tmpfs of its own, for tests that make many files.
func memory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	mustMount(t, "none", dir, "tmpfs", 0)
	return dir
}

// tree makes files and directories: "dir/", "file", "link -> target".
func tree(t testing.TB, root string, entries ...string) {
	t.Helper()
	for _, e := range entries {
		path, target, isLink := strings.Cut(e, " -> ")
		full := filepath.Join(root, path)
		dir := filepath.Dir(full)
		if strings.HasSuffix(path, "/") {
			dir = full
		}
		err := os.MkdirAll(dir, 0o755)
		switch {
		case err != nil, dir == full:
		case isLink:
			err = os.Symlink(target, full)
		default:
			err = os.WriteFile(full, []byte(path), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// list returns every path beneath root, without root.
func list(t testing.TB, root string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != root {
			paths = append(paths, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// exists reports whether path can be seen, as a link or otherwise.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
