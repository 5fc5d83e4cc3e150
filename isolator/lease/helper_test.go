package lease

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// roleEnv makes the test binary play a part in a test instead of running any.
const roleEnv = "TENON_LEASE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		mounttest.MainInPlace(m)
	case "thread":
		endFirstThread()
	case "watcher":
		watchForEver()
	}
}

// init keeps the first thread for endFirstThread.
func init() {
	if os.Getenv(roleEnv) == "thread" {
		runtime.LockOSThread()
	}
}

// endFirstThread ends the thread that the process started with and leaves others alone.
func endFirstThread() {
	go func() {
		awaitZombie()
		fmt.Println("started")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// awaitZombie waits until the first thread of this process has ended.
func awaitZombie() {
	for {
		text, err := os.ReadFile("/proc/self/stat")
		if err != nil || strings.Contains(string(text), ") Z ") {
			return
		}
		runtime.Gosched()
	}
}

// watchForEver watches the process whose id is the last argument until it is killed.
func watchForEver() {
	w, err := NewWatcher(slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	pid, _ := strconv.Atoi(os.Args[len(os.Args)-1])
	l, err := OfProcess(pid)
	if err != nil {
		panic(err)
	}
	if err := w.Add("task", l); err != nil {
		panic(err)
	}
	fmt.Println("started")
	<-w.Lost()
}

// process is a child that runs until it is killed or its standard input ends, which it
// does at the latest with the test.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// mustStart starts a process that waits for its input to end, and returns once it runs.
func mustStart(t testing.TB) *process {
	t.Helper()
	return mustRun(t, exec.Command("sh", "-c", "echo started; exec cat >/dev/null"))
}

// mustPlay starts this test binary in a part.
func mustPlay(t testing.TB, role string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	return mustRun(t, cmd)
}

// mustRun starts a command and returns once it has written "started".
func mustRun(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, stdin: stdin}
	t.Cleanup(p.kill)
	line := make([]byte, len("started\n"))
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "started\n" {
		t.Fatalf("%v wrote %q, %v", cmd.Args, line, err)
	}
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end lets the process end and waits for it.
func (p *process) end() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// kill kills the process and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.end()
}

// zombify kills the process and leaves it unwaited for, but sure to have ended.
func (p *process) zombify(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	err := unix.Waitid(unix.P_PID, p.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func (p *process) lease(t testing.TB) Lease {
	t.Helper()
	l, err := OfProcess(p.pid())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// group is a cgroup that a test has made.
type group string

// onEach runs a test on a hierarchy of v2 and one of v1, as far as the host has them.
// newGroup makes a group that is removed at the end of the test.
func onEach(t *testing.T, test func(t *testing.T, newGroup func(name string) group)) {
	t.Parallel()
	mounttest.RequireRoot(t)
	found := 0
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer"} {
		if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err != nil {
			continue
		}
		found++
		t.Run(filepath.Base(mount), func(t *testing.T) {
			t.Parallel()
			test(t, newParent(t, mount))
		})
	}
	if found == 0 {
		t.Fatal("no cgroup hierarchy is mounted")
	}
}

// onV2 runs a test on the hierarchy of v2.
func onV2(t *testing.T, test func(t *testing.T, newGroup func(name string) group)) {
	t.Parallel()
	mounttest.RequireRoot(t)
	mount := "/sys/fs/cgroup"
	if _, err := os.Stat(mount + "/cgroup.procs"); err != nil {
		mount += "/unified"
	}
	test(t, newParent(t, mount))
}

func newParent(t testing.TB, mount string) func(string) group {
	t.Helper()
	parent := fmt.Sprintf("%s/tenon-test-%d-%x", mount, os.Getpid(), rand.Uint64())
	mustMkdir(t, parent)
	return func(name string) group {
		t.Helper()
		g := group(filepath.Join(parent, name))
		mustMkdir(t, string(g))
		return g
	}
}

func mustMkdir(t testing.TB, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
			t.Errorf("a test left its cgroup %s behind: %v", dir, err)
		}
	})
}

func (g group) lease() Lease { return Lease{Cgroup: string(g)} }

func (g group) mustJoin(t testing.TB, p *process) {
	t.Helper()
	err := os.WriteFile(filepath.Join(string(g), "cgroup.procs"), []byte(strconv.Itoa(p.pid())), 0)
	if err != nil {
		t.Fatal(err)
	}
}

func (g group) mustRemove(t testing.TB) {
	t.Helper()
	if err := unix.Rmdir(string(g)); err != nil {
		t.Fatal(err)
	}
}

// mustWatch returns a Watcher that looks often where it has to poll.
func mustWatch(t testing.TB) *Watcher {
	t.Helper()
	w, err := NewWatcher(slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.pollEvery = time.Millisecond
	w.mu.Unlock()
	t.Cleanup(func() { mustClose(t, w) })
	return w
}

func mustClose(t testing.TB, w *Watcher) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func mustAdd(t testing.TB, w *Watcher, key string, l Lease) {
	t.Helper()
	if err := w.Add(key, l); err != nil {
		t.Fatal(err)
	}
}

// mustLose waits for the next lease to end, which must be that of key.
func mustLose(t *testing.T, w *Watcher, key string) {
	t.Helper()
	select {
	case got := <-w.Lost():
		if got != key {
			t.Errorf("lost %q, want %q", got, key)
		}
	case <-testContext(t).Done():
		t.Fatalf("%s was never lost", key)
	}
}

// testContext ends shortly before the test binary's time is up, so that a test that hangs
// still cleans up.
func testContext(t *testing.T) context.Context {
	t.Helper()
	at, ok := t.Deadline()
	if !ok {
		return t.Context()
	}
	ctx, cancel := context.WithDeadline(t.Context(), at.Add(-10*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// mustHold fails if the Watcher has told of any lease, or has an end to tell, once it has
// done what it had to do. It knows by leases of its own that end last: of a process and,
// if newGroup is not nil, of groups. Two of them, as the first may be told together with
// what happened before.
func mustHold(t *testing.T, w *Watcher, newGroup func(string) group) {
	t.Helper()
	p := mustStart(t)
	mustAdd(t, w, "last process", p.lease(t))
	p.end()
	mustLose(t, w, "last process")
	for i := 0; newGroup != nil && i < 2; i++ {
		g := newGroup(fmt.Sprintf("last-%x", rand.Uint64()))
		p := mustStart(t)
		g.mustJoin(t, p)
		mustAdd(t, w, "last group", g.lease())
		p.end()
		mustLose(t, w, "last group")
	}
}
