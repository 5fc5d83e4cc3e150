package volume

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"tenon/agent/resource"
)

// State is one version of all that the agent knows: what should be (stored in the
// journal) and what was observed to be wrong (Fault, never stored). It is immutable
// and may be read by any number of goroutines; With makes the next version, which
// costs what changes and shares the rest.
type State struct {
	Version uint64 // how many times With was called since the start of the agent
	Agent   string // the agent's identity, made once
	Boot    string // the boot that tasks and attachments belong to

	disks    map[string]*Disk // few; copied when one changes
	accounts *btree.BTreeG[*entry]
	kinds    map[string]int // number of accounts, by disk; copied with them
	volumes  *btree.BTreeG[*Volume]
	names    *btree.BTreeG[*Volume] // those that are not being destroyed
	projects *btree.BTreeG[*Volume] // those that have one, tombstones included
	groups   *btree.BTreeG[*Volume] // those that have one, tombstones included
	exceeded int                    // number of those that hold more than their sizes, tombstones aside
	tasks    *btree.BTreeG[*Task]
	sandbox  *btree.BTreeG[*Task] // by sandbox path
	byVolume *btree.BTreeG[*Attachment]
	byTask   *btree.BTreeG[*Attachment]
	lastHeld *btree.BTreeG[*use] // of volumes that there are; copied with the attachments
	faults   *btree.BTreeG[*fault]

	operations *btree.BTreeG[*OperationStatus] // by id
	byAge      *btree.BTreeG[*OperationStatus] // those at work first

	lastGroup uint32 // that was given to a volume; seen anew by each agent, never stored

	Host HostInfo // besides its disks; configured
}

// HostInfo is what is configured of the host besides its disks. Resources and Attributes are
// carried through for masters, and not looked at.
type HostInfo struct {
	Resources  []resource.Resource // those that are not disk
	Attributes []resource.Attribute

	Groups Groups            // that shared volumes are given; nil is none
	Taken  map[uint32]string // those of them that are somebody's on this host, with their names
}

// entry is an account with its canonical key.
type entry struct {
	key string
	Account
}

// use is the last version in which a task came to hold a volume, or was made to hold it
// otherwise. It is seen anew by each agent, never stored.
type use struct {
	volume  UUID
	version uint64
}

type fault struct {
	unit Unit
	Fault
}

// Empty is the state of an agent that has never done anything.
func Empty() *State {
	return &State{
		disks:    map[string]*Disk{},
		kinds:    map[string]int{},
		accounts: tree(func(a, b *entry) int { return cmp.Compare(a.key, b.key) }),
		volumes:  tree(func(a, b *Volume) int { return cmp.Compare(a.UUID, b.UUID) }),
		names: tree(func(a, b *Volume) int {
			return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.ID, b.ID))
		}),
		projects: tree(func(a, b *Volume) int {
			return cmp.Or(cmp.Compare(a.Disk, b.Disk), cmp.Compare(a.Project, b.Project))
		}),
		groups:  tree(func(a, b *Volume) int { return cmp.Compare(a.Group, b.Group) }),
		tasks:   tree(func(a, b *Task) int { return cmp.Compare(a.ID, b.ID) }),
		sandbox: tree(func(a, b *Task) int { return cmp.Compare(a.Sandbox, b.Sandbox) }),
		byVolume: tree(func(a, b *Attachment) int {
			return cmp.Or(cmp.Compare(a.Volume, b.Volume), cmp.Compare(a.Task, b.Task), cmp.Compare(a.Path, b.Path))
		}),
		byTask: tree(func(a, b *Attachment) int {
			return cmp.Or(cmp.Compare(a.Task, b.Task), cmp.Compare(a.Volume, b.Volume), cmp.Compare(a.Path, b.Path))
		}),
		lastHeld:   tree(func(a, b *use) int { return cmp.Compare(a.volume, b.volume) }),
		faults:     tree(func(a, b *fault) int { return compareUnits(a.unit, b.unit) }),
		operations: tree(func(a, b *OperationStatus) int { return cmp.Compare(a.ID, b.ID) }),
		byAge:      tree(compareAge),
	}
}

