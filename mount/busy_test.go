package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

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
	s.process("/proc/self")
	if s.left != 0 || s.on("/proc/self/cwd") {
		t.Errorf("looked on after the last look; %d left", s.left)
	}
}

func TestABusyErrorNamesTheFilesThatSeveralProcessesHaveOpenOnce(t *testing.T) {
	t.Parallel()
	err := &BusyError{Op: "remount", Path: "/x", Users: []User{
		{PID: 1, Command: "sh", Files: []string{"/x/a"}}, {PID: 2, Command: "cat"}, {PID: 3, Command: "dd", Files: []string{"/x/a"}},
		{PID: 4, Command: "cat"}, {PID: 5, Command: "vi", Files: []string{"/x/a", "/x/b"}},
	}}
	want := "remount /x: in use by processes 1 (sh), 3 (dd) with /x/a open for writing, process 2 (cat), process 4 (cat), " +
		"process 5 (vi) with /x/a, /x/b open for writing"
	if got := err.Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestABusyErrorWithoutAUserSaysSo(t *testing.T) {
	t.Parallel()
	err := &BusyError{Op: "detach", Path: "/x"}
	if got, want := err.Error(), "detach /x: in use by nobody who can be seen"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
