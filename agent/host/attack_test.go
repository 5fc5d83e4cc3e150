package host_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/mount/mounttest"
)

// Attacks that other programs of this kind have fallen to, each made on the whole agent.
// ARCHITECTURE.md, "Attacks", has the list of all of them.

// nobody is a user who has nothing to do with the agent.
const nobody = 65534

// attacked is an agent with the volume web/data, a directory of a launcher's, who is hostile,
// and a victim: a directory on the very mount that sandboxes are on, which nobody may touch.
type attacked struct {
	*node
	sandbox, victim string
	before          map[string]string // what the victim holds
}

func attack(t *testing.T) attacked {
	t.Helper()
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	a := attacked{node: n, sandbox: filepath.Join(n.dir, "sandboxes", "user"), victim: filepath.Join(n.dir, "sandboxes", "victim")}
	must(t, os.Mkdir(a.sandbox, 0o755))
	must(t, os.MkdirAll(filepath.Join(a.victim, "data", "sub"), 0o700))
	must(t, os.WriteFile(filepath.Join(a.victim, "precious"), []byte("kept"), 0o600))
	a.before = everything(t, a.victim)
	return a
}

// into is an attachment of web/data in the launcher's directory.
func (a attacked) into(path string) volume.Attach {
	op := use("hostile", "data", path, resource.RW)
	op.Sandbox = a.sandbox
	return op
}

// unharmed holds that nothing of the victim has changed, and nothing is mounted there.
func (a attacked) unharmed(t *testing.T, after string) {
	t.Helper()
	if diff := cmp.Diff(a.before, everything(t, a.victim)); diff != "" {
		t.Fatalf("after %s: the victim has changed (-before +after):\n%s", after, diff)
	}
	if points := mountedAt(t, a.victim); len(points) > 0 {
		t.Fatalf("after %s: mounted at %q", after, points)
	}
}

// refused holds that an attachment is, and that nothing is left of it.
func (a attacked) refused(t *testing.T, op volume.Attach, kind error) {
	t.Helper()
	what := fmt.Sprintf("attach at %s in %s", op.Path, op.Sandbox)
	if _, err := a.Do(t.Context(), op); !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	if s := a.State(); s.CountTasks() != 0 || s.CountAttachments() != 0 {
		t.Errorf("%s has left %d tasks, %d attachments", what, s.CountTasks(), s.CountAttachments())
	}
	if points := mountedAt(t, filepath.Join(a.dir, "sandboxes")); len(points) > 0 {
		t.Errorf("%s: mounted at %q", what, points)
	}
	a.unharmed(t, what)
}

// everything is what can be seen beneath a directory: kind, mode, owner, links and content.
func everything(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		what := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		if e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += " " + string(text)
		}
		all[strings.TrimPrefix(path, dir)] = what
		return nil
	}))
	return all
}

// mountedAt are the mount points beneath a directory.
func mountedAt(t *testing.T, dir string) (points []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points
}

// asNobody runs f on a thread of that user, which ends with it.
func asNobody(t *testing.T, f func() error) error {
	t.Helper()
	mounttest.RequireRoot(t)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever
		for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, nobody, nobody, nobody}, {unix.SYS_SETRESUID, nobody, nobody, nobody}} {
			if _, _, e := unix.RawSyscall(call[0], call[1], call[2], call[3]); e != 0 {
				done <- os.NewSyscallError("become nobody", e)
				return
			}
		}
		done <- f()
	}()
	return <-done
}

// TestCVE_2025_62878_NamesAreNoPaths: in a provisioner the name of a claim was a part of the
// path of its directory, and could lead anywhere.
func TestCVE_2025_62878_NamesAreNoPaths(t *testing.T) {
	a := attack(t)
	before := everything(t, filepath.Join(a.dir, "pool"))
	for _, name := range []string{"..", ".", "../victim", "../../sandboxes/victim", "/etc", "a/../../victim", "data/..", `..\victim`, "x\x00", ""} {
		creation := creation(name, 64, false)
		role := creation
		role.Role, role.Volume.Disk = "web/../"+name, &resource.Disk{Persistence: &resource.Persistence{ID: "x"}, Volume: creation.Volume.Disk.Volume}
		for _, op := range []volume.Operation{creation, role, volume.Claim{Task: name}, use(name, "data", "data", resource.RW)} {
			if _, err := a.Do(t.Context(), op); !errors.Is(err, volume.ErrInvalid) && !errors.Is(err, volume.ErrForbidden) {
				t.Errorf("%s of %q: %v, want invalid or forbidden", op.Name(), name, err)
			}
		}
		if _, err := a.Do(t.Context(), volume.Destroy{Ref: "web/" + name}); err == nil {
			t.Errorf("%q can be destroyed", name)
		}
	}
	if diff := cmp.Diff(before, everything(t, filepath.Join(a.dir, "pool"))); diff != "" {
		t.Errorf("the pool has changed (-before +after):\n%s", diff)
	}
	a.unharmed(t, "names")
	// A name that only looks like a way is one: its directory is the UUID all the same.
	a.create(t, "...", false)
	if _, err := os.Stat(a.data(a.volume(t, "..."))); err != nil {
		t.Error(err)
	}
}

