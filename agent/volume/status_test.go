package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// as gives operations an id.
func as(id, kind string, list ...Operation) Identified {
	return Identified{ID: id, Type: kind, Digest: fmt.Sprintf("%s %+v", kind, list), Principal: "ops", Operations: list}
}

// gone is a state in which a volume has settled with nothing left of it.
func (s *State) settledAs(id UUID, seen SeenVolume) *State {
	return s.With(Settle(s, UnitOfVolume(id), Seen{Volume: seen}, second)...)
}

// live is what is seen of a volume that is made.
var live = SeenVolume{Live: true, Data: true, Durable: true}

func TestAnOperationWithAnIDIsRecordedWithWhatItChanges(t *testing.T) {
	t.Parallel()
	one := as("one", "RESERVE", reserve(mib(10, "web")))
	x := create(vol("x", 10, "web"))
	for _, c := range []accepted{
		{name: "finished at once", ops: ops(one), want: `
			- free root 4096
			+ free root 10 "DYNAMIC""web"
			+ free root 4086
			+ operation one RESERVE OPERATION_FINISHED`},
		{name: "pending until the volume is made", given: ops(reserve(mib(10, "web"))), ops: ops(as("one", "CREATE", x)), want: `
			- free root 10 "DYNAMIC""web"
			+ operation one CREATE OPERATION_PENDING making [v1]
			+ volume v1 web/x 10 on root creating
			touch volume v1`},
		{name: "those of a batch end together", ops: ops(one, as("two", "CREATE", x), as("three", "LAUNCH", launch("t", vol("x", 10, "web")))), want: `
			- free root 4096
			+ attachment v1 t x RW path
			+ free root 4086
			+ operation one RESERVE OPERATION_PENDING making [v1]
			+ operation three LAUNCH OPERATION_PENDING with one attaching task t attaching volume v1 in task t at x
			+ operation two CREATE OPERATION_PENDING with one
			+ task t /s/t own
			+ volume v1 web/x 10 on root creating
			touch volume v1
			touch task t
			touch volume v1 in task t at x`},
		{name: "pending until all is removed", given: roomy(), ops: ops(as("one", "DESTROY", Destroy{Ref: "v1"}, Destroy{Ref: "v2"}), as("two", "UNRESERVE", unreserve(mib(100, "web")))), want: `
			- free root 3996
			- free root 60 "DYNAMIC""web"
			- volume v1 web/s 20 on root ready shared
			- volume v2 web/x 20 on root ready
			+ free root 4056
			+ operation one DESTROY OPERATION_PENDING removing [v1 v2]
			+ operation two UNRESERVE OPERATION_PENDING with one
			+ volume v1 web/s 20 on root destroying shared back 20 []
			+ volume v2 web/x 20 on root destroying back 20 []
			touch volume v1
			touch volume v2`},
		{name: "what is made and destroyed is to be removed", given: ops(reserve(mib(10, "web"))), ops: ops(as("one", "CREATE", x), as("two", "DESTROY", Destroy{Ref: "web/x"})), want: `
			- free root 10 "DYNAMIC""web"
			+ operation one CREATE OPERATION_PENDING removing [v1]
			+ operation two DESTROY OPERATION_PENDING with one
			+ volume v1 web/x 10 on root destroying
			touch volume v1`},
		{name: "what was destroyed before, and is not removed yet", given: roomy(Destroy{Ref: "v1"}), ops: ops(as("one", "DESTROY", Destroy{Ref: "v1"})), want: `
			+ operation one DESTROY OPERATION_PENDING removing [v1]
			touch volume v1`},
		{name: "a launch that was recorded before, and may not be mounted", given: roomy(launch("t", vol("x", 20, "web"))), ops: ops(as("one", "LAUNCH", launch("t", vol("x", 20, "web")))), want: `
			+ operation one LAUNCH OPERATION_PENDING attaching task t (there) attaching volume v2 in task t at x (there)
			touch task t
			touch volume v2 in task t at x`},
		{name: "again, when it is finished", given: ops(one), ops: ops(one)},
		{name: "again, and nothing else is held up", given: ops(one), ops: ops(one, reserve(mib(1, "db"))), want: `
			- free root 4086
			+ free root 1 "DYNAMIC""db"
			+ free root 4085`},
		{name: "again, when it is at work, is waited for", given: ops(reserve(mib(10, "web")), as("one", "CREATE", x)), ops: ops(as("one", "CREATE", x)), want: `touch volume v1`},
		{name: "again, when it ends with another", given: ops(reserve(mib(11, "web"))), edit: func(s *State) *State {
			out, err := Apply(s, numberedAs("u"), as("one", "CREATE", x), as("two", "CREATE", create(vol("y", 1, "web"))))
			if err != nil {
				panic(err)
			}
			return out.Next
		}, ops: ops(as("two", "CREATE", create(vol("y", 1, "web")))), want: `
			touch volume u1
			touch volume u2`},
		{name: "what one asks for again is not waited for by another", given: ops(reserve(mib(10, "web")), as("one", "CREATE", x)), ops: ops(as("one", "CREATE", x), as("two", "RESERVE", reserve(mib(1, "db")))), want: `
			- free root 4086
			+ free root 1 "DYNAMIC""db"
			+ free root 4085
			+ operation two RESERVE OPERATION_FINISHED
			touch volume v1`},
		{name: "acknowledged", given: ops(one), ops: ops(Acknowledge{"one"}), want: `
			- operation one RESERVE OPERATION_FINISHED
			+ operation one RESERVE OPERATION_FINISHED acknowledged`},
		{name: "acknowledged twice", given: ops(one, Acknowledge{"one"}), ops: ops(Acknowledge{"one"})},
	} {
		t.Run(c.name, c.run)
	}
}

