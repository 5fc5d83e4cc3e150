// Package check compares the three that should agree, journal, disks and kernel, and says
// what does not: `tenon check`. What the agent's loop would mend it finds by asking the same
// functions that the loop asks (volume.Plan and volume.Settle); the rest, which the loop
// leaves alone because it is nobody's, comes from a Survey.
//
// It is not for mending what the loop mends: that is done by starting the agent. Mend does
// the two things that the loop never does, because nobody but an operator may have them done.
//
// Invariants: Look changes nothing. Nothing that holds data is ever removed.
package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"tenon/agent/volume"
)

// By says who mends a finding.
type By string

// Those who mend.
const (
	ByStart  By = "start"  // the agent itself, when it next starts
	ByRepair By = "repair" // Mend
	ByPerson By = "person" // nobody else can know what is right
)

// Finding is one thing that is not as it should be.
type Finding struct {
	About    string            `json:"about"` // "volume web/data", "disk root", a path
	By       By                `json:"by"`
	Text     string            `json:"text"`
	Steps    []volume.StepKind `json:"steps,omitempty"`    // what the agent will do
	Commands []string          `json:"commands,omitempty"` // what a person may do

	disk  *string // whose marker is to be written again
	mount *Mount  // that is to be unmounted
}

// Same says whether two findings are about the same thing.
func (f Finding) Same(other Finding) bool { return f.About == other.About && f.Text == other.Text }

// Mount is a mount of a volume where no attachment is.
type Mount struct {
	ID     uint64 // of mount.Info
	Path   string
	Volume volume.UUID // maybe of none that is known
}

// Entry is something in a pool that the journal does not name.
type Entry struct {
	Disk string // key
	Path string
}

// Survey is what there is that no unit of the state stands for.
type Survey struct {
	Mounts    []Mount
	Entries   []Entry
	Sandboxes []string // that an agent of this boot made for tasks that nobody knows
	Unmarked  []string // keys of disks that have lost their marker, and nothing else
}

// Kernel is the part of agent/host that this package needs.
type Kernel interface {
	// Observe looks at one unit of s.
	Observe(ctx context.Context, s *volume.State, u volume.Unit) (volume.Seen, error)
	// Survey looks at everything, and costs accordingly.
	Survey(s *volume.State) (Survey, error)
	// Mark writes a disk's marker again, if all volumes of s that should be on it are.
	Mark(s *volume.State, disk string) error
	// Unmount unmounts m, unless something uses it or another is mounted there by now.
	Unmount(m Mount) error
}

// Look compares a state, as Configure has fitted it to the running boot, with what is. Its
// error is that of a kernel which cannot be asked at all, or of ctx.
func Look(ctx context.Context, k Kernel, s *volume.State) ([]Finding, error) {
	var found []Finding
	if err := s.Check(); err != nil {
		found = append(found, Finding{About: "journal", By: ByPerson, Text: err.Error()})
	}
	survey, err := k.Survey(s)
	if err != nil {
		return nil, err
	}
	away := map[string]bool{}
	for u := range s.Units() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if v, ok := s.Volume(u.Volume); ok && away[v.Disk] {
			continue // nothing can be said of it before its disk is back
		}
		f, bad := lookAt(ctx, k, s, u)
		if !bad {
			continue
		}
		if u.Kind == volume.DiskUnit {
			away[u.Disk] = f.By != ByStart
			f = unmarked(f, u.Disk, survey)
		}
		found = append(found, f)
	}
	found = append(found, survey.findings()...)
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(rank[a.By], rank[b.By]) })
	return found, nil
}

// rank has what a person must do come first.
var rank = map[By]int{ByPerson: 0, ByRepair: 1, ByStart: 2}

