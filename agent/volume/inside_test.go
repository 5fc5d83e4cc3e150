package volume

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// hotAttach is one to process 7, of a task that has no sandbox unless it is there.
func hotAttach(task, ref, path string) Attach {
	return Attach{Task: task, Use: Use{Volume: ref, Path: path}, Via: ByNamespace, In: Process{7, 9}}
}

func TestAProcessIsAllThatATaskNeeds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		given []Operation
		ops   []Operation
		want  string
	}{
		{"a new task", given(), ops(hotAttach("t", "v1", "/mnt/x")), `
			+ attachment v1 t /mnt/x RW namespace
			+ task t  lease 7@9`},
		{"two of them", given(hotAttach("t", "v1", "/mnt/x")), ops(hotAttach("u", "v1", "/mnt/x")), `
			+ attachment v1 u /mnt/x RW namespace
			+ task u  lease 7@9`},
		{"once more", given(hotAttach("t", "v1", "/mnt/x")), ops(hotAttach("t", "v1", "/mnt/x")), ""},
		{"beneath a sandbox", given(claim("t")), ops(hotAttach("t", "v1", "in")), `
			+ attachment v1 t in RW namespace`},
		{"a claim is raised", given(claim("t", Use{Volume: "v1"})), ops(hotAttach("t", "v1", "")), `
			- attachment v1 t s RW claim
			+ attachment v1 t s RW namespace`},
		{"its last volume goes", given(hotAttach("t", "v1", "/mnt/x")), ops(detach("t", "v1")), `
			- attachment v1 t /mnt/x RW namespace
			- task t  lease 7@9
			+ attachment v1 t /mnt/x RW namespace gone
			+ task t  lease 7@9 releasing`},
		{"what was handed over becomes the agent's, read-only", given(byDescriptor(attach("t", "v1", "", ""))),
			ops(SetMode{Task: "t", Volume: "v1", Mode: resource.RO, In: Process{7, 9}}), `
			- attachment v1 t s RW descriptor
			+ attachment v1 t s RO namespace`},
		{"what was handed over is detached", given(byDescriptor(attach("t", "v1", "a", "")), attach("u", "v1", "", "")),
			ops(Detach{Task: "t", Volume: "v1", In: Process{7, 9}}), `
			- attachment v1 t a RW descriptor
			- task t /s/t
			+ attachment v1 t a RW namespace gone
			+ task t /s/t releasing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mustApply(t, machine(t), numbered(), c.given...)
			out, err := Apply(s, numbered(), c.ops...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(linesOf(c.want), difference(dump(s), dump(out.Next))); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if again := refold(t, out.Next); !cmp.Equal(records(t, again), records(t, out.Next)) {
				t.Error("the journal does not bring it back")
			}
		})
	}
}

func TestAnAttachByNamespaceThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	hot := func(change func(*Attach)) []Operation {
		a := hotAttach("t", "v1", "/mnt/x")
		change(&a)
		return ops(a)
	}
	for _, c := range []refused{
		{name: "no process", given: given(), ops: hot(func(a *Attach) { a.In = Process{} }), kind: ErrInvalid, words: "names no process"},
		{name: "no start", given: given(), ops: hot(func(a *Attach) { a.In.Start = 0 }), kind: ErrInvalid, words: "names no process"},
		{name: "a process for a path", given: given(), ops: hot(func(a *Attach) { a.Via, a.Sandbox = ByPath, "/s/t" }), kind: ErrInvalid, words: "no use for process 7"},
		{name: "not decided how", given: given(), ops: hot(func(a *Attach) { a.Via = "" }), kind: ErrInvalid, words: "by neither"},
		{name: "the root", given: given(), ops: hot(func(a *Attach) { a.Path = "/" }), kind: ErrInvalid, words: "not the root"},
		{name: "not clean", given: given(), ops: hot(func(a *Attach) { a.Path = "/a/../b" }), kind: ErrInvalid, words: "must be clean"},
		{name: "too long", given: given(), ops: hot(func(a *Attach) { a.Path = strings.Repeat("/long", 1000) }), kind: ErrInvalid, words: "longer than"},
		{name: "a control character", given: given(), ops: hot(func(a *Attach) { a.Path = "/a\n" }), kind: ErrInvalid, words: "characters"},
		{name: "a relative path without a sandbox", given: given(), ops: hot(func(a *Attach) { a.Path = "x" }), kind: ErrInvalid, words: "has no sandbox"},
		{name: "no path without a sandbox", given: given(), ops: hot(func(a *Attach) { a.Path = "" }), kind: ErrInvalid, words: "has no sandbox"},
		{name: "an absolute path in a claim", given: given(), ops: ops(claim("t", Use{Volume: "v1", Path: "/mnt/x"})), kind: ErrInvalid, words: "relative"},
		{name: "by path without a sandbox", given: given(hotAttach("t", "v1", "/mnt/x")), ops: ops(Attach{Task: "t", Use: Use{Volume: "v1", Path: "y"}, Via: ByPath}), kind: ErrInvalid, words: "has no sandbox"},
		{name: "in the way of another", given: given(hotAttach("t", "v1", "/mnt/x")), ops: ops(hotAttach("t", "v1", "/mnt")), kind: ErrExists, words: "collides"},
		{name: "in the way of one in the sandbox", given: given(attach("t", "v1", "in", "")), ops: ops(hotAttach("t", "v1", "/s/t/in/x")), kind: ErrExists, words: "collides"},
		{name: "by another process", given: given(hotAttach("t", "v1", "/mnt/x")), ops: hot(func(a *Attach) { a.In.PID = 8 }), kind: ErrExists, words: "mount namespace of process 7"},
		{name: "a sandbox for a task without", given: given(hotAttach("t", "v1", "/mnt/x")), ops: hot(func(a *Attach) { a.Sandbox = "/s/t" }), kind: ErrExists, words: "has sandbox none"},
	} {
		t.Run(c.name, c.run)
	}
}

// What is seen in a namespace, what is done about it, and what it comes to.
func TestAMountInANamespaceIsKeptWhileAnybodyIsInIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		gone  bool
		mode  resource.Mode
		claim bool
		seen  SeenAttachment
		steps []StepKind
		want  string // what settling changes, where nothing is to be done
	}{
		{name: "nothing there", steps: []StepKind{DoAttach}},
		{name: "there", seen: SeenAttachment{Mounted: true}},
		{name: "in another mode", mode: resource.RO, seen: SeenAttachment{Mounted: true}, steps: []StepKind{Flip}},
		{name: "its process has ended", seen: SeenAttachment{Ended: true}, want: "- attachment v1 t /mnt/x RW namespace"},
		{name: "to go, its process has ended", gone: true, seen: SeenAttachment{Ended: true}, want: "- attachment v1 t /mnt/x RW namespace gone"},
		{name: "to go, and there", gone: true, seen: SeenAttachment{Mounted: true}, steps: []StepKind{DoDetach}},
		{name: "to go, and gone", gone: true, want: "- attachment v1 t /mnt/x RW namespace gone"},
		{name: "something else there", seen: SeenAttachment{Foreign: true}, want: "+ fault volume v1 in task t at /mnt/x: exists"},
		{name: "not to be looked at", seen: SeenAttachment{Unreachable: "why"}, want: "+ fault volume v1 in task t at /mnt/x: failed"},
		{name: "a claim again, and there", claim: true, seen: SeenAttachment{Mounted: true}, steps: []StepKind{DoDetach}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mustApply(t, machine(t), numbered(), given(hotAttach("t", "v1", "/mnt/x"))...)
			u := Unit{AttachmentUnit, "", "v1", "t", "/mnt/x"}
			a, _ := s.Attachment(u)
			now := *a
			if now.Gone = c.gone; c.mode != "" {
				now.Mode = c.mode
			}
			if c.claim {
				now.Via = Claimed
			}
			s = s.With(Change{Attachment: &now})
			var steps []StepKind
			for _, step := range Plan(s, u, Seen{Attachment: c.seen}) {
				steps = append(steps, step.Kind)
			}
			if d := cmp.Diff(c.steps, steps); d != "" {
				t.Fatalf("steps (-want +got):\n%s", d)
			}
			if len(steps) > 0 {
				return
			}
			after := s.With(Settle(s, u, Seen{Attachment: c.seen}, second)...)
			if d := cmp.Diff(linesOf(c.want), difference(dump(s), dump(after))); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestAnotherProcessStandsForOneThatHasEnded(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), given(hotAttach("t", "v1", "/mnt/x"))...)
	u := Unit{AttachmentUnit, "", "v1", "t", "/mnt/x"}
	seen := Seen{Attachment: SeenAttachment{Mounted: true, ReadOnly: true, Living: Process{8, 10}}}
	if steps := Plan(s, u, seen); len(steps) > 0 {
		t.Errorf("%v is done by a process that has ended", steps)
	}
	s = s.With(Settle(s, u, seen, second)...)
	if a, _ := s.Attachment(u); a.Process != (Process{8, 10}) {
		t.Errorf("it is in the namespace of %+v", a.Process)
	}
}

// A batch is taken back: what was mounted for a claim is still to be unmounted, and what was
// handed over and may have been changed is to be changed back.
func TestWhatIsTakenBackIsNotLostInANamespace(t *testing.T) {
	t.Parallel()
	before := mustApply(t, machine(t), numbered(), given(claim("t", Use{Volume: "v1"}), byDescriptor(attach("d", "v1", "", "")))...)
	batch := ops(hotAttach("t", "v1", ""), SetMode{Task: "d", Volume: "v1", Mode: resource.RO, In: Process{7, 9}})
	out, err := Apply(before, numbered(), batch...)
	if err != nil {
		t.Fatal(err)
	}
	changes, _ := Undo(before, out.Next, batch, out.Touched, ErrFailed)
	after := out.Next.With(changes...)
	for task, want := range map[string]Attachment{"t": {Via: Claimed, Mode: resource.RW}, "d": {Via: ByNamespace, Mode: resource.RW}} {
		a, ok := after.Attachment(Unit{AttachmentUnit, "", "v1", task, "s"})
		if !ok || a.Via != want.Via || a.Mode != want.Mode || a.Process != (Process{7, 9}) {
			t.Errorf("in task %s it is %+v", task, a)
		}
	}
	u := Unit{AttachmentUnit, "", "v1", "t", "s"}
	if out, err := Apply(after, numbered(), hotAttach("t", "v1", "")); err != nil {
		t.Errorf("the same process cannot have it again: %v, %+v", err, out)
	}
	after = after.With(Settle(after, u, Seen{}, second)...)
	if a, _ := after.Attachment(u); a.Process != (Process{}) || a.Via != Claimed {
		t.Errorf("once it is unmounted it is %+v", a)
	}
}
