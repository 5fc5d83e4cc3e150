package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount"
)

func TestAPointIsPreparedFoundVerifiedAndCleared(t *testing.T) {
	t.Parallel()
	_, s, dir := newSandbox(t)
	volume := newVolume(t)
	if found, err := s.Find("a/b/data"); err != nil || found != (mount.Point{}) {
		t.Fatalf("Find where nothing is = %+v, %v", found, err)
	}
	p, err := s.Prepare("a/b/data")
	must(t, err)
	defer p.Close()
	if got, want := tree(t, dir), "drwxr-xr-x 0:0 a\ndrwxr-xr-x 0:0 a/b\ndrwxr-xr-x 0:0 a/b/data\n"; got != want {
		t.Errorf("Prepare made\n%swant\n%s", got, want)
	}
	if p.Found.Mounted || p.Target == nil {
		t.Fatalf("a new point is %+v", p)
	}
	wantError(t, p.Verify(volume.id), ErrMoved, "a/b/data", dir)
	must(t, volume.attach(t, p.Target))
	must(t, p.Verify(volume.id))
	wantError(t, p.Verify(newVolume(t).id), ErrMoved)
	found, err := s.Find("a/b/data")
	if err != nil || !found.Mounted || found.Identity != volume.id {
		t.Errorf("Find = %+v, %v, want a mount of %+v", found, err, volume.id)
	}

	again, err := s.Prepare("a/b/data")
	must(t, err)
	defer again.Close()
	if again.Target != nil || again.Found != found {
		t.Errorf("preparing again gave %+v with target %v, want %+v and none", again.Found, again.Target, found)
	}
	must(t, again.Verify(volume.id))

	wantError(t, s.Clear("a/b/data"), mount.ErrMounted, "a/b/data", dir)
	must(t, mount.Detach(again.Parent, again.Name, false))
	for range 2 {
		must(t, s.Clear("a/b/data"))
	}
	if got := tree(t, dir); got != "" {
		t.Errorf("Clear left\n%s", got)
	}
}

