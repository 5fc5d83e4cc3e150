package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	cgroups "github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
)

// ErrUnsupported says that cgroups, or the call at hand, cannot be used on this host
// or by this process. The error that wraps it says why.
var ErrUnsupported = errors.New("cgroups cannot be used")

// hostRoot is where every distribution mounts its cgroups; cgroups.Mode looks there too.
const hostRoot = "/sys/fs/cgroup"

// hierarchy is one mounted tree of cgroups.
type hierarchy struct {
	mount string // where it is mounted
	label string // how /proc/PID/cgroup calls it; "" is the unified hierarchy, v2
}

// v1Hierarchies are those fit for membership, best first: freezing a group keeps it
// from forking while it is killed, the others only tell who is in it.
var v1Hierarchies = [...]hierarchy{
	{mount: hostRoot + "/freezer", label: "freezer"},
	{mount: hostRoot + "/pids", label: "pids"},
	{mount: hostRoot + "/systemd", label: "name=systemd"},
}

func (h hierarchy) v2() bool { return h.label == "" }

// detect picks the hierarchy to use on this host.
func detect() (hierarchy, error) {
	switch cgroups.Mode() {
	case cgroups.Unified:
		return hierarchy{mount: hostRoot}, nil
	case cgroups.Hybrid:
		return hierarchy{mount: hostRoot + "/unified"}, nil
	case cgroups.Legacy:
		return detectV1()
	default:
		return hierarchy{}, fmt.Errorf("%w: nothing is mounted at %s", ErrUnsupported, hostRoot)
	}
}

func detectV1() (hierarchy, error) {
	for _, h := range v1Hierarchies {
		if kind, err := filesystem(h.mount); err == nil && kind == unix.CGROUP_SUPER_MAGIC {
			return h, nil
		}
	}
	return hierarchy{}, fmt.Errorf("%w: beneath %s is no freezer, pids or systemd hierarchy", ErrUnsupported, hostRoot)
}

// own returns the group that this process is in, as a path within h.
func (h hierarchy) own() (string, error) {
	v1, v2, err := cgroups.ParseCgroupFileUnified("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find the agent's own cgroup: %w", err)
	}
	group := v2
	if !h.v2() {
		group = v1[h.label]
	}
	if !strings.HasPrefix(group, "/") || strings.HasPrefix(group, "/..") {
		return "", fmt.Errorf("%w: the agent's own cgroup %q is not beneath %s", ErrUnsupported, group, h.mount)
	}
	return group, nil
}

// filesystem returns the magic number of the filesystem at path.
func filesystem(path string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	for errors.Is(err, unix.EINTR) {
		err = unix.Statfs(path, &st)
	}
	if err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return int64(st.Type), nil
}

// mounted returns nil if path is, or would be, a cgroup: if it or the nearest
// ancestor that exists lies in a mounted hierarchy.
func mounted(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("cgroup %q is not an absolute path", path)
	}
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		kind, err := filesystem(dir)
		switch {
		case gone(err) && dir != "/":
			continue
		case err != nil:
			return err
		case kind == unix.CGROUP2_SUPER_MAGIC, kind == unix.CGROUP_SUPER_MAGIC:
			return nil
		}
		return fmt.Errorf("%w: no hierarchy is mounted where %s would be", ErrUnsupported, path)
	}
}

// gone reports whether err says that a group, or a file of it, is not there: ENOENT
// before it is opened, ENODEV when it is removed while open.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}

// explain adds to an error of the kernel what it means for the use of cgroups at path.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %s is mounted read-only: %w", ErrUnsupported, path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: no permission for %s (the agent needs root, or a cgroup delegated to it): %w",
			ErrUnsupported, path, err)
	}
	return err
}
