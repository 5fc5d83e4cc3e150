package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// counted adds a tree up in another way: by paths, as du -s does.
func counted(t testing.TB, root string) (sum Usage) {
	t.Helper()
	known := map[Identity]bool{}
	err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		id := Identity{Dev: st.Dev, Ino: st.Ino}
		if known[id] {
			return nil
		}
		known[id] = true
		sum.Bytes += uint64(st.Blocks) * 512
		sum.Inodes++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func mustMeasure(t testing.TB, dir string) Usage {
	t.Helper()
	got, err := Measure(t.Context(), mustOpen(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantMeasured holds the measure of a tree against the sum by paths.
func wantMeasured(t testing.TB, dir string) Usage {
	t.Helper()
	got := mustMeasure(t, dir)
	if diff := cmp.Diff(counted(t, dir), got); diff != "" {
		t.Errorf("measure of %s (-by paths +by descriptors):\n%s", dir, diff)
	}
	return got
}

// fill writes a file of n bytes that have blocks.
func fill(t testing.TB, path string, n int) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Repeat("x", n)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMeasureCountsEveryKindOfEntryOnce(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	fill(t, outside+"/large", 1<<20)
	for _, where := range []func(testing.TB) string{memory, func(t testing.TB) string { return t.TempDir() }} {
		dir := where(t)
		tree(t, dir, "a/b/c/", "a/file", ".hidden/x", "out -> "+outside, "up -> ..", "a/loop -> loop", "dangling -> nowhere",
			"long -> "+strings.Repeat("l", 200))
		if err := unix.Mkfifo(dir+"/pipe", 0o600); err != nil {
			t.Fatal(err)
		}
		fill(t, dir+"/a/b/data", 100_000)
		got := wantMeasured(t, dir)
		if got.Inodes != 14 || got.Bytes < 100_000 || got.Bytes >= 1<<20 {
			t.Errorf("measured %+v, want 14 inodes and little more than 100,000 bytes", got)
		}
	}
}

func TestMeasureCountsAFileWithManyNamesOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "one/", "two/deep/")
	fill(t, dir+"/one/data", 1<<20)
	before := wantMeasured(t, dir)
	for i := range 100 {
		if err := os.Link(dir+"/one/data", fmt.Sprintf("%s/two/deep/%d", dir, i)); err != nil {
			t.Fatal(err)
		}
	}
	if after := wantMeasured(t, dir); after.Inodes != before.Inodes || after.Bytes-before.Bytes >= 1<<20 {
		t.Errorf("100 more names took the measure from %+v to %+v", before, after)
	}
}

func TestMeasureDoesNotCountHoles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir+"/sparse", 4096)
	if err := os.Truncate(dir+"/sparse", 1<<40); err != nil {
		t.Fatal(err)
	}
	if got := wantMeasured(t, dir); got.Bytes < 4096 || got.Bytes > 1<<20 || got.Inodes != 2 {
		t.Errorf("measured %+v, want about 8 KiB in 2 inodes", got)
	}
}

