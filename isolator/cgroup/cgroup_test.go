package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tenon/mount/mounttest"
)

func TestOpenWithoutAParentUsesTheAgentsOwnGroup(t *testing.T) {
	for _, h := range hierarchies(t) {
		own, err := h.own()
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(h.mount, own, "tenon")
		_, before := os.Stat(dir)
		m, err := open(h, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.Join(h.mount, m.parent); got != dir {
			t.Errorf("parent is %s, want %s", got, dir)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("open did not make the parent: %v", err)
		}
		if before != nil {
			_ = unix.Rmdir(dir) // unless another uses it by now
		}
	}
}

func TestOpenPicksAHierarchyOfTheHost(t *testing.T) {
	t.Parallel()
	found := hierarchies(t)
	h, err := detect()
	if err != nil {
		t.Fatal(err)
	}
	if h != found[0] {
		t.Errorf("picked %v, want the first of %v", h, found)
	}
	m, err := Open(Options{Parent: mustOpen(t, h).parent})
	if err != nil {
		t.Fatal(err)
	}
	if m.hierarchy != h {
		t.Errorf("opened %v, want %v", m.hierarchy, h)
	}
}

func TestAHostWithV1AloneUsesTheFreezerFirst(t *testing.T) {
	t.Parallel()
	found := hierarchies(t)
	want, err := detectV1()
	i := slices.IndexFunc(found, func(h hierarchy) bool { return !h.v2() })
	switch {
	case i < 0 && !errors.Is(err, ErrUnsupported):
		t.Errorf("error is %v, want ErrUnsupported", err)
	case i >= 0 && (err != nil || want != found[i]):
		t.Errorf("picked %v, %v, want %v", want, err, found[i])
	}
}

func TestAReadOnlyMountIsExplained(t *testing.T) {
	t.Parallel()
	for _, h := range hierarchies(t) {
		at := t.TempDir()
		err := onThread(func() error {
			if err := mountReadOnly(h.mount, at); err != nil {
				return err
			}
			_, err := open(hierarchy{mount: at, label: h.label}, Options{Parent: "/tenon-test-never-made"})
			return err
		})
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("%s: error is %v, want ErrUnsupported that names the read-only mount", h.mount, err)
		}
	}
}

// mountReadOnly shows a cgroup mount at another place, read-only, to this thread alone.
func mountReadOnly(source, target string) error {
	return errors.Join(
		unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(source, target, "", unix.MS_BIND, ""),
		unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
	)
}

func TestAMissingPermissionIsExplained(t *testing.T) {
	t.Parallel()
	for _, h := range hierarchies(t) {
		parent := mustOpen(t, h).parent
		for _, p := range []string{parent, parent + "/missing"} {
			err := onThread(func() error {
				if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
					return errno
				}
				_, err := open(h, Options{Parent: p})
				return err
			})
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "permission") {
				t.Errorf("%s%s: error is %v, want ErrUnsupported that names the permission", h.mount, p, err)
			}
		}
	}
}

// onThread runs f on a thread that ends with it, so f may change what a thread owns.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread is not fit for others
		done <- f()
	}()
	return <-done
}

func TestCreateTwiceFindsTheSameGroup(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		first := mustCreate(t, m, "writer")
		mustJoin(t, first, mustStart(t, "").pid())
		second := mustCreate(t, m, "writer")
		if first.Path() != second.Path() {
			t.Errorf("paths are %s and %s", first.Path(), second.Path())
		}
		mustPopulated(t, second, true)
		mustKill(t, second)
	})
}

func TestAGroupIsFoundAgainByItsPath(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "a task.with spaces\u00e9")
		other := mustOpen(t, m.hierarchy)
		loaded, err := other.Load(g.Path())
		if err != nil {
			t.Fatal(err)
		}
		if err := loaded.Delete(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(g.Path()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the loaded group was not the created one: %v", err)
		}
	})
}

