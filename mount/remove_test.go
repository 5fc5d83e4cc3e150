package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestRemoveTreeRemovesEverythingAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "t/a/b/c/", "t/a/file", "t/.hidden/x", "t/out -> ../keep", "t/abs -> "+dir+"/keep", "t/dangling -> nowhere", "keep/file")
	if err := unix.Mkfifo(dir+"/t/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/t/a/b", 0); err != nil {
		t.Fatal(err)
	}
	if err := RemoveTree(t.Context(), mustOpen(t, dir), "t"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(list(t, dir), " "); got != "keep keep/file" {
		t.Errorf("left: %s", got)
	}
}

func TestRemoveTreeTakesFilesLinksAndNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "file", "link -> keep", "keep/x")
	parent := mustOpen(t, dir)
	for _, name := range []string{"file", "link", "absent", "file"} {
		if err := RemoveTree(t.Context(), parent, name); err != nil {
			t.Errorf("RemoveTree(%q): %v", name, err)
		}
	}
	if got := strings.Join(list(t, dir), " "); got != "keep keep/x" {
		t.Errorf("left: %s", got)
	}
	for _, name := range []string{"", ".", "..", "keep/x", "/"} {
		if err := RemoveTree(t.Context(), parent, name); !errors.Is(err, unix.EINVAL) {
			t.Errorf("RemoveTree(%q): got error %v, want %v", name, err, unix.EINVAL)
		}
	}
}

func TestRemoveTreeRemovesManyNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3*removeBatch + 1 {
		tree(t, dir, fmt.Sprintf("t/file%d", i))
		if i%10 == 0 {
			tree(t, dir, fmt.Sprintf("t/dir%d/f", i))
		}
	}
	if err := RemoveTree(t.Context(), mustOpen(t, dir), "t"); err != nil {
		t.Fatal(err)
	}
	if got := list(t, dir); len(got) != 0 {
		t.Errorf("left %d entries: %v ...", len(got), got[0])
	}
}

// deepTree makes a tree of directories far deeper than a path can name, with a
// file on each side of every level, and returns the names on the way.
func deepTree(t *testing.T, top *os.File, levels int) {
	t.Helper()
	dir, err := unix.Openat(int(top.Fd()), ".", unix.O_PATH|unix.O_CLOEXEC, 0)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(dir, "deeper", 0o755)
		}
		if err == nil {
			err = unix.Mkdirat(dir, "beside", 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		var next int
		next, err = unix.Openat(dir, "deeper", unix.O_PATH|unix.O_CLOEXEC, 0)
		unix.Close(dir)
		dir = next
	}
	unix.Close(dir)
}

func TestRemoveTreeRemovesTenThousandLevelsWithFewDescriptors(t *testing.T) {
	dir := memory(t)
	tree(t, dir, "t/")
	deepTree(t, mustOpen(t, dir+"/t"), 10_000)
	parent := mustOpen(t, dir)

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(parent.Fd()) + removeOpen + 16, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	err := RemoveTree(t.Context(), parent, "t")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if exists(dir + "/t") {
		t.Error("the tree is still there")
	}
}

func TestRemoveTreeStopsAtAMountOfTheSameFilesystem(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]string{
		"a directory": "t/a/target", "a file": "t/a/file", "the top": "t", "deep down": "t/a/" + strings.Repeat("d/", 2*removeOpen) + "x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree(t, dir, "t/a/target/", "t/a/file", "volume/precious", "t/a/"+strings.Repeat("d/", 2*removeOpen)+"x/")
			source := dir + "/volume"
			if strings.HasSuffix(target, "file") {
				source += "/precious"
			}
			mustMount(t, source, filepath.Join(dir, target), "", unix.MS_BIND)
			err := RemoveTree(t.Context(), mustOpen(t, dir), "t")
			var pe *fs.PathError
			if !errors.Is(err, ErrMounted) || !errors.As(err, &pe) || pe.Path != filepath.Join(dir, target) {
				t.Errorf("got error %v, want %v at %s", err, ErrMounted, filepath.Join(dir, target))
			}
			if !exists(dir+"/volume/precious") || !exists(filepath.Join(dir, target)) {
				t.Error("what is mounted was removed")
			}
		})
	}
}

// TestRemoveTreeStopsAtAMountThatItsOwnRootDoesNotShow removes through a source,
// on which the mounts of the host cannot be seen.
func TestRemoveTreeStopsAtAMountThatItsOwnRootDoesNotShow(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.CloneDetached, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "pool/trash/u/sub/")
		pool := mustOpen(t, v.dir+"/pool")
		mustMount(t, v.dir+"/volume", v.dir+"/pool/trash/u/sub", "", unix.MS_BIND)
		src, err := OpenSource(pool)
		if err != nil {
			t.Fatal(err)
		}
		err = RemoveTree(t.Context(), src.Dir(), "trash")
		src.Close()
		pool.Close()
		if !errors.Is(err, ErrMounted) || !strings.Contains(err.Error(), "pool/trash/u/sub") {
			t.Errorf("got error %v, want %v with the path", err, ErrMounted)
		}
		if !exists(v.dir + "/volume/precious") {
			t.Error("what is mounted was removed")
		}
		if err := SelfUnmount(v.dir + "/pool"); err != nil {
			t.Error(err)
		}
	})
}

