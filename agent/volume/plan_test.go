package volume

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

var update = flag.Bool("update", false, "write testdata/plan/*.txt anew")

// situation is one unit of a state, and what was seen of it.
type situation struct {
	want string // what the state says
	have string // what was seen
	s    *State
	u    Unit
	seen Seen
}

// row is a line of a golden table: what should be, what is, the steps, what is settled
// then, and what else is settled if the unit had a fault before.
func (c situation) row() string {
	var steps []string
	for _, step := range Plan(c.s, c.u, c.seen) {
		steps = append(steps, string(step.Kind))
	}
	settled := outcome(c.s, c.u, c.seen)
	if was := outcome(c.s.With(c.s.Faulty(c.u, ErrBusy, "before", second)...), c.u, c.seen); was != settled {
		settled += " (faulty before: " + was + ")"
	}
	return fmt.Sprintf("%-34s | %-34s | %-22s | %s", c.want, c.have, orDash(steps), settled)
}

// outcome describes what Settle makes of an observation.
func outcome(s *State, u Unit, seen Seen) string {
	var parts []string
	for _, c := range Settle(s, u, seen, second) {
		parts = append(parts, describe(c))
	}
	return orDash(parts)
}

func describe(c Change) string {
	switch {
	case c.Fault != nil && c.Fault.Kind == nil:
		return "sound"
	case c.Fault != nil:
		return fmt.Sprintf("%v: %s", c.Fault.Kind, c.Fault.Reason)
	case c.Disk != nil:
		return "disk " + string(c.Disk.Phase)
	case c.Volume != nil:
		return "volume " + string(c.Volume.Phase)
	case c.Account != nil:
		return "free " + c.Account.Free.String()
	case c.Attachment != nil:
		return "attachment" + flagText(c.Attachment.Gone, " gone") + flagText(c.Attachment.Lazy, " lazy")
	case c.Task != nil:
		return "task" + flagText(c.Task.Releasing, " releasing")
	case c.Drop != nil:
		return "drop"
	}
	return fmt.Sprintf("%+v", c)
}

