package volume

import (
	"fmt"
	"time"

	"tenon/agent/resource"
)

// Settle turns what was observed of a unit into changes of the state, those of operations
// that were waiting for it included. It changes nothing about a unit that the state does not
// know.
func Settle(s *State, u Unit, seen Seen, now time.Time) []Change {
	changes := settle(s, u, seen, now)
	return append(changes, progress(s, changes, u, seen)...)
}

func settle(s *State, u Unit, seen Seen, now time.Time) []Change {
	switch u.Kind {
	case DiskUnit:
		if d, ok := s.Disk(u.Disk); ok {
			return append(settleDisk(s, d, seen.Disk, now), settleLeftovers(s, seen.Disk.Leftover, now)...)
		}
	case VolumeUnit:
		if v, ok := s.Volume(u.Volume); ok {
			return settleVolume(s, v, seen.Volume, now)
		}
	case TaskUnit:
		if t, ok := s.Task(u.Task); ok {
			return settleTask(s, t, seen.Task)
		}
	case AttachmentUnit:
		if a, ok := s.Attachment(u); ok {
			return settleAttachment(s, a, seen.Attachment, now)
		}
	}
	return nil
}

// settleDisk turns what was observed of a disk into changes: its pool is ready once
// its marker is there; without the right marker it is unavailable.
func settleDisk(s *State, d *Disk, seen SeenDisk, now time.Time) []Change {
	u := UnitOfDisk(d.Key)
	switch {
	case d.Absent:
		return nil // nothing is on it
	case seen.Missing != "":
		return s.Faulty(u, ErrUnavailable, seen.Missing, now)
	case seen.Pool == d.Pool && d.Phase == Ready && !d.sizable(seen):
		return append(s.sound(u), settleEnforcement(d, seen.Enforcement)...)
	case seen.Pool == d.Pool:
		ready := *d
		ready.Phase, ready.Enforcement = Ready, seen.Enforcement
		return append(s.sound(u), decideSize(ready, seen)...)
	case seen.Pool == "" && d.Phase == Creating && seen.Empty:
		return nil // about to be formatted
	case seen.Pool == "":
		return s.Faulty(u, ErrUnavailable, fmt.Sprintf("its pool %s is not there (is the disk mounted?)", d.Pool), now)
	}
	return s.Faulty(u, ErrUnavailable, fmt.Sprintf("it holds pool %s where %s should be", seen.Pool, d.Pool), now)
}

// sizable says that the size of a disk is left to the agent, was not decided yet, and can be now.
func (d *Disk) sizable(seen SeenDisk) bool { return d.Auto && d.Total == 0 && seen.Size > 0 }

// decideSize gives a disk its size, if that is left to the agent, the first time that the disk is
// seen. Nothing of it is taken yet.
func decideSize(d Disk, seen SeenDisk) []Change {
	if !d.sizable(seen) {
		return []Change{{Disk: &d}}
	}
	d.Total = seen.Size.Scalar()
	whole := Part{Size: d.Total}
	if len(d.Parts) > 0 {
		whole.Reservations = d.Parts[0].Reservations
	}
	d.Parts = []Part{whole}
	return []Change{{Disk: &d}, {Account: &Account{Disk: d.Key, Reservations: whole.Reservations, Free: d.Total}}}
}

// settleLeftovers makes sandboxes that are left over those of tasks that are being
// released, which is how sandboxes go. What a task has by now, in name or place, is its.
func settleLeftovers(s *State, left []Leftover, now time.Time) []Change {
	var changes []Change
	for _, l := range left {
		_, known := s.Task(l.Task)
		if _, used := s.overlapping(l.Sandbox); !known && !used {
			changes = append(changes, Change{Task: &Task{ID: l.Task, Sandbox: l.Sandbox, Own: true, Since: now, Releasing: true}})
		}
	}
	return changes
}

// settleVolume turns what was observed of a volume into changes: it is ready once it
// is published, lost once it was ready and is gone, and its space goes back to its
// reservation when nothing of a destroyed one is left.
func settleVolume(s *State, v *Volume, seen SeenVolume, now time.Time) []Change {
	u := UnitOfVolume(v.UUID)
	whole := seen.Live && seen.Data
	switch {
	case seen.Unavailable != "":
		return s.Faulty(u, ErrUnavailable, seen.Unavailable, now)
	case v.Phase == Creating && whole && seen.Durable:
		ready := *v
		ready.Phase = Ready
		return append(s.sound(u), Change{Volume: &ready, Relaxed: true})
	case v.Phase == Ready && !whole:
		return s.Faulty(u, ErrLost, fmt.Sprintf("its directory live/%s is gone from disk %s; it is not made anew. "+
			"Bring the directory back, or destroy the volume to give its space back", v.UUID, DiskName(v.Disk)), now)
	case v.Phase == Destroying && !seen.Incoming && !seen.Live && !seen.Trash && !seen.Limited:
		return s.giveBack(v)
	}
	return s.sound(u)
}

