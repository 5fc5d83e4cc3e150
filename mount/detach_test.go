package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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

// startChild starts a process that ends when the test does, or before by stop.
// Tests with processes do not run in parallel: until it executes, a new process
// holds a copy of every descriptor and keeps other tests' mounts busy.
func startChild(t *testing.T, program, dir string, files ...*os.File) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Dir, cmd.ExtraFiles = dir, files
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		stdin.Close() // cat ends at the end of its input
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return cmd.Process.Pid, stop
}

const cat = "/bin/cat"

func TestABusyDetachNamesTheProcess(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		for name, start := range map[string]func(t *testing.T, v volume) (pid int, command string, stop func()){
			"a working directory": func(t *testing.T, v volume) (int, string, func()) {
				pid, stop := startChild(t, cat, v.targetPath)
				return pid, "cat", stop
			},
			"an open file": func(t *testing.T, v volume) (int, string, func()) {
				f, err := os.Open(v.targetPath + "/precious")
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				pid, stop := startChild(t, cat, "/", f)
				return pid, "cat", stop
			},
			"a program": func(t *testing.T, v volume) (int, string, func()) {
				copyFile(t, cat, v.targetPath+"/mycat")
				pid, stop := startChild(t, v.targetPath+"/mycat", "/")
				return pid, "mycat", stop
			},
		} {
			t.Run(name, func(t *testing.T) {
				v := newVolume(t)
				v.attach(t, Attributes{})
				pid, command, stop := start(t, v)
				err := Detach(v.sandbox, "target", false)
				var busy *BusyError
				if !errors.As(err, &busy) || !errors.Is(err, unix.EBUSY) {
					t.Fatalf("got error %v, want a *BusyError", err)
				}
				want := &BusyError{Op: "detach", Path: v.targetPath, Users: []User{{PID: pid, Command: command}}}
				if diff := cmp.Diff(want, busy); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if text := fmt.Sprintf("detach %s: in use by process %d (%s)", v.targetPath, pid, command); err.Error() != text {
					t.Errorf("got the text %q, want %q", err, text)
				}
				stop()
				if err := Detach(v.sandbox, "target", false); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestABusyDetachNamesThisProcessForItsMappings(t *testing.T) {
	mounttest.RequireRoot(t) // to follow the links of map_files
	v := newVolume(t)
	v.attach(t, Attributes{})
	f, err := os.Open(v.targetPath + "/precious")
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	var busy *BusyError
	if err := Detach(v.sandbox, "target", false); !errors.As(err, &busy) {
		t.Errorf("got error %v, want a *BusyError", err)
	} else if len(busy.Users) != 1 || busy.Users[0].PID != os.Getpid() {
		t.Errorf("got the users %v, want process %d", busy.Users, os.Getpid())
	}
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
	if err := Detach(v.sandbox, "target", false); err != nil {
		t.Error(err)
	}
}

func TestABusyDetachNamesMountsBeneath(t *testing.T) {
	v := newVolume(t)
	tree(t, v.dir, "volume/sub/")
	v.attach(t, Attributes{})
	mustMount(t, v.dir+"/volume", v.targetPath+"/sub", "", unix.MS_BIND)
	err := Detach(v.sandbox, "target", false)
	want := fmt.Sprintf("detach %s: in use by mount %s/sub", v.targetPath, v.targetPath)
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if err := Detach(v.sandbox, "target", true); err != nil {
		t.Error(err)
	}
}

func TestTheNumberOfUsersNamedIsBounded(t *testing.T) {
	v := newVolume(t)
	v.attach(t, Attributes{})
	for range maxUsers + 1 {
		startChild(t, cat, v.targetPath)
	}
	var busy *BusyError
	if err := Detach(v.sandbox, "target", false); !errors.As(err, &busy) || len(busy.Users) != maxUsers {
		t.Errorf("got error %v, want a *BusyError with %d users", err, maxUsers)
	}
	s := scan{left: 1}
	s.uses("/proc/self")
	if s.left != 0 || s.on("/proc/self/cwd") {
		t.Errorf("looked on after the last look; %d left", s.left)
	}
}

func TestABusyErrorWithoutAUserSaysSo(t *testing.T) {
	t.Parallel()
	err := &BusyError{Op: "detach", Path: "/x"}
	if got, want := err.Error(), "detach /x: in use by nobody who can be seen"; got != want {
		t.Errorf("got %q, want %q", got, want)
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
