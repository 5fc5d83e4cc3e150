package host_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// hot attaches to a process that runs.
func hot(task, id, path string, mode resource.Mode, pid int) volume.Attach {
	return volume.Attach{Task: task, Use: volume.Use{Volume: "web/" + id, Path: path, Mode: mode}, In: volume.Process{PID: pid}}
}

// withData is an agent with a shared volume web/data in a directory that has a file.
func withData(t *testing.T) *node {
	t.Helper()
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	return n
}

// held says how many tasks hold web/data.
func (n *node) held(t *testing.T) int {
	t.Helper()
	v, err := n.State().Find("web/data")
	if err != nil {
		t.Fatal(err)
	}
	return len(n.State().Holders(v.UUID))
}

// await waits for the state to come to something, by itself.
func (n *node) await(t *testing.T, what string, is func(*volume.State) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s := n.State(); !is(s); {
		var err error
		if s, err = n.Watch(ctx, s.Version); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func TestAVolumeComesToARunningProcessAndLeavesIt(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	at := n.place("deep/x")
	n.must(t, hot("shell", "data", at, "", sh.pid))
	task, _ := n.State().Task("shell")
	if task.Sandbox != "" || task.Lease.PID != sh.pid || task.Lease.Start == 0 {
		t.Errorf("the task is %+v", task)
	}
	sh.must("echo hi > " + at + "/greeting")
	if _, err := os.Stat(filepath.Join(at, "greeting")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the agent's own namespace has it: %v", err)
	}
	n.must(t, hot("shell", "data", at, "", sh.pid)) // once more changes nothing
	flip := volume.SetMode{Task: "shell", Volume: "web/data", Mode: resource.RO}
	sh.must("exec 9> " + at + "/open")
	_, err := n.Do(t.Context(), flip)
	if !errors.Is(err, volume.ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(sh.pid)) || !strings.Contains(err.Error(), "open") {
		t.Errorf("flipped under a writer: %v; want ErrBusy with pid %d and its file", err, sh.pid)
	}
	sh.must("exec 9>&-")
	n.must(t, flip)
	sh.fails("echo no > "+at+"/greeting", "Read-only")
	if got := sh.must("cat " + at + "/greeting"); got != "hi" {
		t.Errorf("it reads %q", got)
	}
	flip.Mode = resource.RW
	n.must(t, flip)
	sh.must("echo again > " + at + "/greeting")

	sh.must("cd " + at)
	detach := volume.Detach{Task: "shell", Volume: "web/data"}
	if _, err := n.Do(t.Context(), detach); !errors.Is(err, volume.ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(sh.pid)) {
		t.Errorf("detached under a process: %v; want ErrBusy with pid %d", err, sh.pid)
	}
	sh.must("cd /")
	n.must(t, detach)
	sh.fails("cat "+at+"/greeting", "No such file")
	if _, there := n.State().Task("shell"); there || n.held(t) > 0 {
		t.Error("the task does not end with its last volume")
	}
	n.must(t, volume.Destroy{Ref: "web/data"})
}

func TestAProcessThatEndsGivesItsVolumesBack(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	n.must(t, hot("shell", "data", n.place("x"), "", sh.pid))
	sh.end()
	n.await(t, "the process has ended", func(s *volume.State) bool { _, there := s.Task("shell"); return !there })
	if n.held(t) > 0 {
		t.Error("the volume is held still")
	}
	sh = startShell(t, "private")
	n.must(t, hot("shell", "data", n.place("x"), "", sh.pid))
	n.stop()
	sh.end()
	n = start(t, n.dir)
	n.await(t, "the process has ended while no agent ran", func(s *volume.State) bool { _, there := s.Task("shell"); return !there })
	n.must(t, volume.Destroy{Ref: "web/data"})
}

// A restarted agent finds the mount, and one whose record came before its mount makes it.
func TestARestartFindsWhatIsInANamespace(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	at := n.place("x")
	n.must(t, hot("shell", "data", at, "", sh.pid))
	sh.must("echo hi > " + at + "/greeting")
	n.stop()
	n = start(t, n.dir)
	if got := sh.must("grep -c ' " + at + " ' /proc/self/mountinfo"); got != "1" {
		t.Errorf("it is mounted %s times", got)
	}
	n.stop()
	sh.must("umount " + at)
	n = start(t, n.dir)
	if got := sh.must("cat " + at + "/greeting"); got != "hi" {
		t.Errorf("it reads %q", got)
	}
	n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
}

func TestWhatIsInTheWayInANamespaceIsToldAndNothingStays(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	sh.must("mkdir -p " + n.place("dir") + " " + n.place("mounted"))
	sh.must("touch " + n.place("file") + "; ln -s dir " + n.place("link"))
	sh.must("mount -t tmpfs none " + n.place("mounted"))
	sh.must("mkdir " + n.place("mounted/ro") + " && mount -o remount,ro " + n.place("mounted"))
	for _, c := range []struct {
		path string
		kind error
	}{
		{n.place("file"), volume.ErrExists},
		{n.place("file/x"), volume.ErrExists},
		{n.place("link"), volume.ErrExists},
		{n.place("link/x"), volume.ErrExists},
		{n.place("mounted"), volume.ErrExists},
		{n.place("mounted/new"), volume.ErrInvalid}, // a directory that cannot be made
		{n.place("..") + "/../x", volume.ErrInvalid},
		{"/", volume.ErrInvalid},
		{"relative", volume.ErrInvalid},
		{"", volume.ErrInvalid},
	} {
		if _, err := n.Do(t.Context(), hot("shell", "data", c.path, "", sh.pid)); !errors.Is(err, c.kind) {
			t.Errorf("at %q: %v, want %v", c.path, err, c.kind)
		}
		if _, there := n.State().Task("shell"); there || n.held(t) > 0 {
			t.Errorf("at %q: something is left", c.path)
		}
	}
	n.must(t, hot("shell", "data", n.place("mounted/ro"), "", sh.pid)) // another file system is none
	sh.must("echo hi > " + n.place("mounted/ro/greeting"))
	n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
}

func TestOnlyAProcessThatLivesAndHasItsOwnNamespaceIsAttachedTo(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	sh.end()
	for _, c := range []struct {
		name  string
		op    volume.Attach
		kind  error
		words string
	}{
		{"one that has ended", hot("t", "data", "/mnt/x", "", sh.pid), volume.ErrInvalid, "process " + strconv.Itoa(sh.pid)},
		{"the agent itself", hot("t", "data", "/mnt/x", "", os.Getpid()), volume.ErrInvalid, "no mount namespace of its own"},
		{"the host's first", hot("t", "data", "/mnt/x", "", 1), volume.ErrInvalid, "mount namespace"},
		{"none, at an absolute path", hot("t", "data", "/mnt/x", "", 0), volume.ErrInvalid, "--pid"},
	} {
		if _, err := n.Do(t.Context(), c.op); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %v … %s …", c.name, err, c.kind, c.words)
		}
	}
	if n.held(t) > 0 {
		t.Error("something is held")
	}
}

func TestSomebodyElsesProcessIsNotAttachedTo(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	op := hot("shell", "data", "x", "", sh.pid)
	op.UID = 1234
	if _, err := n.Do(t.Context(), op); !errors.Is(err, volume.ErrForbidden) {
		t.Fatalf("user 1234 attaches to root's process: %v", err)
	}
	theirs := runShell(t, exec.Command("sh"), &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Credential: &syscall.Credential{Uid: 1234, Gid: 1234}})
	op.In = volume.Process{PID: theirs.pid}
	n.must(t, volume.Claim{Task: "shell", Lease: volume.Lease{PID: theirs.pid}})
	n.must(t, op)
	task, _ := n.State().Task("shell")
	theirs.must("grep ' " + task.Sandbox + "/x ' /proc/self/mountinfo")
	n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
}