// failing is a state in which operation "one" has failed.
func failing(s *State) *State {
	env := numberedAs("f")
	out, err := Apply(s, env, reserve(mib(10, "web")), as("one", "CREATE", create(vol("x", 10, "web"))))
	if err != nil {
		panic(err)
	}
	batch := ops(reserve(mib(10, "web")), as("one", "CREATE", create(vol("x", 10, "web"))))
	n := out.Next.With(takingBack(s, out.Next, batch, out.Touched, errors.New("the disk is on fire"))...)
	return n.settledAs("f1", SeenVolume{})
}

func TestOperationsWithIDsAreRefused(t *testing.T) {
	t.Parallel()
	one := as("one", "RESERVE", reserve(mib(10, "web")))
	for _, c := range []refused{
		{name: "no id", ops: ops(as("", "RESERVE", reserve(mib(1, "web")))), kind: ErrInvalid, words: "operation id"},
		{name: "an id that is none", ops: ops(as("a/b", "RESERVE", reserve(mib(1, "web")))), kind: ErrInvalid, words: "operation id"},
		{name: "twice in one batch", ops: ops(one, one), kind: ErrInvalid, words: `operation id "one" occurs twice in the batch`},
		{name: "twice in one batch, for something else", ops: ops(one, as("one", "RESERVE", reserve(mib(2, "web")))), kind: ErrInvalid, words: "occurs twice"},
		{name: "a group in a group", ops: ops(as("two", "RESERVE", one)), kind: ErrInvalid, words: "another group"},
		{name: "used for something else", given: ops(one), ops: ops(as("one", "RESERVE", reserve(mib(11, "web")))), kind: ErrExists, words: `operation id "one" was used at 2026-01-02T03:04:05Z for another RESERVE`},
		{name: "used by somebody else", given: ops(by("dev", one)), ops: ops(one), kind: ErrExists, words: `operation id "one" was used by somebody else; use another one`},
		{name: "used by nobody that is known", given: ops(by("", one)), ops: ops(one), kind: ErrExists, words: "was used by somebody else"},
		{name: "used by somebody, and now by nobody that is known", given: ops(one), ops: ops(by("", one)), kind: ErrExists, words: "was used by somebody else"},
		{name: "used by somebody else, for something else", given: ops(by("dev", one)), ops: ops(as("one", "CREATE", create(vol("x", 1, "web")))), kind: ErrExists, words: "was used by somebody else"},
		{name: "failed, of somebody else", edit: failing, ops: ops(by("dev", as("one", "CREATE", create(vol("x", 10, "web"))))), kind: ErrExists, words: "was used by somebody else"},
		{name: "failed", edit: failing, ops: ops(as("one", "CREATE", create(vol("x", 10, "web")))), kind: ErrFailed, words: `operation "one" has failed: the disk is on fire`},
		{name: "failed, and now something else", edit: failing, ops: ops(one), kind: ErrExists, words: "for another CREATE"},
		{name: "what its operations are refused for", ops: ops(as("one", "RESERVE", reserve(mib(5000, "web")))), kind: ErrInsufficient, words: "does not contain"},
		{name: "behind one that is fine", ops: ops(one, as("two", "RESERVE", reserve(mib(5000, "web")))), kind: ErrInsufficient, words: "does not contain"},
		{name: "acknowledge of nothing", ops: ops(Acknowledge{"one"}), kind: ErrNotFound, words: `there is no operation "one"`},
		{name: "acknowledge of what is new in the batch", ops: ops(one, Acknowledge{"one"}), kind: ErrNotFound, words: `there is no operation "one"`},
		{name: "acknowledge of what is at work", given: ops(reserve(mib(10, "web")), as("one", "CREATE", create(vol("x", 10, "web")))), ops: ops(Acknowledge{"one"}), kind: ErrPending, words: "is at work"},
	} {
		t.Run(c.name, c.run)
	}
}

