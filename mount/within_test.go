package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// identity is that of the volume's directory.
func (v volume) identity(t testing.TB) Identity {
	t.Helper()
	id, err := Identify(v.source)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// attachIn attaches the volume in a task's namespace.
func (v volume) attachIn(t testing.TB, k *task, target string, a Attributes) {
	t.Helper()
	tr := mustClone(t, v.source, a)
	if err := k.ns.Attach(t.Context(), tr, target, true); err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
}

// mustAt looks at a target of a task.
func mustAt(t testing.TB, k *task, target string) Point {
	t.Helper()
	p, err := k.ns.At(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAVolumeComesToARunningTaskAndLeavesIt(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		k := startTask(t, "private", nil)
		target := v.dir + "/sandbox/new/deep"
		if p := mustAt(t, k, target); p.Exists {
			t.Fatalf("before, there is %+v", p)
		}
		for _, a := range []Attributes{{}, {ReadOnly: true}, {NoExec: true}} {
			v.attachIn(t, k, target, a)
			if got := k.do("read", target+"/precious"); got != "volume/precious" {
				t.Errorf("%+v: the task reads %q", a, got)
			}
			if got := k.do("write", target+"/by-task"); strings.Contains(got, "read-only") != a.ReadOnly || (got == "ok") == a.ReadOnly {
				t.Errorf("%+v: the task writes: %s", a, got)
			}
			p := mustAt(t, k, target)
			if p.Identity != v.identity(t) || !p.Mounted || p.ReadOnly != a.ReadOnly || p.NoExec != a.NoExec || !p.NoSuid || !p.NoDev {
				t.Errorf("%+v: there is %+v", a, p)
			}
			table, err := k.ns.Table(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var points []string
			for _, m := range table {
				if m.ID == p.MountID || (m.Point == target && m.ReadOnly == a.ReadOnly) {
					points = append(points, m.Point)
				}
			}
			if diff := cmp.Diff([]string{target}, points); diff != "" {
				t.Errorf("%+v: mounted at (-want +got):\n%s", a, diff)
			}
			if exists(target + "/precious") {
				t.Errorf("%+v: the mount is outside too", a)
			}
			for range 2 {
				if err := k.ns.Detach(t.Context(), target, v.identity(t), false); err != nil {
					t.Fatal(err)
				}
			}
			if p := mustAt(t, k, target); p.Mounted || !p.Exists {
				t.Errorf("%+v: afterwards there is %+v", a, p)
			}
			if got := k.do("read", target+"/precious"); !strings.Contains(got, "no such file") {
				t.Errorf("%+v: afterwards the task reads %q", a, got)
			}
		}
	})
}

func TestATargetIsBeneathTheRootOfTheTask(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "rootfs/mnt/")
		k := startTask(t, "private", nil)
		k.must("tmpfs", v.dir+"/rootfs/mnt")
		k.must("chroot", v.dir+"/rootfs")
		v.attachIn(t, k, "/mnt/data", Attributes{}) // over the task's own mount
		if got := k.do("read", "/mnt/data/precious"); got != "volume/precious" {
			t.Errorf("the task reads %q", got)
		}
		table, err := k.ns.Table(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var points []string
		for _, m := range table {
			points = append(points, m.Point)
		}
		if diff := cmp.Diff([]string{"/mnt", "/mnt/data"}, points); diff != "" {
			t.Errorf("mounts (-want +got):\n%s", diff)
		}
		if err := k.ns.Detach(t.Context(), "/mnt/data", v.identity(t), false); err != nil {
			t.Fatal(err)
		}
		if list(t, v.dir+"/rootfs/mnt") != nil {
			t.Error("something was made beneath the task's mount")
		}
	})
}

func TestATaskWithoutANamespaceOfItsOwnIsRefused(t *testing.T) {
	v := newVolume(t)
	pid, _ := startChild(t, cat, "/")
	processes := map[string]int{"this process": os.Getpid(), "a child": pid}
	if _, err := os.Readlink("/proc/1/ns/mnt"); err == nil { // some hosts show it to nobody
		processes["init"] = 1
	}
	for name, pid := range processes {
		ns, err := OpenNamespace(pid)
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		err = ns.Attach(t.Context(), mustClone(t, v.source, Attributes{}), v.targetPath, false)
		if !errors.Is(err, ErrNotItsOwn) {
			t.Errorf("%s: got error %v, want %v", name, err, ErrNotItsOwn)
		}
	}
	if n := countMounts(t, v.targetPath); n != 0 {
		t.Errorf("%d mounts were made", n)
	}
}

