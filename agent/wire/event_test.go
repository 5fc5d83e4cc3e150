package wire_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

// artAlone sees the role art and nothing else.
func artAlone(role string) bool { return role == "art" }

// following is a state with what has changed it, for one who follows it.
type following struct {
	state   *volume.State
	changes [][]volume.Change
}

func (f *following) change(cs ...volume.Change) {
	f.state = f.state.With(cs...)
	f.changes = append(f.changes, cs)
}

// told are the types of events that a follower gets of what it was not told yet, with what
// they are about, and whether there is a gap.
func (f *following) told(by *wire.Follower) (list []string, gap bool) {
	for _, cs := range f.changes {
		by.Expect(f.state, cs)
	}
	for _, cs := range f.changes {
		events, unknown := by.Events(f.state, cs)
		gap = gap || unknown
		for _, e := range events {
			list = append(list, fmt.Sprintf("%s %v", e.Type, about(e.Data)))
		}
	}
	f.changes = nil
	return list, gap
}

func about(data any) string {
	switch d := data.(type) {
	case wire.Volume:
		return string(d.UUID)
	case wire.Attachment:
		return d.Task + "/" + string(d.UUID)
	case wire.Task:
		return d.ID
	case wire.OperationStatus:
		return d.ID
	case wire.UnitFault:
		return d.Unit
	case wire.Gone:
		return d.Task + "/" + string(d.UUID) + d.Unit
	}
	return ""
}

func putVolume(id volume.UUID, role string, phase volume.Phase) volume.Change {
	return volume.Change{Volume: &volume.Volume{UUID: id, Name: volume.Name{Role: role, ID: string(id)}, Phase: phase}}
}

func dropVolume(id volume.UUID) volume.Change {
	return volume.Change{Drop: &volume.Drop{Volume: id}}
}

func dropUse(task string, id volume.UUID) volume.Change {
	return volume.Change{Drop: &volume.Drop{Task: task, Volume: id, Path: "p"}}
}

func use(task string, id volume.UUID) volume.Change {
	return volume.Change{Attachment: &volume.Attachment{Volume: id, Task: task, Path: "p"}}
}

func lost(id volume.UUID) volume.Change {
	return volume.Change{Fault: &volume.FaultOf{Unit: volume.UnitOfVolume(id), Fault: volume.Fault{Kind: volume.ErrLost, Reason: "lost"}}}
}

// lives is all that happens to a volume of art and one of web, in steps.
var lives = [][]volume.Change{
	{putVolume("a", "art", volume.Ready), putVolume("w", "web", volume.Ready), {Task: &volume.Task{ID: "t"}}},
	{use("t", "a"), use("t", "w"), lost("a"), lost("w")},
	{dropUse("t", "a"), dropUse("t", "w")},
	{putVolume("a", "art", volume.Destroying), putVolume("w", "web", volume.Destroying)},
	{dropVolume("a"), dropVolume("w"), {Drop: &volume.Drop{Task: "t"}}},
}

func TestOneWhoFollowsIsToldOfWhatItMaySeeAlone(t *testing.T) {
	t.Parallel()
	want := [][]string{
		{"volume a", "task t"},
		{"attachment t/a", "fault volume art/a"},
		{"attachment_gone t/a"},
		{"volume a"},
		{"volume_gone /a", "task_gone t/"},
	}
	f := following{state: volume.Empty()}
	by := wire.NewFollower(f.state, artAlone, nil)
	for i, changes := range lives {
		f.change(changes...)
		got, gap := f.told(by)
		if diff := cmp.Diff(want[i], got); diff != "" || gap {
			t.Errorf("step %d, gap %v (-want +got):\n%s", i, gap, diff)
		}
	}
}

// Who is late is told at once of what has come and gone meanwhile, whatever the steps.
func TestOneWhoIsLateIsToldOfEndsThatItMaySee(t *testing.T) {
	t.Parallel()
	ends := []string{"attachment_gone t/a", "volume_gone /a", "task_gone t/"}
	for from := range 5 {
		f := following{state: volume.Empty()}
		for _, changes := range lives[:from] {
			f.change(changes...)
		}
		by := wire.NewFollower(f.state, artAlone, nil)
		f.told(by)
		for _, changes := range lives[from:] {
			f.change(changes...)
		}
		got, gap := f.told(by)
		if diff := cmp.Diff(ends[min(1, max(0, from-2)):], got); diff != "" || gap {
			t.Errorf("late since step %d, gap %v (-want +got):\n%s", from, gap, diff)
		}
	}
}

// One who comes back after a volume is gone, and has last heard when it was being destroyed,
// cannot be told whether it was one of its own.
func TestAnEndOfWhichNobodyKnowsWhoMaySeeItIsAGap(t *testing.T) {
	t.Parallel()
	for _, id := range []volume.UUID{"a", "w"} {
		f := following{state: volume.Empty()}
		f.change(dropVolume(id))
		if got, gap := f.told(wire.NewFollower(f.state, artAlone, nil)); !gap || got != nil {
			t.Errorf("%s: told %v, gap %v", id, got, gap)
		}
	}
	f := following{state: volume.Empty()}
	f.change(dropVolume("a"))
	if got, gap := f.told(&wire.Follower{}); gap || len(got) != 1 {
		t.Errorf("who sees everything is told %v, gap %v", got, gap)
	}
}

func TestWhatOneWhoFollowsRemembersIsBounded(t *testing.T) {
	t.Parallel()
	const many = 5000
	f := following{state: volume.Empty()}
	by := wire.NewFollower(f.state, artAlone, nil)
	id := func(i int) volume.UUID { return volume.UUID(fmt.Sprint("a", i)) }
	for i := range many {
		f.change(putVolume(id(i), "art", volume.Destroying))
	}
	if got, gap := f.told(by); len(got) != many || gap {
		t.Fatalf("told %d events, gap %v", len(got), gap)
	}
	for i := range many {
		f.change(dropVolume(id(i)))
	}
	got, gap := f.told(by)
	if !gap || len(got) == 0 || len(got) > many/2 {
		t.Errorf("told %d ends of %d, gap %v; want some, and a gap", len(got), many, gap)
	}
}

func TestOneWhoFollowsIsToldOfItsOwnOperationsOnly(t *testing.T) {
	t.Parallel()
	f := following{state: volume.Empty()}
	own := func(principal string) bool { return principal == "ops" }
	for _, o := range []volume.OperationStatus{{ID: "mine", Principal: "ops"}, {ID: "others", Principal: "dev"}, {ID: "nobodys"}} {
		f.change(volume.Change{Operation: &o})
	}
	changes := f.changes
	if got, _ := f.told(wire.NewFollower(f.state, nil, own)); !cmp.Equal(got, []string{"operation mine"}) {
		t.Errorf("told %v", got)
	}
	f.changes = changes
	if got, _ := f.told(&wire.Follower{}); len(got) != 3 {
		t.Errorf("without rules told %v", got)
	}
}