func orDash(parts []string) string {
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// facts joins the names of those that hold.
func facts(all map[string]bool) string {
	var names []string
	for name, holds := range all {
		if holds {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return orDash(names)
}

func diskSituations() []situation {
	var all []situation
	for _, d := range []Disk{{Pool: "p", Phase: Creating}, {Pool: "p", Phase: Ready}, {Pool: "p", Phase: Ready, Absent: true}} {
		for have, seen := range map[string]SeenDisk{
			"missing":                {Missing: "no such directory"},
			"empty":                  {Empty: true},
			"not empty, no marker":   {},
			"its pool":               {Pool: "p"},
			"another pool":           {Pool: "q"},
			"missing, empty besides": {Missing: "no permission", Empty: true},
			"its pool, a leftover":   {Pool: "p", Leftover: []Leftover{{"left", "/s/left"}}},
			"missing, a leftover":    {Missing: "no such directory", Leftover: []Leftover{{"left", "/s/left"}}},
		} {
			want := string(d.Phase) + flagText(d.Absent, ", not configured")
			all = append(all, situation{want, have, Empty().With(Change{Disk: &d}), UnitOfDisk(""), Seen{Disk: seen}})
		}
	}
	return all
}

func volumeSituations() []situation {
	var all []situation
	for _, phase := range []Phase{Creating, Ready, Destroying} {
		v := Volume{UUID: "v", Name: Name{"web", "x"}, Reservations: []resource.Reservation{dynamicFor("web")}, Size: 64000, Phase: phase}
		left := Account{Reservations: v.Reservations, Free: 1000}
		s := Empty().With(Change{Account: &left}, Change{Volume: &v})
		all = append(all, situation{string(phase), "disk away", s, UnitOfVolume("v"), Seen{Volume: SeenVolume{Unavailable: "its disk is away"}}})
		for bits := range 32 {
			seen := SeenVolume{Incoming: bits&1 > 0, Live: bits&2 > 0, Data: bits&4 > 0, Trash: bits&8 > 0, Durable: bits&16 > 0}
			if seen.Data && !seen.Live || seen.Durable && !seen.Data {
				continue
			}
			have := facts(map[string]bool{"incoming": seen.Incoming, "live": seen.Data && !seen.Durable, "live for good": seen.Durable, "live without data": seen.Live && !seen.Data, "trash": seen.Trash})
			all = append(all, situation{string(phase), have, s, UnitOfVolume("v"), Seen{Volume: seen}})
		}
	}
	return all
}

// limitSituations are of volumes that the file system limits by a project.
func limitSituations() []situation {
	var all []situation
	for _, phase := range []Phase{Creating, Ready, Destroying} {
		v := Volume{UUID: "v", Name: Name{"web", "x"}, Reservations: []resource.Reservation{dynamicFor("web")}, Size: 64000, Phase: phase, Project: 7}
		s := Empty().With(Change{Volume: &v})
		for bits := range 16 {
			live := bits&2 > 0
			seen := SeenVolume{Incoming: bits&1 > 0, Live: live, Data: live, Durable: live, Trash: bits&4 > 0}
			limit := map[string]bool{}
			if phase == Destroying {
				seen.Limited = bits&8 > 0
				limit["limited"] = seen.Limited
			} else {
				seen.Unlimited = bits&8 > 0
				limit["unlimited"] = seen.Unlimited
			}
			maps.Copy(limit, map[string]bool{"incoming": seen.Incoming, "live for good": live, "trash": seen.Trash})
			all = append(all, situation{string(phase), facts(limit), s, UnitOfVolume("v"), Seen{Volume: seen}})
		}
	}
	return all
}

// seenLeases are a lease and how it may be found.
func seenLeases() map[Lease][]SeenTask {
	group := []SeenTask{{}, {Cgroup: true}, {Cgroup: true, Inside: true}}
	var both []SeenTask
	for _, g := range group {
		alive := g
		alive.Claimant = true
		both = append(both, g, alive)
	}
	return map[Lease][]SeenTask{
		{}:                     {{}},
		{TTL: 1, Until: 5}:     {{At: 4}, {At: 5}},
		{PID: 7, Until: 5}:     {{At: 4}, {At: 5}, {At: 4, Claimant: true}, {At: 5, Claimant: true}},
		{PID: 7, Start: 1}:     {{}, {Claimant: true}},
		{Cgroup: "/c"}:         group,
		{PID: 7, Cgroup: "/c"}: both,
	}
}

func taskSituations() []situation {
	var all []situation
	for lease, sights := range seenLeases() {
		for _, seen := range sights {
			for bits := range 32 {
				t := Task{ID: "t", Sandbox: "/s/t", Lease: lease, Own: bits&1 > 0, Releasing: bits&2 > 0, Killing: bits&16 > 0}
				if t.Killing && !lease.named() {
					continue // there is nothing to kill
				}
				seen.Sandbox = bits&4 > 0
				s := Empty().With(Change{Task: &t})
				if bits&8 > 0 {
					s = s.With(Change{Attachment: &Attachment{Volume: "v", Task: "t", Path: "p", Mode: resource.RW, Via: ByPath, Gone: t.Releasing}})
				}
				if !t.Own && !seen.Sandbox {
					continue // whether a foreign sandbox is there is not looked at
				}
				all = append(all, situation{taskText(&t, bits&8 > 0), facts(map[string]bool{"sandbox": seen.Sandbox,
					"empty cgroup": seen.Cgroup && !seen.Inside, "cgroup": seen.Inside, "claimant": seen.Claimant, "in time": seen.At > 0 && seen.At < t.Lease.Until}), s, UnitOfTask("t"), Seen{Task: seen}})
			}
		}
	}
	return all
}

func taskText(t *Task, attached bool) string {
	return facts(map[string]bool{"own": t.Own, "releasing": t.Releasing, "killing": t.Killing, "by pid": t.Lease.PID > 0, "by cgroup": t.Lease.Cgroup != "", "by time": t.Lease.Until > 0, "attached": attached})
}

func attachmentSituations() []situation {
	sights := map[string]SeenAttachment{
		"unreachable":        {Unreachable: "the sandbox cannot be opened"},
		"nothing":            {},
		"mount point":        {Point: true},
		"mounted":            {Point: true, Mounted: true},
		"mounted read-only":  {Point: true, Mounted: true, ReadOnly: true},
		"foreign mount":      {Point: true, Foreign: true},
		"foreign, read-only": {Point: true, Foreign: true, ReadOnly: true},
	}
	var all []situation
	for _, via := range []Via{Claimed, ByPath, ByDescriptor} {
		for _, mode := range []resource.Mode{resource.RW, resource.RO} {
			for _, gone := range []bool{false, true} {
				for have, seen := range sights {
					a := Attachment{Volume: "v", Task: "t", Path: "p", Mode: mode, Via: via, Gone: gone}
					want := strings.TrimSpace(fmt.Sprint(via, " ", mode, flagText(gone, " gone")))
					all = append(all, situation{want, have, Empty().With(Change{Attachment: &a}), a.Unit(), Seen{Attachment: seen}})
				}
			}
		}
	}
	return all
}

func situations() map[string][]situation {
	return map[string][]situation{"disk": diskSituations(), "volume": volumeSituations(), "limit": limitSituations(), "task": taskSituations(), "attachment": attachmentSituations()}
}

func TestPlanAndSettleAsTheTablesSay(t *testing.T) {
	t.Parallel()
	for name, all := range situations() {
		var rows []string
		for _, c := range all {
			rows = append(rows, strings.TrimRight(c.row(), " "))
		}
		slices.Sort(rows)
		got := fmt.Sprintf("# %-32s | %-34s | %-22s | %s\n", name, "seen", "steps", "settles") + strings.Join(slices.Compact(rows), "\n") + "\n"
		file := filepath.Join("testdata", "plan", name+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
			t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, d)
		}
	}
}

func TestALeftoverIsReleasedUnlessATaskHasItsNameOrItsPlace(t *testing.T) {
	t.Parallel()
	s := Empty().With(Change{Disk: &Disk{Pool: "p", Phase: Ready}}, Change{Task: &Task{ID: "named", Sandbox: "/else/where"}},
		Change{Task: &Task{ID: "placed", Sandbox: "/s/there"}}, Change{Task: &Task{ID: "inside", Sandbox: "/s/above/in"}})
	seen := Seen{Disk: SeenDisk{Pool: "p", Leftover: []Leftover{{"named", "/s/named"}, {"left", "/s/left"}, {"there", "/s/there"},
		{"above", "/s/above"}, {"theresa", "/s/theresa"}}}}
	after := s.With(Settle(s, UnitOfDisk(""), seen, second)...)
	want := []string{"+ task left /s/left own releasing", "+ task theresa /s/theresa own releasing"}
	if d := cmp.Diff(want, difference(dump(s), dump(after))); d != "" {
		t.Errorf("settled (-want +got):\n%s", d)
	}
	if again := Settle(after, UnitOfDisk(""), seen, second); len(again) > 0 {
		t.Errorf("settled again: %d changes", len(again))
	}
	u := UnitOfTask("left")
	if steps := Plan(after, u, Seen{Task: SeenTask{Sandbox: true}}); len(steps) != 1 || steps[0] != (Step{RemoveSandbox, u}) {
		t.Errorf("its plan is %v", steps)
	}
	if gone := Settle(after, u, Seen{}, second); len(gone) != 1 || gone[0].Drop == nil || gone[0].Drop.Task != "left" {
		t.Errorf("without its sandbox it settles to %+v", gone)
	}
}

// The tables are checked by eye when they change; these laws are not left to the eye.
func TestNoSituationBreaksALaw(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(diskSituations(), volumeSituations(), limitSituations(), taskSituations(), attachmentSituations()) {
		for _, law := range []func(situation) string{onlyTombstonesDestroy, readyIsNotMadeAgain, theUnknownIsLeftAlone, nothingGoesUnseen, limitsComeFirstAndGoLast, stepsAreOfTheUnit} {
			if breach := law(c); breach != "" {
				t.Errorf("%s: %s", breach, c.row())
			}
		}
	}
}

func planned(c situation, kinds ...StepKind) bool {
	return slices.ContainsFunc(Plan(c.s, c.u, c.seen), func(s Step) bool { return slices.Contains(kinds, s.Kind) })
}

func dropped(c situation) bool {
	return slices.ContainsFunc(Settle(c.s, c.u, c.seen, second), func(c Change) bool { return c.Drop != nil })
}

func onlyTombstonesDestroy(c situation) string {
	v, _ := c.s.Volume(c.u.Volume)
	if planned(c, Discard, Trash, Purge) && v.Phase != Destroying {
		return "data is removed without a tombstone"
	}
	task, isTask := c.s.Task(c.u.Task)
	if isTask && planned(c, RemoveSandbox, RemoveCgroup) && (!task.Releasing || c.s.attached(task)) {
		return "a task's things are removed before it and its attachments are gone"
	}
	if isTask && planned(c, RemoveSandbox) && !task.Own {
		return "a foreign sandbox is removed"
	}
	if isTask && planned(c, DoKill) && (!task.Killing || task.Releasing || task.Lease.Cgroup != "" && !c.seen.Task.Cgroup) {
		return "a process is killed that nobody asked for"
	}
	a, isAttachment := c.s.Attachment(c.u)
	if isAttachment && planned(c, DoDetach, Clear) && !a.Gone && a.Via != Claimed {
		return "a mount is removed that should be there"
	}
	if c.seen.Attachment.Foreign && planned(c, DoAttach, DoDetach, Clear) {
		return "a foreign mount is touched"
	}
	return ""
}

func readyIsNotMadeAgain(c situation) string {
	v, isVolume := c.s.Volume(c.u.Volume)
	if isVolume && v.Phase != Creating && planned(c, Make, Publish) || planned(c, Make) && c.seen.Volume.Data {
		return "a volume is made again"
	}
	ready := slices.ContainsFunc(Settle(c.s, c.u, c.seen, second), func(c Change) bool { return c.Volume != nil && c.Volume.Phase == Ready })
	if ready && !(v.Phase == Creating && c.seen.Volume.Durable && c.seen.Volume.Unavailable == "") {
		return "a volume is ready that a power cut could take"
	}
	d, isDisk := c.s.Disk(c.u.Disk)
	if isDisk && planned(c, Format) && (d.Phase != Creating || !c.seen.Disk.Empty || c.seen.Disk.Missing != "") {
		return "a disk is formatted that is not new and empty"
	}
	return ""
}

func theUnknownIsLeftAlone(c situation) string {
	if steps, changes := Plan(Empty(), c.u, c.seen), Settle(Empty(), c.u, c.seen, second); len(steps)+len(changes) > 0 {
		return "what nobody recorded is touched"
	}
	if (c.seen.Volume.Unavailable != "" || c.seen.Attachment.Unreachable != "") && (len(Plan(c.s, c.u, c.seen)) > 0 || dropped(c)) {
		return "what cannot be seen is touched or forgotten"
	}
	return ""
}

// nothingGoesUnseen: a tombstone is dropped only when nothing of it is left.
func nothingGoesUnseen(c situation) string {
	seen := c.seen
	left := seen.Volume.Incoming || seen.Volume.Live || seen.Volume.Trash || seen.Volume.Limited || seen.Attachment.Mounted || seen.Task.Cgroup
	if task, ok := c.s.Task(c.u.Task); ok && task.Own && c.u.Kind == TaskUnit && seen.Task.Sandbox {
		left = true
	}
	if left && dropped(c) {
		return "a tombstone goes before what it stands for"
	}
	return ""
}

// limitsComeFirstAndGoLast: no task can come to a volume before its limit is set, and a project
// is free only when nothing carries it.
func limitsComeFirstAndGoLast(c situation) string {
	v, isVolume := c.s.Volume(c.u.Volume)
	if !isVolume || v.Project == 0 {
		return ""
	}
	at := func(k StepKind) int { return slices.Index(Plan(c.s, c.u, c.seen), Step{k, c.u}) }
	made, limited, published := at(Make), at(Limit), at(Publish)
	switch {
	case made >= 0 && published >= 0 && !(made < limited && limited < published):
		return "a volume is published before it has its limit"
	case v.Phase == Ready && c.seen.Volume.Live && c.seen.Volume.Unlimited && limited < 0:
		return "a limit that is not what it should be stays so"
	case v.Phase != Destroying && at(Unlimit) >= 0:
		return "a limit is taken away without a tombstone"
	case at(Unlimit) >= 0 && max(at(Discard), at(Trash), at(Purge)) > at(Unlimit):
		return "a project is given back before its volume is gone"
	case v.Phase == Destroying && c.seen.Volume.Limited && at(Unlimit) < 0:
		return "a project is never given back"
	}
	return ""
}

func stepsAreOfTheUnit(c situation) string {
	for _, step := range Plan(c.s, c.u, c.seen) {
		if step.Unit != c.u {
			return fmt.Sprintf("step %s is of %s", step.Kind, step.Unit)
		}
	}
	return ""
}