// by gives an operation to another principal.
func by(principal string, o Identified) Identified { o.Principal = principal; return o }

// Who may not do what was done under an id any more is told nothing of it.
func TestLeaveIsAskedForAgainBeforeAnythingIsToldOfAnOperation(t *testing.T) {
	t.Parallel()
	x := create(vol("x", 10, "web"))
	finished := mustApply(t, machine(t), numbered(), as("one", "CREATE", reserve(mib(10, "web")), x))
	for name, s := range map[string]*State{"finished": finished, "failed": failing(machine(t))} {
		list := ops(reserve(mib(10, "web")), x)
		if name == "failed" {
			list = ops(x)
		}
		var asked []string
		var met []*State
		env := numbered()
		env.Allow = func(s *State, op Operation) error {
			asked, met = append(asked, op.Name()), append(met, s)
			if op.Name() == "create" {
				return refuse(ErrForbidden, "not any more")
			}
			return nil
		}
		before := dump(s)
		_, err := Apply(s, env, as("one", "CREATE", list...))
		if !errors.Is(err, ErrForbidden) || len(asked) != len(list) {
			t.Errorf("%s: asked about %v, told %v", name, asked, err)
		}
		for _, m := range met {
			if d := cmp.Diff(before, dump(m)); d != "" {
				t.Errorf("%s: asked of another state than there is:\n%s", name, d)
			}
		}
		env.Allow = func(*State, Operation) error { return nil }
		if _, err := Apply(s, env, as("one", "CREATE", list...)); (err == nil) != (name == "finished") {
			t.Errorf("%s, and allowed: %v", name, err)
		}
	}
}

// numberedIDs are n operations with ids that are finished at once, apart in time.
func numberedIDs(from, n int) (list []Operation) {
	for i := range n {
		list = append(list, as(fmt.Sprintf("id%05d", from+i), "RESERVE", reserve(mib(0.001, "web"))))
	}
	return list
}

func TestTheLastOperationsAreKept(t *testing.T) {
	t.Parallel()
	s, env := machine(t), numbered()
	for i := range 13 {
		out, err := Apply(s, env, numberedIDs(100*i, 100)...)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(dump(out.Next), dump(s.With(out.Changes...))); d != "" {
			t.Fatalf("the changes do not make the next state:\n%s", d)
		}
		s, env.Now = out.Next, env.Now.Add(1)
	}
	var kept []string
	for o := range s.Operations() {
		kept = append(kept, o.ID)
	}
	if len(kept) != MaxOperations || kept[0] != "id00300" || kept[len(kept)-1] != "id01299" {
		t.Errorf("%d are kept, from %s to %s", len(kept), kept[0], kept[len(kept)-1])
	}
	if _, err := Apply(s, env, numberedIDs(5000, MaxOperations+1)...); !errors.Is(err, ErrInvalid) {
		t.Errorf("more in one batch than are kept: %v, want invalid", err)
	}
	if out, err := Apply(s, env, numberedIDs(5000, MaxOperations)...); err != nil || out.Next.operations.Len() != MaxOperations {
		t.Errorf("as many as are kept: %v", err)
	}
	if d := cmp.Diff(records(t, s), records(t, refold(t, s))); d != "" {
		t.Errorf("after a restart (-before +after):\n%s", d)
	}
}