// TestCVE_2022_23648_ASandboxHasNoWaysOut: in a runtime a path of a configuration led out of
// the directory that it was joined to.
func TestCVE_2022_23648_ASandboxHasNoWaysOut(t *testing.T) {
	a := attack(t)
	root := filepath.Dir(a.sandbox)
	must(t, os.Symlink(a.victim, filepath.Join(root, "link")))
	must(t, os.Symlink("/proc/self/root"+a.victim, filepath.Join(root, "magic")))
	for sandbox, kind := range map[string]error{
		root + "/../sandboxes/victim": volume.ErrInvalid,
		root + "/user/../victim":      volume.ErrInvalid,
		root + "//victim":             volume.ErrInvalid,
		"sandboxes/victim":            volume.ErrForbidden,
		root:                          volume.ErrForbidden,
		root + "-other/victim":        volume.ErrForbidden,
		"/proc/self/root" + a.victim:  volume.ErrForbidden,
		"/proc/self/cwd":              volume.ErrForbidden,
		root + "/link":                volume.ErrExists,
		root + "/link/data":           volume.ErrExists,
		root + "/magic":               volume.ErrExists,
	} {
		op := a.into("data")
		op.Sandbox = sandbox
		a.refused(t, op, kind)
	}
}

// TestCVE_2017_1002101_ALinkThatATaskHasLeftIsNotFollowed: the kubelet mounted what a link in
// a volume pointed to. Here the links are in a directory that two tasks share.
func TestCVE_2017_1002101_ALinkThatATaskHasLeftIsNotFollowed(t *testing.T) {
	a := attack(t)
	for link, to := range map[string]string{"absolute": a.victim, "relative": "../victim", "magic": "/proc/self/root" + a.victim,
		"descriptor": "/proc/self/cwd", "loop": "loop", "dangling": "../victim/data/new"} {
		must(t, os.Symlink(to, filepath.Join(a.sandbox, link)))
		for _, path := range []string{link, link + "/data", link + "/new", link + "/data/sub"} {
			a.refused(t, a.into(path), volume.ErrExists)
		}
	}
}

// TestCVE_2021_30465_NothingIsMountedWithinAnotherMount: a container mounted over a directory
// of a volume that another one had put a link into by then.
func TestCVE_2021_30465_NothingIsMountedWithinAnotherMount(t *testing.T) {
	a := attack(t)
	shared := filepath.Join(a.sandbox, "shared")
	must(t, os.Mkdir(shared, 0o755))
	must(t, syscall.Mount("shared", shared, "tmpfs", 0, ""))
	defer func() { must(t, syscall.Unmount(shared, 0)) }()
	must(t, os.MkdirAll(filepath.Join(shared, "in", "data"), 0o755))
	must(t, os.Symlink(a.victim, filepath.Join(shared, "out")))
	before := everything(t, shared)
	for _, path := range []string{"shared", "shared/in", "shared/in/data", "shared/new", "shared/out", "shared/out/data"} {
		op := a.into(path)
		if _, err := a.Do(t.Context(), op); !errors.Is(err, volume.ErrExists) {
			t.Errorf("attach at %s: %v, want exists", path, err)
		}
		if points := mountedAt(t, a.sandbox); len(points) != 1 {
			t.Errorf("attach at %s: mounted at %q, want nothing more", path, points)
		}
		a.unharmed(t, "attach at "+path)
	}
	if diff := cmp.Diff(before, everything(t, shared)); diff != "" {
		t.Errorf("made within the mount (-before +after):\n%s", diff)
	}
}

// TestCVE_2021_25741_ALinkThatIsSwappedInDuringTheAttachLeadsNowhere: the kubelet looked at
// the path first and mounted by it afterwards.
func TestCVE_2021_25741_ALinkThatIsSwappedInDuringTheAttachLeadsNowhere(t *testing.T) {
	a := attack(t)
	way, link := filepath.Join(a.sandbox, "way"), filepath.Join(a.sandbox, "link")
	must(t, os.Symlink("../victim", link))
	attached, refused := 0, 0
	for i := 0; i < 60 || attached == 0 || refused == 0; i++ {
		must(t, os.MkdirAll(filepath.Join(way, "data", "sub"), 0o755))
		stop := exchange(way, link)
		_, err := a.Do(t.Context(), a.into("way/data/sub"))
		stop()
		a.unharmed(t, "the race")
		if info, err := os.Lstat(way); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			must(t, unix.Renameat2(unix.AT_FDCWD, way, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE))
		}
		if err != nil {
			refused++
			until(t, a.Agent, func(s *volume.State) bool { return s.CountTasks() == 0 }) // it may have been raced there too
		} else {
			attached++
			a.must(t, volume.Release{Task: "hostile"})
		}
		if points := mountedAt(t, a.sandbox); len(points) > 0 {
			t.Fatalf("left mounted at %q", points)
		}
	}
	t.Logf("%d attached, %d refused", attached, refused)
}