func TestLoadRefusesWhatIsNotTheGroupOfATask(t *testing.T) {
	t.Parallel()
	m := &Manager{hierarchy: hierarchy{mount: "/sys/fs/cgroup/unified"}}
	for _, path := range []string{
		"", "/", "task-x", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/", "/sys/fs/cgroup/unified/init.scope",
		"/sys/fs/cgroup/unified/task-x/inner", "/sys/fs/cgroup/unified/../task-x", "/sys/fs/cgroup/unifiedtask-x",
		"/sys/fs/cgroup/unified/tenon/task-x/", "/sys/fs/cgroup/unified//task-x", "/home/task-x",
	} {
		if g, err := m.Load(path); err == nil {
			t.Errorf("load %q gave %s, want an error", path, g.Path())
		}
	}
	for _, path := range []string{"/sys/fs/cgroup/unified/task-x", "/sys/fs/cgroup/unified/a/b/sha256-00"} {
		if g, err := m.Load(path); err != nil || g.Path() != path {
			t.Errorf("load %q gave %v, %v", path, g, err)
		}
	}
}

func TestNamesOfTasksAreFileNamesAndNeverMeet(t *testing.T) {
	t.Parallel()
	ids := rapid.OneOf(
		rapid.StringMatching(`[ -.0-\[\]-~]{1,300}`),
		rapid.StringMatching(`(sha256-|task-)?[0-9a-f]{64}`),
		rapid.SampledFrom([]string{".", "..", "cgroup.procs", "tasks", strings.Repeat("é", 127), strings.Repeat("x", 250), strings.Repeat("x", 251)}),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b := ids.Draw(t, "a"), ids.Draw(t, "b")
		nameA, err := directory(a)
		if err != nil {
			t.Fatal(err)
		}
		nameB, err := directory(b)
		if err != nil {
			t.Fatal(err)
		}
		if (nameA == nameB) != (a == b) {
			t.Errorf("tasks %q and %q have directories %q and %q", a, b, nameA, nameB)
		}
		if len(nameA) > nameMax || filepath.Base(nameA) != nameA {
			t.Errorf("task %q has directory %q, which is no file name", a, nameA)
		}
	})
}

func TestEveryAllowedIdMakesAGroup(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		for _, id := range []string{
			".", "..", "cgroup.procs", "tasks", "a b:c*?\"'$", "\xff\xfe", strings.Repeat("x", 250), strings.Repeat("é", 127) + "x",
		} {
			g := mustCreate(t, m, id)
			if _, err := os.Stat(filepath.Join(g.Path(), "cgroup.procs")); err != nil {
				t.Errorf("task %q has no group: %v", id, err)
			}
			if _, err := m.Load(g.Path()); err != nil {
				t.Errorf("task %q: %v", id, err)
			}
			if path, err := m.Path(id); err != nil || path != g.Path() {
				t.Errorf("task %q was foretold %q, %v, and got %s", id, path, err, g.Path())
			}
		}
	})
}

func TestIdsThatAreNoFileNamesAreRefused(t *testing.T) {
	t.Parallel()
	m := &Manager{hierarchy: hierarchy{mount: "/nowhere"}, parent: "/"}
	for _, id := range []string{"", "a/b", "/", "../x", `a\b`, "a\nb", "a\x00b", "a\x7fb"} {
		if g, err := m.Create(id); err == nil {
			t.Errorf("task %q got %s, want an error", id, g.Path())
		}
		if path, err := m.Path(id); err == nil || path != "" {
			t.Errorf("task %q has path %q, %v, want an error", id, path, err)
		}
	}
}

func TestPopulatedIsParsed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"populated 1\nfrozen 0\n": true, "frozen 1\npopulated 0\n": false, "populated 1": true, "populated 0": false,
	} {
		if got, err := parsePopulated(text); err != nil || got != want {
			t.Errorf("%q gave %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "frozen 0\n", "unpopulated 1\n"} {
		if got, err := parsePopulated(text); err == nil {
			t.Errorf("%q gave %v, want an error", text, got)
		}
	}
}

func TestAPathWithoutAHierarchyIsAnErrorNotAnEmptyGroup(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	for _, path := range []string{t.TempDir(), t.TempDir() + "/task-x/inner"} {
		if populated, err := Populated(path); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s gave %v, %v, want ErrUnsupported", path, populated, err)
		}
		if exists, err := Exists(path); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s exists is %v, %v, want ErrUnsupported", path, exists, err)
		}
	}
	if _, err := Populated("task-x"); err == nil {
		t.Error("a relative path gave no error")
	}
}