// crowded is a state with as many operations at work as there may be, each of its own batch:
// operation idNNNNN makes volume vN.
func crowded(tb testing.TB, n int) *State {
	tb.Helper()
	env := numbered()
	s := mustApply(tb, machine(tb), env, reserve(mib(100, "web")))
	for i := range n {
		out, err := Apply(s, env, as(fmt.Sprintf("id%05d", i), "CREATE", create(vol(fmt.Sprint("x", i), 0.01, "web"))))
		if err != nil {
			tb.Fatal(err)
		}
		s, env.Now = out.Next, env.Now.Add(1)
	}
	return s
}

func TestOperationsAtWorkAreNotForgotten(t *testing.T) {
	t.Parallel()
	s, env := crowded(t, MaxOperations), numberedAs("w")
	next := as("next", "RESERVE", reserve(mib(1, "db")))
	if _, err := Apply(s, env, next); !errors.Is(err, ErrPending) || !strings.Contains(err.Error(), "1000 operations with ids are at work") {
		t.Fatalf("with all at work: %v, want pending", err)
	}
	if _, err := Apply(s, env, reserve(mib(1, "db"))); err != nil {
		t.Errorf("without an id: %v", err)
	}
	s = s.settledAs("v501", live) // of id00500, neither the oldest nor the newest
	out, err := Apply(s, env, next)
	if err != nil {
		t.Fatalf("when one is done: %v", err)
	}
	if _, there := out.Next.Operation("id00500"); there || out.Next.operations.Len() != MaxOperations {
		t.Errorf("the one that was done is kept: %v, of %d", there, out.Next.operations.Len())
	}
	if _, err := Apply(out.Next, env, as("one-more", "CREATE", create(vol("y", 1, "web"))), as("two-more", "CREATE", create(vol("z", 1, "web")))); !errors.Is(err, ErrPending) {
		t.Errorf("with room for one: %v, want pending", err)
	}
}

// ending tells how operations end when units settle one after another.
type told struct {
	unit Unit
	seen Seen
	want string // states of one, two, three: P, F or X for failed
}

func statesOf(s *State) string {
	text := ""
	for _, id := range []string{"one", "two", "three"} {
		switch o, ok := s.Operation(id); {
		case !ok:
			text += "-"
		case o.State == OperationPending:
			text += "P"
		case o.State == OperationFinished:
			text += "F"
		default:
			text += "X"
		}
	}
	return text
}

func made(id UUID) told { return told{unit: UnitOfVolume(id), seen: Seen{Volume: live}} }
func notYet(id UUID) told {
	return told{unit: UnitOfVolume(id), seen: Seen{Volume: SeenVolume{Incoming: true}}}
}
func sandboxOf(task string) told {
	return told{unit: UnitOfTask(task), seen: Seen{Task: SeenTask{Sandbox: true}}}
}
func removed(id UUID) told      { return told{unit: UnitOfVolume(id)} }
func (c told) so(w string) told { c.want = w; return c }
func mountedAt(id UUID, task, path string) told {
	return told{unit: Unit{AttachmentUnit, "", id, task, path}, seen: Seen{Attachment: SeenAttachment{Mounted: true}}}
}

