package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/host"
	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/mount/mounttest"
)

// What the kernel in memory is held to, by which most of what is known of the agent is shown,
// is what the real one does.
func TestTheRealKernelConforms(t *testing.T) {
	mounttest.RequireRoot(t)
	mounttest.RequireMounts(t)
	agenttest.Conform(t, real)
}

func real(t *testing.T) *agenttest.Bench {
	t.Helper()
	dir := directory(t)
	var h *host.Host
	t.Cleanup(func() { unmountBeneath(t, dir); must(t, h.Close()) })
	open := func() agent.Kernel {
		var err error
		h, err = host.Open(options(dir))
		must(t, err)
		return h
	}
	b := &agenttest.Bench{Kernel: open(), Roots: filepath.Join(dir, "sandboxes")}
	b.Again = func() agent.Kernel { must(t, h.Close()); return open() }
	b.Group = func(task string) string { return groupOf(t, dir, task) }
	b.Hold = func(path string, write bool) func() {
		if write {
			path = filepath.Join(path, "file")
			must(t, os.WriteFile(path, nil, 0o600))
		}
		f, err := os.OpenFile(path, map[bool]int{true: os.O_WRONLY}[write], 0)
		must(t, err)
		return closing(t, f)
	}
	b.Cover = func(path string) func() {
		must(t, os.Mkdir(path, 0o755))
		must(t, syscall.Mount("tmpfs", path, "tmpfs", 0, ""))
		return func() { must(t, syscall.Unmount(path, 0)); must(t, os.Remove(path)) }
	}
	b.Squat = func(path string) func() {
		must(t, os.MkdirAll(filepath.Join(path, "of a user"), 0o755))
		return func() { must(t, os.RemoveAll(path)) }
	}
	b.Hide = func(id volume.UUID) func() {
		from, to := filepath.Join(dir, "pool", "live", string(id)), filepath.Join(dir, "hidden")
		must(t, os.Rename(from, to))
		return func() { must(t, os.Rename(to, from)) }
	}
	b.Bear = func(name string) (int, func()) { return bear(t, name) }
	return b
}

// bear starts a process, in a cgroup if one is named.
func bear(t *testing.T, name string) (pid int, end func()) {
	t.Helper()
	c := worker(t, nil)
	if name != "" {
		group, err := cgroup.Find(name)
		must(t, err)
		must(t, group.Join(c.Process.Pid))
	}
	return c.Process.Pid, func() { must(t, c.Process.Kill()); _ = c.Wait() }
}

// groupOf is the path of a task's cgroup.
func groupOf(t *testing.T, dir, task string) string {
	t.Helper()
	m, err := cgroup.Open(cgroup.Options{Parent: options(dir).CgroupParent})
	must(t, err)
	path, err := m.Path(task)
	must(t, err)
	return path
}

// closing closes a file once: when it is called, or at the end of the test.
func closing(t *testing.T, f *os.File) func() {
	t.Helper()
	end := func() {
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return end
}

// unmountBeneath takes away what is mounted in the sandboxes of a directory.
func unmountBeneath(t *testing.T, dir string) {
	t.Helper()
	for {
		if err := syscall.Unmount(filepath.Join(dir, "sandboxes", "task", "data"), syscall.MNT_DETACH); err != nil {
			return
		}
	}
}
