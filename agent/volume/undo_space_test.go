package volume

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// roomyDisk is role "a" with 50 MiB of a disk of 100, of which a/x has 10, 2 each are b's and c's.
func roomyDisk(t testing.TB) (*State, Env) {
	t.Helper()
	env := numbered()
	changes, err := Configure(Empty(), numberedAs("agent"), "boot-1", []Disk{rootDisk(100), wholeDisk(500)})
	if err != nil {
		t.Fatal(err)
	}
	return mustApply(t, Empty().With(changes...), env, reserve(mib(50, "a"), mib(2, "b"), mib(2, "c")), create(vol("x", 10, "a")),
		reserve(whole(mib(500, "m"))), create(whole(vol("m", 500, "m")))), env
}

// takenBack applies a batch, lets others do something, and undoes the batch.
func takenBack(t testing.TB, s *State, env Env, batch, since []Operation) *State {
	t.Helper()
	out, err := Apply(s, env, batch...)
	if err != nil {
		t.Fatal(err)
	}
	now := out.Next
	for _, op := range since {
		other, err := Apply(now, env, op)
		if err != nil {
			t.Fatalf("since: %v", err)
		}
		now = other.Next
	}
	s = now.With(takingBack(s, now, batch, out.Touched, errors.New("no luck"))...)
	if err := s.Check(); err != nil {
		t.Errorf("taken back: %v", err)
	}
	return s
}

// removedAll settles every tombstone, with nothing left of it.
func removedAll(t testing.TB, s *State) *State {
	t.Helper()
	for _, v := range slices.Collect(s.Tombstones()) {
		s = s.settledAs(v.UUID, SeenVolume{})
	}
	if err := s.Check(); err != nil {
		t.Errorf("when all is removed: %v", err)
	}
	return s
}

