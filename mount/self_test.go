package mount

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// countMounts is how many mounts lie on exactly the path point.
func countMounts(t testing.TB, point string) int {
	t.Helper()
	table, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range table {
		if m.Point == point {
			n++
		}
	}
	return n
}

// mustSelfMount is SelfMount of which the descriptor is closed at once.
func mustSelfMount(t testing.TB, dir string) {
	t.Helper()
	f, err := SelfMount(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestSelfMountIsPrivateEvenBelowASharedMount(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		if err := unix.Mount("", v.dir, "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		older := newNamespace(t)
		root, err := SelfMount(v.dir + "/sandbox")
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		m, err := Lookup(root)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Private || m.Point != v.dir+"/sandbox" || !m.NoSuid || !m.NoDev || m.ReadOnly {
			t.Errorf("got %+v", m)
		}
		target, err := OpenBeneath(root, "target")
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		tr := mustClone(t, v.source, Attributes{})
		if err := tr.Attach(target); err != nil {
			t.Fatal(err)
		}
		older.do(func() {
			if exists(v.targetPath + "/precious") {
				t.Error("a mount below it went to another namespace")
			}
		})
		tr.Close()
		if err := Detach(root, "target", false); err != nil {
			t.Error(err)
		}
	})
}

func TestSelfMountDoesNotStackAndUnmountTakesItAway(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		sandbox := v.dir + "/sandbox"
		v.sandbox.Close()
		v.target.Close()
		for range 3 {
			mustSelfMount(t, sandbox)
		}
		if n := countMounts(t, sandbox); n != 1 {
			t.Errorf("%d mounts after three calls, want 1", n)
		}
		for range 2 {
			if err := SelfUnmount(sandbox); err != nil {
				t.Fatal(err)
			}
			if n := countMounts(t, sandbox); n != 0 {
				t.Errorf("%d mounts after the unmount, want 0", n)
			}
		}
	})
}

func TestSelfMountFinishesWhatWasInterrupted(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		sandbox := v.dir + "/sandbox"
		if err := unix.Mount("", v.dir, "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		// As left by a call that was killed between attaching and the rest.
		mustMount(t, sandbox, sandbox, "", unix.MS_BIND)
		mustSelfMount(t, sandbox)
		if n := countMounts(t, sandbox); n != 1 {
			t.Errorf("%d mounts, want 1", n)
		}
		if m, err := Lookup(mustOpen(t, sandbox)); err != nil || !m.Private {
			t.Errorf("got %+v, %v; want a private mount", m, err)
		}
	})
}

func TestSelfMountCoversASharedMountAndUnmountSparesIt(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		dir := t.TempDir()
		mustMount(t, "none", dir, "tmpfs", 0)
		if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		mustSelfMount(t, dir)
		mustSelfMount(t, dir)
		if n := countMounts(t, dir); n != 2 {
			t.Errorf("%d mounts, want the disk and one over it", n)
		}
		for range 2 {
			if err := SelfUnmount(dir); err != nil {
				t.Fatal(err)
			}
			if n := countMounts(t, dir); n != 1 {
				t.Errorf("%d mounts, want the disk alone", n)
			}
		}
	})
}

func TestSelfMountTakesAPrivateDiskAsItIs(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	mustSelfMount(t, v.dir)
	if n := countMounts(t, v.dir); n != 1 {
		t.Errorf("%d mounts, want 1", n)
	}
	if err := SelfUnmount(v.dir); err != nil {
		t.Fatal(err)
	}
	if n := countMounts(t, v.dir); n != 1 {
		t.Errorf("%d mounts; the disk was unmounted", n)
	}
}

func TestSelfUnmountIsBusyWhileSomethingIsMountedBelow(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	root, err := SelfMount(v.dir + "/sandbox")
	if err != nil {
		t.Fatal(err)
	}
	target, err := OpenBeneath(root, "target")
	if err != nil {
		t.Fatal(err)
	}
	tr := mustClone(t, v.source, Attributes{})
	if err := tr.Attach(target); err != nil {
		t.Fatal(err)
	}
	tr.Close()
	target.Close()
	root.Close()
	err = SelfUnmount(v.dir + "/sandbox")
	var busy *BusyError
	if !errors.As(err, &busy) || len(busy.Mounts) != 1 || busy.Mounts[0] != v.targetPath {
		t.Errorf("got error %v, want a BusyError with the mount on %s", err, v.targetPath)
	}
}

func TestSelfMountSaysWhichDirectoryIsMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := SelfMount(dir + "/absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("SelfMount: got error %v, want %v", err, os.ErrNotExist)
	}
	if err := SelfUnmount(dir + "/absent"); err != nil {
		t.Errorf("SelfUnmount of what is not there: %v", err)
	}
}

func TestBindsSelfComparesRootAndPoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m, parent Info
		want      bool
	}{
		{Info{Dev: 1, Root: "/pool", Point: "/pool"}, Info{Dev: 1, Root: "/", Point: "/"}, true},
		{Info{Dev: 1, Root: "/a/pool", Point: "/pool"}, Info{Dev: 1, Root: "/a", Point: "/"}, true},
		{Info{Dev: 1, Root: "/x/y", Point: "/srv/x/y"}, Info{Dev: 1, Root: "/", Point: "/srv"}, true},
		{Info{Dev: 1, Root: "/", Point: "/srv"}, Info{Dev: 1, Root: "/", Point: "/srv"}, true},
		{Info{Dev: 1, Root: "/other", Point: "/pool"}, Info{Dev: 1, Root: "/", Point: "/"}, false},
		{Info{Dev: 2, Root: "/pool", Point: "/pool"}, Info{Dev: 1, Root: "/", Point: "/"}, false},
		{Info{Dev: 1, Root: "/", Point: "/pool"}, Info{Dev: 1, Root: "/", Point: "/"}, false},
		{Info{Dev: 1, Root: "/x", Point: "/srvx"}, Info{Dev: 1, Root: "/", Point: "/srv"}, false},
	} {
		if got := bindsSelf(c.m, c.parent); got != c.want {
			t.Errorf("bindsSelf(%+v, %+v) = %v, want %v", c.m, c.parent, got, c.want)
		}
	}
}

func TestVolumesAreClonedFromASource(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.CloneDetached, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "pool/live/u1/data/inside")
		// The second time is a restart: opened by path again.
		for i := range 2 {
			src, err := OpenSource(mustOpen(t, v.dir+"/pool"))
			if err != nil {
				t.Fatal(err)
			}
			data, err := OpenBeneath(src.Dir(), "live/u1/data")
			if err != nil {
				t.Fatal(err)
			}
			tr := mustClone(t, data, Attributes{ReadOnly: i == 0})
			if err := tr.Attach(v.target); err != nil {
				t.Fatal(err)
			}
			got := statfsFlags(t, tr.File())&unix.ST_RDONLY != 0
			if !exists(v.targetPath+"/inside") || got != (i == 0) {
				t.Errorf("shows the volume: %v, read-only: %v", exists(v.targetPath+"/inside"), got)
			}
			tr.Close()
			data.Close()
			if err := src.Close(); err != nil {
				t.Error(err)
			}
			if !exists(v.targetPath + "/inside") {
				t.Error("the mount went with its source")
			}
			if err := Detach(v.sandbox, "target", false); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestASourceLeavesATraceOnOlderKernelsAlone(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.CloneDetached, func(t *testing.T) {
		v := newVolume(t)
		want := 1
		if t.Name() == "TestASourceLeavesATraceOnOlderKernelsAlone/with_clone_of_a_detached_tree" {
			want = 0
		}
		for range 3 {
			dir, err := OpenDir(v.dir + "/volume")
			if err != nil {
				t.Fatal(err)
			}
			src, err := OpenSource(dir)
			if err != nil {
				t.Fatal(err)
			}
			dir.Close()
			src.Close()
			if n := countMounts(t, v.dir+"/volume"); n != want {
				t.Errorf("%d mounts of the source in the table, want %d", n, want)
			}
		}
		v.source.Close()
		if err := SelfUnmount(v.dir + "/volume"); err != nil {
			t.Fatal(err)
		}
		if n := countMounts(t, v.dir+"/volume"); n != 0 {
			t.Errorf("%d mounts of the source in the table at the end, want 0", n)
		}
	})
}

func TestASourceHasNoChildrenHoweverManyAreMountedBelow(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.CloneDetached, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "pool/data/", "pool/mounts/")
		for i := range 20 {
			tree(t, v.dir, fmt.Sprintf("pool/mounts/%d/", i))
			mustMount(t, v.dir+"/volume", fmt.Sprintf("%s/pool/mounts/%d", v.dir, i), "", unix.MS_BIND)
		}
		src, err := OpenSource(mustOpen(t, v.dir+"/pool"))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		p, err := At(src.Dir(), "mounts")
		if err != nil {
			t.Fatal(err)
		}
		table, err := Table()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range table {
			if m.ParentID == p.MountID {
				t.Errorf("the source has a child on %s", m.Point)
			}
		}
		if f, err := OpenBeneath(src.Dir(), "mounts/7"); err != nil {
			t.Errorf("what was mounted over shows through: %v", err)
		} else {
			f.Close()
		}
	})
}

func TestOpenSourceFailsForWhatIsNoPlace(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.CloneDetached, func(t *testing.T) {
		closed := mustOpen(t, t.TempDir())
		closed.Close()
		if src, err := OpenSource(closed); err == nil || src != nil {
			t.Errorf("got %v, %v; want an error alone", src, err)
		}
	})
}
