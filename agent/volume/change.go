package volume

import (
	"encoding/json"
	"iter"
	"maps"
)

// Change is one difference between two versions of the State: exactly one field is
// set. Objects are put whole; a Drop names what is no more.
type Change struct {
	Agent      string      `json:"agent,omitempty"`
	Boot       string      `json:"boot,omitempty"` // tasks end, attachments are void
	Disk       *Disk       `json:"disk,omitempty"`
	Account    *Account    `json:"account,omitempty"`
	Volume     *Volume     `json:"volume,omitempty"`
	Task       *Task       `json:"task,omitempty"`
	Attachment *Attachment `json:"attachment,omitempty"`
	Drop       *Drop       `json:"drop,omitempty"`
	Fault      *FaultOf    `json:"-"` // observed, never stored

	Operation *OperationStatus `json:"operation,omitempty"`
	Host      *HostInfo        `json:"-"` // configured, never stored
	Notice    *Notice          `json:"-"` // told, and kept nowhere

	// Relaxed says that a power cut may take the change although it is one of those that are
	// waited for: whatever it tells would be seen again.
	Relaxed bool `json:"-"`
	// Passing says that the change is not stored: the next start sees again what it tells.
	Passing bool `json:"-"`
}

// Drop names what is no more: a volume, a task, an attachment by all three, or what is
// kept of an operation by its id.
type Drop struct {
	Volume    UUID   `json:"volume,omitempty"`
	Task      string `json:"task,omitempty"`
	Path      string `json:"path,omitempty"`
	Operation string `json:"operation,omitempty"`
}

// FaultOf sets the fault of a unit; one without a kind takes it back.
type FaultOf struct {
	Unit Unit
	Fault
}

// Stored says whether the change belongs in the journal.
func (c Change) Stored() bool {
	return !c.Passing && c.Fault == nil && c.Host == nil && c.Notice == nil && (c.Account == nil || c.Account.stored())
}

// Durable says whether whoever asked for the change must wait until it survives a
// power cut. Tasks and attachments die with the kernel, so theirs need not; what is
// Relaxed and the end of a tombstone are seen again by looking.
func (c Change) Durable() bool {
	switch {
	case c.Relaxed || c.Passing:
		return false
	case c.Account != nil:
		return c.Account.stored()
	}
	return c.Agent != "" || c.Disk != nil || c.Volume != nil || c.Operation != nil
}

// Encode gives the change as the journal keeps it.
func (c Change) Encode() ([]byte, error) { return json.Marshal(c) }

// With gives the next version: s with the changes, in order. s stays as it is, and may be
// read meanwhile; but of one State, With is called by one goroutine at a time.
func (s *State) With(changes ...Change) *State {
	w := s.next()
	for _, c := range changes {
		w.change(c)
	}
	return w.State
}

// writer is a State being made. Each index is copied (in constant time, sharing all
// nodes) before its first change.
type writer struct {
	*State
	ownDisks, ownAccounts, ownVolumes, ownTasks, ownAttachments, ownFaults, ownOperations bool
}

// next begins the next version, in which nothing is changed yet.
func (s *State) next() writer {
	n := *s
	n.Version++
	return writer{State: &n}
}

func (w *writer) change(c Change) {
	switch {
	case c.Agent != "":
		w.Agent = c.Agent
	case c.Boot != "":
		w.reboot(c.Boot)
	case c.Disk != nil:
		w.putDisk(c.Disk)
	case c.Account != nil:
		w.putAccount(*c.Account)
	case c.Volume != nil:
		w.putVolume(c.Volume)
	case c.Task != nil:
		w.putTask(c.Task)
	case c.Attachment != nil:
		w.putAttachment(c.Attachment)
	case c.Drop != nil:
		w.drop(*c.Drop)
	case c.Fault != nil:
		w.putFault(*c.Fault)
	case c.Operation != nil:
		w.putOperation(c.Operation)
	case c.Host != nil:
		w.Host = *c.Host
	}
}

// reboot ends every task and voids every attachment: their mounts died with the kernel.
func (w *writer) reboot(boot string) {
	w.Boot = boot
	empty := Empty()
	w.byVolume, w.byTask, w.lastHeld, w.ownAttachments = empty.byVolume, empty.byTask, empty.lastHeld, true
	var ended []*Task
	for t := range w.Tasks("") {
		end := *t
		end.Releasing, end.Lease = true, Lease{}
		ended = append(ended, &end)
	}
	for _, t := range ended {
		w.putTask(t)
	}
}

func (w *writer) putDisk(d *Disk) {
	if !w.ownDisks {
		w.disks, w.ownDisks = maps.Clone(w.disks), true
	}
	w.disks[d.Key] = d
}

func (w *writer) putAccount(a Account) {
	if !w.ownAccounts {
		w.accounts, w.kinds, w.ownAccounts = w.accounts.Copy(), maps.Clone(w.kinds), true
	}
	e := &entry{key: accountKey(a.Disk, a.Reservations), Account: a}
	if a.Free == 0 {
		if _, was := w.accounts.Delete(e); was {
			w.kinds[a.Disk]--
		}
	} else if _, was := w.accounts.Set(e); !was {
		w.kinds[a.Disk]++
	}
}

