package volume

import (
	"time"

	"tenon/agent/resource"
)

// Step is one effect on the kernel or a disk. Steps are data: agent/host does them.
// Each is idempotent, so that one which was interrupted is simply done again.
type Step struct {
	Kind StepKind
	Unit Unit
}

// StepKind says what a Step does.
type StepKind string

// The steps, by unit, in the order in which a plan has them.
const (
	Format StepKind = "format" // disk: write the pool's marker

	Make    StepKind = "make"    // volume: make its directory in incoming/
	Limit   StepKind = "limit"   // volume: have the file system hold it to its size
	Publish StepKind = "publish" // volume: incoming/ → live/, durable
	Discard StepKind = "discard" // volume: remove what is in incoming/
	Trash   StepKind = "trash"   // volume: live/ → trash/, durable
	Purge   StepKind = "purge"   // volume: remove what is in trash/
	Unlimit StepKind = "unlimit" // volume: give its project back to the file system

	MakeSandbox   StepKind = "make-sandbox"   // task
	MakeCgroup    StepKind = "make-cgroup"    // task
	LimitIO       StepKind = "limit-io"       // task: bound what its cgroup reads and writes
	DoKill        StepKind = "kill"           // task: end its processes; the cgroup goes with them
	RemoveCgroup  StepKind = "remove-cgroup"  // task
	RemoveSandbox StepKind = "remove-sandbox" // task

	DoAttach StepKind = "attach" // attachment: mount it beneath the sandbox
	Flip     StepKind = "flip"   // attachment: make its mount read-only, or writable again
	DoDetach StepKind = "detach" // attachment: unmount it
	Clear    StepKind = "clear"  // attachment: remove the mount point
)

// SeenDisk is what was observed of a disk's pool.
type SeenDisk struct {
	Missing string // why the directory can't be used at all; empty when it can
	Empty   bool   // no marker, and nothing else
	Pool    string // UUID in the marker

	Size resource.Bytes // what it offers where the configuration leaves that open; 0 is unknown

	Enforcement Enforcement // of sizes; of the pool that should be there

	// Leftover, of the root disk, are sandboxes that the agent made in an earlier boot for
	// tasks that the state does not know: a power cut has taken their records, which nobody
	// waits for. One of the running boot is none, for its task may be alive.
	Leftover []Leftover
}

// Leftover is a sandbox that outlived the record of its task.
type Leftover struct {
	Task    string
	Sandbox string // absolute path
}

// SeenVolume is what was observed of a volume's directories.
type SeenVolume struct {
	Unavailable string // why its disk can't be looked at; empty when it can
	Incoming    bool
	Live        bool
	Data        bool // live/ has the directory that tasks see
	Durable     bool // that it is in live/ survives a power cut
	Trash       bool

	// Of a volume with a project, on a file system that enforces limits.
	Unlimited bool // it is not limited to its size
	Limited   bool // its project still has a limit, or something in it
}

// SeenTask is what was observed of a task.
type SeenTask struct {
	Sandbox  bool // the directory that the agent made for it exists
	Cgroup   bool // its cgroup exists
	Claimant bool // the process that claimed for it lives
	Inside   bool // processes are in its cgroup

	Unlimited bool // its cgroup has other limits of input and output than it should

	At time.Duration // when it was looked at, since the boot
}

// SeenAttachment is what was observed of an attachment's target.
type SeenAttachment struct {
	Unreachable string // why the target can't be looked at; empty when it can
	Point       bool   // nothing is mounted, and an empty mount point is there to be removed
	Mounted     bool   // this volume is mounted there
	Foreign     bool   // something else is mounted there
	ReadOnly    bool   // the mount is
	Moved       string // where the mount is by now, if not at the target

	// Of one in the mount namespace of a process.
	Ended  bool    // that process has, and no other one of the task has the mount
	Living Process // has the mount, where the one that is recorded has ended
}

// Seen is what was observed of one unit: the field that goes with the unit's kind.
type Seen struct {
	Disk       SeenDisk
	Volume     SeenVolume
	Task       SeenTask
	Attachment SeenAttachment
}

// Plan says what has to be done, in order, so that a unit becomes what the state says
// it should be. A unit that the state does not know has no plan: what nobody recorded
// is never touched.
func Plan(s *State, u Unit, seen Seen) []Step {
	switch u.Kind {
	case DiskUnit:
		if d, ok := s.Disk(u.Disk); ok {
			return planDisk(d, seen.Disk)
		}
	case VolumeUnit:
		if v, ok := s.Volume(u.Volume); ok {
			return planVolume(v, seen.Volume, s.held(v))
		}
	case TaskUnit:
		if t, ok := s.Task(u.Task); ok {
			return planTask(t, seen.Task, s.attached(t))
		}
	case AttachmentUnit:
		if a, ok := s.Attachment(u); ok {
			v, known := s.Volume(a.Volume)
			return planAttachment(s.InForce(a), seen.Attachment, known && v.Phase == Creating)
		}
	}
	return nil
}

// attached says whether a task has any attachment left, tombstones included.
func (s *State) attached(t *Task) bool {
	for range s.AttachmentsIn(t.ID) {
		return true
	}
	return false
}

