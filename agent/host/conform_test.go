package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenon/agent/agenttest"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/isolator/quota"
	"tenon/mount/mounttest"
)

// What the kernel in memory is held to, by which most of what is known of the agent is shown,
// is what the real one does.
func TestTheRealKernelConforms(t *testing.T) {
	mounttest.RequireRoot(t)
	mounttest.RequireMounts(t)
	agenttest.Conform(t, func(t *testing.T) *agenttest.Bench { return real(t, directory(t)) })
}

// On each file system that volumes may lie on, with and without limits.
func TestTheRealKernelConformsOnEachFileSystem(t *testing.T) {
	onDisks(t, append(mounttest.Limiting(), mounttest.Plain()...), func(t *testing.T, d *mounttest.Disk, _ string) {
		agenttest.Conform(t, func(t *testing.T) *agenttest.Bench {
			dir := directoryIn(t, d.Dir)
			b := real(t, dir)
			b.Sizes = sizesOn(t, d, dir)
			return b
		})
	})
}

func real(t *testing.T, dir string) *agenttest.Bench {
	t.Helper()
	var h *host.Host
	t.Cleanup(func() { unmountBeneath(t, dir); must(t, h.Close()) })
	open := func() agenttest.Host {
		var err error
		h, err = host.Open(options(dir))
		must(t, err)
		return h
	}
	b := &agenttest.Bench{Host: open(), Roots: filepath.Join(dir, "sandboxes"), Sizes: sizes(t, dir)}
	b.Again = func() agenttest.Host { must(t, h.Close()); return open() }
	b.Group = func(task string) string { return groupOf(t, dir, task) }
	b.Rates = rates(t, dir)
	b.Hold = func(path string, write bool) func() { return hold(t, path, write) }
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
		from, to := filepath.Join(dir, "pool", "live", string(id)), filepath.Join(dir, "pool", "hidden")
		must(t, os.Rename(from, to))
		return func() { must(t, os.Rename(to, from)) }
	}
	b.Bear = func(name string) (int, func()) { return bear(t, name) }
	b.Pass = func(time.Duration) {}
	b.Spaces = spaces(t, dir)
	return b
}

// spaces are those of shells, and of what these start.
func spaces(t *testing.T, dir string) agenttest.Spaces {
	shells := map[int]*shell{}
	s := agenttest.Spaces{Dir: filepath.Join(dir, "place")}
	s.Bear = func(name string, in int) (int, func()) {
		if of := shells[in]; of != nil {
			pid := of.child(filepath.Join(dir, "fifo"))
			join(t, name, pid)
			return pid, func() { must(t, syscall.Kill(pid, syscall.SIGKILL)); awaitEnd(t, pid) }
		}
		sh := startShell(t, "private")
		shells[sh.pid] = sh
		join(t, name, sh.pid)
		return sh.pid, sh.end
	}
	s.Hold = func(pid int, path string, write bool) func() {
		return hold(t, filepath.Join("/proc", strconv.Itoa(pid), "root", path), write)
	}
	s.Cover = func(pid int, path string) func() {
		shells[pid].must("mkdir -p " + path + " && mount -t tmpfs tmpfs " + path)
		return func() { shells[pid].must("umount " + path) }
	}
	s.Place = func(pid int, mount *os.File, path string) { must(t, shells[pid].place(mount, path)) }
	return s
}

// awaitEnd waits until a process that is nobody's child here has.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	must(t, err)
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n != 1 {
			t.Fatalf("process %d does not end: %v", pid, err)
		}
		return
	}
}

func hold(t *testing.T, path string, write bool) (end func()) {
	t.Helper()
	if write {
		path = filepath.Join(path, "file")
		must(t, os.WriteFile(path, nil, 0o600))
	}
	f, err := os.OpenFile(path, map[bool]int{true: os.O_WRONLY}[write], 0)
	must(t, err)
	return closing(t, f)
}

// join puts a process into a cgroup, if one is named.
func join(t *testing.T, name string, pid int) {
	t.Helper()
	if name == "" {
		return
	}
	group, err := cgroup.Find(name)
	must(t, err)
	must(t, group.Join(pid))
}