// A task with a cgroup, whose mounts were handed over, gets one more while it runs, in its own
// namespace without being told which; all of them are flipped and detached there.
func TestATaskWithMountsOfItsOwnIsServedInItsNamespace(t *testing.T) {
	n := withData(t)
	n.create(t, "more", true)
	sh, task := n.ownTask(t)
	n.must(t, volume.Attach{Task: "own", Use: volume.Use{Volume: "web/more", Path: "more"}})
	n.must(t, volume.Attach{Task: "own", Use: volume.Use{Volume: "web/more", Path: n.place("x"), Mode: resource.RO}})
	sh.must("echo hi > " + task.Sandbox + "/more/greeting")
	sh.fails("echo no > "+n.place("x")+"/greeting", "Read-only")
	if _, err := os.Stat(filepath.Join(task.Sandbox, "more", "greeting")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the agent's own namespace has it: %v", err)
	}
	n.must(t, volume.SetMode{Task: "own", Volume: "web/data", Mode: resource.RO})
	sh.fails("echo no > "+task.Sandbox+"/data/file", "Read-only")
	n.must(t, volume.SetMode{Task: "own", Volume: "web/data", Mode: resource.RW})
	sh.must("echo yes > " + task.Sandbox + "/data/file")
	n.must(t, volume.Detach{Task: "own", Volume: "web/data"})
	sh.fails("cat "+task.Sandbox+"/data/file", "No such file")
	n.must(t, volume.Detach{Task: "own", Volume: "web/more"})
	sh.fails("cat "+task.Sandbox+"/more/greeting", "No such file")
	n.must(t, volume.Destroy{Ref: "web/data"}, volume.Destroy{Ref: "web/more"})
	if _, there := n.State().Task("own"); !there {
		t.Error("the task ended although it runs")
	}
	sh.end()
	n.await(t, "the task has ended", func(s *volume.State) bool { _, there := s.Task("own"); return !there })
}