func TestOperationsEndWhenAllThatTheirBatchIsToDoIsDone(t *testing.T) {
	t.Parallel()
	y, z := create(vol("y", 1, "web")), create(vol("z", 1, "web"))
	out := func(ids ...Operation) []Operation { return ids }
	for _, c := range []struct {
		name  string
		batch []Operation
		then  []told
	}{
		{"two volumes", out(as("one", "CREATE", y), as("two", "CREATE", z)), []told{notYet("v3").so("PP-"), made("v3").so("PP-"), made("v4").so("FF-")}},
		{"two volumes, the last first", out(as("one", "CREATE", y), as("two", "CREATE", z)), []told{made("v4").so("PP-"), made("v3").so("FF-")}},
		{"one made, then one removed", out(as("one", "CREATE", y), as("two", "DESTROY", Destroy{Ref: "v1"})), []told{made("v3").so("PP-"), removed("v1").so("FF-")}},
		{"one removed, then one made", out(as("one", "CREATE", y), as("two", "DESTROY", Destroy{Ref: "v1"})), []told{removed("v1").so("PP-"), made("v3").so("FF-")}},
		{"made, mounted, removed", out(as("one", "CREATE", y), as("two", "LAUNCH", launch("t", vol("y", 1, "web"), vol("x", 20, "web"))), as("three", "DESTROY", Destroy{Ref: "v1"})),
			[]told{mountedAt("v2", "t", "x").so("PPP"), made("v3").so("PPP"), sandboxOf("t").so("PPP"), mountedAt("v3", "t", "y").so("PPP"), removed("v1").so("FFF")}},
		{"mounted last", out(as("one", "CREATE", y), as("two", "LAUNCH", launch("t", vol("y", 1, "web"), vol("x", 20, "web"))), as("three", "DESTROY", Destroy{Ref: "v1"})),
			[]told{removed("v1").so("PPP"), sandboxOf("t").so("PPP"), mountedAt("v2", "t", "x").so("PPP"), made("v3").so("PPP"), mountedAt("v3", "t", "y").so("FFF")}},
		{"a sandbox last", out(as("one", "RESERVE", reserve(mib(1, "db"))), as("two", "LAUNCH", launch("t"))),
			[]told{{unit: UnitOfTask("t"), want: "PP-"}, sandboxOf("t").so("FF-")}},
		{"a size that the file system is to hold", out(as("one", "GROW_VOLUME", resize("v2", 30)), as("two", "CREATE", y)),
			[]told{made("v3").so("PP-"), {unit: UnitOfVolume("v2"), seen: Seen{Volume: SeenVolume{Live: true, Data: true, Unlimited: true}}, want: "PP-"},
				{unit: UnitOfVolume("v2"), seen: Seen{Volume: SeenVolume{Unavailable: "away"}}, want: "PP-"}, made("v2").so("FF-")}},
		{"what has no id", out(as("one", "RESERVE", reserve(mib(1, "db"))), launch("t", vol("x", 20, "web"))),
			[]told{mountedAt("v2", "t", "x").so("P--"), sandboxOf("t").so("F--")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := numbered()
			s := mustApply(t, machine(t), env, roomy()...)
			o, err := Apply(s, env, c.batch...)
			if err != nil {
				t.Fatal(err)
			}
			s, kept := o.Next, o.Next
			for i, c := range c.then {
				var stored []Change
				for _, change := range Settle(s, c.unit, c.seen, second) {
					s = s.With(change)
					if change.Stored() {
						stored = append(stored, change)
					}
				}
				if got := statesOf(s); got != c.want {
					t.Errorf("%d, %s: the operations are %s, want %s", i, c.unit, got, c.want)
				}
				// An agent that started anew on what was stored comes to the same.
				kept = kept.With(stored...)
				if got := statesOf(kept); got != c.want {
					t.Errorf("%d, %s: stored are %s, want %s", i, c.unit, got, c.want)
				}
			}
			if n := len(s.atWork()); n > 0 || strings.Contains(strings.Join(dump(s), "\n"), " with ") {
				t.Errorf("%d are at work:\n%s", n, strings.Join(dump(s), "\n"))
			}
		})
	}
}

// A launch whose volume is still being made may be taken back by whoever has asked for it:
// the mount is not made, and the launch has failed; the volume is made, and that has finished.
func TestALaunchThatIsReleasedBeforeItIsMountedHasFailed(t *testing.T) {
	t.Parallel()
	for _, end := range ops(Release{Task: "t"}, Detach{Task: "t", Volume: "web/y"}, Release{Task: "t", Lazy: true}) {
		env := numbered()
		s := mustApply(t, machine(t), env, roomy()...)
		out, err := Apply(s, env, as("one", "CREATE", create(vol("y", 1, "web"))), as("two", "LAUNCH", launch("t", vol("y", 1, "web"))))
		if err != nil {
			t.Fatal(err)
		}
		if out, err = Apply(out.Next, env, end); err != nil {
			t.Fatal(err)
		}
		s = out.Next
		u := Unit{AttachmentUnit, "", "v3", "t", "y"}
		if steps := Plan(s, u, Seen{}); len(steps) > 0 {
			t.Errorf("%s: nothing is mounted, and %v is to be done", end.Name(), steps)
		}
		s = s.With(Settle(s, u, Seen{}, second)...)
		if got := statesOf(s); got != "PX-" {
			t.Errorf("%s: the operations are %s", end.Name(), got)
		}
		if o, _ := s.Operation("two"); o.Message != "a volume was detached before it was mounted" {
			t.Errorf("%s: failed with %q", end.Name(), o.Message)
		}
		s = s.With(Settle(s, UnitOfTask("t"), Seen{}, second)...).settledAs("v3", live)
		if v, ok := s.Volume("v3"); !ok || v.Phase != Ready || s.CountTasks()+s.CountAttachments() != 0 || statesOf(s) != "FX-" {
			t.Errorf("%s: left\n%s", end.Name(), strings.Join(dump(s), "\n"))
		}
	}
}

