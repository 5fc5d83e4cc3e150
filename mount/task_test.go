package mount

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
	"tenon/mount/mounttest"
)

// taskEnv makes this test binary a task: a process in a mount namespace of its own that does
// what it is told on its standard input, one line each, and answers with a line: "ok",
// what was asked for, or an error. Its value is the propagation of all mounts there.
const taskEnv = "TENON_MOUNT_TASK"

var propagations = map[string]uintptr{
	"private": unix.MS_REC | unix.MS_PRIVATE,
	"slave":   unix.MS_REC | unix.MS_SLAVE,
	"shared":  0, // as it was in the namespace that was copied
}

// runTask is the task's main function, if this is one.
func runTask() {
	propagation, ok := propagations[os.Getenv(taskEnv)]
	if !ok {
		return
	}
	if propagation != 0 {
		if err := unix.Mount("", "/", "", propagation, ""); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println("ok")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := append(strings.Fields(lines.Text()), "", "")
		answer, err := obey(words[0], words[1], words[2])
		if err != nil {
			answer = err.Error()
		}
		fmt.Println(answer)
	}
	os.Exit(0)
}

// kept are the descriptors that a task keeps open.
var kept []int

func obey(verb, a, b string) (string, error) {
	switch verb {
	case "read":
		text, err := os.ReadFile(a)
		return string(text), err
	case "write":
		return "ok", os.WriteFile(a, []byte("written"), 0o644)
	case "mkdir":
		return "ok", os.MkdirAll(a, 0o755)
	case "rename":
		return "ok", os.Rename(a, b)
	case "symlink":
		return "ok", os.Symlink(a, b)
	case "chroot":
		if err := unix.Chroot(a); err != nil {
			return "", err
		}
		return "ok", unix.Chdir("/")
	case "tmpfs":
		return "ok", unix.Mount("none", a, "tmpfs", 0, "")
	case "bind":
		return "ok", unix.Mount(a, b, "", unix.MS_BIND, "")
	case "unmount":
		return "ok", unix.Unmount(a, unix.MNT_DETACH)
	case "writable":
		return "ok", unix.MountSetattr(unix.AT_FDCWD, a, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	case "open":
		fd, err := unix.Open(a, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		kept = append(kept, fd)
		return "ok", err
	case "fuse": // a filesystem that never answers
		fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		kept = append(kept, fd)
		return "ok", unix.Mount("none", a, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
	case "look": // into the namespace of another process
		return lookInto(a, b)
	case "churn": // exchanges two names until the task ends
		go func() {
			for unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
			}
		}()
		return "ok", nil
	case "threads": // takes many threads elsewhere
		return takeThreads(1000)
	case "close":
		for _, fd := range kept {
			unix.Close(fd)
		}
		kept = nil
		return "ok", nil
	}
	return "", fmt.Errorf("unknown verb %q", verb)
}

// takeThreads takes threads to namespaces of their own while the first one is free to be taken,
// and says whether that one is where it was.
func takeThreads(n int) (string, error) {
	runtime.UnlockOSThread() // the first thread is the main goroutine's, by an init
	const first = "/proc/self/ns/mnt"
	before, err := os.Readlink(first)
	if err != nil {
		return "", err
	}
	for range n {
		done := make(chan error)
		sys.OnOwnThread(func() { done <- unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS) })
		if err := <-done; err != nil {
			return "", err
		}
	}
	if after, err := os.Readlink(first); err != nil || after != before {
		return "", fmt.Errorf("the first thread went to %s, %v", after, err)
	}
	return "ok", nil
}

func lookInto(pid, target string) (string, error) {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return "", err
	}
	ns, err := OpenNamespace(n)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	_, err = ns.At(context.Background(), target)
	return "ok", err
}

// task is a running task and its namespace.
type task struct {
	t       testing.TB
	pid     int
	ns      *Namespace
	ask     *os.File
	answers *bufio.Scanner
	stop    func() // ends it
}

// startTask starts a task with the given propagation. It ends with the test. Tests with tasks
// do not run in parallel, see startChild.
func startTask(t testing.TB, propagation string, attr *syscall.SysProcAttr) *task {
	t.Helper()
	mounttest.RequireMounts(t)
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Cloneflags |= syscall.CLONE_NEWNS
	cmd := exec.Command("/proc/self/exe")
	// Of a race detector: it has nothing to wait for at the end.
	cmd.Env = append(os.Environ(), taskEnv+"="+propagation, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr, cmd.Stderr = attr, os.Stderr
	theirs, ask := mustPipe(t)
	answers, theirOut := mustPipe(t)
	cmd.Stdin, cmd.Stdout = theirs, theirOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	theirOut.Close()
	stopped := false
	k := &task{t: t, pid: cmd.Process.Pid, ask: ask, answers: bufio.NewScanner(answers)}
	k.stop = func() {
		if !stopped {
			stopped = true
			ask.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(k.stop)
	if got := k.answer(); got != "ok" {
		t.Fatal(got)
	}
	var err error
	if k.ns, err = OpenNamespace(k.pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.ns.Close() })
	return k
}

func mustPipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func (k *task) answer() string {
	k.t.Helper()
	if !k.answers.Scan() {
		k.t.Fatalf("the task has ended: %v", k.answers.Err())
	}
	return k.answers.Text()
}

// do lets the task do something and returns its answer.
func (k *task) do(words ...string) string {
	k.t.Helper()
	if _, err := fmt.Fprintln(k.ask, strings.Join(words, " ")); err != nil {
		k.t.Fatal(err)
	}
	return k.answer()
}

// must lets the task do something that has to succeed.
func (k *task) must(words ...string) {
	k.t.Helper()
	if got := k.do(words...); got != "ok" {
		k.t.Fatalf("%q: %s", words, got)
	}
}

// inOwnUsers is a task that is root in a user namespace of its own, which owns its mounts.
func inOwnUsers() *syscall.SysProcAttr {
	same := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: same, GidMappings: same}
}
