package volume

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// furnished is an agent with a shared volume a/x and an exclusive a/y, of which task
// "old", with a lease, has claimed both and mounted a/y.
func furnished(t *testing.T) *node {
	t.Helper()
	w := newWorld(t.Fatalf)
	n := w.start()
	w.addStrangers()
	w.alive[7] = true
	for _, op := range ops(reserve(mib(50, "a")), create(shared(vol("x", 10, "a"))), create(vol("y", 10, "a")),
		Claim{Task: "old", Sandbox: "/s/old", Own: true, Lease: Lease{PID: 7}, Uses: []Use{{Volume: "a/x"}, {Volume: "a/y"}}},
		Attach{Task: "old", Use: Use{Volume: "a/y"}, Via: ByPath}) {
		if err := n.do(op); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// taking are batches that make something, so that a failure takes them back.
func taking() map[string][]Operation {
	lease := Lease{PID: 7, Cgroup: "/c/new"}
	return map[string][]Operation{
		"create":                         ops(create(vol("z", 5, "a"))),
		"create two":                     ops(create(vol("z", 5, "a")), create(vol("zz", 5, "a"))),
		"create and launch":              ops(create(vol("z", 5, "a")), launch("new", vol("z", 5, "a"))),
		"reserve, create and launch":     ops(reserve(mib(5, "b")), create(vol("z", 5, "b")), launch("new", vol("z", 5, "b"), shared(vol("x", 10, "a")))),
		"launch, two of them":            ops(launch("new", shared(vol("x", 10, "a"))), launch("newer", shared(vol("x", 10, "a")))),
		"re-reserve, resize and create":  ops(again(mib(5, "a"), mib(5, "b")), resize("a/x", 15), create(vol("z", 5, "b"))),
		"claim of a new task":            ops(Claim{Task: "new", Sandbox: "/s/new", Own: true, Lease: lease, Uses: []Use{{Volume: "a/x"}}}),
		"attach to a new task":           ops(Attach{Task: "new", Sandbox: "/s/new", Own: true, Use: Use{Volume: "a/x"}, Via: ByPath}),
		"attach to a task that is there": ops(Attach{Task: "old", Use: Use{Volume: "a/x", Path: "more", Mode: resource.RO}, Via: ByPath}),
		"attach of a claim":              ops(Attach{Task: "old", Use: Use{Volume: "a/x"}, Via: ByPath}),
		"attach of a claim, and of more": ops(Attach{Task: "old", Use: Use{Volume: "a/x"}, Via: ByPath}, Attach{Task: "old", Use: Use{Volume: "a/x", Path: "p"}, Via: ByPath}),
		"claim and attach": ops(Claim{Task: "new", Sandbox: "/s/new", Own: true, Lease: lease, Uses: []Use{{Volume: "a/x"}}},
			Attach{Task: "new", Use: Use{Volume: "a/x"}, Via: ByPath}, Attach{Task: "new", Use: Use{Volume: "a/x", Path: "q"}, Via: ByPath}),
	}
}

// giving are batches that remove something: a failure leaves them to be done later.
func giving() map[string][]Operation {
	return map[string][]Operation{
		"detach":            ops(Detach{Task: "old", Volume: "a/y"}),
		"detach of a claim": ops(Detach{Task: "old", Volume: "a/x"}),
		"release":           ops(Release{Task: "old", Ended: true}),
	}
}

// failAt does a batch of which the k-th step fails, before or after it was done; failed
// is false when there are fewer steps. What failed is tried again then.
func failAt(t *testing.T, n *node, k int, after bool, batch []Operation) (failed bool) {
	t.Helper()
	n.failIn, n.failAfter = k, after
	err := n.do(batch...)
	failed = n.failIn < 0
	if failed && err == nil {
		t.Errorf("a step failed and the operation did not")
	}
	n.failIn = -1
	n.sweep()
	if what := n.unquiet(); what != "" {
		t.Errorf("not quiet: %s", what)
	}
	if err := n.s.Check(); err != nil {
		t.Error(err)
	}
	return failed
}

func eachFailure(t *testing.T, batches map[string][]Operation, check func(t *testing.T, batch []Operation, k int, after bool) (failed bool)) {
	t.Helper()
	for name, batch := range batches {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, failing after the step was done %v", name, after), func(t *testing.T) {
				t.Parallel()
				k := 0
				for check(t, batch, k, after) {
					k++
				}
			})
		}
	}
}

