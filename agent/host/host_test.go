package host_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tenon/agent"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/isolator/quota"
	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }

// node is an agent on the real kernel, in a directory of its own.
type node struct {
	*agent.Agent
	dir  string
	stop func()
}

func start(t *testing.T, dir string) *node { t.Helper(); return startIn(t, dir, "this") }

// startIn is start in a boot of that name, with more disks.
func startIn(t *testing.T, dir, boot string, more ...volume.Disk) *node {
	t.Helper()
	n, err := startOrDie(t, dir, boot, &life{}, more...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// startOrDie is startIn of an agent that may end on the way.
func startOrDie(t *testing.T, dir, boot string, l *life, more ...volume.Disk) (*node, error) {
	t.Helper()
	mounttest.RequireMounts(t)
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open(filepath.Join(dir, "state"), checkpoint.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	o := options(dir)
	for _, d := range more {
		_, o.Disks[d.Key], _ = strings.Cut(d.Key, ":")
	}
	h, err := host.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: dir}
	n.stop = func() {
		if n.Agent != nil {
			n.Stop()
		}
		if err := errors.Join(h.Close(), j.Close()); err != nil {
			t.Error(err)
		}
		n.stop = func() {}
	}
	t.Cleanup(func() { n.stop() })
	n.Agent, err = agent.Start(t.Context(), agent.Options{Kernel: mortal{h, l}, Journal: lastWords{j, l}, Boot: boot, Log: quiet, Crash: l.pass,
		Gauge: h, Host: l.info, Disks: append([]volume.Disk{{Total: 4096 * resource.One}}, more...)})
	return n, err
}

// options are those of a host with all that it has in dir.
func options(dir string) host.Options {
	return host.Options{
		Disks:        map[string]string{"": filepath.Join(dir, "pool")},
		SandboxRoots: []string{filepath.Join(dir, "sandboxes")},
		CgroupParent: "/" + filepath.Base(dir),
		Projects:     quota.Range{First: 5000, Last: 5031},
		Log:          slog.New(slog.DiscardHandler),
	}
}

// directory is a place for an agent, which is unmounted and removed at the end.
func directory(t *testing.T) string { t.Helper(); return directoryIn(t, "") }

// directoryIn is directory on the file system of another one.
func directoryIn(t *testing.T, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "tenon-host-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Remove(options(dir), dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (n *node) must(t *testing.T, ops ...volume.Operation) *volume.State {
	t.Helper()
	s, err := n.Do(t.Context(), ops...)
	if err != nil {
		t.Fatalf("%s: %v", ops[0].Name(), err)
	}
	return s
}

func (n *node) create(t *testing.T, id string, shared bool) {
	t.Helper()
	n.must(t, creation(id, 64, shared))
}

// creation is of a volume of so many MiB.
func creation(id string, size resource.Scalar, shared bool) volume.Create {
	return volume.Create{Role: "web", Owner: volume.Owner{Mode: 0o1777}, Volume: resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: size * resource.One, Shared: shared,
		Disk: &resource.Disk{Persistence: &resource.Persistence{ID: id}, Volume: &resource.Volume{ContainerPath: id, Mode: resource.RW}}}}
}

func (n *node) reserve(t *testing.T) {
	t.Helper()
	n.must(t, volume.Reserve{Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar, Scalar: 2048 * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}}})
}

func use(task, id, path string, mode resource.Mode) volume.Attach {
	return volume.Attach{Task: task, Use: volume.Use{Volume: "web/" + id, Path: path, Mode: mode}, Via: volume.ByPath}
}

