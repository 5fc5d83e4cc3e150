package volume

import (
	"tenon/agent/resource"
)

// Launch announces a task and mounts its volumes beneath its sandbox, each where and in the
// mode that its resource says: a Claim and an Attach of each in one (spec.md 3.10). It may
// follow the CREATE of the volumes in the same batch. The task has no lease: it is held
// until it is released. It names a volume once: at a second place, attach it (spec.md 1.5).
// Resources that are no volumes are the launcher's business. Refused like Claim.
type Launch struct {
	Task      string
	Sandbox   string // absolute; empty has the agent make one
	Own       bool   // the agent makes the sandbox, and removes it at the end
	Resources []resource.Resource
}

// Name is "launch".
func (Launch) Name() string { return "launch" }

func (o Launch) apply(d *draft) error {
	t := &Task{ID: o.Task, Sandbox: o.Sandbox, Own: o.Own, Since: d.env.Now}
	if err := d.addTask(t); err != nil {
		return err
	}
	named := map[Name]bool{}
	for _, r := range o.Resources {
		if !r.IsVolume() {
			continue
		}
		name := Name{Role: r.Role(), ID: r.Disk.Persistence.ID}
		if named[name] {
			return refuse(ErrInvalid, "launch %s: Persistence ID '%s' is not unique: a task names each volume once", o.Task, name.ID)
		}
		named[name] = true
		if err := d.launchWith(o.Task, r); err != nil {
			return err
		}
	}
	return nil
}

// launchWith attaches the volume that a task's resource is.
func (d *draft) launchWith(task string, r resource.Resource) error {
	if err := resource.ValidateList([]resource.Resource{r}); err != nil {
		return invalid(err, "launch %s", task)
	}
	v, ok := d.Is(r)
	if !ok {
		return refuse(ErrNotFound, "launch %s: %s is required by the task, and there is no such volume", task, r)
	}
	return d.use(task, Use{Volume: string(v.UUID), Path: r.Disk.Volume.ContainerPath, Mode: r.Disk.Volume.Mode}, ByPath, Process{})
}
