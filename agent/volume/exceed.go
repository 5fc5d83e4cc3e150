package volume

import (
	"time"

	"tenon/agent/resource"
)

// OnExceed says what follows when a volume that only measuring holds to its size is found to
// hold more.
type OnExceed string

// What may follow, besides that it is told: nothing; its tasks can't write to it any more, as
// far as their mounts are the agent's, until it is within its size again; or the tasks that may
// write to it are killed, each time that it is measured. Of those that is said of which the
// agent has made the cgroup: it kills nothing that others have named, which is read-only then.
const (
	Report       OnExceed = "report"
	MakeReadOnly OnExceed = "readonly"
	KillWriters  OnExceed = "kill"
)

// OnExceeds lists all there are.
func OnExceeds() []OnExceed { return []OnExceed{Report, MakeReadOnly, KillWriters} }

// Exceeded is recorded of a volume that was measured to hold more than its size, until it is
// within again.
type Exceeded struct {
	Since time.Time       `json:"since"`
	Used  resource.Bytes  `json:"used"` // when it was noticed
	Size  resource.Scalar `json:"size"` // of the volume, when it was measured last
}

// Notice tells that a volume has come to hold more than its size, or is within it again. It
// goes to those who follow what happens, and changes nothing.
type Notice struct {
	Volume UUID
	Over   bool
	Used   resource.Bytes
	Size   resource.Bytes
	At     time.Time
	Killed []string // the tasks that are killed for it
}

// The part of its size that a volume must be within for it to count as no longer exceeded, so
// that one at its limit does not go back and forth: 95 of 100.
const (
	withinPart  = 95
	withinWhole = 100
)

// Measured says whether a volume is to be measured: whether nothing else holds it to its size,
// and it is there.
func (s *State) Measured(v *Volume) bool {
	f, bad := s.Fault(UnitOfVolume(v.UUID))
	return v.Phase == Ready && s.EnforcementOf(v) == EnforcedSoft && !(bad && (f.Kind == ErrLost || f.Kind == ErrUnavailable))
}

// Resized says whether a volume that holds more than its size has another one since that was
// measured.
func (v *Volume) Resized() bool { return v.Exceeded != nil && v.Exceeded.Size != v.Size }

// Weigh turns what was measured in a volume into changes of the state. One that holds more than
// its size is exceeded until it is within 95 of 100 of it, or all of it once it has been made
// larger.
func Weigh(s *State, id UUID, used resource.Bytes, now time.Time) []Change {
	v, ok := s.Volume(id)
	if !ok || !s.Measured(v) {
		return nil
	}
	limit := v.Size.Bytes()
	if e := v.Exceeded; e != nil && v.Size <= e.Size {
		limit = limit / withinWhole * withinPart
	}
	if used <= limit {
		if v.Exceeded == nil {
			return nil
		}
		return v.exceed(nil, used, now)
	}
	return s.over(v, used, now)
}

// over notes that a volume is exceeded, and kills its writers if that is what follows.
func (s *State) over(v *Volume, used resource.Bytes, now time.Time) (changes []Change) {
	switch {
	case v.Exceeded == nil:
		changes = v.exceed(&Exceeded{Since: now, Used: used, Size: v.Size}, used, now)
	case v.Resized():
		still := *v
		still.Exceeded = &Exceeded{Since: v.Exceeded.Since, Used: v.Exceeded.Used, Size: v.Size}
		changes = []Change{{Volume: &still, Relaxed: true}}
	}
	var killed []string
	for _, t := range s.victims(v) {
		end := *t
		end.Killing = true
		changes = append(changes, Change{Task: &end})
		killed = append(killed, t.ID)
	}
	if len(killed) > 0 {
		changes = append(changes, Change{Notice: &Notice{Volume: v.UUID, Over: true, Used: used, Size: v.Size.Bytes(), At: now, Killed: killed}})
	}
	return changes
}

// victims are the tasks that are killed for what they may have written to a volume.
func (s *State) victims(v *Volume) (list []*Task) {
	if s.OnExceedOf(v) != KillWriters {
		return nil
	}
	for _, h := range s.Holders(v.UUID) {
		if t, ok := s.Task(h.Task); ok && h.Mode == resource.RW && t.killable() && !t.Killing && !t.Releasing {
			list = append(list, t)
		}
	}
	return list
}

// killable says whether what is killed of a task is the agent's to kill.
func (t *Task) killable() bool { return t.Lease.Cgroup != "" }

// exceed notes that a volume is exceeded, or no longer. A power cut may take that: it is
// measured again.
func (v *Volume) exceed(e *Exceeded, used resource.Bytes, now time.Time) []Change {
	other := *v
	other.Exceeded = e
	return []Change{
		{Volume: &other, Relaxed: true},
		{Notice: &Notice{Volume: v.UUID, Over: e != nil, Used: used, Size: v.Size.Bytes(), At: now}},
	}
}

// Lift takes back that volumes are exceeded which are not measured any more: their file system
// holds them to their sizes by now, or nobody looks.
func Lift(s *State, now time.Time) (changes []Change) {
	if s.CountExceeded() == 0 {
		return nil
	}
	for v := range s.Volumes(Name{}) {
		if mode := s.EnforcementOf(v); v.Exceeded != nil && mode != EnforcedSoft && mode != "" {
			changes = append(changes, v.exceed(nil, v.Exceeded.Used, now)...)
		}
	}
	return changes
}

// OnExceedOf is what follows when a volume holds more than its size; empty where it is not
// measured.
func (s *State) OnExceedOf(v *Volume) OnExceed {
	d, ok := s.Disk(v.Disk)
	if !ok || d.OnExceed == "" || v.OnExceed == "" {
		return d.policy()
	}
	return v.OnExceed
}

// policy is the disk's; of none it is empty.
func (d *Disk) policy() OnExceed {
	if d == nil {
		return ""
	}
	return d.OnExceed
}

// closed says whether a task may not write to a volume until it is within its size again.
func (s *State) closed(v *Volume, task string) bool {
	if v.Exceeded == nil {
		return false
	}
	switch t, ok := s.Task(task); s.OnExceedOf(v) {
	case MakeReadOnly:
		return true
	case KillWriters:
		return !ok || !t.killable()
	}
	return false
}

// InForce gives an attachment as it is to be mounted now: as it is recorded, but read-only
// while the volume is exceeded and that is what follows.
func (s *State) InForce(a *Attachment) *Attachment {
	v, ok := s.Volume(a.Volume)
	if !ok || a.Mode == resource.RO || !s.closed(v, a.Task) {
		return a
	}
	now := *a
	now.Mode = resource.RO
	return &now
}

// open says whether an attachment could be made read-only while the volume is: one by a
// descriptor could not.
func (s *State) open(v *Volume, a *Attachment) error {
	if a.Via != ByDescriptor || a.Mode != resource.RW || !s.closed(v, a.Task) {
		return nil
	}
	return refuse(ErrInsufficient, "volume %s holds more than its size and is read-only until it is within again; "+
		"use it read-only, make it larger, or remove some of its files", v.Name)
}
