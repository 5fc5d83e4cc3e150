package sandbox

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount"
	"tenon/mount/mounttest"
)

func TestARootIsMadeOnceAndMountedOnce(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	path := filepath.Join(t.TempDir(), "a", "root")
	before, err := mount.Table()
	must(t, err)
	first, err := OpenRoot(path)
	must(t, err)
	id := mountOf(t, path)
	must(t, first.Close())
	again, err := OpenRoot(path)
	must(t, err)
	if got := mountOf(t, path); got != id {
		t.Errorf("opening again mounted again: mount %d, before %d", got, id)
	}
	if again.Path() != path {
		t.Errorf("Path = %q, want %q", again.Path(), path)
	}
	must(t, again.Unmount())
	for _, m := range before {
		if m.ID == id {
			t.Fatalf("mount %d was there before", id)
		}
	}
	if got := mountOf(t, path); got == id {
		t.Error("Unmount left the mount")
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != fs.ModeDir|0o711 {
		t.Errorf("root has mode %v, want 0711", info.Mode())
	}
}

func mountOf(t *testing.T, path string) uint64 {
	t.Helper()
	f, err := mount.OpenDir(path)
	must(t, err)
	defer f.Close()
	m, err := mount.Lookup(f)
	must(t, err)
	return m.ID
}

func TestAnExistingRootKeepsItsMode(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	path := t.TempDir()
	must(t, os.Chmod(path, 0o700))
	r, err := OpenRoot(path)
	must(t, err)
	defer r.Unmount()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("root has %v, %v", info.Mode(), err)
	}
	inner, err := OpenRoot(filepath.Join(path, "inner", "root"))
	must(t, err)
	must(t, inner.Unmount())
}

func TestUnmountIsRefusedWhileAVolumeIsInside(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	path := filepath.Join(t.TempDir(), "root")
	r, err := OpenRoot(path)
	must(t, err)
	must(t, r.Make("task", "boot", 0, 0))
	s, err := r.Open("task")
	must(t, err)
	p, err := s.Prepare("data")
	must(t, err)
	must(t, newVolume(t).attach(t, p.Target))
	must(t, p.Target.Close())
	p.Target = nil
	wantError(t, r.Unmount(), unix.EBUSY, path)
	must(t, mount.Detach(p.Parent, p.Name, false))
	must(t, p.Close())
	must(t, s.Close())
	must(t, mount.SelfUnmount(path))
}

func TestMakeGivesASandboxToItsUserWhateverTheUmask(t *testing.T) {
	// Not parallel: the umask is the whole process's.
	r := newRoot(t)
	old := unix.Umask(0o777)
	defer unix.Umask(old)
	for _, owner := range [][2]int{{1000, 2000}, {0, 0}, {1234, 4321}} {
		must(t, r.Make("task", "boot", owner[0], owner[1]))
		want := fmt.Sprintf("drwxr-x--- %d:%d task\n", owner[0], owner[1])
		if got := tree(t, r.Path()); got != want {
			t.Errorf("made %q, want %q", got, want)
		}
	}
}

func TestMakeRefusesWhatIsNoSandbox(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	outside := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(r.Path(), "link")))
	must(t, os.WriteFile(filepath.Join(r.Path(), "file"), nil, 0o600))
	before := tree(t, r.Path())
	for _, task := range []string{"", ".", "..", "../x", "/etc", "a/b", "a/", "a\x00b", "link", "file"} {
		if err := r.Make(task, "boot", 0, 0); err == nil {
			t.Errorf("Make(%q) was done", task)
		}
	}
	wantError(t, r.Make("task", "boot", -1, 0), unix.EINVAL, "task", r.Path())
	wantError(t, r.Make("task", "boot", 0, -1), unix.EINVAL, "task", r.Path())
	if diff := cmp.Diff(before, tree(t, r.Path())); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}

func TestOpenTakesAPathOfALauncherAndNoWayOut(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	must(t, os.MkdirAll(filepath.Join(r.Path(), "pods", "one"), 0o755))
	must(t, os.Symlink("pods", filepath.Join(r.Path(), "link")))
	must(t, os.Symlink("/", filepath.Join(r.Path(), "slash")))
	s, err := r.Open("pods/one")
	must(t, err)
	defer s.Close()
	p, err := s.Prepare("data")
	must(t, err)
	must(t, p.Close())
	if _, err := os.Stat(filepath.Join(r.Path(), "pods", "one", "data")); err != nil {
		t.Error(err)
	}
	for path, kind := range map[string]error{
		"": unix.EINVAL, ".": unix.EINVAL, "..": unix.EINVAL, "/": unix.EINVAL, "pods/../pods": unix.EINVAL, "pods//one": unix.EINVAL,
		"nobody": fs.ErrNotExist, "link/one": unix.ELOOP, "slash": unix.ELOOP, "slash/etc": unix.ELOOP,
	} {
		if s, err := r.Open(path); err == nil {
			s.Close()
			t.Errorf("Open(%q) was done", path)
		} else {
			wantError(t, err, kind, r.Path())
		}
	}
}