// names lists a directory of the pool.
func (n *node) names(t *testing.T, place string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.dir, "pool", place))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestASharedVolumeInTwoSandboxes(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	n.must(t, use("writer", "data", "in/data", resource.RW))
	n.must(t, use("reader", "data", "", resource.RO))
	file := filepath.Join(n.dir, "sandboxes", "writer", "in", "data", "greeting")
	if err := os.WriteFile(file, []byte("hi"), 0o644); err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(n.dir, "sandboxes", "reader", "data", "greeting")
	if text, err := os.ReadFile(seen); err != nil || string(text) != "hi" {
		t.Fatalf("reader sees %q, %v", text, err)
	}
	if err := os.WriteFile(seen, []byte("no"), 0o644); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("a reader writes: %v, want EROFS", err)
	}
	if _, err := n.Do(t.Context(), volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrInUse) {
		t.Fatalf("destroy of a held volume: %v", err)
	}
	n.must(t, volume.Release{Task: "reader"})
	n.must(t, volume.Detach{Task: "writer", Volume: "web/data"})
	n.must(t, volume.Destroy{Ref: "web/data"})
	for _, place := range []string{"incoming", "live", "trash"} {
		if left := n.names(t, place); len(left) > 0 {
			t.Errorf("%s has %v", place, left)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(n.dir, "sandboxes")); len(left) > 0 {
		t.Errorf("sandboxes left: %v", left)
	}
}

func TestARestartFindsMountsAndDataAsTheyWere(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	n.must(t, use("writer", "data", "", resource.RW))
	open, err := os.Create(filepath.Join(dir, "sandboxes", "writer", "data", "log"))
	if err != nil {
		t.Fatal(err)
	}
	n.stop()
	if _, err := open.WriteString("still here"); err != nil {
		t.Errorf("write while no agent runs: %v", err)
	}
	n = start(t, dir)
	if _, err := open.WriteString(" and after"); err != nil {
		t.Errorf("write after the restart: %v", err)
	}
	if _, err := n.Do(t.Context(), volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("destroy after the restart: %v", err)
	}
	_, err = n.Do(t.Context(), volume.Detach{Task: "writer", Volume: "web/data"})
	if !errors.Is(err, volume.ErrBusy) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("detach of a busy mount: %v, want busy with the process", err)
	}
	_ = open.Close()
	n.must(t, volume.Release{Task: "writer"})
	n.must(t, volume.Destroy{Ref: "web/data"})
}

func TestAMountThatVanishedIsMadeAgainAndALostVolumeIsNot(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	n.create(t, "gone", false)
	n.must(t, use("writer", "data", "", resource.RW))
	target := filepath.Join(dir, "sandboxes", "writer", "data")
	v, _ := n.State().Find("web/gone")
	n.stop()
	if err := syscall.Unmount(target, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "pool", "live", string(v.UUID))); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir)
	if err := os.WriteFile(filepath.Join(target, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if live := n.names(t, "live"); len(live) != 1 {
		t.Errorf("live has %v, want the one that is not lost", live)
	}
	if f, ok := n.State().Fault(volume.UnitOfVolume(v.UUID)); !ok || f.Kind != volume.ErrLost {
		t.Errorf("fault of the lost volume: %+v", f)
	}
	if _, err := n.Do(t.Context(), use("other", "gone", "", resource.RW)); !errors.Is(err, volume.ErrLost) {
		t.Errorf("attach of a lost volume: %v", err)
	}
	n.must(t, volume.Destroy{Ref: "web/gone"})
	n.must(t, volume.Release{Task: "writer"})
}

func TestAVolumeThatVanishesWhileTheAgentRunsIsLost(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	v, _ := n.State().Find("web/data")
	if err := os.RemoveAll(filepath.Join(dir, "pool", "live", string(v.UUID))); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Do(t.Context(), use("task", "data", "", resource.RW)); !errors.Is(err, volume.ErrLost) {
		t.Errorf("attach: %v, want lost", err)
	}
	until(t, n.Agent, func(s *volume.State) bool {
		f, ok := s.Fault(volume.UnitOfVolume(v.UUID))
		return ok && f.Kind == volume.ErrLost && s.CountTasks() == 0
	})
	n.must(t, volume.Destroy{Ref: "web/data"})
}

func TestAPoolThatIsNotThereIsNeverMadeOverItsMountPoint(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	n.stop()
	pool := filepath.Join(dir, "pool")
	if err := errors.Join(os.Rename(pool, pool+".away"), os.Mkdir(pool, 0o755)); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir)
	if _, err := n.Do(t.Context(), use("t", "data", "", resource.RW)); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("attach: %v, want unavailable", err)
	}
	if _, err := n.Do(t.Context(), volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("destroy: %v, want unavailable", err)
	}
	n.stop()
	if entries, err := os.ReadDir(pool); err != nil || len(entries) != 0 {
		t.Errorf("made beneath the mount point: %v, %v", entries, err)
	}
	if err := errors.Join(os.Remove(pool), os.Rename(pool+".away", pool)); err != nil {
		t.Fatal(err)
	}
	n = start(t, dir)
	n.must(t, use("t", "data", "", resource.RW))
	n.must(t, volume.Release{Task: "t"})
}

