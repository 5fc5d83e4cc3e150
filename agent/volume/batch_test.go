package volume

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asked applies a batch, whose volumes are being made then.
func (s *State) asked(t *testing.T, env Env, batch ...Operation) *State {
	t.Helper()
	out, err := Apply(s, env, batch...)
	if err != nil {
		t.Fatal(err)
	}
	return out.Next
}

// settledBy settles units one after another, as they are told.
func (s *State) settledBy(list ...told) *State {
	for _, c := range list {
		s = s.With(Settle(s, c.unit, c.seen, second)...)
	}
	return s
}

// unmounted is an attachment of which nothing is mounted any more.
func unmounted(id UUID, task, path string) told { return told{unit: mountedAt(id, task, path).unit} }

// usesOf are the tasks and attachments of a state that are to stay.
func usesOf(s *State) (left []string) {
	for t := range s.Tasks("") {
		if !t.Releasing {
			left = append(left, t.ID)
		}
	}
	s.byVolume.Scan(func(a *Attachment) bool {
		if !a.Gone {
			left = append(left, fmt.Sprintf("%s in %s", a.Volume, a.Task))
		}
		return true
	})
	return left
}

// A launch has failed when one of its mounts was taken from it too early. What else it has made
// goes, and all others go on, whichever of them leads.
func TestALaunchThatFailsIsAloneInThat(t *testing.T) {
	t.Parallel()
	y, x := vol("y", 1, "web"), vol("x", 20, "web")
	creates, destroy := as("three", "CREATE", create(y)), as("three", "DESTROY", Destroy{Ref: "v1"})
	both, other := launch("t", y, x), launch("u", vol("z", 1, "web"))
	for _, c := range []struct {
		name  string
		batch []Operation
		ends  Operation
		then  []told
		left  []string
	}{
		{"behind the volume that it mounts", ops(creates, as("two", "LAUNCH", both)), Detach{Task: "t", Volume: "web/x"},
			[]told{sandboxOf("t").so("-PP"), unmounted("v2", "t", "x").so("-XP"), made("v3").so("-XF")}, nil},
		{"when another of its mounts is there", ops(creates, as("two", "LAUNCH", both)), Detach{Task: "t", Volume: "web/y"},
			[]told{mountedAt("v2", "t", "x").so("-PP"), unmounted("v3", "t", "y").so("-XP"), made("v3").so("-XF")}, nil},
		{"as the first", ops(as("one", "LAUNCH", launch("t", x)), as("two", "DESTROY", Destroy{Ref: "v1"}), as("three", "RESERVE", reserve(mib(1, "db")))), Release{Task: "t"},
			[]told{unmounted("v2", "t", "x").so("XPP"), removed("v1").so("XFF")}, nil},
		{"as the last that is at work", ops(as("one", "RESERVE", reserve(mib(1, "db"))), as("two", "LAUNCH", launch("t", x))), Release{Task: "t"},
			[]told{unmounted("v2", "t", "x").so("FX-")}, nil},
		{"when another launch is at work", ops(create(vol("z", 1, "web")), as("one", "LAUNCH", launch("t", x)), as("two", "LAUNCH", other), destroy), Release{Task: "t"},
			[]told{unmounted("v2", "t", "x").so("XPP"), sandboxOf("u").so("XPP"), made("v3").so("XPP"), removed("v1").so("XPP"), mountedAt("v3", "u", "z").so("XFF")}, []string{"u", "v3 in u"}},
		{"without a volume", ops(as("one", "LAUNCH", launch("t")), destroy), Release{Task: "t"},
			[]told{{unit: UnitOfTask("t"), want: "X-P"}, removed("v1").so("X-F")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := numbered()
			s := mustApply(t, machine(t), env, roomy()...)
			before := s
			out, err := Apply(s, env, c.batch...)
			if err != nil {
				t.Fatal(err)
			}
			s = out.Next.asked(t, env, c.ends)
			if out, err = Apply(s, env, c.ends); err == nil && statesOf(out.Next) != statesOf(s) {
				t.Errorf("when it is taken away they are %s", statesOf(out.Next))
			}
			for i, step := range c.then {
				if s = s.settledBy(step); statesOf(s) != step.want {
					t.Errorf("%d, %s: they are %s, want %s", i, step.unit, statesOf(s), step.want)
				}
				if kept := refold(t, s); statesOf(kept) != step.want {
					t.Errorf("%d, %s: stored are %s, want %s", i, step.unit, statesOf(kept), step.want)
				}
			}
			if got := usesOf(s); !slices.Equal(got, c.left) {
				t.Errorf("left are %q, want %q", got, c.left)
			}
			// They have ended, and who waits for them cannot change that.
			if changes := takingBack(before, s, c.batch, out.Touched, errors.New("late")); len(changes) > 0 {
				t.Errorf("taken back is %+v", changes)
			}
		})
	}
}