func TestMeasureCountsAWideDirectory(t *testing.T) {
	t.Parallel()
	dir := memory(t)
	tree(t, dir, "wide/")
	for i := range 50_000 {
		var err error
		if name := fmt.Sprintf("%s/wide/%d", dir, i); i%10 == 0 {
			err = os.Mkdir(name, 0o700)
		} else {
			err = os.WriteFile(name, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := wantMeasured(t, dir); got.Inodes != 50_002 {
		t.Errorf("measured %d inodes, want 50,002", got.Inodes)
	}
}

func TestMeasureCountsTwoThousandLevelsWithFewDescriptors(t *testing.T) {
	for _, where := range []string{memory(t), t.TempDir()} {
		deepTree(t, mustOpen(t, where), 2000)
		top := mustOpen(t, where)
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		few := unix.Rlimit{Cur: uint64(top.Fd()) + measureWalkers*(measureOpen+2) + 8, Max: limit.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
		got, err := Measure(t.Context(), top)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if err != nil || got.Inodes != 4001 {
			t.Errorf("measured %+v, %v, want 4,001 inodes", got, err)
		}
		if err := RemoveTree(t.Context(), top, "deeper"); err != nil { // os.RemoveAll may not come so deep
			t.Fatal(err)
		}
	}
}

// TestMeasureGoesOnReadingWhereItWas has in each directory of a deep way more entries than
// are read at once, so that every one is closed in the middle of its reading.
func TestMeasureGoesOnReadingWhereItWas(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{memory(t), t.TempDir()} {
		at := dir
		for range measureOpen + 3 {
			for i := range 40 {
				if err := os.MkdirAll(fmt.Sprintf("%s/%s%d", at, strings.Repeat("n", 40), i), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			at += "/d"
			if err := os.Mkdir(at, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		want := counted(t, dir)
		for _, size := range []int{measureBatch, 1024} {
			w := lonely(size)
			err := w.enterTop(mustOpen(t, dir))
			for err == nil && len(w.way) > 0 {
				err = w.step(t.Context())
			}
			if diff := cmp.Diff(want, w.sum); err != nil || diff != "" {
				t.Errorf("by %d bytes at once: %v (-want +got):\n%s", size, err, diff)
			}
		}
	}
}

// lonely is a walker that has nobody to give work to, and reads so many bytes at once.
func lonely(batch int) *walker {
	return &walker{m: &measurement{links: map[Identity]struct{}{}}, buf: make([]byte, batch)}
}

func TestMeasureOfARandomTreeIsThatByPaths(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 10 {
		dir := t.TempDir()
		dirs, files := []string{dir}, []string{}
		for i := range 300 {
			parent := dirs[rng.IntN(len(dirs))]
			name := fmt.Sprintf("%s/%d", parent, i)
			var err error
			switch kind := rng.IntN(5); {
			case kind < 2:
				err = os.Mkdir(name, 0o700)
				dirs = append(dirs, name)
			case kind == 2 && len(files) > 0:
				err = os.Link(files[rng.IntN(len(files))], name)
			case kind == 3:
				err = os.Symlink(dirs[rng.IntN(len(dirs))], name)
			default:
				fill(t, name, rng.IntN(20_000))
				files = append(files, name)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		wantMeasured(t, dir)
	}
}

func TestMeasureEntersNoMountAndCountsNoneOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "t/other/", "t/same/", "t/file", "t/deep/"+strings.Repeat("d/", 2*measureOpen)+"x/", "volume/")
	fill(t, dir+"/volume/large", 1<<20)
	top := mustOpen(t, dir+"/t")
	before, err := Measure(t.Context(), top)
	if err != nil {
		t.Fatal(err)
	}
	mustMount(t, dir+"/volume", dir+"/t/same", "", unix.MS_BIND)
	mustMount(t, dir+"/volume/large", dir+"/t/file", "", unix.MS_BIND)
	mustMount(t, dir+"/volume", dir+"/t/deep/"+strings.Repeat("d/", 2*measureOpen)+"x", "", unix.MS_BIND)
	mustMount(t, "none", dir+"/t/other", "tmpfs", 0)
	fill(t, dir+"/t/other/large", 1<<20)
	after, err := Measure(t.Context(), top)
	if err != nil || after.Inodes != before.Inodes-4 || after.Bytes > before.Bytes {
		t.Errorf("with 4 mounts in it: %+v, %v; without: %+v", after, err, before)
	}
}

func TestMeasureOfAMountIsThatOfItsRoot(t *testing.T) {
	t.Parallel()
	dir := memory(t)
	fill(t, dir+"/data", 1<<20)
	wantMeasured(t, dir)
}

func TestMeasureLeavesAccessTimesAlone(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	dir := t.TempDir()
	tree(t, dir, "a/b/", "a/file")
	old := []unix.Timespec{{Sec: 1}, {Sec: 2}} // relatime would follow so old an access
	paths := []string{dir, dir + "/a", dir + "/a/b", dir + "/a/file"}
	for _, path := range paths {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, old, 0); err != nil {
			t.Fatal(err)
		}
	}
	mustMeasure(t, dir)
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Atim.Sec != 1 {
			t.Errorf("%s was read at %d, %v; want 1", path, st.Atim.Sec, err)
		}
	}
}

func TestMeasureOfADirectoryWithoutPermissions(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	dir := t.TempDir()
	tree(t, dir, "locked/in/file")
	want := counted(t, dir)
	for _, path := range []string{"/locked/in/file", "/locked/in", "/locked", ""} {
		if err := os.Chmod(dir+path, 0); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, mustMeasure(t, dir)); diff != "" {
		t.Errorf("as root (-want +got):\n%s", diff)
	}
}

// asNobody runs f on a thread that has no rights over others' files (setfsuid(2)), and
// that ends with it, since its goroutine never unlocks it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func TestMeasureSaysWhatItMayNotRead(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	dir := t.TempDir()
	tree(t, dir, "open/", "locked/in/file")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(dir+"/locked", 0)); err != nil {
		t.Fatal(err)
	}
	top := mustOpen(t, dir)
	asNobody(t, func() {
		// One walker, for the others would be on threads of their own.
		w := lonely(measureBatch)
		defer w.close()
		err := w.enterTop(top)
		for err == nil && len(w.way) > 0 {
			err = w.step(t.Context())
		}
		var pe *fs.PathError
		if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &pe) || pe.Path != dir+"/locked" {
			t.Errorf("got error %v, want permission denied at %s/locked", err, dir)
		}
	})
}

func TestMeasureEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "a/b/c/file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := Measure(ctx, mustOpen(t, dir)); !errors.Is(err, context.Canceled) || got != (Usage{}) {
		t.Errorf("got %+v, %v, want nothing and %v", got, err, context.Canceled)
	}
}

func TestMeasureRefusesWhatIsNoDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir+"/file", 1)
	f, err := os.Open(dir + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Measure(t.Context(), f); !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), "measure "+dir+"/file") {
		t.Errorf("got error %v, want %v at %s/file", err, unix.ENOTDIR, dir)
	}
}

