package agenttest

import (
	"fmt"
	"maps"
	"strings"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func (k *Kernel) doDisk(d *volume.Disk, kind volume.StepKind) error {
	p := k.Pools[d.Key]
	switch {
	case kind != volume.Format:
		return fmt.Errorf("no step %s for a disk", kind)
	case p == nil || p.Missing:
		return fmt.Errorf("disk %s is not there", volume.DiskName(d.Key))
	case p.UUID == d.Pool:
		return nil
	case p.UUID != "" || len(p.Incoming)+len(p.Live)+len(p.Trash) > 0:
		return fmt.Errorf("disk %s is not empty", volume.DiskName(d.Key))
	}
	p.UUID, p.open = d.Pool, true
	return nil
}

func (k *Kernel) doVolume(v *volume.Volume, step volume.Step) error {
	id, p := v.UUID, k.Pools[v.Disk]
	if !k.has(v.Disk) {
		return fmt.Errorf("disk %s does not hold its pool", volume.DiskName(v.Disk))
	}
	switch kind := step.Kind; kind {
	case volume.Make:
		return k.make(p, v)
	case volume.Publish:
		return k.publish(p, id, step)
	case volume.Discard:
		delete(p.Incoming, id)
	case volume.Trash:
		for target, m := range k.Mounts {
			if m.Volume == id {
				return fmt.Errorf("trash of volume %s, which is mounted at %s", id, target)
			}
		}
		return k.trash(p, id, step)
	case volume.Purge:
		delete(p.Trash, id)
	case volume.Limit:
		return p.limit(v)
	case volume.Unlimit:
		return p.unlimit(v)
	default:
		return fmt.Errorf("no step %s for a volume", kind)
	}
	return nil
}

// publish renames, and syncs then.
//
// Preconditions: k is locked; it is not for a moment.
func (k *Kernel) publish(p *Pool, id volume.UUID, step volume.Step) error {
	if made, ok := p.Incoming[id]; ok {
		made.Loose = true
		p.Live[id] = made
		delete(p.Incoming, id)
	}
	made, ok := p.Live[id]
	if !ok {
		return fmt.Errorf("publish of volume %s, which was not made", id)
	}
	if err := k.between(step); err != nil {
		return err
	}
	made.Loose = false
	p.Live[id] = made
	p.synced[id] = true
	return nil
}

// trash renames, and syncs then, if there is anything.
//
// Preconditions: as of publish.
func (k *Kernel) trash(p *Pool, id volume.UUID, step volume.Step) error {
	dir, ok := p.Live[id]
	if !ok {
		return nil
	}
	dir.Loose = true
	p.Trash[id] = dir
	delete(p.Live, id)
	if err := k.between(step); err != nil {
		return err
	}
	dir.Loose = false
	p.Trash[id] = dir
	return nil
}

func (k *Kernel) between(step volume.Step) error {
	if k.Between == nil {
		return nil
	}
	k.Unlock()
	k.Between(step)
	k.Lock()
	if k.dead {
		return errDead
	}
	return nil
}

// make does nothing to a volume that is live already, as the real one does; that a volume is never
// made anew is for the agent to see to.
func (k *Kernel) make(p *Pool, v *volume.Volume) error {
	if _, live := p.Live[v.UUID]; live {
		return nil
	}
	if _, begun := p.Incoming[v.UUID]; begun {
		return nil
	}
	if p.Full {
		return &volume.Error{Kind: volume.ErrInsufficient, Message: "the disk is full"}
	}
	k.Births++
	p.Incoming[v.UUID] = Dir{Birth: k.Births, Owner: v.Owner}
	return nil
}

func (k *Kernel) doTask(s *volume.State, t *volume.Task, kind volume.StepKind) error {
	boot, there := k.Sandboxes[t.Sandbox]
	foreign := there && boot == ""
	switch kind {
	case volume.MakeSandbox:
		if foreign {
			return &volume.Error{Kind: volume.ErrExists, Message: "sandbox " + t.Sandbox + " is somebody else's"}
		}
		k.Sandboxes[t.Sandbox] = s.Boot
	case volume.MakeCgroup:
		if _, made := k.Cgroups[t.Lease.Cgroup]; !made {
			k.Cgroups[t.Lease.Cgroup] = false
		}
	case volume.RemoveCgroup:
		if k.Cgroups[t.Lease.Cgroup] {
			return fmt.Errorf("cgroup %s has processes inside", t.Lease.Cgroup)
		}
		k.removeCgroup(t.Lease.Cgroup)
	case volume.LimitIO:
		return k.limitIO(t)
	case volume.DoKill:
		if _, grouped := k.Cgroups[t.Lease.Cgroup]; grouped {
			k.leave(t.Lease.Cgroup)
			k.removeCgroup(t.Lease.Cgroup)
		} else if k.alive(volume.Process{PID: t.Lease.PID, Start: t.Lease.Start}) {
			k.end(t.Lease.PID)
		}
		k.tell()
	case volume.RemoveSandbox:
		if foreign {
			return fmt.Errorf("remove of sandbox %s, which is somebody else's", t.Sandbox)
		}
		if there {
			k.removed[t.Sandbox] = boot
		}
		delete(k.Sandboxes, t.Sandbox)
		maps.DeleteFunc(k.points, func(target string, _ bool) bool { return strings.HasPrefix(target, t.Sandbox+"/") })
	default:
		return fmt.Errorf("no step %s for a task", kind)
	}
	return nil
}

func (k *Kernel) doAttachment(s *volume.State, a *volume.Attachment, target string, kind volume.StepKind) error {
	switch kind {
	case volume.DoAttach:
		return k.attach(s, a, target)
	case volume.Clear:
		delete(k.points, target)
		return nil
	}
	return k.change(a, target, kind)
}

// change unmounts what is mounted at a target, or has it read-only or writable.
func (k *Kernel) change(a *volume.Attachment, target string, kind volume.StepKind) error {
	m, mounted := k.Mounts[target]
	switch kind {
	case volume.DoDetach:
		if m.Busy && !a.Lazy {
			return &volume.Error{Kind: volume.ErrBusy, Message: target + " is busy"}
		}
		delete(k.Mounts, target)
	case volume.Flip:
		if !mounted {
			return fmt.Errorf("nothing is mounted at %s", target)
		}
		if m.Busy && a.Mode == resource.RO {
			return &volume.Error{Kind: volume.ErrBusy, Message: target + " is open for writing"}
		}
		m.ReadOnly = a.Mode == resource.RO
		k.Mounts[target] = m
	default:
		return fmt.Errorf("no step %s for an attachment", kind)
	}
	return nil
}

// reach says why a volume can't be mounted.
func (k *Kernel) reach(v *volume.Volume) error {
	_, live := k.Pools[v.Disk].Live[v.UUID]
	switch {
	case !k.has(v.Disk):
		return &volume.Error{Kind: volume.ErrUnavailable, Message: "volume " + v.Name.String() + ": its disk is not there"}
	case !live:
		return &volume.Error{Kind: volume.ErrLost, Message: "volume " + v.Name.String() + " has lost its directory"}
	}
	return nil
}