// TestRemoveTreeStopsWhenItIsMovedAway moves a directory out of the tree while
// the removal is below it and has let go of the one above.
func TestRemoveTreeStopsWhenItIsMovedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deep := strings.Repeat("d/", removeOpen+5)
	tree(t, dir, "t/"+deep, "keep/precious", "keep/d/")
	r := remover{parent: mustOpen(t, dir)}
	defer r.close()
	err := r.remove("t")
	for err == nil && len(r.way) < removeOpen+5 {
		err = r.step()
	}
	if err != nil || r.way[1].dir != nil || r.way[2].dir != nil {
		t.Fatalf("on the way down: %v; want the upper directories closed", err)
	}
	if err := os.Rename(dir+"/t/d/d/d", dir+"/keep/moved"); err != nil {
		t.Fatal(err)
	}
	for err == nil && len(r.way) > 0 {
		err = r.step()
	}
	if err == nil || !strings.Contains(err.Error(), "moved") {
		t.Errorf("got error %v, want one that says that it was moved", err)
	}
	if !exists(dir+"/keep/precious") || !exists(dir+"/keep/d") {
		t.Error("it went on where the directory was moved to")
	}
}

func TestRemoveTreeGoesOnOnceTheMountIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "t/a/target/", "t/b/file", "volume/precious")
	mustMount(t, dir+"/volume", dir+"/t/a/target", "", unix.MS_BIND)
	parent := mustOpen(t, dir)
	if err := RemoveTree(t.Context(), parent, "t"); !errors.Is(err, ErrMounted) {
		t.Fatalf("got error %v, want %v", err, ErrMounted)
	}
	if err := unix.Unmount(dir+"/t/a/target", 0); err != nil {
		t.Fatal(err)
	}
	if err := RemoveTree(t.Context(), parent, "t"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(list(t, dir), " "); got != "volume volume/precious" {
		t.Errorf("left: %s", got)
	}
}

// changeInodeFlags sets and clears flags of chattr(1).
func changeInodeFlags(path string, set, clear uint32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	old, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(old&^clear|set))
}

// setInodeFlag sets a flag and clears it when the test ends.
func setInodeFlag(t *testing.T, path string, flag uint32) {
	t.Helper()
	if err := changeInodeFlags(path, flag, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := changeInodeFlags(path, 0, flag); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

func TestRemoveTreeClearsInodeFlags(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	const immutable, appendOnly = 0x10, 0x20
	for name, flag := range map[string]uint32{"immutable": immutable, "append-only": appendOnly} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree(t, dir, "t/file", "t/dir/in/x", "t/empty/")
			for _, path := range []string{"t/file", "t/dir/in/x", "t/dir/in", "t/empty", "t"} {
				setInodeFlag(t, filepath.Join(dir, path), flag)
			}
			if err := RemoveTree(t.Context(), mustOpen(t, dir), "t"); err != nil {
				t.Fatal(err)
			}
			if exists(dir + "/t") {
				t.Error("the tree is still there")
			}
		})
	}
}

func TestRemoveTreeLeavesTheFlagsOfTheParentAlone(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	dir := t.TempDir()
	tree(t, dir, "p/t/file")
	setInodeFlag(t, dir+"/p", 0x10)
	err := RemoveTree(t.Context(), mustOpen(t, dir+"/p"), "t")
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), dir+"/p/t") {
		t.Errorf("got error %v, want %v at p/t", err, unix.EPERM)
	}
}

func TestRemoveTreeReadsAgainWhatHasGrown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "t/file")
	r := remover{parent: mustOpen(t, dir)}
	defer r.close()
	err := errors.Join(r.remove("t"), r.step())
	if _, end := r.way[0].dir.Readdirnames(1); err != nil || end != io.EOF {
		t.Fatalf("at the end of the directory: %v, %v", err, end)
	}
	tree(t, dir, "t/late")
	for err == nil && len(r.way) > 0 {
		err = r.step()
	}
	if err != nil || exists(dir+"/t") {
		t.Errorf("got error %v, want the tree to be gone", err)
	}
}

func TestRemoveTreeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "t/a/b/c/file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	parent := mustOpen(t, dir)
	if err := RemoveTree(ctx, parent, "t"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v, want %v", err, context.Canceled)
	}
	if !exists(dir + "/t/a/b/c/file") {
		t.Error("it went on after the end of its context")
	}
	if err := RemoveTree(t.Context(), parent, "t"); err != nil {
		t.Fatal(err)
	}
}

func TestCVE_2022_21658_RemoveTreeDoesNotFollowAFlippingSymlink(t *testing.T) {
	t.Parallel()
	dir := memory(t)
	tree(t, dir, "keep/precious", "root/")
	root := mustOpen(t, dir+"/root")
	links, trees := 0, 0
	for i := 0; i < 300 || links == 0 || trees == 0; i++ {
		tree(t, dir, "root/x/y/z", "root/l -> ../keep")
		stop := flip(t, root, "x", "l")
		for exists(dir + "/root/x/y") { // until it flips
			runtime.Gosched()
		}
		// Errors are fine here: names change their kind under its hands.
		_ = RemoveTree(t.Context(), root, "x")
		stop()
		if !exists(dir + "/keep/precious") {
			t.Fatal("a symlink was followed out of the tree")
		}
		if !isLink(dir+"/root/x") && !isLink(dir+"/root/l") {
			links++
		}
		if !exists(dir+"/root/x/y") && !exists(dir+"/root/l/y") {
			trees++
		}
		for _, name := range []string{"x", "l"} {
			if err := os.RemoveAll(dir + "/root/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d links removed, %d trees", links, trees)
}

func isLink(path string) bool {
	_, err := os.Readlink(path)
	return err == nil
}

func TestTwoRemovalsOfOneTreeAgree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 50 {
		tree(t, dir, fmt.Sprintf("t/%d/%d/%d", i%3, i%7, i))
	}
	parent := mustOpen(t, dir)
	errs := make(chan error, 2)
	for range cap(errs) {
		go func() { errs <- RemoveTree(t.Context(), parent, "t") }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if exists(dir + "/t") {
		t.Error("the tree is still there")
	}
}