func tree[T any](compare func(a, b T) int) *btree.BTreeG[T] {
	less := func(a, b T) bool { return compare(a, b) < 0 }
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func compareUnits(a, b Unit) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Disk, b.Disk), cmp.Compare(a.Volume, b.Volume),
		cmp.Compare(a.Task, b.Task), cmp.Compare(a.Path, b.Path))
}

// accountKey is equal exactly for the same disk and an equal reservation stack.
func accountKey(disk string, stack []resource.Reservation) string {
	return disk + "\x00" + resource.StackKey(stack)
}

// Disk finds a disk by its key; "" is the root disk.
func (s *State) Disk(key string) (*Disk, bool) {
	d, ok := s.disks[key]
	return d, ok
}

// Disks yields every disk in no particular order.
func (s *State) Disks() iter.Seq[*Disk] { return maps.Values(s.disks) }

// Volume finds a volume, tombstones included, by its UUID.
func (s *State) Volume(id UUID) (*Volume, bool) { return s.volumes.Get(&Volume{UUID: id}) }

// Named finds the volume that has a name; tombstones have none any more.
func (s *State) Named(n Name) (*Volume, bool) { return s.names.Get(&Volume{Name: n}) }

// ProjectUsed says whether a volume of a disk, or what is left of one, has a project.
func (s *State) ProjectUsed(disk string, project uint32) bool {
	_, used := s.projects.Get(&Volume{Disk: disk, Project: project})
	return used && project != 0
}

// Find finds a volume by "role/id" or by UUID. ErrNotFound tells what was asked for.
func (s *State) Find(ref string) (*Volume, error) {
	if n, ok := ParseName(ref); ok {
		if v, ok := s.Named(n); ok {
			return v, nil
		}
	}
	if v, ok := s.Volume(UUID(ref)); ok {
		return v, nil
	}
	return nil, refuse(ErrNotFound, "there is no volume %q", ref)
}

// Volumes yields every volume that comes after a name, in the order of names, without
// tombstones; start with the zero Name.
func (s *State) Volumes(after Name) iter.Seq[*Volume] {
	return func(yield func(*Volume) bool) {
		s.names.Ascend(&Volume{Name: after}, func(v *Volume) bool { return v.Name == after || yield(v) })
	}
}

// Tombstones yields the volumes that are being destroyed. It walks all volumes.
func (s *State) Tombstones() iter.Seq[*Volume] {
	return func(yield func(*Volume) bool) {
		s.volumes.Scan(func(v *Volume) bool { return v.Phase != Destroying || yield(v) })
	}
}

// CountVolumes is the number of volumes, with and without those being destroyed.
func (s *State) CountVolumes() (live, all int) { return s.names.Len(), s.volumes.Len() }

// CountExceeded is the number of volumes that were found to hold more than their sizes.
func (s *State) CountExceeded() int { return s.exceeded }

// Task finds a task.
func (s *State) Task(id string) (*Task, bool) { return s.tasks.Get(&Task{ID: id}) }

// Tasks yields every task whose id comes after the one given, in order.
func (s *State) Tasks(after string) iter.Seq[*Task] {
	return func(yield func(*Task) bool) {
		s.tasks.Ascend(&Task{ID: after}, func(t *Task) bool { return t.ID == after || yield(t) })
	}
}

// CountTasks is the number of tasks, those being released included.
func (s *State) CountTasks() int { return s.tasks.Len() }

// CountAttachments is the number of attachments, those being detached included.
func (s *State) CountAttachments() int { return s.byVolume.Len() }

// Attachment finds an attachment by its unit.
func (s *State) Attachment(u Unit) (*Attachment, bool) {
	return s.byVolume.Get(&Attachment{Volume: u.Volume, Task: u.Task, Path: u.Path})
}

// AttachmentsOf yields the attachments of a volume, by task and path.
func (s *State) AttachmentsOf(id UUID) iter.Seq[*Attachment] {
	return func(yield func(*Attachment) bool) {
		s.byVolume.Ascend(&Attachment{Volume: id}, func(a *Attachment) bool { return a.Volume == id && yield(a) })
	}
}

