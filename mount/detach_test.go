package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestAtTellsWhatLiesThere(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "sandbox/file", "sandbox/link -> target")
		volumeID, _ := Identify(v.source)
		targetID, _ := Identify(v.target)
		ignore := cmpopts.IgnoreFields(Point{}, "MountID")
		check := func(name string, want Point) Point {
			t.Helper()
			got, err := At(v.sandbox, name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, ignore); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			return got
		}
		check("absent", Point{})
		if p, err := At(v.sandbox, "link"); err != nil || !p.Exists || p.Dir || p.Mounted {
			t.Errorf("link: got %+v, %v", p, err)
		}
		if p, err := At(v.sandbox, "file"); err != nil || !p.Exists || p.Dir || p.Mounted {
			t.Errorf("file: got %+v, %v", p, err)
		}
		empty := check("target", Point{Exists: true, Dir: true, Identity: targetID})

		v.attach(t, Attributes{})
		rw := check("target", Point{Exists: true, Dir: true, Mounted: true, Identity: volumeID, NoSuid: true, NoDev: true})

		v.attach(t, Attributes{ReadOnly: true, NoExec: true})
		ro := check("target", Point{
			Exists: true, Dir: true, Mounted: true, Identity: volumeID,
			NoSuid: true, NoDev: true, ReadOnly: true, NoExec: true,
		})
		if empty.MountID == rw.MountID || rw.MountID == ro.MountID || ro.MountID == 0 {
			t.Errorf("mount IDs %d, %d, %d of three mounts", empty.MountID, rw.MountID, ro.MountID)
		}
		if m, err := Lookup(mustOpen(t, v.targetPath)); err != nil || m.ID != ro.MountID {
			t.Errorf("Lookup says mount %d, %v; At says %d", m.ID, err, ro.MountID)
		}
	})
}