// giveBack drops a volume of which nothing is left, and gives its space to the accounts
// and volumes that it comes from.
func (s *State) giveBack(v *Volume) []Change {
	changes := []Change{{Drop: &Drop{Volume: v.UUID}}}
	free := map[string]resource.Scalar{}
	for _, p := range v.back() {
		if to, ok := s.Volume(p.Volume); ok && to.Phase != Destroying {
			grown := *to
			grown.Size += p.Size
			changes = append(changes, Change{Volume: &grown})
			continue
		}
		key := accountKey(v.Disk, p.Reservations)
		if _, again := free[key]; !again {
			free[key] = s.Free(v.Disk, p.Reservations)
		}
		free[key] += p.Size
		changes = append(changes, Change{Account: &Account{Disk: v.Disk, Reservations: p.Reservations, Free: free[key]}})
	}
	return changes
}

// settleTask turns what was observed of a task into changes: one whose lease nothing
// holds any more is released, and one that is released and has nothing left is gone.
func settleTask(s *State, t *Task, seen SeenTask) []Change {
	attached := false
	var changes []Change
	for a := range s.AttachmentsIn(t.ID) {
		attached = true
		if !t.Releasing && t.ended(seen) && !a.Gone {
			end := *a
			end.Gone = true
			changes = append(changes, Change{Attachment: &end})
		}
	}
	switch {
	case !t.Releasing && t.ended(seen):
		end := *t
		end.Releasing = true
		return append(changes, Change{Task: &end})
	case t.Releasing && !attached && !seen.Cgroup && !(t.Own && seen.Sandbox):
		return []Change{{Drop: &Drop{Task: t.ID}}}
	}
	return s.sound(UnitOfTask(t.ID))
}

// ended says that the task has a lease and nothing holds it. The time is that of the lease as
// it is now, which may have been renewed since it was looked at; it does not hold what is killed.
func (t *Task) ended(seen SeenTask) bool {
	held := seen.Claimant || seen.Inside || seen.At < t.Lease.Until && !t.Killing
	return t.Lease != (Lease{}) && !held
}

// settleAttachment turns what was observed of an attachment into changes: a tombstone
// goes once nothing is mounted for it; something in its place is a fault.
func settleAttachment(s *State, a *Attachment, seen SeenAttachment, now time.Time) []Change {
	u := a.Unit()
	switch {
	case seen.Living != (Process{}):
		through := *a
		through.Process = seen.Living
		return append(s.sound(u), Change{Attachment: &through})
	case seen.Unreachable != "" && (a.Gone || a.Via == ByPath || a.PID != 0):
		return s.Faulty(u, ErrFailed, seen.Unreachable, now)
	case a.Via == Claimed && a.PID != 0 && !a.Gone && !seen.Mounted:
		claim := *a
		claim.Process = Process{}
		return append(s.sound(u), Change{Attachment: &claim})
	case a.Gone && !seen.Mounted, seen.Ended:
		return []Change{{Drop: &Drop{Volume: a.Volume, Task: a.Task, Path: a.Path}}}
	case a.Via != ByPath && a.Via != ByNamespace:
		return s.sound(u)
	case !a.Gone && seen.Foreign:
		return s.Faulty(u, ErrExists, "something else is mounted at "+a.Path, now)
	case !a.Gone && seen.Moved != "" && a.Via == ByPath: // in its own namespace a task may do that
		return s.Faulty(u, ErrFailed, fmt.Sprintf("whoever can write to the sandbox has moved its mount point to %s", seen.Moved), now)
	}
	return s.sound(u)
}

// Faulty sets a unit's fault, unless just that is known already.
func (s *State) Faulty(u Unit, kind error, reason string, now time.Time) []Change {
	if f, ok := s.Fault(u); ok && f.Kind == kind && f.Reason == reason {
		return nil
	}
	return []Change{{Fault: &FaultOf{u, Fault{Kind: kind, Reason: reason, Since: now}}}}
}

// Silent makes the changes for a disk that does not answer: nothing that is on it can be reached,
// and nothing of it is lost.
func (s *State) Silent(disk, reason string, now time.Time) []Change {
	changes := s.Faulty(UnitOfDisk(disk), ErrUnavailable, reason, now)
	for v := range s.Volumes(Name{}) {
		if v.Disk == disk {
			changes = append(changes, s.Faulty(UnitOfVolume(v.UUID), ErrUnavailable, "disk "+DiskName(disk)+": "+reason, now)...)
		}
	}
	return changes
}

// sound takes a unit's fault back, if it has one.
func (s *State) sound(u Unit) []Change {
	if _, ok := s.Fault(u); !ok {
		return nil
	}
	return []Change{{Fault: &FaultOf{Unit: u}}}
}