// rates are the hands of those who change limits of input and output, where there can be any.
func rates(t *testing.T, dir string) agenttest.Rates {
	m, err := cgroup.Open(cgroup.Options{Parent: options(dir).CgroupParent})
	must(t, err)
	if err := m.LimitsIO(); err != nil {
		return agenttest.Rates{}
	}
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	device, err := cgroup.DeviceOf(d)
	return agenttest.Rates{Limits: err == nil, Change: func(name string, to volume.Rate) {
		group, err := cgroup.Find(name)
		must(t, err)
		must(t, group.LimitIO(cgroup.IOLimit{Device: device, Read: uint64(to.Read), Write: uint64(to.Write), ReadOps: to.ReadOps, WriteOps: to.WriteOps}))
	}}
}

// sizes are the hands of those who change limits, on a directory that has none unless it happens to lie
// on a file system that has.
func sizes(t *testing.T, dir string) agenttest.Sizes {
	data := func(id volume.UUID) string { return filepath.Join(dir, "pool", "live", string(id), "data") }
	s := agenttest.Sizes{Enforcement: enforcement(t, dir)}
	s.Write = func(id volume.UUID, n resource.Bytes) error {
		_, err := mounttest.Fill(t, filepath.Join(data(id), "file"), uint64(n))
		return err
	}
	s.Keep = func(id volume.UUID) func() {
		f, err := os.Open(filepath.Join(data(id), "file"))
		must(t, err)
		return closing(t, f)
	}
	s.Relimit = func(project uint32, size resource.Scalar) {
		with(t, dir, func(q *quota.Quota) error {
			t.Cleanup(func() { with(t, dir, func(q *quota.Quota) error { _ = q.Clear(project); return nil }) }) // unless a volume is in it
			return q.SetLimit(project, uint64(size.Bytes()), 0)
		})
	}
	s.Relabel = func(id volume.UUID, project uint32) {
		with(t, dir, func(q *quota.Quota) error {
			d, err := os.Open(data(id))
			must(t, err)
			defer d.Close()
			return q.Assign(t.Context(), d, project)
		})
	}
	return s
}

// sizesOn are sizes on a file system of the test's own.
func sizesOn(t *testing.T, d *mounttest.Disk, dir string) agenttest.Sizes {
	s := sizes(t, dir)
	if limits := s.Enforcement.Mode == volume.EnforcedHard; limits != (d.Full != nil) {
		t.Errorf("%s enforces limits is %v", d.Name, limits)
	}
	if d.Type == "btrfs" && d.Full != nil {
		s.Switch = func() func() {
			must(t, d.SwitchQuotas(false))
			on := sync.OnceFunc(func() { must(t, d.SwitchQuotas(true)) })
			t.Cleanup(on)
			return on
		}
	}
	if d.Type == "ext4" {
		s.Brim = func() func() { return brim(t, filepath.Join(d.Dir, "ballast")) }
	}
	return s
}

// brim has a directory take all the room that there is.
func brim(t *testing.T, path string) (end func()) {
	t.Helper()
	must(t, os.Mkdir(path, 0o700))
	f, err := os.Create(filepath.Join(path, "large"))
	must(t, err)
	defer f.Close()
	at := int64(0)
	for size := int64(1 << 30); size >= 512; size /= 2 {
		for err = nil; err == nil; at += size {
			err = syscall.Fallocate(int(f.Fd()), 0, at, size)
		}
	}
	err = nil
	for n := 0; err == nil; n++ {
		err = os.Mkdir(filepath.Join(path, strconv.Itoa(n)), 0o700)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a disk is filled up: %v", err)
	}
	return sync.OnceFunc(func() { must(t, os.RemoveAll(path)) })
}

// enforcement is what quotactl(2) or btrfs says of a directory.
func enforcement(t *testing.T, dir string) (e volume.Enforcement) {
	with(t, dir, func(q *quota.Quota) error {
		st, err := q.Status()
		e.Mode = volume.EnforcementMode(st.Enforcement)
		switch {
		case st.Enforcement != quota.Hard:
		case st.Filesystem == "btrfs":
			e.By = volume.BySubvolume
		default:
			e.By = volume.ByProject
		}
		return err
	})
	return e
}

// bear starts a process, in a cgroup if one is named.
func bear(t *testing.T, name string) (pid int, end func()) {
	t.Helper()
	c := worker(t, nil)
	join(t, name, c.Process.Pid)
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
