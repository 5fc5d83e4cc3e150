package host_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tenon/isolator/cgroup"
	"tenon/mount"
	"tenon/mount/mounttest"
)

// shell is a task that runs: a shell in a mount namespace of its own.
type shell struct {
	t       *testing.T
	pid     int
	in      func(string) error
	answers *bufio.Scanner
	end     func() // and wait for it
}

// startShell starts one with the propagation given, as mount(8) knows it. It ends with the test.
func startShell(t *testing.T, propagation string) *shell {
	t.Helper()
	mounttest.RequireMounts(t)
	sh := runShell(t, exec.Command("sh"), &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	sh.must("mount --make-r" + propagation + " /")
	return sh
}

func runShell(t *testing.T, cmd *exec.Cmd, attr *syscall.SysProcAttr) *shell {
	t.Helper()
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, pid: cmd.Process.Pid, answers: bufio.NewScanner(out)}
	s.in = func(line string) error { _, err := fmt.Fprintln(in, line); return err }
	ended := false
	s.end = func() {
		if ended {
			return
		}
		ended = true
		_ = in.Close() // at which the shell ends
		_ = cmd.Wait() // its exit code is that of its last command
	}
	t.Cleanup(s.end)
	return s
}

// do has the shell run a command, and gives what it said.
func (s *shell) do(command string) (said string, ok bool) {
	s.t.Helper()
	if err := s.in("{ " + command + "\n} 2>&1; echo \"end $?\""); err != nil {
		s.t.Fatal(err)
	}
	for s.answers.Scan() {
		if code, is := strings.CutPrefix(s.answers.Text(), "end "); is {
			return said, code == "0"
		}
		said += s.answers.Text() + "\n"
	}
	s.t.Fatalf("%s: the shell has ended: %v", command, s.answers.Err())
	return "", false
}

func (s *shell) must(command string) string {
	s.t.Helper()
	said, ok := s.do(command)
	if !ok {
		s.t.Fatalf("%s: %s", command, said)
	}
	return strings.TrimSpace(said)
}

// fails has a command fail with certain words.
func (s *shell) fails(command, words string) {
	s.t.Helper()
	if said, ok := s.do(command); ok || !strings.Contains(said, words) {
		s.t.Errorf("%s: ends well is %v, and says %q; want it to fail with %q", command, ok, said, words)
	}
}

// child starts one more process in the shell's namespace, which reads from a pipe until that is
// closed by the shell's end, and gives its number.
func (s *shell) child(fifo string) int {
	s.t.Helper()
	s.must("mkfifo " + fifo)
	pid, err := strconv.Atoi(s.must("cat <>" + fifo + " >/dev/null & echo $!"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // it is the test's own
	return pid
}

// join puts the shell into the cgroup of a task.
func (s *shell) join(path string) {
	s.t.Helper()
	group, err := cgroup.Find(path)
	if err == nil {
		err = group.Join(s.pid)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// place makes a mount that was handed over appear in the shell's namespace, as a task does.
func (s *shell) place(f *os.File, at string) error {
	ns, err := mount.OpenNamespace(s.pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	return ns.Attach(s.t.Context(), mount.FromFile(f), at, true)
}

// place is a directory of the test that is no sandbox.
func (n *node) place(name string) string { return filepath.Join(n.dir, "place", name) }

// follower starts a process in a copy of the shell's namespace, with the propagation given as
// unshare(1) knows it, and gives its number.
func (s *shell) follower(fifo, propagation string) int {
	s.t.Helper()
	s.must("mkfifo " + fifo)
	pid, err := strconv.Atoi(s.must("unshare --mount --propagation " + propagation + " cat <>" + fifo + " >/dev/null & echo $!"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // it is the test's own
	s.must(fmt.Sprintf("until grep -q cat /proc/%d/comm; do :; done", pid))
	return pid
}
