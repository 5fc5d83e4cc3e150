package agenttest

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Inside is the target of a mount in a mount namespace, which has the number of its first process.
func Inside(space int, target string) string { return fmt.Sprint(space, ":", target) }

// Space is the mount namespace of a process: its own, unless Spaces says whose.
func (k *Kernel) Space(pid int) int {
	if of, shared := k.Spaces[pid]; shared {
		return of
	}
	return pid
}

func (k *Kernel) targetOf(t *volume.Task, a *volume.Attachment) string {
	if a.PID != 0 {
		return Inside(k.Space(a.PID), t.Target(a))
	}
	return t.Target(a)
}

// Preconditions: k is locked.
func (k *Kernel) alive(p volume.Process) bool {
	start, alive := k.Processes[p.PID]
	return alive && start == p.Start
}

// Preconditions: k is locked.
func (k *Kernel) end(pid int) {
	delete(k.Processes, pid)
	if group, in := k.Members[pid]; in {
		delete(k.Members, pid)
		if others := slices.Collect(maps.Values(k.Members)); !slices.Contains(others, group) {
			k.Cgroups[group] = false
		}
	}
	space := k.Space(pid)
	for other := range k.Processes {
		if k.Space(other) == space {
			return
		}
	}
	maps.DeleteFunc(k.Mounts, func(target string, _ Mount) bool { return strings.HasPrefix(target, Inside(space, "")) })
}

// insiders are processes of a task with a mount namespace of its own, the oldest of each.
func (k *Kernel) insiders(t *volume.Task) (all []volume.Process) {
	pids := slices.Collect(maps.Keys(k.Members))
	pids = slices.DeleteFunc(pids, func(pid int) bool { return k.Members[pid] != t.Lease.Cgroup })
	if k.alive(volume.Process{PID: t.Lease.PID, Start: t.Lease.Start}) {
		pids = append(pids, t.Lease.PID)
	}
	for _, pid := range pids {
		if !k.Common[pid] {
			all = append(all, volume.Process{PID: pid, Start: k.Processes[pid]})
		}
	}
	slices.SortFunc(all, func(a, b volume.Process) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID))
	})
	spaces := map[int]bool{}
	return slices.DeleteFunc(all, func(p volume.Process) bool {
		again := spaces[k.Space(p.PID)]
		spaces[k.Space(p.PID)] = true
		return again
	})
}

// seeInside looks at an attachment in the namespace of its process or, where that has ended, in those of the
// task's others.
func (k *Kernel) seeInside(t *volume.Task, a *volume.Attachment) (seen volume.SeenAttachment) {
	if !k.alive(a.Process) {
		for _, p := range k.insiders(t) {
			if k.Mounts[Inside(k.Space(p.PID), t.Target(a))].Volume == a.Volume {
				return volume.SeenAttachment{Mounted: true, Living: p}
			}
		}
		seen.Ended = true
		return seen
	}
	k.watchSpace(t, a.Process)
	m, mounted := k.Mounts[k.targetOf(t, a)]
	seen.Mounted = mounted && m.Volume == a.Volume
	seen.Foreign = mounted && !seen.Mounted
	seen.ReadOnly = seen.Mounted && m.ReadOnly
	return seen
}

// doInside does a step in the mount namespace of the attachment's process.
func (k *Kernel) doInside(s *volume.State, t *volume.Task, a *volume.Attachment, kind volume.StepKind) error {
	if !k.alive(a.Process) {
		if kind == volume.DoDetach {
			return nil
		}
		return &volume.Error{Kind: volume.ErrNotFound, Message: fmt.Sprintf("process %d has ended", a.PID)}
	}
	k.watchSpace(t, a.Process)
	target := k.targetOf(t, a)
	m, mounted := k.Mounts[target]
	switch {
	case kind == volume.Clear:
		return fmt.Errorf("no step %s in a mount namespace", kind)
	case kind == volume.DoAttach:
		err := k.attach(s, a, target)
		delete(k.points, target) // they are the task's
		return err
	case mounted && m.Volume != a.Volume, !mounted && kind == volume.Flip:
		return &volume.Error{Kind: volume.ErrExists, Message: "something else, or nothing, is mounted at " + target}
	}
	return k.change(a, target, kind)
}