// What was there before a launch is not its own to take back.
func TestALaunchThatFailsLeavesWhatWasThere(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, roomy(as("one", "LAUNCH", launch("t", vol("x", 20, "web"))))...)
	s = s.settledBy(sandboxOf("t"), mountedAt("v2", "t", "x"))
	s = mustApply(t, s, env, as("two", "LAUNCH", launch("t", vol("x", 20, "web"), shared(vol("s", 20, "web")))))
	s = mustApply(t, s, env, Detach{Task: "t", Volume: "v1"}).settledBy(unmounted("v1", "t", "s"))
	if got := usesOf(s); statesOf(s) != "FX-" || !slices.Equal(got, []string{"t", "v2 in t"}) {
		t.Errorf("the operations are %s, and left are %q", statesOf(s), got)
	}
}

// Somebody was told that they have finished: whatever fails afterwards takes nothing back.
func TestWhatHasFinishedIsNotTakenBack(t *testing.T) {
	t.Parallel()
	env := numbered()
	before := mustApply(t, machine(t), env, roomy()...)
	batch := ops(as("one", "RESERVE", reserve(mib(1, "db"))), as("two", "LAUNCH", launch("t")))
	out, err := Apply(before, env, batch...)
	if err != nil {
		t.Fatal(err)
	}
	if n := out.Next.With(takingBack(before, out.Next, batch, out.Touched, errors.New("no sandbox"))...); statesOf(n) != "XX-" || len(usesOf(n)) > 0 {
		t.Errorf("taken back they are %s, and left is %q", statesOf(n), usesOf(n))
	}
	done := out.Next.settledBy(sandboxOf("t"))
	changes, cause := Undo(before, done, batch, out.Touched, errors.New("late"))
	if len(changes) > 0 || cause == nil || statesOf(done) != "FF-" {
		t.Errorf("of %s is taken back %+v, for %v", statesOf(done), changes, cause)
	}
}

func TestWhoeverAsksAgainWaitsForTheWholeBatch(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, roomy()...)
	batch := ops(as("one", "CREATE", create(vol("y", 1, "web"))), as("two", "LAUNCH", launch("t", vol("y", 1, "web"))), as("three", "DESTROY", Destroy{Ref: "v1"}))
	s = s.asked(t, env, batch...)
	for _, c := range []struct {
		then told
		want string
	}{
		{sandboxOf("none"), "volume v3, volume v1, task t, volume v3 in task t at y"},
		{sandboxOf("t"), "volume v3, volume v1, volume v3 in task t at y"},
		{made("v3"), "volume v1, volume v3 in task t at y"},
		{removed("v1"), "volume v3 in task t at y"},
		{mountedAt("v3", "t", "y"), ""},
	} {
		s = s.settledBy(c.then)
		for _, op := range batch {
			out, err := Apply(s, env, op)
			if err != nil {
				t.Fatal(err)
			}
			var waits []string
			for _, u := range out.Touched {
				waits = append(waits, u.String())
			}
			if got := strings.Join(waits, ", "); got != c.want {
				t.Errorf("%s: asked again for %s, it waits for %q, want %q", c.then.unit, op.Name(), got, c.want)
			}
			o, _ := s.Operation(op.(Identified).ID)
			if n := s.Waiting(o); n != len(waits) {
				t.Errorf("%s: %d are told to be left, want %d", c.then.unit, n, len(waits))
			}
		}
	}
}