func TestATaskThatHasEndedIsNoProcess(t *testing.T) {
	v := newVolume(t)
	k := startTask(t, "private", nil)
	v.attachIn(t, k, v.targetPath, Attributes{})
	k.stop()
	ctx, id := t.Context(), v.identity(t)
	_, at := k.ns.At(ctx, v.targetPath)
	_, table := k.ns.Table(ctx)
	_, again := OpenNamespace(k.pid)
	for call, err := range map[string]error{
		"At": at, "Table": table, "OpenNamespace": again,
		"Attach":      k.ns.Attach(ctx, mustClone(t, v.source, Attributes{}), v.targetPath, true),
		"Detach":      k.ns.Detach(ctx, v.targetPath, id, false),
		"SetReadOnly": k.ns.SetReadOnly(ctx, v.targetPath, id, true),
	} {
		if !errors.Is(err, unix.ESRCH) || !strings.Contains(err.Error(), fmt.Sprint(k.pid)) {
			t.Errorf("%s: got error %v, want ESRCH with the process", call, err)
		}
	}
}

// TestAZombieHasNoNamespace: it has ended, though its number is still taken.
func TestAZombieHasNoNamespace(t *testing.T) {
	v := newVolume(t)
	k := startTask(t, "private", nil)
	k.ask.Close()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, k.pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ns.At(t.Context(), v.targetPath); !errors.Is(err, unix.ESRCH) {
		t.Errorf("got error %v, want ESRCH", err)
	}
}

// TestWhoSeesWhatIsAttachedInATask: mounts go where the mount that the target lies on sends them.
func TestWhoSeesWhatIsAttachedInATask(t *testing.T) {
	for propagation, outside := range map[string]bool{"private": false, "slave": false, "shared": true} {
		t.Run(propagation, func(t *testing.T) {
			v := newVolume(t)
			if err := unix.Mount("", v.dir, "", unix.MS_SHARED, ""); err != nil {
				t.Fatal(err)
			}
			k := startTask(t, propagation, nil)
			v.attachIn(t, k, v.targetPath, Attributes{ReadOnly: true, NoExec: true})
			if got := k.do("read", v.targetPath+"/precious"); got != "volume/precious" {
				t.Errorf("the task reads %q", got)
			}
			p, err := At(v.sandbox, "target")
			if err != nil || p.Mounted != outside {
				t.Fatalf("outside there is %+v, %v", p, err)
			}
			if outside && (!p.ReadOnly || !p.NoExec || !p.NoSuid || p.Identity != v.identity(t)) {
				t.Errorf("outside there is %+v", p)
			}
			err = k.ns.SetReadOnly(t.Context(), v.targetPath, v.identity(t), false)
			if errors.Is(err, ErrShared) != outside || (err != nil) != outside {
				t.Errorf("a flip of it gives %v", err)
			}
			if outside && strings.Count(err.Error(), "remount") != 1 {
				t.Errorf("the refusal repeats itself: %v", err)
			}
			if err := k.ns.Detach(t.Context(), v.targetPath, v.identity(t), false); err != nil {
				t.Fatal(err)
			}
			if p, err := At(v.sandbox, "target"); err != nil || p.Mounted {
				t.Errorf("after the detach, outside there is %+v, %v", p, err)
			}
			// The other way round: what the host mounts there.
			v.attach(t, Attributes{ReadOnly: true})
			if p := mustAt(t, k, v.targetPath); p.Mounted != (propagation != "private") || p.Mounted && !p.ReadOnly {
				t.Errorf("of a mount of the host the task sees %+v", p)
			}
		})
	}
}

func TestAMountInATaskIsFlippedWhileItRuns(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		k := startTask(t, "slave", nil)
		v.attachIn(t, k, v.targetPath, Attributes{})
		flip := func(readOnly bool) error {
			return k.ns.SetReadOnly(t.Context(), v.targetPath, v.identity(t), readOnly)
		}
		file := v.targetPath + "/precious"
		for _, readOnly := range []bool{true, true, false, true, false, false} {
			if err := flip(readOnly); err != nil {
				t.Fatal(err)
			}
			if got := k.do("write", file); (got == "ok") == readOnly {
				t.Errorf("read-only %v: the task writes: %s", readOnly, got)
			}
		}
		k.must("open", file)
		err := flip(true)
		want := &BusyError{Op: "remount", Path: v.targetPath, Users: []User{{PID: k.pid, Command: "exe", Files: []string{file}}}}
		var busy *BusyError
		if !errors.As(err, &busy) || !errors.Is(err, unix.EBUSY) {
			t.Fatalf("got error %v, want a *BusyError", err)
		}
		if diff := cmp.Diff(want, busy); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		k.must("close")
		if err := flip(true); err != nil {
			t.Error(err)
		}
	})
}