func TestAtSeesAReadOnlyFilesystem(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	mustMount(t, "none", v.targetPath, "tmpfs", unix.MS_RDONLY)
	if p, err := At(v.sandbox, "target"); err != nil || !p.ReadOnly || !p.Mounted {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestAtSeesAMountOnAFile(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	tree(t, v.dir, "sandbox/file")
	mustMount(t, v.dir+"/volume/precious", v.dir+"/sandbox/file", "", unix.MS_BIND)
	if p, err := At(v.sandbox, "file"); err != nil || !p.Mounted || p.Dir {
		t.Errorf("got %+v, %v", p, err)
	}
	if err := Detach(v.sandbox, "file", false); err != nil {
		t.Fatal(err)
	}
	if p, err := At(v.sandbox, "file"); err != nil || p.Mounted || !p.Exists {
		t.Errorf("after the detach: got %+v, %v", p, err)
	}
}

func TestOneNameIsAskedOfEveryCall(t *testing.T) {
	t.Parallel()
	dir := mustOpen(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "a/b", "/"} {
		_, atErr := At(dir, name)
		for call, err := range map[string]error{
			"At": atErr, "Detach": Detach(dir, name, false), "SetReadOnly": SetReadOnly(dir, name, true),
		} {
			if !errors.Is(err, unix.EINVAL) {
				t.Errorf("%s(%q): got error %v, want %v", call, name, err, unix.EINVAL)
			}
		}
	}
}

func TestDetachIsIdempotent(t *testing.T) {
	t.Parallel()
	for _, lazy := range []bool{false, true} {
		v := newVolume(t)
		tree(t, v.dir, "sandbox/file", "sandbox/link -> target")
		v.attach(t, Attributes{})
		for range 3 {
			if err := Detach(v.sandbox, "target", lazy); err != nil {
				t.Fatal(err)
			}
			if p, err := At(v.sandbox, "target"); err != nil || p.Mounted || !p.Exists {
				t.Errorf("lazy=%v: afterwards there is %+v, %v", lazy, p, err)
			}
		}
		for _, name := range []string{"absent", "file", "link"} {
			if err := Detach(v.sandbox, name, lazy); err != nil {
				t.Errorf("lazy=%v, %s: %v", lazy, name, err)
			}
		}
	}
}

func TestDetachDoesNotFollowASymlinkToAMount(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	tree(t, v.dir, "sandbox/link -> target")
	v.attach(t, Attributes{})
	if err := Detach(v.sandbox, "link", true); err != nil {
		t.Fatal(err)
	}
	if p, err := At(v.sandbox, "target"); err != nil || !p.Mounted {
		t.Errorf("the mount behind the symlink is gone: %+v, %v", p, err)
	}
}

func TestDetachTakesDownWhatIsStacked(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	for range 5 {
		v.attach(t, Attributes{})
	}
	if n := countMounts(t, v.targetPath); n != 5 {
		t.Fatalf("%d mounts are stacked, want 5", n)
	}
	if err := Detach(v.sandbox, "target", false); err != nil {
		t.Fatal(err)
	}
	if n := countMounts(t, v.targetPath); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
	for range maxStacked + 1 {
		v.attach(t, Attributes{})
	}
	if err := Detach(v.sandbox, "target", true); err == nil || !strings.Contains(err.Error(), v.targetPath) {
		t.Errorf("got error %v, want one that says how many there are at %s", err, v.targetPath)
	}
	if err := Detach(v.sandbox, "target", true); err != nil {
		t.Error(err)
	}
}

func TestDetachFollowsARenamedDirectory(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.attach(t, Attributes{})
	if err := os.Rename(v.dir+"/sandbox", v.dir+"/elsewhere"); err != nil {
		t.Fatal(err)
	}
	tree(t, v.dir, "sandbox/target/")
	if err := Detach(v.sandbox, "target", false); err != nil {
		t.Fatal(err)
	}
	if n := countMounts(t, v.dir+"/elsewhere/target"); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
}

// TestDetachOfAMountOfAnotherNamespaceIsNoSuccess: the kernel says EINVAL, as for
// what is not mounted.
func TestDetachOfAMountOfAnotherNamespaceIsNoSuccess(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.attach(t, Attributes{})
	newNamespace(t).do(func() {
		// This thread's namespace has a copy of the mount, not the mount.
		if err := Detach(v.sandbox, "target", false); !errors.Is(err, unix.EINVAL) {
			t.Errorf("got error %v, want %v", err, unix.EINVAL)
		}
	})
}

func TestALazyDetachTakesABusyMount(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.attach(t, Attributes{})
	f, err := os.Open(v.targetPath + "/precious")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Detach(v.sandbox, "target", true); err != nil {
		t.Fatal(err)
	}
	if p, err := At(v.sandbox, "target"); err != nil || p.Mounted {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := f.Stat(); err != nil {
		t.Error(err)
	}
}

func TestSetReadOnlyFlipsALiveMount(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.attach(t, Attributes{})
	dir := mustOpen(t, v.targetPath)
	for i, readOnly := range []bool{true, true, false, false, true} {
		if err := SetReadOnly(v.sandbox, "target", readOnly); err != nil {
			t.Fatal(err)
		}
		err := create(dir, fmt.Sprintf("new%d", i))
		if errors.Is(err, unix.EROFS) != readOnly || (err != nil) != readOnly {
			t.Errorf("read-only %v: a write gives %v", readOnly, err)
		}
		p, err := At(v.sandbox, "target")
		if err != nil || p.ReadOnly != readOnly || !p.NoSuid || !p.NoDev {
			t.Errorf("read-only %v: got %+v, %v", readOnly, p, err)
		}
	}
}

func TestSetReadOnlyIsRefusedWhileSomebodyWrites(t *testing.T) {
	v := newVolume(t)
	v.attach(t, Attributes{})
	f, err := os.OpenFile(v.targetPath+"/precious", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	pid, stop := startChild(t, cat, "/", f)
	f.Close()
	var busy *BusyError
	if err := SetReadOnly(v.sandbox, "target", true); !errors.As(err, &busy) {
		t.Errorf("got error %v, want a *BusyError", err)
	} else if len(busy.Users) != 1 || busy.Users[0].PID != pid {
		t.Errorf("got the users %v, want process %d", busy.Users, pid)
	}
	if p, err := At(v.sandbox, "target"); err != nil || p.ReadOnly {
		t.Errorf("after the refusal: %+v, %v", p, err)
	}
	stop()
	if err := SetReadOnly(v.sandbox, "target", true); err != nil {
		t.Error(err)
	}
}

func TestSetReadOnlyNeedsAMount(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	err := SetReadOnly(v.sandbox, "target", true)
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "nothing is mounted there") {
		t.Errorf("got error %v, want one that says that nothing is mounted", err)
	}
}