// As if the DESTROY had come a moment later.
func TestACreateWhoseVolumeIsDestroyedMeanwhileHasFinished(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, roomy()...)
	batch := ops(as("one", "CREATE", create(vol("y", 1, "web"))), as("two", "CREATE", create(vol("z", 1, "web"))))
	out, err := Apply(s, env, batch...)
	if err != nil {
		t.Fatal(err)
	}
	if out, err = Apply(out.Next, env, as("three", "DESTROY", Destroy{Ref: "web/y"})); err != nil {
		t.Fatal(err)
	}
	s = out.Next.settledAs("v4", live)
	if got := statesOf(s); got != "FFP" {
		t.Errorf("with one tombstone the operations are %s", got)
	}
	if s = s.settledAs("v3", SeenVolume{}); statesOf(s) != "FFF" {
		t.Errorf("in the end the operations are %s", statesOf(s))
	}
}

// A reboot voids the attachments, so nobody will ever see them mounted: what was to launch
// has failed, and the rest of its batch goes on.
func TestAfterARebootNoOperationIsPendingForEver(t *testing.T) {
	t.Parallel()
	y := vol("y", 1, "web")
	one, two := as("one", "CREATE", create(y)), as("two", "LAUNCH", launch("t", y, vol("x", 20, "web")))
	three := as("three", "DESTROY", Destroy{Ref: "v1"})
	for _, c := range []struct {
		name              string
		batch             []Operation
		before, at, after string
		told              []told
	}{
		{"a launch alone", ops(as("two", "LAUNCH", launch("t", vol("x", 20, "web")))), "-P-", "-X-", "-X-", nil},
		{"the volume is made, and not mounted", ops(one, two), "PP-", "FX-", "FX-", []told{made("v3")}},
		{"the launch comes first", ops(as("two", "LAUNCH", launch("t", vol("x", 20, "web"))), one, three), "PPP", "PXP", "FXF", nil},
		{"nothing is done yet", ops(one, two, three), "PPP", "PXP", "FXF", nil},
		{"something is removed", ops(three, one, two), "PPP", "PXP", "FXF", []told{removed("v1")}},
		{"one of two is mounted", ops(one, two), "PP-", "FX-", "FX-", []told{made("v3"), mountedAt("v2", "t", "x")}},
		{"nothing is launched", ops(one, three), "P-P", "P-P", "F-F", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := numbered()
			s := mustApply(t, machine(t), env, roomy()...)
			out, err := Apply(s, env, c.batch...)
			if err != nil {
				t.Fatal(err)
			}
			s = out.Next
			for _, c := range c.told {
				s = s.With(Settle(s, c.unit, c.seen, second)...)
			}
			if got := statesOf(s); got != c.before {
				t.Fatalf("before it, they are %s, want %s", got, c.before)
			}
			s = configured(t, refold(t, s), "boot-2", rootDisk(4096), otherDisk(1000))
			if got := statesOf(s); got != c.at {
				t.Errorf("at the start they are %s, want %s", got, c.at)
			}
			for _, u := range slices.Collect(s.Units()) {
				seen := Seen{Volume: live}
				if v, ok := s.Volume(u.Volume); ok && v.Phase == Destroying {
					seen = Seen{}
				}
				s = s.With(Settle(s, u, seen, second)...)
			}
			if got := statesOf(s); got != c.after || len(s.atWork()) > 0 {
				t.Errorf("in the end they are %s, want %s", got, c.after)
			}
		})
	}
}

// In the same boot an attachment goes unseen only when it was mounted: what is not stored
// of a launch's progress is made good.
func TestARestartFindsWhatWasMountedAndDetachedSince(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, roomy()...)
	out, err := Apply(s, env, as("one", "LAUNCH", launch("t", shared(vol("s", 20, "web")), vol("x", 20, "web"))))
	if err != nil {
		t.Fatal(err)
	}
	at := mountedAt("v1", "t", "s")
	s = out.Next.With(Settle(out.Next, at.unit, at.seen, second)...)
	s = s.With(Change{Drop: &Drop{Volume: "v1", Task: "t", Path: "s"}})
	s = s.With(Settle(s, UnitOfTask("t"), sandboxOf("t").seen, second)...)
	for what, s := range map[string]*State{"running": s, "started anew": configured(t, refold(t, s), "boot-1", rootDisk(4096), otherDisk(1000))} {
		other := mountedAt("v2", "t", "x")
		s = s.With(Settle(s, UnitOfTask("t"), sandboxOf("t").seen, second)...)
		if s = s.With(Settle(s, other.unit, other.seen, second)...); statesOf(s) != "F--" {
			t.Errorf("%s: the operation is %s", what, statesOf(s))
		}
	}
}