// prepareAttach says how an attachment is made, and in whose mount namespace. All processes are root's.
func (k *Kernel) prepareAttach(s *volume.State, o volume.Attach) (volume.Operation, error) {
	t, known := s.Task(o.Task)
	switch {
	case o.UID != 0 && (path.IsAbs(o.Path) || o.In.PID != 0):
		return nil, &volume.Error{Kind: volume.ErrForbidden, Message: "only root may"}
	case o.In.PID != 0:
		o.Via, o.In.Start = volume.ByNamespace, k.Processes[o.In.PID]
	case o.Via == "" && known && k.needsInside(s, t, o):
		o.Via, o.In = volume.ByNamespace, k.insider(s, t, o)
	case o.Via == "" && path.IsAbs(o.Path):
		return nil, &volume.Error{Kind: volume.ErrInvalid, Message: "an absolute path needs a process"}
	case o.Via == "":
		o.Via = volume.ByPath
	}
	if o.Via == volume.ByNamespace && (o.In.Start == 0 || k.Common[o.In.PID]) {
		return nil, &volume.Error{Kind: volume.ErrInvalid, Message: fmt.Sprintf("process %d has ended, or no mount namespace of its own", o.In.PID)}
	}
	switch {
	case o.Sandbox != "":
	case known:
		o.Sandbox, o.Own = t.Sandbox, t.Own
	case o.Via != volume.ByNamespace:
		o.Sandbox, o.Own = path.Join(Root, o.Task), true
	}
	return o, nil
}

// needsInside says whether a task would not see a mount beneath its sandbox.
func (k *Kernel) needsInside(s *volume.State, t *volume.Task, o volume.Attach) bool {
	via := map[volume.Via]bool{}
	for a := range s.AttachmentsIn(t.ID) {
		via[a.Via] = true
	}
	switch {
	case path.IsAbs(o.Path), t.Sandbox == "", via[volume.ByDescriptor]:
		return true
	case via[volume.ByPath], via[volume.Claimed]:
		return false
	}
	return via[volume.ByNamespace] || len(k.insiders(&volume.Task{Lease: volume.Lease{Cgroup: t.Lease.Cgroup}})) > 0
}

// insider is the process of a task by which to attach; the zero Process is none.
func (k *Kernel) insider(s *volume.State, t *volume.Task, o volume.Attach) (none volume.Process) {
	if v, err := s.Find(o.Volume); err == nil {
		at := volume.Attachment{Volume: v.UUID, Task: t.ID, Path: cmp.Or(o.Path, v.ContainerPath)}
		if a, ok := s.Attachment(at.Unit()); ok && a.Via == volume.ByNamespace && k.alive(a.Process) {
			return a.Process
		}
	}
	for _, p := range k.insiders(t) {
		return p
	}
	return none
}

// finds finds a process of a task that has all mounts of a volume which were handed to the task at
// their places.
func (k *Kernel) finds(s *volume.State, task, ref, at string) (none volume.Process) {
	t, known := s.Task(task)
	v, err := s.Find(ref)
	if !known || err != nil {
		return none
	}
	var handed []*volume.Attachment
	for a := range s.AttachmentsIn(task) {
		if a.Volume == v.UUID && a.Via == volume.ByDescriptor && !a.Gone && (at == "" || at == a.Path) {
			handed = append(handed, a)
		}
	}
	for _, p := range k.insiders(t) {
		missing := func(a *volume.Attachment) bool {
			return k.Mounts[Inside(k.Space(p.PID), t.Target(a))].Volume != v.UUID
		}
		if len(handed) > 0 && !slices.ContainsFunc(handed, missing) {
			return p
		}
	}
	return none
}

// attach mounts a volume where nothing is mounted.
func (k *Kernel) attach(s *volume.State, a *volume.Attachment, target string) error {
	v, ok := s.Volume(a.Volume)
	if !ok {
		return fmt.Errorf("attach of unknown volume %s", a.Volume)
	}
	if err := k.reach(v); err != nil {
		return err
	}
	if t, ok := s.Task(a.Task); ok && t.Own && a.PID == 0 && k.Sandboxes[t.Sandbox] == "" {
		return &volume.Error{Kind: volume.ErrNotFound, Message: "sandbox " + t.Sandbox + " is not there"}
	}
	if there, mounted := k.Mounts[target]; mounted {
		return &volume.Error{Kind: volume.ErrExists, Message: "volume " + string(there.Volume) + " is mounted at " + a.Path + " already"}
	}
	k.Mounts[target], k.points[target] = Mount{Volume: a.Volume, ReadOnly: a.Mode == resource.RO, NoExec: a.NoExec}, true
	return nil
}
