package host_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/mount/mounttest"
)

// nothingDone holds that an operation is refused with a kind, and that it changes nothing: no
// object of the state, no mount, no sandbox, no cgroup.
func (n *node) nothingDone(t *testing.T, kind error, op volume.Operation) {
	t.Helper()
	sandboxes := filepath.Join(n.dir, "sandboxes")
	before, mounts := everything(t, sandboxes), len(mountedAt(t, n.dir))
	tasks, uses := n.State().CountTasks(), n.State().CountAttachments()
	if _, err := n.Do(t.Context(), op); volume.Kind(err) != kind {
		t.Errorf("%s: %v, want one that is %v", op.Name(), err, kind)
	}
	if s := n.State(); s.CountTasks() != tasks || s.CountAttachments() != uses {
		t.Errorf("%s has left %d tasks and %d attachments, there were %d and %d", op.Name(), s.CountTasks(), s.CountAttachments(), tasks, uses)
	}
	if now := mountedAt(t, n.dir); len(now) != mounts {
		t.Errorf("%s: mounted are %q", op.Name(), now)
	}
	if now := everything(t, sandboxes); len(now) != len(before) {
		t.Errorf("%s: in the sandboxes there are %v", op.Name(), now)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(n.dir) + "/task-*")
	if err != nil || len(groups) > tasks {
		t.Errorf("%s: cgroups are %q, %v", op.Name(), groups, err)
	}
}

// TestAProcessThatHasEndedClaimsNothing: its number may be nobody's, or somebody else's by now.
func TestAProcessThatHasEndedClaimsNothing(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	dead := exec.Command("true")
	must(t, dead.Run())
	claim := func(pid int) volume.Claim {
		return volume.Claim{Task: "job", Cgroup: true, Lease: volume.Lease{PID: pid}, Uses: []volume.Use{{Volume: "web/data"}}}
	}
	for _, pid := range []int{dead.Process.Pid, 1 << 30, -1} {
		n.nothingDone(t, volume.ErrInvalid, claim(pid))
	}
	// A process whose number is another's after a restart of the agent holds nothing.
	claimant := exec.Command("sleep", "1000")
	must(t, claimant.Start())
	n.must(t, claim(claimant.Process.Pid))
	n.stop()
	must(t, errors.Join(claimant.Process.Kill(), ended(claimant)))
	n = start(t, n.dir)
	until(t, n.Agent, func(s *volume.State) bool { return s.CountTasks() == 0 })
	n.must(t, volume.Destroy{Ref: "web/data"})
}

// TestATargetThatIsSomethingElseIsLeftAsItIs: a file, a link, a directory with something in it,
// a mount of another's, of a file too, and a mount of the volume that another task has there.
func TestATargetThatIsSomethingElseIsLeftAsItIs(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	sandbox := filepath.Join(n.dir, "sandboxes", "user")
	at := func(name string) string { return filepath.Join(sandbox, name) }
	must(t, errors.Join(os.MkdirAll(at("full/x"), 0o755), os.WriteFile(at("file"), []byte("kept"), 0o644), os.WriteFile(at("bound"), nil, 0o644),
		os.Symlink("full", at("link")), os.Symlink("nowhere", at("dangling")), os.Mkdir(at("tmpfs"), 0o755), syscall.Mkfifo(at("pipe"), 0o644)))
	must(t, syscall.Mount("other", at("tmpfs"), "tmpfs", 0, ""))
	must(t, syscall.Mount(at("file"), at("bound"), "", syscall.MS_BIND, ""))
	defer func() { must(t, errors.Join(syscall.Unmount(at("tmpfs"), 0), syscall.Unmount(at("bound"), 0))) }()
	for _, path := range []string{"file", "file/x", "link", "link/x", "dangling", "full", "pipe", "tmpfs", "tmpfs/x", "bound"} {
		op := use("hostile", "data", path, resource.RW)
		op.Sandbox = sandbox
		t.Run(path, func(t *testing.T) { n.nothingDone(t, volume.ErrExists, op) })
	}
}

// TestASandboxOfAnotherFilesystemIsOneLikeAnyOther: the root of the sandboxes is a filesystem of
// its own. One that is mounted within the root is not stepped upon.
func TestASandboxOfAnotherFilesystemIsOneLikeAnyOther(t *testing.T) {
	mounttest.RequireMounts(t)
	dir := directory(t)
	root := filepath.Join(dir, "sandboxes")
	must(t, os.Mkdir(root, 0o711))
	must(t, syscall.Mount("sandboxes", root, "tmpfs", 0, "mode=711"))
	t.Cleanup(func() { must(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	n := start(t, dir)
	n.reserve(t)
	n.create(t, "data", true)
	within := use("other", "data", "data", resource.RW)
	within.Sandbox = filepath.Join(root, "mounted")
	must(t, os.Mkdir(within.Sandbox, 0o755))
	n.must(t, use("task", "data", "way/data", resource.RW))
	must(t, os.WriteFile(filepath.Join(root, "task/way/data/greeting"), []byte("hi"), 0o644))
	n.stop()
	n = start(t, dir)
	if text, err := os.ReadFile(filepath.Join(root, "task/way/data/greeting")); err != nil || string(text) != "hi" {
		t.Errorf("after a restart the task reads %q, %v", text, err)
	}
	must(t, syscall.Mount("another", within.Sandbox, "tmpfs", 0, ""))
	n.nothingDone(t, volume.ErrExists, within)
	must(t, syscall.Unmount(within.Sandbox, 0))
	n.must(t, volume.Release{Task: "task"})
	n.must(t, volume.Destroy{Ref: "web/data"})
}

// TestACgroupThatHasVanishedHoldsNothing: somebody has removed that of a task.
func TestACgroupThatHasVanishedHoldsNothing(t *testing.T) {
	mounttest.RequireRoot(t)
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	claimant := exec.Command("sleep", "1000")
	must(t, claimant.Start())
	s := n.must(t, volume.Claim{Task: "job", Cgroup: true, Lease: volume.Lease{PID: claimant.Process.Pid}, Uses: []volume.Use{{Volume: "web/data"}}})
	task, _ := s.Task("job")
	must(t, os.Remove(task.Lease.Cgroup))
	if there, err := cgroup.Exists(task.Lease.Cgroup); err != nil || there {
		t.Fatalf("the cgroup is there: %t, %v", there, err)
	}
	// The process that claimed holds the task still.
	n.nothingDone(t, volume.ErrInUse, volume.Destroy{Ref: "web/data"})
	n.must(t, use("job", "data", "data", resource.RW))
	must(t, errors.Join(claimant.Process.Kill(), ended(claimant)))
	until(t, n.Agent, func(s *volume.State) bool { return s.CountTasks() == 0 })
	n.must(t, volume.Destroy{Ref: "web/data"})
	if left := mountedAt(t, filepath.Join(n.dir, "sandboxes")); len(left) > 0 {
		t.Errorf("still mounted at %q", left)
	}
}