func TestCVE_2015_1335_WhatLiesInTheWayIsRefusedAndLeavesNoHolder(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	sandbox := filepath.Join(n.dir, "sandboxes", "hostile")
	outside := filepath.Join(n.dir, "outside")
	if err := errors.Join(os.Mkdir(sandbox, 0o755), os.Mkdir(outside, 0o755),
		os.Symlink(outside, filepath.Join(sandbox, "absolute")), os.Symlink("../../outside", filepath.Join(sandbox, "up")),
		os.Mkdir(filepath.Join(n.dir, "sandboxes", "other"), 0o755), os.Symlink("../other", filepath.Join(sandbox, "beside")),
		os.Symlink("/proc/self/root", filepath.Join(sandbox, "magic")),
		os.WriteFile(filepath.Join(sandbox, "file"), nil, 0o644),
		os.MkdirAll(filepath.Join(sandbox, "full", "x"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"absolute", "absolute/x", "up", "up/x", "beside", "beside/x", "magic", "magic/tmp", "file", "file/x", "full"} {
		op := use("hostile", "data", path, resource.RW)
		op.Sandbox = sandbox
		if _, err := n.Do(t.Context(), op); !errors.Is(err, volume.ErrExists) {
			t.Errorf("attach at %s: %v, want refused", path, err)
		}
	}
	for _, dir := range []string{outside, filepath.Join(n.dir, "sandboxes", "other")} {
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s has %v", dir, entries)
		}
	}
	s := n.State()
	if v, _ := s.Find("web/data"); len(s.Holders(v.UUID)) != 0 || s.CountTasks() != 0 {
		t.Errorf("left: holders %v, %d tasks", s.Holders(v.UUID), s.CountTasks())
	}
	op := use("hostile", "data", "ok", resource.RW)
	op.Sandbox = outside
	if _, err := n.Do(t.Context(), op); !errors.Is(err, volume.ErrForbidden) {
		t.Errorf("sandbox outside of every root: %v", err)
	}
}

func TestATaskIsReleasedWhenItsLastProcessEnds(t *testing.T) {
	mounttest.RequireRoot(t)
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", false)
	claimant := exec.Command("sleep", "1000")
	if err := claimant.Start(); err != nil {
		t.Fatal(err)
	}
	s := n.must(t, volume.Claim{Task: "job", Cgroup: true, Lease: volume.Lease{PID: claimant.Process.Pid},
		Uses: []volume.Use{{Volume: "web/data"}}})
	task, _ := s.Task("job")
	inside := exec.Command("sleep", "1000")
	dir, err := os.Open(task.Lease.Cgroup)
	if err != nil {
		t.Fatal(err)
	}
	inside.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := errors.Join(inside.Start(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	_ = errors.Join(claimant.Process.Kill(), ended(claimant))
	if _, err := n.Do(t.Context(), volume.Release{Task: "job"}); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("release while a process is inside: %v", err)
	}
	if _, err := n.Do(t.Context(), volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("destroy while a process is inside: %v", err)
	}
	_ = errors.Join(inside.Process.Kill(), ended(inside))
	until(t, n.Agent, func(s *volume.State) bool { return s.CountTasks() == 0 })
	n.must(t, volume.Destroy{Ref: "web/data"})
}

// ended waits for a child that was killed; its exit status is of no interest.
func ended(c *exec.Cmd) error {
	_ = c.Wait()
	return nil
}

func until(t *testing.T, a *agent.Agent, done func(*volume.State) bool) {
	t.Helper()
	s := a.State()
	for !done(s) {
		next, err := a.Watch(context.WithoutCancel(t.Context()), s.Version)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
}

func TestAMountIsFoundWhenItsWholeSandboxWasMoved(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	sandboxes := filepath.Join(dir, "sandboxes", "user")
	if err := os.MkdirAll(filepath.Join(sandboxes, "job"), 0o777); err != nil {
		t.Fatal(err)
	}
	op := use("sly", "data", "", resource.RW)
	op.Sandbox = filepath.Join(sandboxes, "job")
	n.must(t, op)
	if err := os.Rename(op.Sandbox, filepath.Join(sandboxes, "gone")); err != nil {
		t.Fatal(err)
	}
	n.must(t, volume.Release{Task: "sly"})
	if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(table), sandboxes) {
		t.Errorf("still mounted, %v:\n%s", err, table)
	}
	n.must(t, volume.Destroy{Ref: "web/data"})
}

func TestAMountBeneathAnotherIsNotForgotten(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	n.must(t, use("task", "data", "", resource.RW))
	target := filepath.Join(dir, "sandboxes", "task", "data")
	if err := syscall.Mount("over", target, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Do(t.Context(), volume.Detach{Task: "task", Volume: "web/data"}); err == nil {
		t.Error("detach went through beneath another mount")
	}
	if _, err := n.Do(t.Context(), volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("destroy: %v, want in use", err)
	}
	if err := syscall.Unmount(target, 0); err != nil {
		t.Fatal(err)
	}
	n.must(t, volume.Detach{Task: "task", Volume: "web/data"})
	n.must(t, volume.Destroy{Ref: "web/data"})
}

// TestAMountThatADirectoryOfAnothersCoversIsNotForgotten: something is mounted on the way to
// it, or on the sandbox, and the agent may be another one by then.
func TestAMountThatADirectoryOfAnothersCoversIsNotForgotten(t *testing.T) {
	for _, covered := range []string{"way", ""} {
		for _, restart := range []bool{false, true} {
			dir := directory(t)
			n := start(t, dir)
			n.reserve(t)
			n.create(t, "data", true)
			op := use("task", "data", "way/data", resource.RW)
			n.must(t, op)
			over := filepath.Join(dir, "sandboxes", "task", covered)
			must(t, syscall.Mount("over", over, "tmpfs", 0, ""))
			if restart {
				n.stop()
				n = start(t, dir)
			}
			if _, err := n.Do(t.Context(), volume.Detach{Task: "task", Volume: "web/data"}); err == nil {
				t.Error("detach went through beneath another mount")
			}
			if _, err := n.Do(t.Context(), volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrInUse) {
				t.Errorf("destroy: %v, want in use", err)
			}
			must(t, syscall.Unmount(over, 0))
			n.must(t, volume.Detach{Task: "task", Volume: "web/data"})
			n.must(t, volume.Destroy{Ref: "web/data"})
			n.stop()
		}
	}
}

// What is mounted for a task that ends goes with it, though nobody can say any more that it is
// the volume's.
func TestAMountOfAVolumeThatIsLostGoesWithItsTask(t *testing.T) {
	for _, restart := range []bool{false, true} {
		dir := directory(t)
		n := start(t, dir)
		n.reserve(t)
		n.create(t, "data", true)
		n.must(t, use("job", "data", "", resource.RW))
		live := filepath.Dir(n.data(n.volume(t, "data")))
		if err := os.Rename(live, filepath.Join(dir, "elsewhere")); err != nil {
			t.Fatal(err)
		}
		if restart {
			n.stop()
			n = start(t, dir)
		}
		n.must(t, volume.Release{Task: "job"})
		if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(table), filepath.Join(dir, "sandboxes", "job")) {
			t.Errorf("restart %t: it is still mounted (%v)", restart, err)
		}
		n.must(t, volume.Destroy{Ref: "web/data"})
		n.stop()
	}
}

// After a restart nobody knows any more whose the mounts are that were moved: neither of which
// volume, nor, of a shared one, of which task.
func TestAMountThatWasMovedIsNotTakenForAnother(t *testing.T) {
	for _, volumes := range [][2]string{{"first", "second"}, {"shared", "shared"}} {
		dir := directory(t)
		n := start(t, dir)
		n.reserve(t)
		for _, name := range slices.Compact(slices.Clone(volumes[:])) {
			n.create(t, name, true)
		}
		sandbox := func(task string) string { return filepath.Join(dir, "sandboxes", task) }
		for i, task := range []string{"a", "b"} {
			op := use(task, volumes[i], "a/b", resource.RW)
			op.Sandbox = sandbox(task)
			if err := os.Mkdir(op.Sandbox, 0o777); err != nil {
				t.Fatal(err)
			}
			n.must(t, op)
			if err := os.Rename(filepath.Join(op.Sandbox, "a"), filepath.Join(op.Sandbox, "z")); err != nil {
				t.Fatal(err)
			}
		}
		n.stop()
		n = start(t, dir)
		for i, task := range []string{"b", "a"} {
			n.must(t, volume.Release{Task: task})
			table, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			for other, want := range map[string]bool{"a": i == 0, "b": false} {
				if got := strings.Contains(string(table), sandbox(other)+"/z/b "); got != want {
					t.Errorf("%v: after %s is released the mount of %s is there: %t, want %t", volumes, task, other, got, want)
				}
			}
		}
		n.must(t, volume.Destroy{Ref: "web/" + volumes[1]})
		n.stop()
	}
}

func TestAMountIsFoundWhereATaskHasMovedIt(t *testing.T) {
	for _, restart := range []bool{false, true} {
		dir := directory(t)
		n := start(t, dir)
		n.reserve(t)
		n.create(t, "data", true)
		sandbox := filepath.Join(dir, "sandboxes", "sly")
		op := use("sly", "data", "a/b", resource.RW)
		op.Sandbox = sandbox
		if err := os.Mkdir(sandbox, 0o777); err != nil {
			t.Fatal(err)
		}
		n.must(t, op)
		if err := errors.Join(os.Rename(filepath.Join(sandbox, "a"), filepath.Join(sandbox, "z")),
			os.Symlink("/etc", filepath.Join(sandbox, "a"))); err != nil {
			t.Fatal(err)
		}
		if restart {
			n.stop()
			n = start(t, dir)
		}
		if _, err := n.Do(t.Context(), volume.Destroy{Ref: "web/data"}); !errors.Is(err, volume.ErrInUse) {
			t.Errorf("restart %v: destroy: %v, want in use", restart, err)
		}
		n.must(t, volume.Release{Task: "sly"})
		if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(table), sandbox) {
			t.Errorf("restart %v: still mounted, %v:\n%s", restart, err, table)
		}
		n.must(t, volume.Destroy{Ref: "web/data"})
		n.stop()
	}
}

// forget throws the journal away, as a power cut does with what was not waited for.
func (n *node) forget(t *testing.T) {
	t.Helper()
	n.stop()
	if err := os.RemoveAll(filepath.Join(n.dir, "state")); err != nil {
		t.Fatal(err)
	}
}

func TestASandboxThatOutlivedItsRecordGoesAndAUsersDirectoryStays(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	at := func(names ...string) string { return filepath.Join(append([]string{dir, "sandboxes"}, names...)...) }
	n.must(t, volume.Claim{Task: "left"})
	n.must(t, volume.Claim{Task: "moved"})
	if err := errors.Join(os.MkdirAll(at("left", "log", "old"), 0o700), os.Mkdir(at("user"), 0o755), os.Mkdir(at("empty"), 0o755),
		os.WriteFile(at("user", "precious"), nil, 0o600), os.Rename(at("moved"), at("kept"))); err != nil {
		t.Fatal(err)
	}
	// In the same boot no record is lost: these are of another state, and alive perhaps.
	n.forget(t)
	n = start(t, dir)
	wantSandboxes(t, dir, "empty", "kept", "left", "user")
	n.forget(t)
	n = startIn(t, dir, "another")
	until(t, n.Agent, func(s *volume.State) bool { return s.CountTasks() == 0 })
	wantSandboxes(t, dir, "empty", "kept", "user")
	n.must(t, volume.Claim{Task: "left"})
	n.must(t, volume.Release{Task: "left"})
	if _, err := os.Stat(at("user", "precious")); err != nil {
		t.Error(err)
	}
}

// wantSandboxes holds what is in the sandbox root against what should be.
func wantSandboxes(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "sandboxes"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("sandboxes are %v, want %v", got, want)
	}
}

