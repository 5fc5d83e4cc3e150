package cgroup

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"
)

const (
	taskPrefix   = "task-"
	digestPrefix = "sha256-"
	nameMax      = 255 // NAME_MAX of cgroup filesystems, in bytes
)

// Options says where a Manager keeps its groups.
type Options struct {
	// Parent is the group beneath which those of the tasks are made, as a path within
	// the hierarchy that starts at its root ("/tenon.slice"). It is made if missing.
	// Empty: "tenon" beneath the group that the agent itself is in.
	Parent string
}

// Manager makes and finds the groups of tasks. It holds nothing open and may be used
// by many goroutines at once.
type Manager struct {
	hierarchy hierarchy
	parent    string // path within the hierarchy
}

// Open picks the hierarchy and makes the parent group in it. It returns ErrUnsupported,
// with the reason, where this host or this process cannot use cgroups.
//
// The parent is never removed: it is the same after the agent's next start.
func Open(o Options) (*Manager, error) {
	h, err := detect()
	if err != nil {
		return nil, err
	}
	return open(h, o)
}

func open(h hierarchy, o Options) (*Manager, error) {
	parent := path.Join("/", o.Parent)
	if o.Parent == "" {
		own, err := h.own()
		if err != nil {
			return nil, err
		}
		parent = path.Join(own, "tenon")
	}
	m := &Manager{hierarchy: h, parent: parent}
	if err := m.make(parent); err != nil {
		return nil, err
	}
	dir := filepath.Join(h.mount, parent)
	// A parent that is already there may still be another's.
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS); err != nil {
		return nil, explain(dir, fmt.Errorf("write to cgroup %s: %w", dir, err))
	}
	return m, nil
}

// Create makes the group of a task, or finds it if it is there already. The group is
// empty, that is not populated, until a process joins it.
//
// The group lives until Delete or the next boot; nothing about it is durable.
func (m *Manager) Create(task string) (*Group, error) {
	group, err := m.name(task)
	if err != nil {
		return nil, err
	}
	if err := m.make(group); err != nil {
		return nil, err
	}
	return m.group(group), nil
}

// Path returns the full path of the group that Create makes for a task, so that it can be
// recorded first.
func (m *Manager) Path(task string) (string, error) {
	group, err := m.name(task)
	if err != nil {
		return "", err
	}
	return m.group(group).Path(), nil
}

// name returns the group of a task as a path within the hierarchy.
func (m *Manager) name(task string) (string, error) {
	name, err := directory(task)
	if err != nil {
		return "", err
	}
	return path.Join(m.parent, name), nil
}

// Load returns the group whose Path was recorded earlier, also by an agent with another
// parent; the group need not exist any more. It refuses a path that is outside of the
// hierarchy or does not have the name of a task's group, so that a damaged record can
// neither kill nor remove anything else.
func (m *Manager) Load(path string) (*Group, error) {
	group, inside := strings.CutPrefix(path, m.hierarchy.mount+"/")
	name := filepath.Base(path)
	named := strings.HasPrefix(name, taskPrefix) || strings.HasPrefix(name, digestPrefix)
	if !inside || !named || filepath.Clean(path) != path {
		return nil, fmt.Errorf("load cgroup %q: not the group of a task beneath %s", path, m.hierarchy.mount)
	}
	return m.group("/" + group), nil
}

// RemoveParent removes the group beneath which those of the tasks were, if there are none
// any more; a missing one is no error. It is the partner of Open for an agent that does not
// come back.
func (m *Manager) RemoveParent() error { return m.group(m.parent).Delete() }

// Find is Load for whoever has no Manager and makes no groups: a process that is to join
// the one that was made for it.
func Find(path string) (*Group, error) {
	h, err := detect()
	if err != nil {
		return nil, err
	}
	return (&Manager{hierarchy: h}).Load(path)
}

func (m *Manager) group(group string) *Group {
	return &Group{hierarchy: m.hierarchy, group: group}
}

// make makes a group, and those above it, where they are missing.
func (m *Manager) make(group string) error {
	var err error
	if m.hierarchy.v2() {
		err = makeV2(m.hierarchy, group)
	} else {
		_, err = cgroup1.New(cgroup1.StaticPath(group), nil, m.hierarchy.only())
	}
	if err != nil {
		dir := filepath.Join(m.hierarchy.mount, group)
		return explain(dir, fmt.Errorf("create cgroup %s: %w", dir, err))
	}
	return nil
}

func makeV2(h hierarchy, group string) error {
	root, err := cgroup2.Load("/", cgroup2.WithMountpoint(h.mount))
	if err != nil {
		return err
	}
	// Without resources no controller is enabled on the way, so the rule that a group
	// with controllers has no processes of its own does not bite the agent's group.
	_, err = root.NewChild(strings.TrimPrefix(group, "/"), nil)
	return err
}

// only restricts package cgroup1, which works on all hierarchies at once, to this one.
func (h hierarchy) only() cgroup1.InitOpts {
	dir, base := filepath.Split(h.mount)
	return cgroup1.WithHierarchy(func() ([]cgroup1.Subsystem, error) {
		return []cgroup1.Subsystem{cgroup1.NewNamed(dir, cgroup1.Name(base))}, nil
	})
}

// directory returns the name of the directory of a task's group.
func directory(task string) (string, error) {
	if task == "" {
		return "", errors.New("a task without an id can have no cgroup")
	}
	if strings.ContainsFunc(task, forbidden) {
		return "", fmt.Errorf("task id %q contains a slash, a backslash or a control character", task)
	}
	if len(taskPrefix)+len(task) <= nameMax {
		return taskPrefix + task, nil
	}
	digest := sha256.Sum256([]byte(task))
	return digestPrefix + hex.EncodeToString(digest[:]), nil
}

// forbidden says which characters no id may have (spec.md 1.5).
func forbidden(r rune) bool {
	return r == '/' || r == '\\' || r < ' ' || r == 0x7f
}