// TestMeasureIsNotLedOutByAMovedDirectory moves a directory out of the tree while the
// walker is below it and has let go of those above.
func TestMeasureIsNotLedOutByAMovedDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	deep := strings.Repeat("d/", measureOpen+5)
	tree(t, dir, "t/"+deep, "t/last/one", "keep/d/1/2/3/4", "keep/e/")
	w := lonely(measureBatch)
	defer w.close()
	err := w.enterTop(mustOpen(t, dir+"/t"))
	for err == nil && len(w.way) < measureOpen+6 {
		if err = w.step(t.Context()); err == nil && len(w.way) == 1 {
			w.here().subs = []string{"last", "d"} // the deep one first, whatever the filesystem's order
			w.here().end = true
		}
	}
	if err != nil || w.way[0].dir == nil || w.way[1].dir != nil || w.way[5].dir != nil {
		t.Fatalf("on the way down: %v; want the top open and the upper directories closed", err)
	}
	if err := os.Rename(dir+"/t/d/d/d", dir+"/keep/moved"); err != nil {
		t.Fatal(err)
	}
	for err == nil && len(w.way) > 0 {
		err = w.step(t.Context())
	}
	// The top, the deep ones while they were there, and last with its file.
	if want := uint64(1 + measureOpen + 5 + 2); err != nil || w.sum.Inodes != want {
		t.Errorf("measured %d inodes, %v; want %d", w.sum.Inodes, err, want)
	}
}