func TestABusyMountInATaskNamesWhatUsesIt(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		k := startTask(t, "private", nil)
		v.attachIn(t, k, v.targetPath, Attributes{})
		k.must("open", v.targetPath+"/precious")
		k.must("mkdir", v.targetPath+"/sub")
		k.must("tmpfs", v.targetPath+"/sub")
		err := k.ns.Detach(t.Context(), v.targetPath, v.identity(t), false)
		var busy *BusyError
		if !errors.As(err, &busy) {
			t.Fatalf("got error %v, want a *BusyError", err)
		}
		want := &BusyError{Op: "detach", Path: v.targetPath, Users: []User{{PID: k.pid, Command: "exe"}}, Mounts: []string{v.targetPath + "/sub"}}
		if diff := cmp.Diff(want, busy); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := k.ns.Detach(t.Context(), v.targetPath, v.identity(t), true); err != nil {
			t.Fatal(err)
		}
		if p := mustAt(t, k, v.targetPath); p.Mounted {
			t.Errorf("afterwards there is %+v", p)
		}
	})
}

// TestATaskOfAnotherUserNamespace is root there, and may change what is mounted for it: so
// nothing read-only is, since it would not stay so.
func TestATaskOfAnotherUserNamespace(t *testing.T) {
	mounttest.RequireRoot(t)
	v := newVolume(t)
	k := startTask(t, "private", inOwnUsers())
	v.attachIn(t, k, v.targetPath, Attributes{})
	if got := k.do("write", v.targetPath+"/precious"); got != "ok" {
		t.Errorf("the task writes: %s", got)
	}
	if err := k.ns.SetReadOnly(t.Context(), v.targetPath, v.identity(t), true); !errors.Is(err, ErrUndone) {
		t.Errorf("read-only: got error %v, want %v", err, ErrUndone)
	}
	if err := k.ns.Detach(t.Context(), v.targetPath, v.identity(t), false); err != nil {
		t.Fatal(err)
	}
	err := k.ns.Attach(t.Context(), mustClone(t, v.source, Attributes{ReadOnly: true}), v.targetPath, false)
	if !errors.Is(err, ErrUndone) {
		t.Errorf("got error %v, want %v", err, ErrUndone)
	}
	if p := mustAt(t, k, v.targetPath); p.Mounted {
		t.Errorf("after the refusal there is %+v", p)
	}
}

func TestATargetThatMakesNoSenseIsRefused(t *testing.T) {
	v := newVolume(t)
	k := startTask(t, "private", nil)
	ctx := t.Context()
	for _, target := range []string{"", "/", "//", "/.", "relative", "/a/", "/a//b", "/a/../b", "/..", "/a\x00b"} {
		_, at := k.ns.At(ctx, target)
		for call, err := range map[string]error{
			"At": at, "Detach": k.ns.Detach(ctx, target, Identity{}, true), "SetReadOnly": k.ns.SetReadOnly(ctx, target, Identity{}, true),
			"Attach": k.ns.Attach(ctx, mustClone(t, v.source, Attributes{}), target, true),
		} {
			if !errors.Is(err, unix.EINVAL) {
				t.Errorf("%s(%q): got error %v, want %v", call, target, err, unix.EINVAL)
			}
		}
	}
}

func TestWhatTheTaskHasPutAtTheTargetIsLeftAlone(t *testing.T) {
	v := newVolume(t)
	tree(t, v.dir, "sandbox/file", "sandbox/link -> target", "sandbox/dir -> .", "sandbox/own/")
	k := startTask(t, "private", nil)
	k.must("tmpfs", v.dir+"/sandbox/own")
	for name, want := range map[string]error{
		"file": unix.ENOTDIR, "link": unix.ENOTDIR, "dir/target": unix.ELOOP, "file/x": unix.ENOTDIR, "own": ErrMounted, "absent/x": unix.ENOENT,
	} {
		target := v.dir + "/sandbox/" + name
		tr := mustClone(t, v.source, Attributes{})
		if err := k.ns.Attach(t.Context(), tr, target, name != "absent/x"); !errors.Is(err, want) {
			t.Errorf("%s: got error %v, want %v", name, err, want)
		}
		if _, err := k.ns.Table(t.Context()); err != nil {
			t.Error(err)
		}
	}
	own := v.dir + "/sandbox/own"
	if err := k.ns.Detach(t.Context(), own, v.identity(t), true); !errors.Is(err, ErrMounted) {
		t.Errorf("detach of the task's own mount: got error %v, want %v", err, ErrMounted)
	}
	if err := k.ns.SetReadOnly(t.Context(), own, v.identity(t), true); !errors.Is(err, ErrMounted) {
		t.Errorf("a flip of the task's own mount: got error %v, want %v", err, ErrMounted)
	}
	if p := mustAt(t, k, own); !p.Mounted || p.ReadOnly {
		t.Errorf("afterwards there is %+v", p)
	}
	table, err := k.ns.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range table {
		if strings.HasPrefix(m.Point, v.dir+"/sandbox") && m.Point != own {
			t.Errorf("something was mounted: %+v", m)
		}
	}
}