func TestADirectoryOfAUserIsNeverASandboxOfTheAgents(t *testing.T) {
	dir := directory(t)
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	user := filepath.Join(dir, "sandboxes", "task")
	settle := func() error {
		return errors.Join(os.Mkdir(user, 0o755), os.WriteFile(filepath.Join(user, "precious"), nil, 0o600))
	}
	if err := settle(); err != nil {
		t.Fatal(err)
	}
	for _, op := range []volume.Operation{volume.Claim{Task: "task"}, use("task", "data", "", resource.RW)} {
		_, err := n.Do(t.Context(), op)
		if !errors.Is(err, volume.ErrExists) || !strings.Contains(err.Error(), user[:len(user)-len("/task")]) || !strings.Contains(err.Error(), "precious") {
			t.Errorf("%s: %v, want one that says what is in the way", op.Name(), err)
		}
	}
	if s := n.State(); s.CountTasks() != 0 || s.CountAttachments() != 0 {
		t.Errorf("left: %d tasks, %d attachments", s.CountTasks(), s.CountAttachments())
	}
	// A task whose end is lost comes back, and a user has its place by then.
	if err := os.RemoveAll(user); err != nil {
		t.Fatal(err)
	}
	n.must(t, volume.Claim{Task: "task"})
	n.stop()
	if err := errors.Join(os.RemoveAll(user), settle()); err != nil {
		t.Fatal(err)
	}
	n = startIn(t, dir, "another")
	until(t, n.Agent, func(s *volume.State) bool { return s.CountTasks() == 0 })
	if _, err := os.Stat(filepath.Join(user, "precious")); err != nil {
		t.Error(err)
	}
}