// What was handed over and is not where it should be is left alone.
func TestAMountThatATaskKeepsElsewhereIsNotChanged(t *testing.T) {
	n := withData(t)
	sh, task := n.ownTask(t)
	sh.must("mkdir " + n.place("") + "; mkdir " + n.place("y") + " && mount --move " + task.Sandbox + "/data " + n.place("y"))
	for _, op := range []volume.Operation{volume.Detach{Task: "own", Volume: "web/data"}, volume.SetMode{Task: "own", Volume: "web/data", Mode: resource.RO}} {
		if _, err := n.Do(t.Context(), op); !errors.Is(err, volume.ErrInUse) {
			t.Errorf("%s: %v, want ErrInUse", op.Name(), err)
		}
	}
	sh.must("echo yes > " + n.place("y/file"))
	if n.held(t) != 1 {
		t.Error("it is held no more")
	}
}

// A namespace lasts as long as anybody is in it: when the process ends by which a volume came, the
// next one of the task stands for it.
func TestAMountOutlivesTheProcessByWhichItCame(t *testing.T) {
	n := withData(t)
	sh, task := n.ownTask(t)
	sh.must("mkdir " + n.place(""))
	child := sh.child(n.place("fifo"))
	at := n.place("x")
	n.must(t, hot("own", "data", at, "", child))
	_ = syscall.Kill(child, syscall.SIGKILL)
	unit := func(s *volume.State) int {
		for a := range s.AttachmentsIn("own") {
			if a.Path == at {
				return a.PID
			}
		}
		return 0
	}
	n.await(t, "the shell stands for it", func(s *volume.State) bool { return unit(s) == sh.pid })
	sh.must("echo hi > " + at + "/greeting")
	n.must(t, volume.SetMode{Task: "own", Volume: "web/data", Path: at, Mode: resource.RO})
	sh.fails("echo no > "+at+"/greeting", "Read-only")
	n.must(t, volume.Detach{Task: "own", Volume: "web/data", Path: at})
	sh.must("test -d " + task.Sandbox + "/data")
}

// A directory above the mount is renamed by the task: the mount is found where it is by then.
func TestAMountThatATaskMovesIsFoundAgain(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	n.must(t, hot("shell", "data", n.place("a/x"), "", sh.pid))
	sh.must("mv " + n.place("a") + " " + n.place("b"))
	n.must(t, volume.SetMode{Task: "shell", Volume: "web/data", Mode: resource.RO})
	sh.fails("touch "+n.place("b/x/file"), "Read-only")
	n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
	if got := sh.must("grep -c ' " + n.place("b/x") + " ' /proc/self/mountinfo || true"); got != "0" {
		t.Errorf("it is mounted %s times still", got)
	}
}

// Of two volumes in one batch the second cannot be attached: the first leaves again.
func TestABatchThatFailsLeavesNothingInANamespace(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	sh.must("mkdir " + n.place("") + " && touch " + n.place("file"))
	_, err := n.Do(t.Context(), hot("shell", "data", n.place("x"), "", sh.pid), hot("shell", "data", n.place("file"), "", sh.pid))
	if !errors.Is(err, volume.ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	if got := sh.must("grep -c ' " + n.place("x") + " ' /proc/self/mountinfo || true"); got != "0" || n.held(t) > 0 {
		t.Errorf("it is mounted %s times and held by %d", got, n.held(t))
	}
}

// ownTask is a shell as the task "own" of `tenon run`: in a cgroup, with web/data handed to it and
// mounted by itself, whose lease names no process.
func (n *node) ownTask(t *testing.T) (*shell, *volume.Task) {
	t.Helper()
	launcher := runShell(t, exec.Command("sh"), nil)
	n.must(t, volume.Claim{Task: "own", Cgroup: true, Lease: volume.Lease{PID: launcher.pid}, Uses: []volume.Use{{Volume: "web/data"}}})
	task, _ := n.State().Task("own")
	if task.Lease.Cgroup == "" {
		t.Fatal("the task has no cgroup")
	}
	sh := startShell(t, "slave")
	sh.join(task.Lease.Cgroup)
	f, err := n.Hand(t.Context(), volume.Attach{Task: "own", Use: volume.Use{Volume: "web/data"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := sh.place(f, filepath.Join(task.Sandbox, "data")); err != nil {
		t.Fatal(err)
	}
	launcher.end()
	return sh, task
}
