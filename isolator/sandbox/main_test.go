package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tenon/mount"
	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want one that is %v", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
}

// newRoot makes a sandbox root that is unmounted when the test ends.
func newRoot(t testing.TB) *Root {
	t.Helper()
	mounttest.RequireMounts(t)
	r, err := OpenRoot(filepath.Join(t.TempDir(), "sandboxes"))
	must(t, err)
	t.Cleanup(func() { must(t, r.Unmount()) })
	return r
}

// newSandbox makes and opens the sandbox of one task; dir is its path.
func newSandbox(t testing.TB) (r *Root, s *Sandbox, dir string) {
	t.Helper()
	r = newRoot(t)
	must(t, r.Make("task", "boot", 0, 0))
	s, err := r.Open("task")
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return r, s, filepath.Join(r.Path(), "task")
}

// volume is a directory to be mounted.
type volume struct {
	dir *os.File
	id  mount.Identity
}

func newVolume(t testing.TB) volume {
	t.Helper()
	path := t.TempDir()
	must(t, os.WriteFile(filepath.Join(path, "content"), []byte("kept"), 0o600))
	dir, err := mount.OpenDir(path)
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	id, err := mount.Identify(dir)
	must(t, err)
	return volume{dir, id}
}

// attach mounts the volume at a prepared point, which stays open.
func (v volume) attach(t testing.TB, at *os.File) error {
	t.Helper()
	tree, err := mount.Clone(v.dir, mount.Attributes{})
	must(t, err)
	defer tree.Close()
	return tree.Attach(at)
}

// mustAttach prepares a path and mounts the volume there until the test ends.
func (v volume) mustAttach(t testing.TB, s *Sandbox, path string) {
	t.Helper()
	p, err := s.Prepare(path)
	must(t, err)
	must(t, v.attach(t, p.Target))
	must(t, p.Verify(v.id))
	t.Cleanup(func() {
		must(t, mount.Detach(p.Parent, p.Name, false))
		p.Close()
	})
	// The target's own descriptor would keep nothing busy: it lies beneath.
}

// tree lists what is beneath dir with type, mode and owner, onto mounts as well.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%v %d:%d %s\n", info.Mode(), st.Uid, st.Gid, strings.TrimPrefix(name, dir+"/"))
		return nil
	}))
	return b.String()
}
