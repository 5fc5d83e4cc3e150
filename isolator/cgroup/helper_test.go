package cgroup

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

// hierarchies returns every hierarchy of this host that a Manager can work on.
func hierarchies(t testing.TB) []hierarchy {
	t.Helper()
	mounttest.RequireRoot(t)
	kinds := map[string]int64{hostRoot: unix.CGROUP2_SUPER_MAGIC, hostRoot + "/unified": unix.CGROUP2_SUPER_MAGIC}
	all := []hierarchy{{mount: hostRoot}, {mount: hostRoot + "/unified"}}
	for _, h := range v1Hierarchies {
		kinds[h.mount] = unix.CGROUP_SUPER_MAGIC
		all = append(all, h)
	}
	var found []hierarchy
	for _, h := range all {
		if kind, err := filesystem(h.mount); err == nil && kind == kinds[h.mount] {
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		t.Fatal("no cgroup hierarchy is mounted")
	}
	return found
}

// onEach runs a test against a manager on every hierarchy of this host.
func onEach(t *testing.T, test func(t *testing.T, m *Manager)) {
	t.Parallel()
	for _, h := range hierarchies(t) {
		t.Run(filepath.Base(h.mount), func(t *testing.T) {
			t.Parallel()
			test(t, mustOpen(t, h))
		})
	}
}

// onV2 runs a test against a manager on v2.
func onV2(t *testing.T, test func(t *testing.T, m *Manager)) {
	t.Parallel()
	for _, h := range hierarchies(t) {
		if h.v2() {
			test(t, mustOpen(t, h))
		}
	}
}

// mustOpen returns a manager whose parent is removed, with all that is in it, at the end.
func mustOpen(t testing.TB, h hierarchy) *Manager {
	t.Helper()
	parent := fmt.Sprintf("/tenon-test-%d-%x", os.Getpid(), rand.Uint64())
	m, err := open(h, Options{Parent: parent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(h.mount + parent); err != nil {
			t.Errorf("a test left its cgroups behind: %v", err)
		}
	})
	return m
}

func mustCreate(t testing.TB, m *Manager, task string) *Group {
	t.Helper()
	g, err := m.Create(task)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// process is a child that runs until it is killed or its standard input ends, which it
// does at the latest with the test.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bytes.Buffer
}

// mustStart starts a shell script, after whose end the process waits for its input to
// end. It returns once the script has run.
func mustStart(t testing.TB, script string) *process {
	t.Helper()
	cmd := exec.Command("sh", "-c", script+"\necho started\nexec cat >/dev/null")
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
	p := &process{cmd: cmd, stdin: stdin, out: new(bytes.Buffer)}
	t.Cleanup(p.end)
	line := make([]byte, len("started\n"))
	if _, err := io.ReadFull(io.TeeReader(stdout, p.out), line); err != nil {
		t.Fatalf("script %q did not start: %v", script, err)
	}
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end lets the process and its children end and waits for it.
func (p *process) end() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// wait waits for the process, which must have been killed.
func (p *process) wait(t testing.TB) {
	t.Helper()
	_ = p.cmd.Wait()
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("process ended with %v, want SIGKILL", p.cmd.ProcessState)
	}
}

func mustJoin(t testing.TB, g *Group, pid int) {
	t.Helper()
	if err := g.Join(pid); err != nil {
		t.Fatal(err)
	}
}

func mustPopulated(t testing.TB, g *Group, want bool) {
	t.Helper()
	got, err := g.Populated()
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("populated is %v, want %v: %s", got, want, strings.TrimPrefix(g.Path(), g.hierarchy.mount))
	}
}

// inotifyLines counts the watches that a descriptor's fdinfo lists.
func inotifyLines(fdinfo string) int { return strings.Count("\n"+fdinfo, "\ninotify ") }
