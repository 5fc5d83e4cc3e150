package agent_test

import (
	"maps"
	"slices"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// check holds the state against the kernel and against what was acknowledged.
func (w *world) check() {
	w.mu.Lock()
	broken := w.broken
	w.mu.Unlock()
	if broken != "" {
		panic(broken)
	}
	s := w.agent.State()
	if err := s.Check(); err != nil {
		w.fail("%v", err)
	}
	w.checkOperations(s)
	w.k.Lock()
	defer w.k.Unlock()
	w.checkVolumes(s)
	w.checkTasks(s)
}

// checkOperations holds what is kept of operations with ids against what it was.
func (w *world) checkOperations(s *volume.State) {
	for o := range s.Operations() {
		if was := w.ends[o.ID]; was != "" && was != o.State {
			w.fail("operation %s was told to be %s, and is %s", o.ID, was, o.State)
		}
		w.ends[o.ID] = o.State
	}
	for id := range w.ends {
		if _, kept := s.Operation(id); !kept {
			w.fail("operation %s is forgotten", id)
		}
	}
}

// checkVolumes: every volume has the directory that was made for it, with its limit, and there
// is nothing else.
func (w *world) checkVolumes(s *volume.State) {
	p := w.k.Pools[""]
	live, all := s.CountVolumes()
	limits := map[uint32]resource.Scalar{}
	if live != all || len(p.Live) != live || len(p.Incoming)+len(p.Trash) != 0 {
		w.fail("%d of %d volumes live; on disk %+v", live, all, p)
	}
	for v := range s.Volumes(volume.Name{}) {
		dir, there := p.Live[v.UUID]
		if !there || dir.Owner != v.Owner {
			w.fail("volume %+v has directory %+v", v, dir)
		}
		if p.Enforcement.Mode == volume.EnforcedHard && v.Project != 0 {
			limits[v.Project] = v.Size
			if dir.Project != v.Project {
				w.fail("volume %+v has directory %+v", v, dir)
			}
		}
	}
	if !maps.Equal(limits, p.Limits) {
		w.fail("limits %v; the kernel has %v", limits, p.Limits)
	}
	for id, birth := range w.volumes {
		if _, ok := s.Volume(id); !ok {
			w.fail("acknowledged volume %s is gone", id)
		}
		if p.Live[id].Birth != birth {
			w.fail("data of volume %s was lost: born %d, now %d", id, birth, p.Live[id].Birth)
		}
	}
}

// checkTasks: what is attached is mounted, in its mode, what a task has is there, and nothing
// else is.
func (w *world) checkTasks(s *volume.State) {
	mounts, cgroups, sandboxes := map[string]agenttest.Mount{}, map[string]bool{}, map[string]string{agenttest.Root + "/stranger": ""}
	rates := map[string][]volume.DiskLimit{}
	for t := range s.Tasks("") {
		sandboxes[t.Sandbox] = s.Boot
		if inside, there := w.k.Cgroups[t.Lease.Cgroup]; t.Lease.Cgroup != "" && (there || !t.Killing) {
			cgroups[t.Lease.Cgroup] = inside
			if len(t.IO) > 0 {
				rates[t.Lease.Cgroup] = t.IO
			}
		}
		for a := range s.AttachmentsIn(t.ID) {
			target := t.Target(a)
			if a.Via == volume.ByNamespace {
				target = agenttest.Inside(w.k.Space(a.PID), target)
			}
			if a.Via == volume.ByPath || a.Via == volume.ByNamespace {
				mounts[target] = agenttest.Mount{Volume: a.Volume, ReadOnly: a.Mode == resource.RO, NoExec: a.NoExec}
			}
		}
	}
	if !maps.Equal(mounts, w.k.Mounts) || !maps.Equal(sandboxes, w.k.Sandboxes) || !maps.Equal(cgroups, w.k.Cgroups) {
		w.fail("mounts %v, sandboxes %v, cgroups %v; the kernel has %v, %v, %v", mounts, sandboxes, cgroups, w.k.Mounts, w.k.Sandboxes, w.k.Cgroups)
	}
	if !maps.EqualFunc(rates, w.k.Rates, slices.Equal[[]volume.DiskLimit]) {
		w.fail("limits of input and output %v; the kernel has %v", rates, w.k.Rates)
	}
}

// lawful looks at each step before it is done: what it acts on is recorded, and it comes in
// its turn.
func (w *world) lawful(step volume.Step) {
	w.mu.Lock()
	durable, recorded := w.durable(), w.recorded
	w.mu.Unlock()
	w.k.Lock()
	defer w.k.Unlock()
	p := w.k.Pools[""]
	switch u := step.Unit; u.Kind {
	case volume.DiskUnit:
		if d, ok := durable.Disk(u.Disk); !ok || p.Missing || p.UUID != "" {
			w.violate("%s of %s that is recorded as %+v, on %+v", step.Kind, u, d, p)
		}
	case volume.VolumeUnit:
		w.lawfulVolume(step, durable, p)
	case volume.TaskUnit:
		t, ok := recorded.Task(u.Task)
		switch {
		case !ok, t.Releasing && step.Kind == volume.DoKill, step.Kind == volume.DoKill && !t.Killing,
			!t.Releasing && (step.Kind == volume.RemoveSandbox || step.Kind == volume.RemoveCgroup):
			w.violate("%s of %s that is recorded as %+v", step.Kind, u, t)
		}
	case volume.AttachmentUnit:
		a, ok := recorded.Attachment(u)
		if !ok || step.Kind == volume.DoDetach && !a.Gone && a.Via != volume.Claimed {
			w.violate("%s of %s that is recorded as %+v", step.Kind, u, a)
		}
	}
}

func (w *world) lawfulVolume(step volume.Step, durable *volume.State, p *agenttest.Pool) {
	id := step.Unit.Volume
	v, ok := durable.Volume(id)
	if !ok {
		w.violate("%s of volume %s, of which nothing durable is known", step.Kind, id)
		return
	}
	_, incoming := p.Incoming[id]
	_, live := p.Live[id]
	_, trash := p.Trash[id]
	_, acknowledged := w.volumes[id]
	gone := v.Phase == volume.Destroying
	switch step.Kind {
	case volume.Make:
		if acknowledged || live {
			w.violate("volume %s is made anew", id)
		}
	case volume.Publish:
		_, limited := p.Limits[v.Project]
		if hard := p.Enforcement.Mode == volume.EnforcedHard; incoming && hard && (!limited || p.Incoming[id].Project != v.Project) {
			w.violate("volume %s is published without its limit", id)
		}
	case volume.Trash:
		for target, m := range w.k.Mounts {
			if m.Volume == id {
				w.violate("volume %s is trashed under its mount at %s", id, target)
			}
		}
	case volume.Unlimit:
		if incoming || live || trash {
			w.violate("project %d is freed before volume %s is gone", v.Project, id)
		}
	}
	if removes := slices.Contains([]volume.StepKind{volume.Discard, volume.Trash, volume.Purge, volume.Unlimit}, step.Kind); removes && !gone {
		w.violate("%s of volume %s without a durable tombstone", step.Kind, id)
	}
}