func TestWhatFailsToBeMadeIsTakenBack(t *testing.T) {
	t.Parallel()
	eachFailure(t, taking(), func(t *testing.T, batch []Operation, k int, after bool) bool {
		n := furnished(t)
		state, world := records(t, n.s), n.text()
		failed := failAt(t, n, k, after, batch)
		if k == 0 && !failed {
			t.Error("no step could fail")
		}
		if !failed {
			return false
		}
		if d := cmp.Diff(state, records(t, n.s)); d != "" {
			t.Errorf("step %d: the state is not what it was (-before +after):\n%s", k, d)
		}
		if d := cmp.Diff(world, n.text()); d != "" {
			t.Errorf("step %d: the world is not what it was (-before +after):\n%s", k, d)
		}
		return true
	})
}

func TestWhatFailsToBeRemovedIsRemovedLater(t *testing.T) {
	t.Parallel()
	eachFailure(t, giving(), func(t *testing.T, batch []Operation, k int, after bool) bool {
		n, smooth := furnished(t), furnished(t)
		if err := smooth.do(batch...); err != nil {
			t.Fatal(err)
		}
		failed := failAt(t, n, k, after, batch)
		if d := cmp.Diff(records(t, smooth.s), records(t, n.s)); d != "" {
			t.Errorf("step %d: the state is not what it was to become (-want +got):\n%s", k, d)
		}
		if d := cmp.Diff(smooth.text(), n.text()); d != "" {
			t.Errorf("step %d: the world is not what it was to become (-want +got):\n%s", k, d)
		}
		return failed
	})
}

// Every step of a destroy may fail, and the space comes back once.
func TestADestroyThatFailsGivesItsSpaceBackOnce(t *testing.T) {
	t.Parallel()
	eachFailure(t, map[string][]Operation{"destroy": ops(Destroy{Ref: "a/z"})}, func(t *testing.T, batch []Operation, k int, after bool) bool {
		n := furnished(t)
		before := n.s.Free("", mib(1, "a").Reservations)
		if err := n.do(create(vol("z", 5, "a"))); err != nil {
			t.Fatal(err)
		}
		failed := failAt(t, n, k, after, batch)
		if got := n.s.Free("", mib(1, "a").Reservations); got != before {
			t.Errorf("step %d: %s is free, %s was", k, got, before)
		}
		return failed
	})
}

// A reservation has no steps that could fail, but it goes when a volume that was to be
// carved from it in the same batch can't be made: a batch is all or nothing.
func TestAReservationIsTakenBackWithItsVolume(t *testing.T) {
	t.Parallel()
	n := furnished(t)
	before := n.s.Free("", mib(1, "a").Reservations)
	failAt(t, n, 0, false, ops(reserve(mib(5, "a")), create(vol("z", 5, "a"))))
	if got := n.s.Free("", mib(1, "a").Reservations); got != before {
		t.Errorf("%s is free, want %s as before", got, before)
	}
}

// Meanwhile others go on: what came to a volume or a task since is not torn away, and
// what was given up since does not come back.
func TestUndoSeesWhatHappenedSince(t *testing.T) {
	t.Parallel()
	env := numbered()
	before := mustApply(t, machine(t), env, given(claim("old", Use{Volume: "v1"}))...)
	now := mustApply(t, before, env, create(vol("z", 1, "web")), attach("old", "v1", "", ""))
	touched := []Unit{UnitOfVolume("v4"), UnitOfVolume("v2"), {AttachmentUnit, "", "v1", "old", "s"}, UnitOfTask("old"), UnitOfDisk("")}
	for _, c := range []struct {
		name  string
		since []Operation
		want  string
	}{
		{name: "nothing", want: `
			- attachment v1 old s RW path
			- volume v4 web/z 1 on root ready
			+ attachment v1 old s RW claim
			+ volume v4 web/z 1 on root destroying`},
		{name: "the volume has a holder", since: ops(attach("new", "web/z", "", "")), want: `
			- attachment v1 old s RW path
			+ attachment v1 old s RW claim`},
		{name: "the volume was destroyed and the attachment detached", since: ops(Destroy{Ref: "web/z"}, detach("old", "v1"))},
		{name: "the task was released", since: ops(Release{Task: "old", Ended: true}), want: `
			- volume v4 web/z 1 on root ready
			+ volume v4 web/z 1 on root destroying`},
	} {
		since := mustApply(t, now, env, c.since...)
		got := difference(dump(since), dump(since.With(takingBack(before, since, nil, touched, errors.New("no"))...)))
		if d := cmp.Diff(linesOf(c.want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
	if changes := takingBack(before, before, nil, touched, errors.New("no")); len(changes) > 0 {
		t.Errorf("undoing nothing makes %+v", changes)
	}
}

// undone takes a batch back.
func takingBack(before, now *State, batch []Operation, touched []Unit, cause error) []Change {
	changes, _ := Undo(before, now, batch, touched, cause)
	return changes
}
