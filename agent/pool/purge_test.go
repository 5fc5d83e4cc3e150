package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount"
	"tenon/mount/mounttest"
)

// impatient is a context that ends when it has been asked for its error so often.
type impatient struct {
	context.Context
	left atomic.Int64
}

func (c *impatient) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func newImpatient(t *testing.T, questions int) *impatient {
	c := &impatient{Context: t.Context()}
	c.left.Store(int64(questions))
	return c
}

// mustWrite makes a file and the directories on the way to it.
func mustWrite(t *testing.T, name string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte("content"), 0o644))
}

// trashed takes v to trash with what fill puts into its data.
func trashed(t *testing.T, p *Pool, dir, v string, fill func(data string)) {
	t.Helper()
	makeLive(t, p, v)
	fill(filepath.Join(dir, "live", v, "data"))
	must(t, p.Trash(t.Context(), v))
}

func TestPurgeMayStopAfterEveryEntryAndGoOn(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	outside := t.TempDir()
	mustWrite(t, filepath.Join(outside, "dir", "file"))
	makeLive(t, p, volB)
	mustWrite(t, filepath.Join(dir, "live", volB, "data", "file"))
	neighbour := tree(t, filepath.Join(dir, "live"))
	before := inside(t, outside)
	trashed(t, p, dir, volA, func(data string) {
		for i := range 3 {
			mustWrite(t, filepath.Join(data, fmt.Sprint(i), "sub", "file"))
		}
		must(t, os.Symlink(outside, filepath.Join(data, "absolute")))
		must(t, os.Symlink("../../../live/"+volB, filepath.Join(data, "relative")))
		must(t, os.Symlink("nowhere", filepath.Join(data, "dangling")))
		must(t, unix.Mkfifo(filepath.Join(data, "fifo"), 0o600))
	})
	cuts, last := 0, strings.Count(tree(t, filepath.Join(dir, "trash")), "\n")
	for {
		err := p.Purge(newImpatient(t, cuts), volA) // one step farther each time
		if err == nil {
			break
		}
		wantError(t, err, context.Canceled, "purge", volA, dir)
		wantPlaces(t, p, volA, Places{Trash: true})
		now := strings.Count(tree(t, filepath.Join(dir, "trash")), "\n")
		if now > last {
			t.Fatalf("a purge that was cut off left %d entries of %d", now, last)
		}
		last = now
		if cuts++; cuts > 100 {
			t.Fatal("purging comes to no end")
		}
		p = mustOpen(t, dir)
	}
	if cuts < 5 {
		t.Errorf("the purge was cut off %d times only", cuts)
	}
	wantPlaces(t, p, volA, Places{})
	must(t, p.Purge(t.Context(), volA))
	if diff := cmp.Diff(before, inside(t, outside)); diff != "" {
		t.Errorf("purging changed what a symlink led to (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(neighbour, tree(t, filepath.Join(dir, "live"))); diff != "" {
		t.Errorf("purging changed the neighbour (-before +after):\n%s", diff)
	}
}

func TestPurgeTakesDeepAndWideTrees(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	trashed(t, p, dir, volA, func(data string) {
		for i := range 1000 {
			must(t, os.WriteFile(filepath.Join(data, fmt.Sprintf("file%d", i)), nil, 0o600))
		}
		at, err := unix.Open(data, unix.O_PATH|unix.O_CLOEXEC, 0)
		must(t, err)
		for range 1200 { // far beyond PATH_MAX
			must(t, unix.Mkdirat(at, "deep", 0o700))
			next, err := unix.Openat(at, "deep", unix.O_PATH|unix.O_CLOEXEC, 0)
			unix.Close(at)
			must(t, err)
			at = next
		}
		unix.Close(at)
	})
	must(t, p.Purge(t.Context(), volA))
	wantPlaces(t, p, volA, Places{})
}

func TestPurgeTakesWhatWasMadeImmutable(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	p, dir := newPool(t)
	trashed(t, p, dir, volA, func(data string) {
		name := filepath.Join(data, "dir", "file")
		mustWrite(t, name)
		setImmutable(t, name)
		setImmutable(t, filepath.Dir(name))
	})
	must(t, p.Purge(t.Context(), volA))
	wantPlaces(t, p, volA, Places{})
}

// setImmutable sets the flag where the filesystem knows it, and takes it off again if
// the file is still there when the test ends.
func setImmutable(t *testing.T, name string) {
	t.Helper()
	const immutable = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	f, err := os.Open(name)
	must(t, err)
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		f.Close()
		return
	}
	must(t, err)
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|immutable))
	t.Cleanup(func() {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags) // gone, if all is well
		f.Close()
	})
}

