package volume

import (
	"fmt"

	"tenon/agent/resource"
)

// SetMode makes a volume read-only for a task that runs, or writable again, without
// detaching it: at Path, or everywhere in the task. Making it read-only waits for nobody: it
// fails with ErrBusy while a file is open for writing, and the mode stays what it was.
// Refused with ErrInvalid, ErrNotFound, ErrPending, or ErrInUse: where the mount was handed
// over and is not found, or another task has what the volume allows of writers.
type SetMode struct {
	Task   string
	Volume string // "role/id" or UUID
	Path   string // empty: all of the volume's attachments in the task
	Mode   resource.Mode
	In     Process // sees the mounts that were handed over; found out when the operation is prepared
}

// Name is "set-mode".
func (SetMode) Name() string { return "set-mode" }

func (o SetMode) apply(d *draft) error {
	if o.Mode != resource.RW && o.Mode != resource.RO {
		return refuse(ErrInvalid, "mode %q is neither RW nor RO", o.Mode)
	}
	t, ok := d.Task(o.Task)
	if !ok {
		return refuse(ErrNotFound, "there is no task %q", o.Task)
	}
	v, err := d.usable(o.Volume)
	if err != nil {
		return err
	}
	uses := d.usesOf(t, v, o.Path)
	if len(uses) == 0 {
		return notAttached(v, t, o.Path)
	}
	for _, a := range uses {
		if err := d.setMode(v, a, o); err != nil {
			return err
		}
	}
	return nil
}

// usesOf gives the attachments of a volume in a task: at path, or all.
func (d *draft) usesOf(t *Task, v *Volume, path string) (uses []*Attachment) {
	for a := range d.AttachmentsIn(t.ID) {
		if a.Volume == v.UUID && (path == "" || path == a.Path) {
			uses = append(uses, a)
		}
	}
	return uses
}

func notAttached(v *Volume, t *Task, path string) error {
	if path != "" {
		path = " at " + path
	}
	return refuse(ErrNotFound, "volume %s is not attached to task %s%s", v.Name, t.ID, path)
}

func (d *draft) setMode(v *Volume, a *Attachment, o SetMode) error {
	where := fmt.Sprintf("volume %s in task %s at %s", v.Name, a.Task, a.Path)
	switch {
	case a.Gone:
		return refuse(ErrPending, "%s is being detached", where)
	case a.Mode != o.Mode && a.Via == ByDescriptor && o.In == (Process{}):
		return refuse(ErrInUse, "%s is mounted in the namespace of the task itself, by a descriptor, and none of the task's processes has it there; "+
			"its mode stays what it is", where)
	}
	d.touch(a.Unit())
	if a.Mode == o.Mode {
		return nil
	}
	other := *a.seenIn(o.In)
	other.Mode = o.Mode
	if err := d.mayWrite(v, &other); err != nil {
		return err
	}
	d.put(Change{Attachment: &other})
	return nil
}

// mayWrite says whether a volume that allows one writer may be written by this attachment.
func (d *draft) mayWrite(v *Volume, a *Attachment) error {
	if !v.OneWriter || a.Mode != resource.RW {
		return nil
	}
	var writers []Holder
	for _, h := range others(d.Holders(v.UUID), a.Task) {
		if h.Mode == resource.RW {
			writers = append(writers, h)
		}
	}
	if len(writers) > 0 {
		return inUse(v, writers, "volume %s allows one writer, which is %s; attach it read-only, or wait", v.Name, HolderNames(writers))
	}
	return nil
}
