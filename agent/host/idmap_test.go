package host_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/mount/mounttest"
)

// as is an attachment of a volume that shows its files as somebody's own.
func as(task, id string, who uint32) volume.Attach {
	a := use(task, id, "", resource.RW)
	a.As = &volume.ID{UID: who, GID: who}
	return a
}

// shell runs a script in a task's volume as a user without any group but their own.
func (n *node) shell(t *testing.T, who uint32, task, script string) (string, error) {
	t.Helper()
	found, _ := n.State().Task(task)
	c := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
	c.Dir = filepath.Join(found.Sandbox, "data")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who, Gid: who}}
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Two users work on one volume, each finds all of it to be their own, and on the disk it is the
// volume's owner's.
func TestTwoUsersEachSeeAVolumeAsTheirOwn(t *testing.T) {
	mounttest.RequireRoot(t)
	for _, place := range []string{"where the tests are", "tmpfs"} {
		t.Run(place, func(t *testing.T) {
			parent := ""
			if place == "tmpfs" {
				parent = smallTmpfs(t)
			}
			n := start(t, directoryIn(t, parent))
			n.reserve(t)
			c := creation("data", 64, true)
			c.Owner = volume.Owner{UID: 62000, GID: 62000, Mode: 0o750}
			n.must(t, c)
			alice, bob := uint32(62001), uint32(62002)
			n.must(t, as("alice", "data", alice), as("bob", "data", bob), use("plain", "data", "", resource.RO))
			for _, task := range []string{"alice", "bob", "plain"} {
				open(t, n, task)
			}
			for _, step := range []struct {
				who          uint32
				task, script string
				want         string
			}{
				{alice, "alice", "umask 077; echo one > file && stat -c %u:%g file .", "62001:62001\n62001:62001"},
				{bob, "bob", "echo two >> file && stat -c %u:%g file && mkdir dir && cat file", "62002:62002\none\ntwo"},
				{alice, "alice", "rmdir dir && rm file && echo three > file && cat file", "three"},
				{62000, "plain", "stat -c %u:%g file && cat file", "62000:62000\nthree"},
			} {
				if out, err := n.shell(t, step.who, step.task, step.script); err != nil || out != step.want {
					t.Errorf("%s: %s: %q, %v; want %q", step.task, step.script, out, err, step.want)
				}
			}
			if out, err := n.shell(t, bob, "alice", "true"); err == nil {
				t.Errorf("another user gets into what is seen as alice's: %s", out)
			}
			n.must(t, volume.SetMode{Task: "alice", Volume: "web/data", Mode: resource.RO})
			if out, err := n.shell(t, alice, "alice", "stat -c %u file"); err != nil || out != "62001" {
				t.Errorf("after its mode was flipped the file is %q's, %v", out, err)
			}
			if _, err := n.Do(t.Context(), use("alice", "data", "", resource.RO)); !errors.Is(err, volume.ErrExists) || !strings.Contains(err.Error(), "as those of 62001:62001") {
				t.Errorf("attached again as it is: %v; want ErrExists", err)
			}
			for _, task := range []string{"alice", "bob", "plain"} {
				n.must(t, volume.Release{Task: task})
			}
			n.stop()
		})
	}
}

// smallTmpfs is a directory that everybody may walk through, of a tmpfs.
func smallTmpfs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tenon-host-test-tmpfs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Where the file system cannot do it, nothing is attached and the answer says what to do instead.
func TestWhatCannotBeMappedIsRefusedWhole(t *testing.T) {
	mounttest.RequireRoot(t)
	dir := directory(t)
	disk := filepath.Join(dir, "old")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("ramfs", disk, "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	source := &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &disk}}
	n := startIn(t, dir, "this", volume.Disk{Key: source.Key(), Source: source, Total: 64 * resource.One})
	c := creation("data", 64, true)
	c.Volume.Disk.Source = source
	c.Volume.Reservations = []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}
	space := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 64 * resource.One, Reservations: c.Volume.Reservations, Disk: &resource.Disk{Source: source}}
	n.must(t, volume.Reserve{Resources: []resource.Resource{space}}, c)
	for _, via := range []volume.Via{volume.ByPath, volume.ByDescriptor} {
		a := as("alice", "data", 62001)
		var err error
		if a.Via = via; via == volume.ByPath {
			_, err = n.Do(t.Context(), a)
		} else {
			_, err = n.Hand(t.Context(), a, nil)
		}
		if !errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), "its file system has no idmapped mounts") {
			t.Errorf("by %s: %v; want ErrInvalid", via, err)
		}
		if n.State().CountAttachments() != 0 {
			t.Errorf("by %s: an attachment is left", via)
		}
	}
	n.stop()
}

// A sandbox that the agent makes is the user's that the task names.
func TestASandboxIsItsUsers(t *testing.T) {
	mounttest.RequireRoot(t)
	n := start(t, directory(t))
	n.must(t, volume.Claim{Task: "alice", User: &volume.ID{UID: 62001, GID: 62002}}, volume.Claim{Task: "root"})
	for task, want := range map[string][2]uint32{"alice": {62001, 62002}, "root": {0, 0}} {
		found, _ := n.State().Task(task)
		info, err := os.Stat(found.Sandbox)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != want[0] || st.Gid != want[1] || info.Mode().Perm() != 0o750 {
			t.Errorf("the sandbox of %s is %d:%d's with mode %s", task, st.Uid, st.Gid, info.Mode())
		}
		n.must(t, volume.Release{Task: task})
	}
}