func TestPurgeStopsAtAMountAndSaysWhere(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	p, dir := newPool(t)
	outside := t.TempDir()
	mustWrite(t, filepath.Join(outside, "kept"))
	before := tree(t, outside)
	point := filepath.Join(dir, "trash", volA, "data", "a", "point")
	trashed(t, p, dir, volA, func(data string) {
		mustWrite(t, filepath.Join(data, "a", "point", "hidden"))
		live := filepath.Join(data, "a", "point")
		must(t, unix.Mount(outside, live, "", unix.MS_BIND, ""))
	})
	defer unix.Unmount(point, unix.MNT_DETACH)

	for range 2 {
		wantError(t, p.Purge(t.Context(), volA), mount.ErrMounted, "purge", volA, point)
		wantPlaces(t, p, volA, Places{Trash: true})
	}
	if diff := cmp.Diff(before, tree(t, outside)); diff != "" {
		t.Errorf("purging changed what was mounted (-before +after):\n%s", diff)
	}
	must(t, unix.Unmount(point, 0))
	must(t, p.Purge(t.Context(), volA))
	wantPlaces(t, p, volA, Places{})
	if diff := cmp.Diff(before, tree(t, outside)); diff != "" {
		t.Errorf("purging changed what had been mounted (-before +after):\n%s", diff)
	}
}

func TestDiscardTakesTheIncomingVolumeAlone(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	must(t, p.Discard(t.Context(), volA))
	makeLive(t, p, volA)
	must(t, os.MkdirAll(filepath.Join(dir, "incoming", volA, "data"), 0o700))
	must(t, os.MkdirAll(filepath.Join(dir, "trash", volA, "data"), 0o700))
	must(t, p.Discard(t.Context(), volA))
	wantPlaces(t, p, volA, Places{Live: true, Data: true, Trash: true})
	must(t, p.Purge(t.Context(), volA))
	wantPlaces(t, p, volA, Places{Live: true, Data: true})
}

func TestWhatIsMountedOverAPlaceOrAVolumeIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	p, dir := newPool(t)
	makeLive(t, p, volA)
	outside := t.TempDir()
	data := filepath.Join(dir, "live", volA, "data")
	must(t, unix.Mount(outside, data, "", unix.MS_BIND, ""))
	_, err := p.Data(volA)
	wantError(t, err, mount.ErrMounted, data)
	_, err = p.Find(volA)
	wantError(t, err, mount.ErrMounted, data)
	must(t, unix.Unmount(data, 0))
	wantPlaces(t, p, volA, Places{Live: true, Data: true})

	incoming := filepath.Join(dir, "incoming")
	must(t, unix.Mount(outside, incoming, "", unix.MS_BIND, ""))
	defer unix.Unmount(incoming, 0)
	wantError(t, p.Make(volB, web), mount.ErrMounted, incoming)
	if got := inside(t, outside); got != "" {
		t.Errorf("made on the mount:\n%s", got)
	}
}

func TestAPoolOnADetachedMountWorksLikeAnyOther(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	mounttest.RequireKernel(t, "6.15")
	dir := t.TempDir()
	f, err := mount.OpenDir(dir)
	must(t, err)
	defer f.Close()
	source, err := mount.OpenSource(f)
	must(t, err)
	defer source.Close()
	p, err := Open(source.Dir())
	must(t, err)
	defer p.Close()

	must(t, p.Format(poolID))
	makeLive(t, p, volA)
	makeLive(t, p, volB)
	mustWrite(t, filepath.Join(dir, "live", volB, "data", "file"))
	must(t, p.Trash(t.Context(), volB))
	must(t, p.Purge(t.Context(), volB))
	wantPlaces(t, p, volA, Places{Live: true, Data: true})
	wantPlaces(t, p, volB, Places{})
	data, err := p.Data(volA)
	must(t, err)
	defer data.Close()
	clone, err := mount.Clone(data, mount.Attributes{ReadOnly: true})
	must(t, err)
	must(t, clone.Close())
}