func (w *writer) copyVolumes() {
	if !w.ownVolumes {
		w.volumes, w.names, w.projects, w.groups, w.ownVolumes = w.volumes.Copy(), w.names.Copy(), w.projects.Copy(), w.groups.Copy(), true
	}
}

func (w *writer) putVolume(v *Volume) {
	w.copyVolumes()
	w.countExceeded(v.UUID, -1)
	defer w.countExceeded(v.UUID, 1)
	w.volumes.Set(v)
	if v.Project != 0 {
		w.projects.Set(v)
	}
	if v.Group != 0 {
		if _, had := w.groups.Set(v); !had {
			w.lastGroup = v.Group
		}
	}
	if v.Phase != Destroying {
		w.names.Set(v)
	} else {
		w.unname(v)
	}
}

// countExceeded counts a volume with by, if it holds more than its size.
func (w *writer) countExceeded(id UUID, by int) {
	if v, ok := w.Volume(id); ok && v.Exceeded != nil && v.Phase != Destroying {
		w.exceeded += by
	}
}

// unname takes a volume's name away, unless another volume has it by now.
func (w *writer) unname(v *Volume) {
	if named, ok := w.names.Get(v); ok && named.UUID == v.UUID {
		w.names.Delete(v)
	}
}

func (w *writer) copyTasks() {
	if !w.ownTasks {
		w.tasks, w.sandbox, w.ownTasks = w.tasks.Copy(), w.sandbox.Copy(), true
	}
}

func (w *writer) putTask(t *Task) {
	w.copyTasks()
	w.tasks.Set(t)
	if t.Sandbox != "" {
		w.sandbox.Set(t)
	}
}

func (w *writer) copyAttachments() {
	if !w.ownAttachments {
		w.byVolume, w.byTask, w.lastHeld, w.ownAttachments = w.byVolume.Copy(), w.byTask.Copy(), w.lastHeld.Copy(), true
	}
}

func (w *writer) putAttachment(a *Attachment) {
	w.copyAttachments()
	w.byVolume.Set(a)
	w.byTask.Set(a)
	if !a.Gone {
		w.lastHeld.Set(&use{a.Volume, w.Version})
	}
}

func (w *writer) drop(d Drop) {
	switch {
	case d.Operation != "":
		w.dropOperation(d.Operation)
	case d.Path != "":
		w.copyAttachments()
		a := &Attachment{Volume: d.Volume, Task: d.Task, Path: d.Path}
		w.byVolume.Delete(a)
		w.byTask.Delete(a)
		w.clearFault(a.Unit())
	case d.Task != "":
		w.dropTask(d.Task)
	default:
		w.dropVolume(d.Volume)
	}
}

func (w *writer) dropTask(id string) {
	if t, ok := w.Task(id); ok {
		w.copyTasks()
		w.tasks.Delete(t)
		if t.Sandbox != "" {
			w.sandbox.Delete(t)
		}
	}
	w.clearFault(UnitOfTask(id))
}

func (w *writer) dropVolume(id UUID) {
	if v, ok := w.Volume(id); ok {
		w.copyVolumes()
		w.countExceeded(id, -1)
		w.volumes.Delete(v)
		w.copyAttachments()
		w.lastHeld.Delete(&use{volume: id})
		w.projects.Delete(v)
		if v.Group != 0 {
			w.groups.Delete(v)
		}
		w.unname(v)
	}
	w.clearFault(UnitOfVolume(id))
}

func (w *writer) putFault(f FaultOf) {
	if f.Kind == nil {
		w.clearFault(f.Unit)
		return
	}
	w.copyFaults()
	w.faults.Set(&fault{unit: f.Unit, Fault: f.Fault})
}

func (w *writer) clearFault(u Unit) {
	if _, ok := w.Fault(u); ok {
		w.copyFaults()
		w.faults.Delete(&fault{unit: u})
	}
}

func (w *writer) copyFaults() {
	if !w.ownFaults {
		w.faults, w.ownFaults = w.faults.Copy(), true
	}
}

// Snapshot yields the changes that make this state from Empty: everything that is
// stored, each object once.
func (s *State) Snapshot() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		more := (s.Agent == "" || yield(Change{Agent: s.Agent})) && (s.Boot == "" || yield(Change{Boot: s.Boot}))
		for d := range s.Disks() {
			more = more && yield(Change{Disk: d})
		}
		if more {
			s.accounts.Scan(func(e *entry) bool {
				more = !e.stored() || yield(Change{Account: &e.Account})
				return more
			})
		}
		if more {
			s.volumes.Scan(func(v *Volume) bool { more = yield(Change{Volume: v}); return more })
		}
		if more {
			s.tasks.Scan(func(t *Task) bool { more = yield(Change{Task: t}); return more })
		}
		if more {
			s.byVolume.Scan(func(a *Attachment) bool { more = yield(Change{Attachment: a}); return more })
		}
		if more {
			s.operations.Scan(func(o *OperationStatus) bool { return yield(Change{Operation: o}) })
		}
	}
}