func TestAllowIsAskedWithTheStateThatEachOperationMeets(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, roomy()...)
	var asked []string
	env.Allow = func(now *State, op Operation) error {
		asked = append(asked, fmt.Sprintf("%s at %s free", op.Name(), now.Free("", mib(1, "web").Reservations)))
		return nil
	}
	_, err := Apply(s, env, reserve(mib(1, "web")), as("one", "CREATE", create(vol("y", 2, "web")), create(vol("z", 3, "web"))), Destroy{Ref: "v1"})
	want := []string{"reserve at 60 free", "create at 61 free", "create at 59 free", "destroy at 56 free"}
	if d := cmp.Diff(want, asked); d != "" || err != nil {
		t.Errorf("%v (-want +asked):\n%s", err, d)
	}
	env.Allow = func(now *State, op Operation) error {
		if op.Name() == "destroy" {
			return refuse(ErrForbidden, "not you")
		}
		return nil
	}
	if out, err := Apply(s, env, reserve(mib(1, "web")), as("one", "DESTROY", Destroy{Ref: "v1"})); !errors.Is(err, ErrForbidden) || out.Next != nil {
		t.Errorf("a batch of which the last is forbidden: %v", err)
	}
}

func TestABatchHasABoundedNumberOfOperations(t *testing.T) {
	t.Parallel()
	r := reserve(mib(0.001, "web"))
	most := slices.Repeat(ops(r), MaxBatch-1)
	if _, err := Apply(machine(t), numbered(), as("one", "RESERVE", most...)); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
	if _, err := Apply(machine(t), numbered(), as("one", "RESERVE", append(most, r)...)); !errors.Is(err, ErrInvalid) {
		t.Errorf("one more: %v, want invalid", err)
	}
}

// Of many attachments of one operation, each costs no record.
func TestALaunchOfManyVolumesIsRecordedTwice(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, reserve(mib(100, "web")))
	var rs []resource.Resource
	for i := range 100 {
		r := vol(fmt.Sprint("p", i), 1, "web")
		rs, s = append(rs, r), mustApply(t, s, env, create(r))
	}
	out, err := Apply(s, env, as("one", "LAUNCH", launch("t", rs...)))
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	s = out.Next.With(Settle(out.Next, UnitOfTask("t"), sandboxOf("t").seen, second)...)
	for i := range 100 {
		at := mountedAt(UUID(fmt.Sprint("v", i+1)), "t", fmt.Sprint("p", i))
		changes := Settle(s, at.unit, at.seen, second)
		for _, c := range changes {
			if c.Stored() {
				stored++
			}
		}
		s = s.With(changes...)
	}
	if stored != 1 || statesOf(s) != "F--" {
		t.Errorf("%d records more, and the operation is %s", stored, statesOf(s))
	}
}

// However many operations were acknowledged, there is room for one more, and none that
// whoever asked does not know the end of yet is forgotten for it.
func TestAcknowledgedOperationsMakeRoomFirst(t *testing.T) {
	t.Parallel()
	s, env := machine(t), numbered()
	known := func(id string) bool { _, is := s.Operation(id); return is }
	one := func(id string) Identified {
		return Identified{ID: id, Type: "RESERVE", Digest: id, Operations: ops(reserve(mib(0.001, "a")))}
	}
	s = mustApply(t, s, env, one("untold"))
	for i := range MaxOperations + 100 {
		id := fmt.Sprint("told-", i)
		s = mustApply(t, s, env, one(id))
		s = mustApply(t, s, env, Acknowledge{ID: id})
	}
	if !known("untold") || known("told-0") || !known(fmt.Sprint("told-", MaxOperations+99)) {
		t.Errorf("known: untold %v, the first told %v", known("untold"), known("told-0"))
	}
	if n := s.operations.Len(); n != MaxOperations {
		t.Errorf("%d are kept, want %d", n, MaxOperations)
	}
}