func TestDirectoriesOnTheWayAreLeftAsTheyAre(t *testing.T) {
	t.Parallel()
	_, s, dir := newSandbox(t)
	must(t, os.MkdirAll(filepath.Join(dir, "a", "data"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o731))
	must(t, os.Chown(filepath.Join(dir, "a"), 7, 8))
	before := tree(t, dir)
	p, err := s.Prepare("a/data")
	must(t, err)
	must(t, p.Close())
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}

func TestPrepareRefusesWhatIsNoPlaceForAMount(t *testing.T) {
	t.Parallel()
	_, s, dir := newSandbox(t)
	outside := t.TempDir()
	must(t, os.Mkdir(filepath.Join(outside, "data"), 0o755))
	newVolume(t).mustAttach(t, s, "mounted")
	must(t, os.Mkdir(filepath.Join(dir, "full"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "full", "file"), nil, 0o600))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for name, to := range map[string]string{
		"absolute": outside, "up": "../..", "dangling": "nowhere", "to-mount": "mounted", "self": "self", "root": "/",
	} {
		must(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	before, beforeOutside := tree(t, dir), tree(t, outside)
	for path, kind := range map[string]error{
		"": unix.EINVAL, ".": unix.EINVAL, "..": unix.EINVAL, "/": unix.EINVAL, "/data": unix.EINVAL, "../data": unix.EINVAL,
		"full/../data": unix.EINVAL, "data/": unix.EINVAL, "a//b": unix.EINVAL, "./a": unix.EINVAL, "a\x00b": unix.EINVAL,
		"full": ErrNotEmpty, "full/file": ErrNotDirectory, "full/file/data": ErrNotDirectory,
		"fifo": ErrNotDirectory, "fifo/data": ErrNotDirectory, "mounted/data": mount.ErrMounted,
		"absolute": ErrNotDirectory, "absolute/data": ErrNotDirectory, "up": ErrNotDirectory, "up/data": ErrNotDirectory,
		"dangling": ErrNotDirectory, "dangling/data": ErrNotDirectory, "to-mount": ErrNotDirectory,
		"to-mount/data": ErrNotDirectory, "self": ErrNotDirectory, "self/data": ErrNotDirectory, "root/etc": ErrNotDirectory,
	} {
		p, err := s.Prepare(path)
		if err == nil {
			p.Close()
			t.Errorf("Prepare(%q) was done", path)
			continue
		}
		wantError(t, err, kind, dir)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("refused paths changed the sandbox (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(beforeOutside, tree(t, outside)); diff != "" {
		t.Errorf("refused paths changed the outside (-before +after):\n%s", diff)
	}
}

func TestFindFollowsNothing(t *testing.T) {
	t.Parallel()
	_, s, dir := newSandbox(t)
	volume := newVolume(t)
	volume.mustAttach(t, s, "mounted")
	must(t, os.Symlink("mounted", filepath.Join(dir, "link")))
	must(t, os.Symlink(".", filepath.Join(dir, "here")))
	if found, err := s.Find("link"); err != nil || !found.Exists || found.Dir || found.Mounted {
		t.Errorf("Find of a symlink to the mount = %+v, %v", found, err)
	}
	_, err := s.Find("here/mounted")
	wantError(t, err, ErrNotDirectory, "here/mounted", dir)
	_, err = s.Find("mounted/content/x")
	wantError(t, err, mount.ErrMounted, dir)
	_, err = s.Find("../task/mounted")
	wantError(t, err, unix.EINVAL, dir)
}

func TestClearGoesUpOnlyAsFarAsNothingIsLeft(t *testing.T) {
	t.Parallel()
	_, s, dir := newSandbox(t)
	first, second := newVolume(t), newVolume(t)
	points := map[string]*Point{}
	for path, v := range map[string]volume{"a/b": first, "a/c": second} {
		p, err := s.Prepare(path)
		must(t, err)
		defer p.Close()
		must(t, v.attach(t, p.Target))
		must(t, p.Verify(v.id))
		points[path] = p
	}
	must(t, mount.Detach(points["a/c"].Parent, "c", false))
	must(t, s.Clear("a/c"))
	must(t, points["a/b"].Verify(first.id))
	must(t, mount.Detach(points["a/b"].Parent, "b", false))
	if got, want := tree(t, dir), "drwxr-xr-x 0:0 a\ndrwxr-xr-x 0:0 a/b\n"; got != want {
		t.Errorf("after the first Clear there is\n%swant\n%s", got, want)
	}
	must(t, s.Clear("a/b"))
	if got := tree(t, dir); got != "" {
		t.Errorf("after the last Clear there is\n%s", got)
	}
}

func TestClearLeavesWhatTheTaskHasPutThere(t *testing.T) {
	t.Parallel()
	_, s, dir := newSandbox(t)
	outside := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(outside, "data"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "full", "data"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "full", "data", "file"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	before, beforeOutside := tree(t, dir), tree(t, outside)
	for _, path := range []string{"full/data", "file", "file/data", "link", "link/data", "nobody", "full/data/x/y"} {
		if err := s.Clear(path); err != nil {
			t.Errorf("Clear(%q) = %v", path, err)
		}
	}
	for _, path := range []string{"", ".", "..", "../task", "/", "link/.."} {
		wantError(t, s.Clear(path), unix.EINVAL)
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("changed the sandbox (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(beforeOutside, tree(t, outside)); diff != "" {
		t.Errorf("changed the outside (-before +after):\n%s", diff)
	}
}

func TestTwoPathsArePreparedAndClearedAtTheSameTime(t *testing.T) {
	t.Parallel()
	_, s, dir := newSandbox(t)
	var wg sync.WaitGroup
	for _, path := range []string{"a/x/b", "a/x/c"} {
		wg.Go(func() {
			for range 300 {
				p, err := s.Prepare(path)
				if err != nil {
					t.Error(err)
					return
				}
				p.Close()
				if err := s.Clear(path); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := tree(t, dir); got != "" {
		t.Errorf("left\n%s", got)
	}
}

// swap exchanges two names in a loop, as a hostile task would, until stop is called.
func swap(t *testing.T, one, other string) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(stop)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				// EBUSY while a mount lies there; the next turn may do it.
				_ = unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
			}
		}
	})
	return stop
}

// TestNothingAppearsOutsideWhileTheTaskSwapsDirectories attaches and detaches while a
// directory of the path, the first or the last, is exchanged for a symlink to another
// directory, for a file, and for a directory of the task's own.
func TestNothingAppearsOutsideWhileTheTaskSwapsDirectories(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, swapped string }{{"the first", "a"}, {"the last", "a/data"}} {
		for _, with := range []string{"absolute", "relative", "file", "directory"} {
			t.Run(c.name+" for a "+with, func(t *testing.T) {
				t.Parallel()
				testSwapped(t, c.swapped, with)
			})
		}
	}
}

func testSwapped(t *testing.T, swapped, with string) {
	r, s, dir := newSandbox(t)
	outside := filepath.Join(r.Path(), "outside") // on the same mount: the worst case
	must(t, os.MkdirAll(filepath.Join(outside, "data"), 0o755))
	beforeOutside := tree(t, outside)
	must(t, os.MkdirAll(filepath.Join(dir, "a", "data"), 0o755))
	other := filepath.Join(dir, "other")
	switch with {
	case "absolute":
		must(t, os.Symlink(outside, other))
	case "relative":
		must(t, os.Symlink("../outside", other))
	case "file":
		must(t, os.WriteFile(other, nil, 0o600))
	case "directory":
		must(t, os.MkdirAll(filepath.Join(other, "data"), 0o755))
	}
	volume := newVolume(t)
	stop := swap(t, filepath.Join(dir, swapped), other)
	verified := 0
	for range 150 {
		if attachOnce(t, s, volume) {
			verified++
		}
		if diff := cmp.Diff(beforeOutside, tree(t, outside)); diff != "" {
			t.Fatalf("appeared outside (-before +after):\n%s", diff)
		}
	}
	stop()
	t.Logf("%d of 150 attachments went through", verified)
	must(t, os.RemoveAll(filepath.Join(dir, "a")))
	if !attachOnce(t, s, volume) {
		t.Error("no attachment goes through in peace")
	}
	must(t, r.Remove(t.Context(), "task")) // which says that nothing is mounted any more
	if got, want := tree(t, volume.dir.Name()), "-rw------- 0:0 content\n"; got != want {
		t.Errorf("the volume holds %q, want %q", got, want)
	}
}

// attachOnce goes through an attachment like the agent, and says whether it was verified.
func attachOnce(t *testing.T, s *Sandbox, v volume) (verified bool) {
	t.Helper()
	p, err := s.Prepare("a/data")
	if err != nil {
		for _, kind := range []error{ErrNotDirectory, ErrNotEmpty, ErrMoved, os.ErrNotExist} {
			if errors.Is(err, kind) {
				return false
			}
		}
		t.Fatal(err)
	}
	defer p.Close()
	tree, err := mount.Clone(v.dir, mount.Attributes{})
	must(t, err)
	defer tree.Close()
	if err := tree.Attach(p.Target); err != nil {
		return false // the target has gone meanwhile
	}
	err = p.Verify(v.id)
	if err != nil && !errors.Is(err, ErrMoved) {
		t.Fatal(err)
	}
	must(t, mount.Detach(p.Parent, p.Name, true))
	if found, err := mount.Lookup(tree.File()); err == nil {
		// It was renamed between Prepare and Attach, so that its name leads elsewhere.
		must(t, unix.Unmount(found.Point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
	}
	must(t, s.Clear("a/data"))
	must(t, errors.Join(ignoreExist(os.Mkdir(filepath.Join(s.dir.Name(), "a"), 0o755))))
	return err == nil
}

// ignoreExist forgives what the other side was faster with.
func ignoreExist(err error) error {
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

func TestLocateMakesNothing(t *testing.T) {
	t.Parallel()

	r := newRoot(t)
	must(t, r.Make("task", "boot", 0, 0))
	s, err := r.Open("task")
	must(t, err)
	defer s.Close()
	if _, err := s.Locate("a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("locate in a directory that is not there: %v, want it not to exist", err)
	}
	p, err := s.Locate("a")
	must(t, err)
	if p.Found.Exists || p.Target != nil {
		t.Errorf("locate of nothing: %+v", p.Found)
	}
	must(t, p.Close())
	made, err := s.Prepare("a")
	must(t, err)
	must(t, made.Close())
	p, err = s.Locate("a")
	must(t, err)
	if !p.Found.Dir || p.Found.Mounted {
		t.Errorf("locate of a mount point: %+v", p.Found)
	}
	must(t, p.Close())
	if _, err := s.Locate("../x"); err == nil {
		t.Error("locate went out of the sandbox")
	}
}