// Of many volumes that are made, none costs a record, nor a change.
func TestABatchOfManyCreatesIsRecordedTwice(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, reserve(mib(100, "web")))
	var batch []Operation
	for i := range 100 {
		batch = append(batch, as(fmt.Sprint("id", i), "CREATE", create(vol(fmt.Sprint("p", i), 1, "web"))))
	}
	s = s.asked(t, env, batch...)
	for i := range 100 {
		changes := slices.DeleteFunc(Settle(s, UnitOfVolume(UUID(fmt.Sprint("v", i+1))), Seen{Volume: live}, second), func(c Change) bool { return c.Operation == nil })
		if want := map[bool]int{true: 100}[i == 99]; len(changes) != want {
			t.Errorf("volume %d brings %d changes, want %d", i, len(changes), want)
		}
		s = s.settledAs(UUID(fmt.Sprint("v", i+1)), live)
	}
	if n := len(s.atWork()); n > 0 {
		t.Errorf("%d are at work", n)
	}
}

// In a journal of before, the first of a batch has the mounts of all, and nobody the tasks.
func TestOperationsOfAnOlderJournalEnd(t *testing.T) {
	t.Parallel()
	y, x := vol("y", 1, "web"), vol("x", 20, "web")
	reserved, created := as("one", "RESERVE", reserve(mib(1, "db"))), as("one", "CREATE", create(y))
	for _, c := range []struct {
		name  string
		batch []Operation
		ends  Operation
		boot  string
		then  []told
		want  string
	}{
		{"all is done", ops(created, as("two", "LAUNCH", launch("t", y, x))), nil, "boot-1", []told{made("v3"), mountedAt("v2", "t", "x"), mountedAt("v3", "t", "y")}, "FF-"},
		{"released", ops(reserved, as("two", "LAUNCH", launch("t", x))), Release{Task: "t"}, "boot-1", []told{unmounted("v2", "t", "x")}, "FX-"},
		{"released, of two launches", ops(as("one", "LAUNCH", launch("u")), as("two", "LAUNCH", launch("t", x)), as("three", "RESERVE", reserve(mib(1, "db")))), Release{Task: "t"}, "boot-1",
			[]told{unmounted("v2", "t", "x")}, "XXF"},
		{"rebooted", ops(created, as("two", "LAUNCH", launch("t", y))), nil, "boot-2", []told{made("v3")}, "FX-"},
		{"without an id", ops(created, launch("t", y)), Release{Task: "t"}, "boot-1", []told{made("v3"), unmounted("v3", "t", "y")}, "F--"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := numbered()
			s := older(t, mustApply(t, machine(t), env, roomy()...).asked(t, env, c.batch...))
			s = configured(t, s, c.boot, rootDisk(4096), otherDisk(1000))
			if c.ends != nil {
				s = s.asked(t, env, c.ends)
			}
			s = configured(t, refold(t, s), c.boot, rootDisk(4096), otherDisk(1000)).settledBy(c.then...)
			if statesOf(s) != c.want {
				t.Errorf("they end as %s, want %s:\n%s", statesOf(s), c.want, strings.Join(dump(s), "\n"))
			}
		})
	}
}

// older is a state as it was written before operations had tasks and mounts of their own.
func older(t *testing.T, s *State) *State {
	t.Helper()
	b := s.batchOf(s.atWork()[0])
	var mounts []Target
	for _, o := range b {
		mounts = append(mounts, slices.Concat(o.Settling, o.Attaching)...)
	}
	mounts = slices.DeleteFunc(mounts, func(t Target) bool { return t.Path == "" })
	for _, o := range b {
		n := *o
		n.Settling, n.Attaching = nil, nil
		if n.With == "" {
			n.Attaching = mounts
		}
		c, err := Change{Operation: &n}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := Decode(c)
		if err != nil {
			t.Fatal(err)
		}
		s = s.With(read)
	}
	return s
}

func TestTargetsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	var got []Target
	if err := json.Unmarshal([]byte(`[{"volume":"v","task":"t","path":"p"},{"task":"t","there":true},{"volume":"v"}]`), &got); err != nil {
		t.Fatal(err)
	}
	var units []Unit
	for _, target := range got {
		units = append(units, target.Unit())
	}
	if d := cmp.Diff([]Unit{mountedAt("v", "t", "p").unit, UnitOfTask("t"), UnitOfVolume("v")}, units); d != "" || !got[1].There {
		t.Errorf("%+v (-want +got):\n%s", got, d)
	}
}
