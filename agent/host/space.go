package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/isolator/lease"
	"tenon/mount"
)

// space is the mount namespace of a process that attachments of a task name. It is kept, so
// that a call which never returns from there is in the way of that process' others alone, and
// watched, since a task may outlive its processes one by one.
type space struct {
	task    string
	process volume.Process
}

// key is what the lease of a space is watched under. No task's id has a NUL.
func (p space) key() string { return p.task + "\x00" + strconv.Itoa(p.process.PID) }

// taskOf is the task that a watched lease is about.
func taskOf(key string) string {
	task, _, _ := strings.Cut(key, "\x00")
	return task
}

// space gives the mount namespace of a process, or ESRCH.
func (h *Host) space(t *volume.Task, p volume.Process) (*mount.Namespace, error) {
	at := space{t.ID, p}
	h.mu.Lock()
	n := h.spaces[at]
	h.mu.Unlock()
	if n != nil {
		held, err := holds(p)
		if err == nil && !held {
			err = errors.Join(gone(p), h.leave(at))
		}
		return n, err
	}
	n, err := openSpace(p)
	if err != nil {
		return nil, err
	}
	return h.keep(t, at, n)
}

// openSpace opens the mount namespace of a process and makes sure that it is of that one.
func openSpace(p volume.Process) (*mount.Namespace, error) {
	n, err := mount.OpenNamespace(p.PID)
	if err != nil {
		return nil, err
	}
	held, err := holds(p)
	if err == nil && !held {
		err = gone(p)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func holds(p volume.Process) (bool, error) { return (lease.Lease{PID: p.PID, Start: p.Start}).Held() }

func gone(p volume.Process) error {
	return fmt.Errorf("process %d has ended: %w", p.PID, syscall.ESRCH)
}

// keep keeps a namespace for later calls, unless somebody else was quicker, and has the process
// watched where the task does not end with it.
func (h *Host) keep(t *volume.Task, at space, n *mount.Namespace) (*mount.Namespace, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if first := h.spaces[at]; first != nil {
		return first, n.Close()
	}
	if h.leases != nil && t.Lease != (volume.Lease{PID: at.process.PID, Start: at.process.Start}) {
		if err := h.leases.Add(at.key(), lease.Lease{PID: at.process.PID, Start: at.process.Start}); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	h.spaces[at] = n
	return n, nil
}

// leave lets go of a namespace.
func (h *Host) leave(at space) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.spaces[at]
	if n == nil {
		return nil
	}
	delete(h.spaces, at)
	if h.leases != nil {
		h.leases.Remove(at.key())
	}
	return n.Close()
}

// leaveUnused lets go of the namespaces that no attachment of a task names.
func (h *Host) leaveUnused(s *volume.State, task string) error {
	named := map[volume.Process]bool{}
	for a := range s.AttachmentsIn(task) {
		named[a.Process] = true
	}
	var unused []space
	h.mu.Lock()
	for at := range h.spaces {
		if at.task == task && !named[at.process] {
			unused = append(unused, at)
		}
	}
	h.mu.Unlock()
	var errs []error
	for _, at := range unused {
		errs = append(errs, h.leave(at))
	}
	return errors.Join(errs...)
}

// maxSpaces bounds in how many namespaces of a task a mount is looked for.
const maxSpaces = 64

// insiders are living processes of a task that have a mount namespace of their own: one for each
// namespace, the one that started first, and in that order.
func (h *Host) insiders(t *volume.Task) ([]volume.Process, error) {
	pids, err := pidsOf(t)
	if err != nil {
		return nil, err
	}
	first := map[string]volume.Process{}
	for _, pid := range pids {
		name, own, err := spaceOf(pid)
		if err != nil || !own {
			continue // it has ended meanwhile, or is in the namespace of everybody
		}
		of, err := lease.OfProcess(pid)
		if err != nil || pid == t.Lease.PID && of.Start != t.Lease.Start {
			continue
		}
		if known, is := first[name]; !is || of.Start < known.Start {
			first[name] = volume.Process{PID: pid, Start: of.Start}
		}
	}
	var all []volume.Process
	for _, p := range first {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b volume.Process) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID))
	})
	return all[:min(len(all), maxSpaces)], nil
}

// pidsOf are the processes that a task's lease names, and those in its cgroup.
func pidsOf(t *volume.Task) (pids []int, err error) {
	if t.Lease.Cgroup != "" {
		group, err := cgroup.Find(t.Lease.Cgroup)
		if err != nil {
			return nil, err
		}
		if pids, err = group.Processes(); err != nil {
			return nil, err
		}
	}
	if t.Lease.PID != 0 && !slices.Contains(pids, t.Lease.PID) {
		pids = append(pids, t.Lease.PID)
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return pid <= 0 }), nil
}

// spaceOf names the mount namespace of a process, and says whether it is neither the agent's nor
// that of the host's first process, if that may be looked at (namespaces(7)).
func spaceOf(pid int) (name string, own bool, err error) {
	if name, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err != nil {
		return "", false, err
	}
	for _, everybody := range []string{"/proc/self/ns/mnt", "/proc/1/ns/mnt"} {
		common, err := os.Readlink(everybody)
		if err != nil && !errors.Is(err, fs.ErrPermission) || common == name {
			return name, false, err
		}
	}
	return name, true, nil
}