func TestAClaimThatIsOneAgainHasNothingMounted(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	n.create(t, "other", true)
	sandbox := filepath.Join(n.dir, "sandboxes", "task")
	claimed := func(task, sandbox string) volume.Claim {
		return volume.Claim{Task: task, Sandbox: sandbox, Uses: []volume.Use{{Volume: "web/data", Path: "in"}}}
	}
	n.must(t, claimed("task", ""))
	if err := os.WriteFile(filepath.Join(sandbox, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Do(t.Context(), use("task", "data", "in", resource.RW), use("task", "other", "file", resource.RW)); !errors.Is(err, volume.ErrExists) {
		t.Fatalf("attach at a file: %v, want exists", err)
	}
	if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(table), sandbox) {
		t.Errorf("still mounted, %v:\n%s", err, table)
	}
	v, _ := n.State().Find("web/data")
	if hs := n.State().Holders(v.UUID); len(hs) != 1 || hs[0].Via != volume.Claimed {
		t.Errorf("holders %+v, want the claim", hs)
	}
	n.must(t, use("task", "data", "in", resource.RW))

	// A claim needs no sandbox yet; what is in the way is told when something is attached.
	if err := os.Symlink(n.dir, sandbox+"-link"); err != nil {
		t.Fatal(err)
	}
	for _, task := range []string{"task-link", "task-none"} {
		n.must(t, claimed(task, filepath.Join(n.dir, "sandboxes", task)))
		if _, err := n.Do(t.Context(), use(task, "data", "in", resource.RW)); err == nil {
			t.Errorf("attach to %s was done", task)
		}
		_ = os.Remove(sandbox + "-link") // a claim goes once its sandbox can be looked into
		n.must(t, volume.Detach{Task: task, Volume: "web/data"})
	}
	n.must(t, volume.Release{Task: "task"})
	for u, f := range n.State().Faults() {
		t.Errorf("%s: %v: %s", u, f.Kind, f.Reason)
	}
}
