package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"
)

// Group is the cgroup of one task. It is a name and holds nothing open: the group may
// come and go meanwhile. It may be used by many goroutines at once.
type Group struct {
	hierarchy hierarchy
	group     string // path within the hierarchy
}

// Path returns the full path of the group's directory, as it is recorded in the journal
// and understood by Load and Populated.
func (g *Group) Path() string { return filepath.Join(g.hierarchy.mount, g.group) }

// Populated is Populated of the group's path.
func (g *Group) Populated() (bool, error) { return Populated(g.Path()) }

// Populated reports whether a living process is in the group at path, a full path, or in
// a group beneath it; zombies do not count. A missing group is not populated. A path
// where no hierarchy is mounted is an error that wraps ErrUnsupported.
func Populated(path string) (bool, error) {
	text, err := os.ReadFile(eventsFile(path))
	if err == nil {
		return parsePopulated(string(text))
	}
	if !gone(err) {
		return false, err
	}
	// Not there, or v1, or the root of v2; only the first and the second can be a task's.
	if err := mounted(path); err != nil {
		return false, err
	}
	empty, err := walk(path, func(pids []int) bool { return len(pids) == 0 })
	return !empty && err == nil, err
}

// Exists reports whether there is a group at path, a full path. As for Populated, a path
// where no hierarchy is mounted is an error that wraps ErrUnsupported, not a missing group.
func Exists(path string) (bool, error) {
	if err := mounted(path); err != nil {
		return false, err
	}
	_, err := os.Lstat(path)
	if gone(err) {
		return false, nil
	}
	return err == nil, err
}

func eventsFile(path string) string { return filepath.Join(path, "cgroup.events") }

// parsePopulated reads the "populated" line of a cgroup.events file.
func parsePopulated(text string) (bool, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "populated "); ok {
			return strings.TrimSpace(value) != "0", nil
		}
	}
	return false, fmt.Errorf("cgroup.events %q has no populated line", text)
}

// Processes returns the ids of the living processes in the group and in all groups
// beneath it, in no order; none if the group is missing. A process in another PID
// namespace than the agent's is listed as 0.
func (g *Group) Processes() ([]int, error) {
	var all []int
	_, err := walk(g.Path(), func(pids []int) bool {
		all = append(all, pids...)
		return true
	})
	return all, err
}

// Join moves a process into the group, and into that of its limits where that is another one
// (IOPath). The children that it has already stay where they
// are, those it makes later are born in the group. A process that is already there stays.
func (g *Group) Join(pid int) error {
	if pid <= 0 {
		return fmt.Errorf("join process %d to cgroup %s: not a process id", pid, g.Path())
	}
	// The limits first: what is born in the group from then on has them.
	err := g.joinIO(uint64(pid))
	if err == nil {
		err = g.add(uint64(pid))
	}
	if err != nil {
		return explain(g.Path(), fmt.Errorf("join process %d to cgroup %s: %w", pid, g.Path(), err))
	}
	return nil
}

func (g *Group) add(pid uint64) error {
	if g.hierarchy.v2() {
		m, err := cgroup2.Load(g.group, cgroup2.WithMountpoint(g.hierarchy.mount))
		if err != nil {
			return err
		}
		return m.AddProc(pid)
	}
	c, err := cgroup1.Load(cgroup1.StaticPath(g.group), g.hierarchy.only())
	if err != nil {
		return err
	}
	return c.AddProc(pid)
}

// Dir opens the group's directory, for clone3(2) with CLONE_INTO_CGROUP (Linux 5.7; in Go
// SysProcAttr.CgroupFD): the process is then born in the group and the group is populated
// when the call returns. ErrUnsupported on v1. The caller closes it.
func (g *Group) Dir() (*os.File, error) {
	if !g.hierarchy.v2() {
		return nil, fmt.Errorf("open cgroup %s for clone3: %w: v1 has no such call", g.Path(), ErrUnsupported)
	}
	return os.OpenFile(g.Path(), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// Delete removes the group and all groups beneath it. A missing group is no error. Where
// processes are left it returns an error that wraps EBUSY and names them; groups beneath
// that were empty may be gone then.
func (g *Group) Delete() error {
	err := remove(g.Path())
	if err == nil {
		err = g.deleteIO()
	}
	if err == nil {
		return nil
	}
	pids, perr := g.Processes()
	if perr != nil || len(pids) == 0 {
		return explain(g.Path(), fmt.Errorf("delete cgroup %s: %w", g.Path(), err))
	}
	return fmt.Errorf("delete cgroup %s with processes %v in it: %w", g.Path(), pids, err)
}

// remove removes a group, those beneath it first. It only ever calls rmdir, so it can
// do no harm to anything but empty directories.
func remove(dir string) error {
	children, err := subgroups(dir)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := remove(child); err != nil {
			return err
		}
	}
	if err := unix.Rmdir(dir); err != nil && !gone(err) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// walk calls visit with the processes of dir, then with those of each group beneath it,
// for as long as visit returns true, and returns what it returned last. Groups that
// vanish meanwhile have no processes. (The walk of package cgroups gives up on one.)
func walk(dir string, visit func(pids []int) bool) (bool, error) {
	pids, err := readProcs(dir)
	if err != nil {
		return false, err
	}
	if !visit(pids) {
		return false, nil
	}
	children, err := subgroups(dir)
	if err != nil {
		return false, err
	}
	for _, child := range children {
		if more, err := walk(child, visit); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// readProcs returns the processes of one group, without those of the groups beneath it.
func readProcs(dir string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if gone(err) {
		return nil, nil
	}
	// EOPNOTSUPP: a threaded group; its processes are listed in its threaded domain.
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("read processes of cgroup %s: %w", dir, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// subgroups returns the paths of the groups directly beneath dir.
func subgroups(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var children []string
	for _, entry := range entries {
		if entry.IsDir() {
			children = append(children, filepath.Join(dir, entry.Name()))
		}
	}
	return children, nil
}