func TestUndoGivesBackSpaceThatNobodyElseHasComeToUse(t *testing.T) {
	t.Parallel()
	x := vol("x", 10, "a")
	fails := create(vol("z", 1, "b")) // whose steps fail, so that all of the batch is taken back
	list := func(rs ...resource.Resource) []resource.Resource { return rs }
	for _, c := range []struct {
		name  string
		batch []Operation
		since []Operation
		want  string // of what is different in the end
	}{
		{"reserve", ops(reserve(mib(5, "d")), fails), nil, ``},
		{"reserve, carved since", ops(reserve(mib(5, "d")), fails), ops(create(vol("o", 1, "d"))), `
			- free root 46
			+ free root 4 "DYNAMIC""d"
			+ free root 41
			+ volume v4 d/o 1 on root creating`},
		{"reserve, in several steps and with a source", ops(reserve(mib(5, "d"), mib(5, "d", "d/e")), again(mib(5, "d", "d/e"), mib(5, "f")), fails), nil, ``},
		{"reserve of two kinds, one used since", ops(reserve(mib(5, "d"), mib(5, "e")), fails), ops(create(vol("o", 5, "e"))), `
			- free root 46
			+ free root 41
			+ volume v4 e/o 5 on root creating`},
		{"reserve and create from it", ops(reserve(mib(5, "d")), create(vol("y", 5, "d"))), nil, ``},
		{"unreserve", ops(unreserve(mib(5, "a")), fails), nil, ``},
		{"unreserve, used since", ops(unreserve(mib(40, "a")), fails), ops(reserve(mib(60, "o"))), `
			- free root 40 "DYNAMIC""a"
			- free root 46
			+ free root 26
			+ free root 60 "DYNAMIC""o"`},
		{"grow", ops(grow(x, mib(5, "a")), fails), nil, ``},
		{"grow and grow and resize", ops(grow(x, mib(5, "a")), grow(vol("x", 15, "a"), mib(5, "a")), resize("a/x", 3), fails), nil, ``},
		{"grow, and others have made it larger since", ops(grow(x, mib(5, "a")), fails), ops(resize("a/x", 30)), `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 20 "DYNAMIC""a"
			+ volume v1 a/x 30 on root ready`},
		{"grow, and others have destroyed it since", ops(grow(x, mib(5, "a")), fails), ops(Destroy{Ref: "a/x"}), `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 50 "DYNAMIC""a"`},
		{"shrink", ops(shrink(x, 5), fails), nil, ``},
		{"shrink, and the space is used since", ops(resize("a/x", 1), fails), ops(create(vol("o", 45, "a"))), `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 4 "DYNAMIC""a"
			+ volume v1 a/x 1 on root ready
			+ volume v4 a/o 45 on root creating`},
		{"shrink, and create of the space", ops(resize("a/x", 1), create(vol("z", 49, "a"))), nil, ``},
		{"shrink, unreserve and create of the space as another's", ops(resize("a/x", 1), unreserve(mib(49, "a")), reserve(mib(95, "d")), create(vol("z", 95, "d"))), nil, ``},
		{"shrink in steps, and create", ops(resize("a/x", 5), resize("a/x", 1), create(vol("z", 49, "a"))), nil, ``},
		{"grow, shrink and create", ops(resize("a/x", 30), resize("a/x", 1), create(vol("z", 49, "a"))), nil, ``},
		{"shrink, grow and create", ops(resize("a/x", 1), resize("a/x", 8), create(vol("z", 42, "a"))), nil, ``},
		{"shrink, create, destroy and create", ops(resize("a/x", 1), create(vol("z", 48, "a")), create(vol("y", 1, "a")), Destroy{Ref: "a/y"}), nil, ``},
		{"shrink and create, and the volume is destroyed since", ops(resize("a/x", 1), create(vol("z", 49, "a"))), ops(Destroy{Ref: "a/x"}), `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 50 "DYNAMIC""a"`},
		{"shrink and create, and what was free is used since", ops(resize("a/x", 1), create(vol("z", 9, "a"))), ops(create(vol("o", 40, "a"))), `
			- free root 40 "DYNAMIC""a"
			+ volume v4 a/o 40 on root creating`},
		{"grow, and a task has come to hold it since", ops(resize("a/x", 30), fails), ops(Claim{Task: "t", Sandbox: "/s/t", Uses: []Use{{Volume: "a/x"}}}), `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ attachment v1 t x RW claim
			+ free root 20 "DYNAMIC""a"
			+ task t /s/t
			+ volume v1 a/x 30 on root ready`},
		{"grow of what the batch has launched with", ops(resize("a/x", 30), launch("t", vol("x", 30, "a")), fails), nil, `
			+ attachment v1 t x RW path gone
			+ task t /s/t own releasing`},
		{"shrink, unreserve and grow", ops(shrink(x, 9), unreserve(mib(49, "a")), reserve(mib(1, "a")), resize("v1", 2), fails), nil, ``},
		{"destroy goes on", ops(Destroy{Ref: "a/x"}, fails), nil, `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 50 "DYNAMIC""a"`},
		{"destroy goes on, what it gives back does not change", ops(Destroy{Ref: "a/x"}, unreserve(mib(50, "a")), fails), nil, `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 50 "DYNAMIC""a"`},
		{"nor where all else is taken meanwhile", ops(Destroy{Ref: "a/x"}, again(mib(50, "a"), mib(50, "d")), fails), ops(create(vol("o", 40, "d"))), `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 10 "DYNAMIC""d"
			+ volume v4 d/o 40 on root creating`},
		{"of a MOUNT disk, which goes as a whole", ops(Destroy{Ref: "m/m"}, unreserve(whole(mib(500, "m"))), fails), nil, `
			- volume v2 m/m 500 on MOUNT:/mnt/m ready
			+ free MOUNT:/mnt/m 500 "DYNAMIC""m"`},
		{"one and the same name, destroyed, made and grown", ops(Destroy{Ref: "a/x"}, create(vol("x", 5, "a")), grow(vol("x", 5, "a"), mib(5, "a")), fails), nil, `
			- free root 40 "DYNAMIC""a"
			- volume v1 a/x 10 on root ready
			+ free root 50 "DYNAMIC""a"`},
		{"two disks", ops(Reserve{Resources: list(mib(5, "d"), mib(6, "e"))}, Destroy{Ref: "v2"}, again(whole(mib(500, "m")), whole(mib(500, "n"))), fails), nil, `
			- volume v2 m/m 500 on MOUNT:/mnt/m ready
			+ free MOUNT:/mnt/m 500 "DYNAMIC""m"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, env := roomyDisk(t)
			after := removedAll(t, takenBack(t, s, env, c.batch, c.since))
			if d := cmp.Diff(linesOf(c.want), difference(dump(s), dump(after))); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// A tombstone may give back two parts to one reservation: what the batch has carved from it, and
// what it has taken from a volume that is gone by then.
func TestSpaceInTwoPartsComesBackToOneReservationWhole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first UUID // of which the removal ends first
		gone  []Operation
		want  int64 // MiB of the reservation in the end
	}{
		{"v1", ops(Destroy{Ref: "a/x"}), 50},
		{"v3", ops(Destroy{Ref: "a/x"}), 50},
		{"v1", ops(Destroy{Ref: "a/x"}, unreserve(mib(1, "a"))), 49},
		{"v3", ops(Destroy{Ref: "a/x"}, unreserve(mib(1, "a"))), 49},
	} {
		s, env := roomyDisk(t)
		now := takenBack(t, s, env, ops(resize("a/x", 1), create(vol("z", 49, "a"))), nil)
		if z, ok := now.Volume("v3"); !ok || len(z.Back) != 2 {
			t.Fatalf("what was carved goes back as %+v", z)
		}
		out, err := Apply(now, env, c.gone...)
		if err != nil {
			t.Fatal(err)
		}
		now = removedAll(t, out.Next.settledAs(c.first, SeenVolume{}))
		if got := now.Free("", mib(1, "a").Reservations); got != resource.Scalar(c.want)*resource.One {
			t.Errorf("when %s has gone first after %d operations, %s are free in the end, want %d", c.first, len(c.gone), got, c.want)
		}
	}
}

// What others have come to use since is not taken for what is still to come back.
func TestUndoTakesOfWhatIsFreeOnlyWhatTheBatchDoesNotGiveBack(t *testing.T) {
	t.Parallel()
	s, env := roomyDisk(t)
	s = mustApply(t, s, env, Unreserve{[]resource.Resource{mib(40, "a")}}) // 86 free, 10 in a/x
	for _, c := range []struct {
		name  string
		batch []Operation
		since Operation // makes space of role d that is its own
		free  resource.Resource
	}{
		{"reserve", ops(reserve(mib(20, "d")), create(vol("z", 20, "d"))), reserve(mib(20, "d")), mib(20, "d")},
		{"unreserve", ops(reserve(mib(20, "d"), mib(20, "d", "d/e")), unreserve(mib(20, "d", "d/e")), create(vol("z", 20, "d"))), reserve(mib(20, "d")), mib(20, "d")},
		{"shrink", ops(resize("a/x", 1), create(vol("z", 9, "a"))), reserve(mib(9, "a")), mib(9, "a")},
	} {
		after := takenBack(t, s, env, c.batch, ops(c.since))
		if free := after.Free("", c.free.Reservations); free != c.free.Scalar {
			t.Errorf("%s: of %s that others have reserved meanwhile, %s are free", c.name, c.free.Scalar, free)
		}
		after = removedAll(t, after)
		want := dump(mustApply(t, s, env, c.since))
		if d := cmp.Diff(want, dump(after)); d != "" {
			t.Errorf("%s: in the end (-as if only others had asked +got):\n%s", c.name, d)
		}
	}
}

func TestUndoSaysWhichVolumeKeepsItsSize(t *testing.T) {
	t.Parallel()
	fails := as("one", "CREATE", create(vol("z", 1, "b")))
	for _, c := range []struct {
		batch Operation
		since Operation
		want  string
	}{
		{resize("a/x", 30), Claim{Task: "t", Sandbox: "/s/t", Uses: []Use{{Volume: "a/x"}}}, "no luck; volume a/x keeps the 30 MiB that it was made larger to, as task t has come to hold it"},
		{resize("a/x", 1), create(vol("o", 45, "a")), "no luck; volume a/x keeps the 1 MiB that it was made smaller to, as others have come to use the space"},
		{resize("a/x", 1), reserve(mib(1, "o")), "no luck"},
	} {
		s, env := roomyDisk(t)
		batch := ops(c.batch, fails)
		out, err := Apply(s, env, batch...)
		if err != nil {
			t.Fatal(err)
		}
		now := mustApply(t, out.Next, env, c.since)
		cause := errors.New("no luck")
		changes, err := Undo(s, now, batch, out.Touched, cause)
		if !errors.Is(err, cause) || err.Error() != c.want {
			t.Errorf("told %q, want %q", err, c.want)
		}
		if o, _ := now.With(changes...).Operation("one"); o.Message != c.want {
			t.Errorf("kept is %q, want %q", o.Message, c.want)
		}
	}
}

func TestUndoEndsOperationsWithIDs(t *testing.T) {
	t.Parallel()
	one, two := as("one", "RESERVE", reserve(mib(5, "d"))), as("two", "CREATE", create(vol("y", 5, "d")))
	destroy := as("three", "DESTROY", Destroy{Ref: "v1"})
	detach := as("three", "DETACH", Detach{Task: "t", Volume: "v1"})
	held := ops(Claim{Task: "t", Sandbox: "/s/t", Uses: []Use{{Volume: "v1"}}})
	for _, c := range []struct {
		name      string
		given     []Operation
		batch     []Operation
		told      []told // before it fails
		at, after string // when it fails, and when all is removed
		space     string // what is different then
	}{
		{"all of the batch has failed", nil, ops(one, two), nil, "XX-", "XX-", ``},
		{"finished at once, and taken back", nil, ops(one, create(vol("y", 5, "d"))), nil, "X--", "X--", ``},
		{"what was done before the batch stays done", ops(one), ops(one, two), nil, "FX-", "FX-", ``},
		{"what removes goes on", nil, ops(destroy, one, two), nil, "XXP", "XXF", `- volume v1 a/x 10 on root ready`},
		{"what removes goes on, behind what fails", nil, ops(one, two, destroy), nil, "XXP", "XXF", `- volume v1 a/x 10 on root ready`},
		{"what was removed before the rest has failed", nil, ops(one, two, destroy), []told{removed("v1")}, "XXF", "XXF", `- volume v1 a/x 10 on root ready`},
		{"what was removed by the first before the rest has failed", nil, ops(destroy, one, two), []told{removed("v1")}, "XXF", "XXF", `- volume v1 a/x 10 on root ready`},
		{"a detach is no failure", held, ops(one, two, detach), nil, "XXF", "XXF", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, env := roomyDisk(t)
			s = mustApply(t, s, env, c.given...)
			out, err := Apply(s, env, c.batch...)
			if err != nil {
				t.Fatal(err)
			}
			now := out.Next
			for _, c := range c.told {
				now = now.With(Settle(now, c.unit, c.seen, second)...)
			}
			now = now.With(takingBack(s, now, c.batch, out.Touched, errors.New("no luck"))...)
			if got := statesOf(now); got != c.at {
				t.Errorf("when it fails they are %s, want %s", got, c.at)
			}
			for o := range now.Operations() {
				if o.State == OperationFailed && (o.Message != "no luck" || o.left() > 0 || o.With != "") {
					t.Errorf("%s failed as %+v", o.ID, o)
				}
			}
			now = removedAll(t, refoldRunning(t, now))
			if got := statesOf(now); got != c.after || len(now.atWork()) > 0 {
				t.Errorf("in the end they are %s, want %s", got, c.after)
			}
			var volumes []string
			for _, l := range difference(dump(s), dump(now)) {
				if strings.HasPrefix(l[2:], "volume ") {
					volumes = append(volumes, l)
				}
			}
			if d := cmp.Diff(linesOf(c.space), volumes); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// refoldRunning starts the agent of a state anew, in the same boot.
func refoldRunning(t testing.TB, s *State) *State {
	t.Helper()
	var disks []Disk
	for d := range s.Disks() {
		disks = append(disks, *d)
	}
	folded := refold(t, s)
	changes, err := Configure(folded, numberedAs("again"), s.Boot, disks)
	if err != nil {
		t.Fatal(err)
	}
	return folded.With(changes...)
}

// A launch that fails takes its volume back while it may be mounted already: the order is
// detach, then trash.
func TestAVolumeThatIsTakenBackGoesAfterItsMount(t *testing.T) {
	t.Parallel()
	s, env := roomyDisk(t)
	batch := ops(reserve(mib(5, "d")), create(vol("y", 5, "d")), launch("t", vol("y", 5, "d"), vol("x", 10, "a")))
	out, err := Apply(s, env, batch...)
	if err != nil {
		t.Fatal(err)
	}
	u := Unit{AttachmentUnit, "", "v3", "t", "y"}
	mounted := Seen{Attachment: SeenAttachment{Mounted: true}}
	now := out.Next.settledAs("v3", live)
	now = now.With(Settle(now, u, mounted, second)...)
	now = now.With(takingBack(s, now, batch, out.Touched, errors.New("no luck"))...)
	there := Seen{Volume: live}
	if steps := Plan(now, UnitOfVolume("v3"), there); len(steps) > 0 {
		t.Errorf("while it may be mounted, %v is to be done", steps)
	}
	if steps := Plan(now, u, mounted); len(steps) == 0 || steps[0].Kind != DoDetach {
		t.Errorf("its mount's plan is %v", steps)
	}
	now = now.With(Settle(now, u, Seen{}, second)...)
	if steps := Plan(now, UnitOfVolume("v3"), there); len(steps) != 2 || steps[0].Kind != Trash {
		t.Errorf("when it is detached, %v is to be done", steps)
	}
	if free := now.Free("", mib(1, "d").Reservations); free != 0 {
		t.Errorf("%s are free before the volume is removed", free)
	}
	x := Unit{AttachmentUnit, "", "v1", "t", "x"}
	now = now.With(Settle(now, x, Seen{}, second)...)
	now = removedAll(t, now.With(Settle(now, UnitOfTask("t"), Seen{}, second)...))
	if d := cmp.Diff(dump(s), dump(now)); d != "" {
		t.Errorf("left (-before +after):\n%s", d)
	}
}

// Whichever step of the removal fails, the volume goes, and its space is reserved as it was.
func TestAnUnreserveIsTakenBackWhenTheVolumeInItsPlaceIsNotRemoved(t *testing.T) {
	t.Parallel()
	batch := ops(Destroy{Ref: "a/z"}, unreserve(mib(5, "a")))
	eachFailure(t, map[string][]Operation{"destroy and unreserve": batch}, func(t *testing.T, batch []Operation, k int, after bool) bool {
		n := furnished(t)
		want := n.s.Free("", mib(1, "a").Reservations)
		if err := n.do(create(vol("z", 5, "a"))); err != nil {
			t.Fatal(err)
		}
		failed := failAt(t, n, k, after, batch)
		if !failed {
			want -= 5 * resource.One
		}
		if got := n.s.Free("", mib(1, "a").Reservations); got != want {
			t.Errorf("step %d: %s is free, want %s", k, got, want)
		}
		return failed
	})
}