// lookAt finds what is wrong with one unit.
func lookAt(ctx context.Context, k Kernel, s *volume.State, u volume.Unit) (Finding, bool) {
	f := Finding{About: name(s, u), By: ByStart}
	seen, err := k.Observe(ctx, s, u)
	if err != nil {
		f.By, f.Text = ByPerson, err.Error()
		return f, true
	}
	if steps := volume.Plan(s, u, seen); len(steps) > 0 {
		for _, step := range steps {
			f.Steps = append(f.Steps, step.Kind)
		}
		f.Text = meaning[steps[0].Kind]
		return f, true
	}
	for _, c := range volume.Settle(s, u, seen, time.Time{}) {
		switch {
		case c.Fault != nil && c.Fault.Kind != nil:
			f.By, f.Text, f.Commands = ByPerson, c.Fault.Reason, ways(s, u, c.Fault.Kind)
			return f, true
		case c.Task != nil:
			f.Text = "nothing of it is alive; it is released"
			return f, true
		case c.Drop != nil:
			f.Text = "nothing of it is left but the record"
			return f, true
		}
	}
	return f, false
}

// ways are what a person may do about a fault.
func ways(s *volume.State, u volume.Unit, kind error) []string {
	if v, ok := s.Volume(u.Volume); ok && u.Kind == volume.VolumeUnit && kind == volume.ErrLost {
		return []string{"tenon volume destroy " + v.Name.String()}
	}
	return nil
}

// name is what people call a unit.
func name(s *volume.State, u volume.Unit) string {
	v, ok := s.Volume(u.Volume)
	switch {
	case u.Kind == volume.VolumeUnit && ok:
		return "volume " + v.Name.String()
	case u.Kind == volume.AttachmentUnit && ok:
		return fmt.Sprintf("volume %s in task %s at %s", v.Name, u.Task, u.Path)
	}
	return u.String()
}

// meaning is what a plan that begins with a step says of its unit.
var meaning = map[volume.StepKind]string{
	volume.Format:        "its pool is not made yet",
	volume.Make:          "it is not made yet",
	volume.Limit:         "its file system does not hold it to its size",
	volume.Publish:       "it is made, and may not survive a power cut yet",
	volume.Discard:       "it is destroyed, and something of it is left",
	volume.Trash:         "it is destroyed, and its data is still there",
	volume.Purge:         "it is destroyed, and some of its data is still there",
	volume.Unlimit:       "it is destroyed, and its project still has a limit",
	volume.MakeSandbox:   "its sandbox is not there",
	volume.MakeCgroup:    "its cgroup is not there",
	volume.DoKill:        "it is to be killed",
	volume.RemoveCgroup:  "it has ended, and its cgroup is still there",
	volume.RemoveSandbox: "it has ended, and its sandbox is still there",
	volume.DoAttach:      "it is not mounted",
	volume.Flip:          "it is mounted in the other mode",
	volume.DoDetach:      "it is detached, and still mounted",
	volume.Clear:         "it is detached, and its mount point is still there",
}

// unmarked says of a disk that is not the one it should be whether only its marker is gone.
func unmarked(f Finding, disk string, survey Survey) Finding {
	if f.By == ByPerson && slices.Contains(survey.Unmarked, disk) {
		f.By, f.disk = ByRepair, &disk
		f.Text = "its marker tenon.json is gone, and all its volumes are there: the marker can be written again"
	}
	return f
}

// findings are about what is nobody's.
func (y Survey) findings() (found []Finding) {
	for _, m := range y.Mounts {
		found = append(found, Finding{About: m.Path, By: ByRepair, mount: &m,
			Text: fmt.Sprintf("volume %s is mounted there, and no attachment says so; it can be unmounted", m.Volume)})
	}
	for _, e := range y.Entries {
		found = append(found, Finding{About: e.Path, By: ByPerson,
			Text: fmt.Sprintf("the journal names no such volume on disk %s; it is left alone, and may be what another agent or an older journal has lost", volume.DiskName(e.Disk))})
	}
	for _, dir := range y.Sandboxes {
		found = append(found, Finding{About: dir, By: ByPerson,
			Text: "an agent of this boot made it for a task that the journal does not name; the task may be alive"})
	}
	return found
}

// Mend does what Look has found to be ByRepair, and tells why not of each that it could not
// do, by what it is about. Doing it again does no harm.
func Mend(k Kernel, s *volume.State, found []Finding) (failed map[string]error) {
	failed = map[string]error{}
	for _, f := range found {
		var err error
		switch {
		case f.disk != nil:
			err = k.Mark(s, *f.disk)
		case f.mount != nil:
			err = k.Unmount(*f.mount)
		}
		if err != nil {
			failed[f.About] = err
		}
	}
	return failed
}