func TestAMountThatTheTaskHasMovedIsFoundInTheTable(t *testing.T) {
	v := newVolume(t)
	k := startTask(t, "private", nil)
	v.attachIn(t, k, v.dir+"/sandbox/way/data", Attributes{})
	k.must("rename", v.dir+"/sandbox/way", v.dir+"/sandbox/away")
	if p := mustAt(t, k, v.dir+"/sandbox/way/data"); p.Exists {
		t.Fatalf("there is %+v", p)
	}
	table, err := k.ns.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range table {
		if m.Root == "/volume" && m.Dev == v.identity(t).Dev {
			found++
			if err := k.ns.Detach(t.Context(), m.Point, v.identity(t), false); err != nil {
				t.Error(err)
			}
		}
	}
	if found != 1 {
		t.Errorf("found %d mounts of the volume", found)
	}
	if p := mustAt(t, k, v.dir+"/sandbox/away/data"); p.Mounted {
		t.Errorf("there is %+v", p)
	}
}

// TestCVE_2025_52881_TheTasksProcIsNotBelieved: absolute paths are the task's to choose there.
func TestCVE_2025_52881_TheTasksProcIsNotBelieved(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		k := startTask(t, "private", nil)
		k.must("tmpfs", "/proc") // instead of the links to descriptors
		v.attachIn(t, k, v.targetPath, Attributes{})
		if p := mustAt(t, k, v.targetPath); !p.Mounted {
			t.Errorf("there is %+v", p)
		}
		if err := k.ns.SetReadOnly(t.Context(), v.targetPath, v.identity(t), true); err != nil {
			t.Error(err)
		}
		if err := k.ns.Detach(t.Context(), v.targetPath, v.identity(t), false); err != nil {
			t.Error(err)
		}
		if p := mustAt(t, k, v.targetPath); p.Mounted {
			t.Errorf("afterwards there is %+v", p)
		}
	})
}

func TestACallWhoseTimeIsOverDoesNothing(t *testing.T) {
	v := newVolume(t)
	k := startTask(t, "private", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Whichever is noticed first: what is told is what happened.
	for range 50 {
		tr := mustClone(t, v.source, Attributes{})
		err := k.ns.Attach(ctx, tr, v.targetPath, true)
		tr.Close()
		p := mustAt(t, k, v.targetPath) // takes its turn after the thread
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if p.Mounted != (err == nil) {
			t.Fatalf("with error %v there is %+v", err, p)
		}
		if err := k.ns.Detach(t.Context(), v.targetPath, v.identity(t), false); err != nil {
			t.Fatal(err)
		}
	}
}

// TestATaskThatIsRootOnlyInItsOwnUserNamespaceOwnsItsVolume: the usual container without
// privileges; on the host its root is somebody else.
func TestATaskThatIsRootOnlyInItsOwnUserNamespaceOwnsItsVolume(t *testing.T) {
	v := newVolume(t)
	v.own(t, 1500, 1501)
	if err := os.Chmod(filepath.Dir(v.dir), 0o711); err != nil { // for the task to walk through
		t.Fatal(err)
	}
	const host = 100_000
	m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: host, Size: 65536}}
	users := mustUserNamespace(t, one(1500, host), one(1501, host))
	k := startTask(t, "private", &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: m, GidMappings: m, Credential: &syscall.Credential{NoSetGroups: true},
	})
	v.attachIn(t, k, v.targetPath, Attributes{IDMap: users})
	if p := mustAt(t, k, v.targetPath); p.UID != host || p.GID != host || p.Identity != v.identity(t) {
		t.Errorf("there is %+v", p)
	}
	k.must("write", v.targetPath+"/precious")
	k.must("write", v.targetPath+"/new")
	if got := ownerOf(t, v.dir+"/volume/new"); got != "1500:1501" {
		t.Errorf("on disk the new file is %s", got)
	}
	table, err := k.ns.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(table, func(m Info) bool { return m.Point == v.targetPath })
	if i < 0 || !table[i].IDMapped {
		t.Errorf("the table is %+v", table)
	}
	if err := k.ns.Detach(t.Context(), v.targetPath, v.identity(t), false); err != nil {
		t.Error(err)
	}
}
