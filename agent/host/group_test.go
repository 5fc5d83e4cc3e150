package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/owner"
	"tenon/mount/mounttest"
)

// grouped is the life of an agent that gives shared volumes groups.
func grouped(t *testing.T) *life {
	t.Helper()
	mounttest.RequireRoot(t)
	groups, err := owner.ParseRanges("[61000-61003]")
	if err != nil {
		t.Fatal(err)
	}
	return &life{info: volume.HostInfo{Groups: groups}}
}

// stat looks at the directory of a volume.
func (n *node) stat(t *testing.T, id string) (os.FileMode, uint32) {
	t.Helper()
	v, err := n.State().Find("web/" + id)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(n.data(v))
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode() & (os.ModePerm | os.ModeSetgid), info.Sys().(*syscall.Stat_t).Gid
}

// A shared volume is its group's from the moment that it can be seen, wherever the agent ended
// while it was made.
func TestASharedVolumesDirectoryIsItsGroups(t *testing.T) {
	must := func(dir string, l *life) *node {
		n, err := startOrDie(t, dir, "this", l)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for points := 1; ; points++ {
		dir, l := directory(t), grouped(t)
		n := must(dir, l)
		n.reserve(t)
		l.lasts(points)
		_, _ = n.Do(t.Context(), creation("data", 64, true)) // fails where the agent ends
		ended, where := l.ended()
		n.stop()
		n = must(dir, grouped(t))
		if _, there := n.State().Named(volume.Name{Role: "web", ID: "data"}); !there {
			n.create(t, "data", true)
		}
		if mode, gid := n.stat(t, "data"); gid != 61000 || mode != os.ModeSetgid|0o770 {
			t.Errorf("ended at %s: group %d, mode %s", where, gid, mode)
		}
		n.create(t, "own", false)
		if _, gid := n.stat(t, "own"); gid != 0 {
			t.Errorf("an exclusive volume is group %d's", gid)
		}
		n.stop()
		if !ended {
			return
		}
	}
}

// Tasks of two users work on one volume by its group alone, and who is in neither has nothing of it.
func TestTwoUsersShareAVolumeByItsGroup(t *testing.T) {
	n, err := startOrDie(t, directory(t), "this", grouped(t))
	if err != nil {
		t.Fatal(err)
	}
	n.reserve(t)
	n.create(t, "data", true)
	v, _ := n.State().Find("web/data")
	for _, task := range []string{"alice", "bob"} {
		n.must(t, use(task, "data", "", resource.RW))
		open(t, n, task)
	}
	shell := func(uid uint32, groups []uint32, task, script string) error {
		found, _ := n.State().Task(task)
		c := exec.CommandContext(t.Context(), "/bin/sh", "-c", "umask 002; cd "+filepath.Join(found.Sandbox, "data")+" && "+script)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
		return c.Run()
	}
	group := []uint32{v.Group}
	if err := shell(62001, group, "alice", "echo one > file"); err != nil {
		t.Errorf("the first writes: %v", err)
	}
	if err := shell(62002, group, "bob", "echo two >> file && echo more > other"); err != nil {
		t.Errorf("the second adds to it: %v", err)
	}
	if err := shell(62001, group, "alice", "test $(stat -c %g other) = 61000 && echo three >> other"); err != nil {
		t.Errorf("the first adds to the second's: %v", err)
	}
	if err := shell(62003, nil, "bob", "true"); err == nil {
		t.Error("somebody without the group gets in")
	}
	n.must(t, volume.Release{Task: "alice"})
	n.must(t, volume.Release{Task: "bob"})
	n.must(t, volume.Destroy{Ref: "web/data"})
	if _, free := n.State().CountGroups(); free != 4 {
		t.Errorf("%d groups are free after the volume has ended, want 4", free)
	}
}

// open lets everybody walk to a task's sandbox, which is root's.
func open(t *testing.T, n *node, task string) {
	t.Helper()
	found, _ := n.State().Task(task)
	for _, dir := range []string{found.Sandbox, n.dir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