func TestRemoveTakesEverythingAndNothingElse(t *testing.T) {
	t.Parallel()
	r, _, dir := newSandbox(t)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600))
	must(t, r.Make("neighbour", "boot", 0, 0))
	must(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "a", "b", "file"), nil, 0o400))
	must(t, os.Symlink(outside, filepath.Join(dir, "a", "out")))
	must(t, os.Symlink("../neighbour", filepath.Join(dir, "beside")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, r.Remove(ctx, "task"), context.Canceled, "task", r.Path())
	for range 2 {
		must(t, r.Remove(t.Context(), "task"))
	}
	if got, want := tree(t, r.Path()), "drwxr-x--- 0:0 neighbour\n"; got != want {
		t.Errorf("left %q, want %q", got, want)
	}
	if got, want := tree(t, outside), "-rw------- 0:0 kept\n"; got != want {
		t.Errorf("outside is %q, want %q", got, want)
	}
	for _, task := range []string{"", ".", "..", "a/b", "/"} {
		wantError(t, r.Remove(t.Context(), task), unix.EINVAL)
	}
}

func TestRemoveIsRefusedWholeWhileAnythingIsMountedInside(t *testing.T) {
	t.Parallel()
	r, s, dir := newSandbox(t)
	for _, name := range []string{"0first", "middle", "zlast"} {
		must(t, os.MkdirAll(filepath.Join(dir, name, "sub"), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name, "file"), nil, 0o600))
	}
	volume := newVolume(t)
	p, err := s.Prepare("middle/sub/data")
	must(t, err)
	defer p.Close()
	must(t, volume.attach(t, p.Target))
	before := tree(t, dir)

	wantError(t, r.Remove(t.Context(), "task"), mount.ErrMounted, filepath.Join(dir, "middle", "sub", "data"))
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("a refused Remove changed (-before +after):\n%s", diff)
	}
	must(t, mount.Detach(p.Parent, p.Name, false))

	file := filepath.Join(dir, "zlast", "file")
	must(t, unix.Mount("/dev/null", file, "", unix.MS_BIND, ""))
	wantError(t, r.Remove(t.Context(), "task"), mount.ErrMounted, file)
	must(t, unix.Unmount(file, 0))
	if diff := cmp.Diff(before, tree(t, dir)+""); diff == "" {
		t.Error("the volume is still seen in the sandbox")
	}

	must(t, r.Remove(t.Context(), "task"))
	if got := tree(t, r.Path()); got != "" {
		t.Errorf("left %q", got)
	}
	if got, want := tree(t, volume.dir.Name()), "-rw------- 0:0 content\n"; got != want {
		t.Errorf("the volume holds %q, want %q", got, want)
	}
}

func TestAMountTooDeepToBeFoundFirstIsLeftAllTheSame(t *testing.T) {
	t.Parallel()
	r, _, dir := newSandbox(t)
	deep := dir
	for range maxDepth + 2 {
		deep = filepath.Join(deep, "d")
	}
	must(t, os.MkdirAll(deep, 0o700))
	volume := newVolume(t)
	must(t, unix.Mount(volume.dir.Name(), deep, "", unix.MS_BIND, ""))
	wantError(t, r.Remove(t.Context(), "task"), mount.ErrMounted, deep)
	must(t, unix.Unmount(deep, 0))
	must(t, r.Remove(t.Context(), "task"))
	if got, want := tree(t, volume.dir.Name()), "-rw------- 0:0 content\n"; got != want {
		t.Errorf("the volume holds %q, want %q", got, want)
	}
}

func TestRemoveOfASandboxThatIsItselfAMountIsRefused(t *testing.T) {
	t.Parallel()
	r, _, dir := newSandbox(t)
	volume := newVolume(t)
	must(t, unix.Mount(volume.dir.Name(), dir, "", unix.MS_BIND, ""))
	wantError(t, r.Remove(t.Context(), "task"), mount.ErrMounted, dir)
	wantError(t, r.Make("task", "boot", 1, 1), mount.ErrMounted, dir)
	_, err := r.Open("task")
	wantError(t, err, mount.ErrMounted, dir)
	must(t, unix.Unmount(dir, 0))
	if got, want := tree(t, volume.dir.Name()), "-rw------- 0:0 content\n"; got != want {
		t.Errorf("the volume holds %q, want %q", got, want)
	}
}
