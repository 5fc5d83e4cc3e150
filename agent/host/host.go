// Package host is the real kernel behind the agent: it looks at disks, directories,
// mounts, cgroups and processes, and turns each step of a plan into calls of agent/pool,
// mount and isolator. It decides nothing and stores nothing; what should be is in the
// state that it is handed.
package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/isolator/lease"
	"tenon/isolator/owner"
	"tenon/isolator/quota"
	"tenon/isolator/sandbox"
	"tenon/mount"
)

// Options say which parts of the host the agent works with.
type Options struct {
	Disks        map[string]string // directory of the pool by key of the disk; "" is the root disk
	SandboxRoots []string          // absolute; the first is where the agent's own sandboxes are
	SharedRoots  []string          // more of them, which stay mounted as they are (sandbox.OpenShared)
	CgroupParent string            // "" is beneath the agent's own cgroup
	Projects     quota.Range       // numbers by which file systems may be told to limit volumes; the zero Range is none
	Log          *slog.Logger
}

// Host is the kernel of this machine, in the mount namespace of the calling process. It
// is an agent.Kernel; its methods may be called at the same time.
type Host struct {
	log      *slog.Logger
	projects quota.Range
	disks    map[string]*disk // by key; never changes
	roots    []*sandbox.Root
	absent   []string        // roots that are missing, where they are only looked for
	own      *sandbox.Root   // the first, in which the agent makes sandboxes; nil where it is missing and only looked for
	groups   *cgroup.Manager // nil where the host has no cgroups for us
	leases   *lease.Watcher
	maps     owner.Maps
	lost     chan string
	done     chan struct{} // closed by Close
	work     sync.WaitGroup

	mu        sync.Mutex
	watched   map[string]lease.Lease     // by task, what leases watches; guarded by mu
	spaces    map[space]*mount.Namespace // of the processes that attachments name; guarded by mu
	seenAt    map[volume.Unit]uint64     // mounts that were seen at their targets; guarded by mu
	strays    []stray                    // guarded by mu
	leftover  []volume.Leftover          // sandboxes of earlier boots that were there at the start, and may be still; guarded by mu
	start     sync.Once                  // guards the look around at the start
	published map[volume.UUID]bool       // being made, and durably in live/; guarded by mu
}

// Open prepares the sandbox roots: each is made if it is missing, and becomes a private
// mount of its own unless it is shared. Disks are opened when they are looked at: one that
// is missing is only unavailable, and the directory of the root disk is made when its pool is.
func Open(o Options) (_ *Host, err error) {
	h := newHost(o)
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	if err := h.openRoots(o.SandboxRoots, sandbox.OpenRoot); err != nil {
		return nil, err
	}
	if err := h.openRoots(o.SharedRoots, sandbox.OpenShared); err != nil {
		return nil, err
	}
	if h.groups, err = cgroup.Open(cgroup.Options{Parent: o.CgroupParent}); err != nil {
		if !errors.Is(err, cgroup.ErrUnsupported) {
			return nil, err
		}
		h.log.Warn("tasks have no cgroups; they end with the process that started them", "err", err)
	}
	if h.leases, err = lease.NewWatcher(o.Log); err == nil {
		h.work.Go(h.forward)
	}
	return h, err
}

// newHost is one that has opened nothing yet.
func newHost(o Options) *Host {
	h := &Host{log: o.Log, projects: o.Projects, disks: map[string]*disk{}, watched: map[string]lease.Lease{}, published: map[volume.UUID]bool{}, seenAt: map[volume.Unit]uint64{}, spaces: map[space]*mount.Namespace{},
		lost: make(chan string), done: make(chan struct{})}
	for key, dir := range o.Disks {
		h.disks[key] = &disk{dir: dir, make: key == "", mount: strings.HasPrefix(key, string(resource.SourceMount)+":"),
			projects: o.Projects, log: o.Log}
	}
	return h
}

func (h *Host) openRoots(paths []string, open func(string) (*sandbox.Root, error)) error {
	for _, path := range paths {
		r, err := open(path)
		if err != nil {
			return fmt.Errorf("sandbox root: %w", err)
		}
		if h.own == nil {
			h.own = r
		}
		h.roots = append(h.roots, r)
	}
	return nil
}

// forward passes on whose lease may have ended; whoever looks and finds it held after
// all has it watched again.
func (h *Host) forward() {
	for key := range h.leases.Lost() {
		h.mu.Lock()
		delete(h.watched, key)
		h.mu.Unlock()
		select {
		case h.lost <- taskOf(key):
		case <-h.done:
		}
	}
}