// TestMeasureFindsItsWayAgain moves the directory where the walker is out of the tree,
// with those above it closed, and then some of those too.
func TestMeasureFindsItsWayAgain(t *testing.T) {
	t.Parallel()
	for name, moved := range map[string]int{"the way above is as it was": 0, "the way above is gone from the third": 3, "from the first": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree(t, dir, "t/"+strings.Repeat("d/", measureOpen+5), "else/")
			w := lonely(measureBatch)
			defer w.close()
			err := w.enterTop(mustOpen(t, dir+"/t"))
			for err == nil && len(w.way) < measureOpen+6 {
				err = w.step(t.Context())
			}
			want := w.sum
			for err == nil && (len(w.way) > 6 || !w.here().end) {
				err = w.step(t.Context())
			}
			if err != nil || w.way[4].dir != nil {
				t.Fatalf("on the way up: %v; want the upper directories closed", err)
			}
			if err := os.Rename(dir+"/t"+strings.Repeat("/d", 5), dir+"/else/d"); err != nil {
				t.Fatal(err)
			}
			left := 5
			if moved > 0 {
				at := dir + "/t" + strings.Repeat("/d", moved)
				if err := errors.Join(os.Rename(at, dir+"/else/way"), os.Mkdir(at, 0o700)); err != nil {
					t.Fatal(err)
				}
				left = moved
			}
			if err := w.step(t.Context()); err != nil || len(w.way) != left {
				t.Fatalf("back at level %d, %v; want %d", len(w.way), err, left)
			}
			for err == nil && len(w.way) > 0 {
				err = w.step(t.Context())
			}
			if err != nil || w.sum != want {
				t.Errorf("measured %+v, %v; want %+v", w.sum, err, want)
			}
		})
	}
}

// TestMeasureOfAChurningTreeStaysInside has somebody rename, add and remove directories and
// swap them for symlinks to a large tree outside, all of it also far below the top.
func TestMeasureOfAChurningTreeStaysInside(t *testing.T) {
	t.Parallel()
	dir := memory(t)
	deep := "t/" + strings.Repeat("d/", measureOpen+3)
	tree(t, dir, deep+"x/y/z", "t/x/y/z", "outside/", "t/still/file")
	for i := range 500 {
		fill(t, fmt.Sprintf("%s/outside/%d", dir, i), 100_000)
	}
	still := counted(t, dir+"/t/still")
	ctx, cancel := context.WithCancel(t.Context())
	var turns atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; turns.Add(1) {
			churn(dir, dir+"/"+deep)
		}
	}()
	top := mustOpen(t, dir+"/t")
	for i := 0; i < 300 || turns.Load() < 300; i++ {
		got, err := Measure(t.Context(), top)
		if err != nil {
			t.Error(err)
			break
		}
		if got.Inodes < still.Inodes || got.Inodes > 500 || got.Bytes > 10<<20 {
			t.Errorf("measured %+v of a tree that never has 100 entries", got)
			break
		}
	}
	cancel()
	<-done
}

// churn is one turn of somebody at work in a tree; what fails, fails.
func churn(dir, deep string) {
	_ = os.Rename(deep+"x", dir+"/t/moved")
	_ = os.Symlink(dir+"/outside", deep+"x")
	_ = os.Rename(dir+"/t/d/d", dir+"/out")
	_ = os.Symlink(dir+"/outside", dir+"/t/d/d")
	_ = os.WriteFile(dir+"/t/x/y/new", nil, 0o600)
	_ = os.Rename(dir+"/t/x/y", dir+"/t/y")
	_ = os.Remove(dir + "/t/d/d")
	_ = os.Rename(dir+"/out", dir+"/t/d/d")
	_ = os.Remove(deep + "x")
	_ = os.Rename(dir+"/t/moved", deep+"x")
	_ = os.Rename(dir+"/t/y", dir+"/t/x/y")
	_ = os.Remove(dir + "/t/x/y/new")
}