// exchange exchanges two names until it is stopped.
func exchange(one, other string) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE) // one may be missing for a moment
			}
		}
	}()
	return func() { close(over); <-done }
}

// TestCVE_2025_31133_ALinkInPlaceOfAVolumeIsNoSource: a runtime bound what a link pointed to
// that lay where it expected a file of its own.
func TestCVE_2025_31133_ALinkInPlaceOfAVolumeIsNoSource(t *testing.T) {
	for name, place := range map[string]func(data string) string{
		"its data":      func(data string) string { return data },
		"its directory": filepath.Dir,
		"its place":     func(data string) string { return filepath.Dir(filepath.Dir(data)) },
	} {
		t.Run(name, func(t *testing.T) {
			a := attack(t)
			at := place(a.data(a.volume(t, "data")))
			must(t, os.Rename(at, at+".away"))
			must(t, os.Symlink(a.victim, at))
			must(t, os.MkdirAll(filepath.Join(a.victim, string(a.volume(t, "data").UUID), "data"), 0o700)) // what a look through the link would find
			a.before = everything(t, a.victim)
			if _, err := a.Do(t.Context(), a.into("data")); err == nil {
				t.Error("attached what a link points to")
			}
			if points := mountedAt(t, a.sandbox); len(points) > 0 {
				t.Errorf("mounted at %q", points)
			}
			a.unharmed(t, "the attach")
			_, _ = a.Do(t.Context(), volume.Destroy{Ref: "web/data"}) // it fails, or finds nothing to remove
			a.unharmed(t, "the destroy")
			must(t, errors.Join(os.Remove(at), os.Rename(at+".away", at)))
		})
	}
}

// TestCVE_2017_1002102_RemovalsFollowNoLink: the kubelet removed files of the host where a
// volume had links, or was one.
func TestCVE_2017_1002102_RemovalsFollowNoLink(t *testing.T) {
	a := attack(t)
	data := a.data(a.volume(t, "data"))
	must(t, os.Symlink(a.victim, filepath.Join(data, "dir")))
	must(t, os.Symlink(filepath.Join(a.victim, "precious"), filepath.Join(data, "file")))
	must(t, os.Mkdir(filepath.Join(data, "deep"), 0o755))
	must(t, os.Symlink("../../../../../sandboxes/victim", filepath.Join(data, "deep", "up")))
	a.must(t, volume.Destroy{Ref: "web/data"})
	if left := append(a.names(t, "live"), a.names(t, "trash")...); len(left) > 0 {
		t.Errorf("left in the pool: %q", left)
	}
	a.unharmed(t, "the destroy")

	// The sandbox of a task is a link to that of another one when it is released.
	a.must(t, volume.Claim{Task: "task"})
	own := filepath.Join(a.dir, "sandboxes", "task")
	must(t, errors.Join(os.Remove(own), os.Symlink(a.victim, own)))
	a.must(t, volume.Release{Task: "task"})
	a.unharmed(t, "the release")
	if _, err := os.Lstat(own); err != nil {
		t.Errorf("the link, which is somebody else's: %v", err)
	}
}

// TestCVE_2024_23652_APointIsClearedWhereItWasMade: a build tool removed the empty file that it
// had mounted upon, by its path, which a link had become a part of.
func TestCVE_2024_23652_APointIsClearedWhereItWasMade(t *testing.T) {
	a := attack(t)
	a.must(t, a.into("way/data/sub"))
	way := filepath.Join(a.sandbox, "way")
	must(t, os.Rename(way, way+".away"))
	must(t, os.Symlink(a.victim, way)) // where data/sub is an empty directory
	a.must(t, volume.Release{Task: "hostile"})
	a.unharmed(t, "the release")
	if points := mountedAt(t, a.sandbox); len(points) > 0 {
		t.Errorf("still mounted at %q", points)
	}
}