// AttachmentsIn yields the attachments of a task, by volume and path.
func (s *State) AttachmentsIn(task string) iter.Seq[*Attachment] {
	return func(yield func(*Attachment) bool) {
		s.byTask.Ascend(&Attachment{Task: task}, func(a *Attachment) bool { return a.Task == task && yield(a) })
	}
}

// Holders is the set whose size is the reference count: the tasks that have or have
// claimed the volume, or whose mounts of it are not gone yet, by task id.
func (s *State) Holders(id UUID) []Holder {
	var hs []Holder
	for a := range s.AttachmentsOf(id) {
		if n := len(hs); n > 0 && hs[n-1].Task == a.Task {
			hs[n-1] = merge(hs[n-1], a)
			continue
		}
		h := Holder{Task: a.Task, Mode: a.Mode, NoExec: a.NoExec, Via: a.Via, Since: a.Since, Targets: []string{a.Path}}
		h.seeAs(a.As)
		if t, ok := s.Task(a.Task); ok {
			h.PID = t.Lease.PID
		}
		hs = append(hs, h)
	}
	return hs
}

// merge adds one more attachment of the same task: the most that it may do, the earliest time.
func merge(h Holder, a *Attachment) Holder {
	if a.Mode == resource.RW {
		h.Mode = resource.RW
	}
	if a.Since.Before(h.Since) {
		h.Since = a.Since
	}
	h.NoExec = h.NoExec && a.NoExec
	h.seeAs(a.As)
	h.Targets = append(h.Targets, a.Path)
	return h
}

// seeAs adds to as whose the holder sees the files, once.
func (h *Holder) seeAs(as *ID) {
	if as != nil && !slices.Contains(h.As, *as) {
		h.As = append(h.As, *as)
	}
}

// Accounts yields the space of every disk that is not carved into volumes, by disk and
// reservation. Their number grows with the kinds of reservations, not with volumes.
func (s *State) Accounts() iter.Seq[Account] {
	return func(yield func(Account) bool) {
		s.accounts.Scan(func(e *entry) bool { return yield(e.Account) })
	}
}

// Free is the space of a disk that has exactly these reservations and is not carved.
func (s *State) Free(disk string, stack []resource.Reservation) resource.Scalar {
	if e, ok := s.accounts.Get(&entry{key: accountKey(disk, stack)}); ok {
		return e.Free
	}
	return 0
}

// Fault tells what keeps a unit from being what it should be.
func (s *State) Fault(u Unit) (Fault, bool) {
	f, ok := s.faults.Get(&fault{unit: u})
	if !ok {
		return Fault{}, false
	}
	return f.Fault, true
}

// Faults yields every fault with its unit, by unit.
func (s *State) Faults() iter.Seq2[Unit, Fault] {
	return func(yield func(Unit, Fault) bool) {
		s.faults.Scan(func(f *fault) bool { return yield(f.unit, f.Fault) })
	}
}

// Has says whether a unit is known.
func (s *State) Has(u Unit) (ok bool) {
	switch u.Kind {
	case DiskUnit:
		_, ok = s.Disk(u.Disk)
	case VolumeUnit:
		_, ok = s.Volume(u.Volume)
	case TaskUnit:
		_, ok = s.Task(u.Task)
	case AttachmentUnit:
		_, ok = s.Attachment(u)
	}
	return ok
}

// Units yields everything that is reconciled: what an agent looks at when it starts.
func (s *State) Units() iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for key := range s.disks {
			if !yield(UnitOfDisk(key)) {
				return
			}
		}
		more := true
		s.volumes.Scan(func(v *Volume) bool { more = yield(UnitOfVolume(v.UUID)); return more })
		if more {
			s.tasks.Scan(func(t *Task) bool { more = yield(UnitOfTask(t.ID)); return more })
		}
		if more {
			s.byVolume.Scan(func(a *Attachment) bool { return yield(a.Unit()) })
		}
	}
}