// held says whether a volume has any attachment left, tombstones included.
func (s *State) held(v *Volume) bool {
	for range s.AttachmentsOf(v.UUID) {
		return true
	}
	return false
}

// planDisk says what is missing for a disk to be usable: only the marker of a pool
// that was never finished, on a directory with nothing in it. A disk whose marker is
// missing or another's is never written to.
func planDisk(d *Disk, seen SeenDisk) []Step {
	if d.Phase == Creating && seen.Missing == "" && seen.Empty {
		return []Step{{Format, UnitOfDisk(d.Key)}}
	}
	return nil
}

// planVolume says what is missing for a volume's directories to be as its phase says.
// A ready volume is never made again, and nothing is removed without a tombstone, nor while
// an attachment is left.
func planVolume(v *Volume, seen SeenVolume, held bool) []Step {
	steps := stepsFor(UnitOfVolume(v.UUID))
	switch {
	case seen.Unavailable != "" || v.Phase == Destroying && held:
		return nil
	case v.Phase == Ready && seen.Live && seen.Data && seen.Unlimited:
		return steps(Limit) // its size has changed, or limits were switched on
	case v.Phase == Ready:
		return nil
	case v.Phase == Creating && seen.Live && seen.Data && seen.Durable:
		return nil
	case v.Phase == Creating && seen.Live && seen.Data:
		return steps(Publish) // whoever renamed it may not have come to the sync
	case v.Phase == Creating && v.Project != 0:
		return steps(Make, Limit, Publish)
	case v.Phase == Creating:
		return steps(Make, Publish)
	}
	return planRemoval(v, seen)
}

// planRemoval says what is left to be removed of a destroyed volume. Its project is free
// only when nothing carries it any more.
func planRemoval(v *Volume, seen SeenVolume) []Step {
	var kinds []StepKind
	if seen.Incoming {
		kinds = append(kinds, Discard)
	}
	if seen.Live {
		kinds = append(kinds, Trash)
	}
	if seen.Live || seen.Trash {
		kinds = append(kinds, Purge)
	}
	if v.Project != 0 && (len(kinds) > 0 || seen.Limited) {
		kinds = append(kinds, Unlimit)
	}
	if len(kinds) == 0 {
		return nil
	}
	return stepsFor(UnitOfVolume(v.UUID))(kinds...)
}

// planTask says what is missing for a task: its directories while it lives, its end once it
// is to be killed, their removal once it is released and nothing is mounted in them any more.
// The cgroup of a task that is killed goes at once, so that nobody starts anything in it.
func planTask(t *Task, seen SeenTask, attachments bool) []Step {
	steps := stepsFor(UnitOfTask(t.ID))
	var out []Step
	switch {
	case t.Killing && !t.Releasing:
		if seen.Cgroup || t.Lease.Cgroup == "" && seen.Claimant {
			out = steps(DoKill)
		}
	case !t.Releasing:
		if t.Own && !seen.Sandbox {
			out = append(out, steps(MakeSandbox)...)
		}
		if t.Lease.Cgroup != "" && !seen.Cgroup {
			out = append(out, steps(MakeCgroup)...)
		}
		if len(t.IO) > 0 && (!seen.Cgroup || seen.Unlimited) {
			out = append(out, steps(LimitIO)...)
		}
	case !attachments:
		if seen.Cgroup {
			out = append(out, steps(RemoveCgroup)...)
		}
		if t.Own && seen.Sandbox {
			out = append(out, steps(RemoveSandbox)...)
		}
	}
	return out
}

// planAttachment says what is missing for an attachment. The agent makes only mounts
// beneath a sandbox, and in the namespaces of processes that live: a claim has none, and a
// descriptor's is placed by the task and ends with its namespace. What is left where an attachment was goes with it, however
// it came there, and so does what is left of one that is a claim again. early says that the
// volume is still being made.
func planAttachment(a *Attachment, seen SeenAttachment, early bool) []Step {
	steps, made := stepsFor(a.Unit()), a.Via == ByPath || a.Via == ByNamespace
	switch {
	case seen.Unreachable != "" || seen.Foreign || seen.Ended:
		return nil
	case seen.Living != (Process{}):
		return nil // through which all else goes, once it is recorded
	case seen.Mounted && a.PID != 0 && (a.Gone || a.Via == Claimed):
		return steps(DoDetach) // its mount point is the task's
	case seen.Mounted && (a.Gone || a.Via == Claimed):
		return steps(DoDetach, Clear)
	case seen.Point && a.Gone && a.Via != Claimed:
		return steps(Clear)
	case seen.Mounted && !a.Gone && made && seen.ReadOnly != (a.Mode == resource.RO):
		return steps(Flip)
	case !seen.Mounted && !a.Gone && made && !early:
		return steps(DoAttach)
	}
	return nil
}

func stepsFor(u Unit) func(...StepKind) []Step {
	return func(kinds ...StepKind) []Step {
		steps := make([]Step, len(kinds))
		for i, k := range kinds {
			steps[i] = Step{k, u}
		}
		return steps
	}
}