// Close lets go of every descriptor; nothing else may be called any more. It unmounts nothing that a task can see.
func (h *Host) Close() error {
	var errs []error
	close(h.done)
	if h.leases != nil {
		errs = append(errs, h.leases.Close())
	}
	h.work.Wait()
	errs = append(errs, h.maps.Close())
	for _, n := range h.spaces {
		errs = append(errs, n.Close())
	}
	for _, r := range h.roots {
		errs = append(errs, r.Close())
	}
	for _, d := range h.disks {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

// Lost yields tasks whose lease, or another process that an attachment names, may have ended.
func (h *Host) Lost() <-chan string { return h.lost }

// root finds the sandbox root that a path lies beneath, and the path beneath it.
func (h *Host) root(path string) (*sandbox.Root, string, error) {
	var all []string
	for _, r := range h.roots {
		if rest, ok := strings.CutPrefix(path, r.Path()+"/"); ok {
			return r, rest, nil
		}
		all = append(all, r.Path())
	}
	for _, root := range h.absent {
		if strings.HasPrefix(path, root+"/") {
			return nil, "", fmt.Errorf("sandbox %s: its root %s is not there: %w", path, root, fs.ErrNotExist)
		}
		all = append(all, root)
	}
	return nil, "", &volume.Error{Kind: volume.ErrForbidden,
		Message: fmt.Sprintf("sandbox %s lies beneath none of the sandbox roots (%s)", path, strings.Join(all, ", "))}
}

// Prepare completes an operation: the sandbox of a task that names none, the start time
// of a claiming process, the path of a cgroup to be made, whether anything but the asker
// holds the lease of a task to be released, that a process may be killed, and what is in a volume that is to become
// smaller, which takes as long as a walk through it.
func (h *Host) Prepare(ctx context.Context, s *volume.State, op volume.Operation) (volume.Operation, error) {
	switch o := op.(type) {
	case volume.Renew:
		o.At = lease.Now()
		return o, nil
	case volume.Claim:
		o.At = lease.Now()
		err := h.prepareTask(&o.Sandbox, &o.Own, o.Task)
		if err == nil {
			o.Lease, err = h.prepareLease(o)
		}
		if err == nil {
			o.IOGroup, err = h.prepareIO(s, o)
		}
		return o, err
	case volume.Attach:
		o.At = lease.Now()
		return h.prepareAttach(s, o)
	case volume.Detach:
		var err error
		o.In, err = h.finds(ctx, s, o.Task, o.Volume, o.Path)
		return o, err
	case volume.SetMode:
		var err error
		o.In, err = h.finds(ctx, s, o.Task, o.Volume, o.Path)
		return o, err
	case volume.Create:
		return h.prepareCreate(ctx, s, o)
	case volume.Launch:
		return o, h.prepareTask(&o.Sandbox, &o.Own, o.Task)
	case volume.Shrink:
		v, ok := shrunk(s, o.Volume)
		if !ok {
			return o, nil
		}
		var err error
		o.Used, err = h.used(ctx, s, v)
		return o, err
	case volume.Resize:
		v, err := s.Find(o.Ref)
		if err != nil || o.Size >= v.Size {
			return o, nil // for Apply to refuse, or nothing has to fit
		}
		o.Used, err = h.used(ctx, s, v)
		return o, err
	case volume.Kill:
		return o, prepareKill(s, o)
	case volume.Release:
		t, ok := s.Task(o.Task)
		if !ok || !o.Since.IsZero() && !o.Since.Equal(t.Since) {
			return o, nil // for Apply to refuse
		}
		seen, err := h.seeTask(t)
		o.Since = t.Since
		o.Ended = !seen.Inside && (!seen.Claimant || t.Lease.PID == o.By)
		return o, err
	}
	return op, nil
}

// shrunk finds the volume that a resource names, of whatever size: another operation of
// the batch may come first and change that.
func shrunk(s *volume.State, r resource.Resource) (*volume.Volume, bool) {
	if !r.IsVolume() || len(r.Reservations) == 0 {
		return nil, false
	}
	return s.Named(volume.Name{Role: r.Role(), ID: r.Disk.Persistence.ID})
}

func (h *Host) prepareTask(dir *string, own *bool, task string) error {
	if *dir == "" {
		*dir, *own = filepath.Join(h.own.Path(), task), true
	}
	_, _, err := h.root(*dir)
	return err
}

// claimant is the lease of a process that is named for a task.
func claimant(task string, pid int) (lease.Lease, error) {
	of, err := lease.OfProcess(pid)
	refuse := func(why string) error {
		return &volume.Error{Kind: volume.ErrInvalid, Message: "task " + task + ": " + why, Cause: err}
	}
	switch {
	case err == nil:
		return of, nil
	case errors.Is(err, syscall.ESRCH):
		return of, refuse(fmt.Sprintf("there is no process %d, or not any more; name one that runs, by the number that it has where the agent runs", pid))
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EINVAL): // pidfd_open(2)
		return of, refuse(fmt.Sprintf("%d is a thread of a process; name the process itself", pid))
	}
	return of, refuse(err.Error())
}

func (h *Host) prepareLease(o volume.Claim) (volume.Lease, error) {
	l := o.Lease
	if o.Cgroup && h.groups != nil { // without cgroups the process alone holds the lease
		path, err := h.groups.Path(o.Task)
		if err != nil {
			return l, &volume.Error{Kind: volume.ErrInvalid, Message: err.Error(), Cause: err}
		}
		l.Cgroup = path
	}
	if l.PID != 0 {
		of, err := claimant(o.Task, l.PID)
		if err != nil {
			return l, err
		}
		l.Start = of.Start
	}
	return l, nil
}