// TestCVE_2017_18078_AHardLinkGivesNothingAway: a service gave all files of a tree to a user,
// who had made links there to files of others.
func TestCVE_2017_18078_AHardLinkGivesNothingAway(t *testing.T) {
	a := attack(t)
	owned := creation("owned", 64, true)
	owned.Owner = volume.Owner{UID: nobody, GID: nobody, Mode: 0o2770}
	a.must(t, owned)
	a.victim = a.data(a.volume(t, "data")) // on the same mount, as a link needs it
	must(t, os.WriteFile(filepath.Join(a.victim, "precious"), []byte("kept"), 0o600))
	must(t, os.Link(filepath.Join(a.victim, "precious"), filepath.Join(a.data(a.volume(t, "owned")), "link")))
	a.before = everything(t, a.victim)
	for i, mode := range []resource.Mode{resource.RW, resource.RO} {
		op := use(fmt.Sprintf("task%d", i), "owned", "owned", mode)
		a.must(t, op)
		a.unharmed(t, "the attach")
		a.must(t, volume.Release{Task: op.Task})
	}
	a.must(t, volume.Resize{Ref: "web/owned", Size: 128 * resource.One})
	n := a.node
	n.stop()
	a.node = start(t, n.dir)
	a.unharmed(t, "a restart")
	a.must(t, volume.Destroy{Ref: "web/owned"})
	a.unharmed(t, "the destroy")
}

// TestCVE_2021_41091_HostsUsersReachNoVolumeAndGainNothing: users of the host walked into the
// directories of containers and ran what had a set-user-ID bit there.
func TestCVE_2021_41091_HostsUsersReachNoVolumeAndGainNothing(t *testing.T) {
	mounttest.RequireRoot(t)
	a := attack(t)
	must(t, os.Chmod(a.dir, 0o755))
	data := a.data(a.volume(t, "data"))
	for _, path := range []string{data, filepath.Dir(data), filepath.Join(a.dir, "state")} {
		if err := asNobody(t, func() error { _, err := os.ReadDir(path); return err }); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a user of the host reads %s: %v, want permission denied", path, err)
		}
	}
	a.must(t, a.into("data"))
	id, err := os.ReadFile("/usr/bin/id")
	must(t, err)
	for dir, want := range map[string]string{a.dir: "0", filepath.Join(a.sandbox, "data"): fmt.Sprint(nobody)} {
		program := filepath.Join(dir, "id")
		must(t, errors.Join(os.WriteFile(program, id, 0o755), os.Chmod(program, 0o755|fs.ModeSetuid)))
		run := exec.Command(program, "-u")
		run.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		got, err := run.Output()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("set-user-ID root in %s: it runs as %s, %v; want %s", dir, got, err, want)
		}
	}
	a.must(t, volume.Release{Task: "hostile"})
}

// TestCVE_2021_41103_WhatTheAgentMakesIsClosedWhateverTheUmask: directories of a daemon could
// be written or walked by everybody.
func TestCVE_2021_41103_WhatTheAgentMakesIsClosedWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	n := start(t, directory(t))
	n.reserve(t)
	owned := creation("data", 64, true)
	owned.Owner = volume.Owner{UID: nobody, GID: nobody, Mode: 0o2770}
	n.must(t, owned, use("task", "data", "way/data", resource.RW))
	modes := map[string]fs.FileMode{}
	must(t, filepath.WalkDir(n.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		modes[path] = info.Mode()
		if info.Mode().Perm()&0o022 != 0 && path != n.data(n.volume(t, "data")) && !strings.HasSuffix(path, "/way/data") {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return nil
	}))
	for path, most := range map[string]fs.FileMode{"state": 0o700, "pool": 0o700, "sandboxes": 0o711, "sandboxes/task": 0o750, "sandboxes/task/way": 0o755} {
		if got := modes[filepath.Join(n.dir, path)].Perm(); got&^most != 0 || got == 0 {
			t.Errorf("%s has mode %s, want %s at most", path, got, most)
		}
	}
	n.must(t, volume.Release{Task: "task"})
}

// TestCVE_2024_21626_AMountThatIsHandedOverHasNothingAbove: a runtime let a descriptor of a
// directory of the host get into a container.
func TestCVE_2024_21626_AMountThatIsHandedOverHasNothingAbove(t *testing.T) {
	a := attack(t)
	op := a.into("data")
	op.Via = volume.ByDescriptor
	handed, err := a.Hand(t.Context(), op, func(*volume.State, volume.Operation) error { return nil })
	must(t, err)
	defer handed.Close()
	var here, above unix.Stat_t
	must(t, unix.Fstatat(int(handed.Fd()), ".", &here, 0))
	for _, way := range []string{"..", "../..", "../../../live"} {
		fd, err := unix.Openat(int(handed.Fd()), way, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) && way == "../../../live" {
			continue
		}
		must(t, err)
		must(t, unix.Fstat(fd, &above))
		must(t, unix.Close(fd))
		if above.Ino != here.Ino || above.Dev != here.Dev {
			t.Errorf("%s leads from the volume to another directory", way)
		}
	}
	a.must(t, volume.Release{Task: "hostile"})
}
