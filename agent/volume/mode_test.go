package volume

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// oneWriter makes a shared volume that one task may write.
func oneWriter(name string) Create {
	c := create(shared(vol(name, 1, "web")))
	c.OneWriter = true
	return c
}

func TestAModeIsSetWhileTheVolumeStaysAttached(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		given []Operation
		op    SetMode
		want  string
	}{
		{"to read-only", given(attach("t", "v1", "", "")), SetMode{Task: "t", Volume: "v1", Mode: resource.RO}, `
			- attachment v1 t s RW path
			+ attachment v1 t s RO path`},
		{"and back", given(attach("t", "v1", "", resource.RO)), SetMode{Task: "t", Volume: "v1", Mode: resource.RW}, `
			- attachment v1 t s RO path
			+ attachment v1 t s RW path`},
		{"what it is", given(attach("t", "v1", "", "")), SetMode{Task: "t", Volume: "v1", Mode: resource.RW}, ""},
		{"without noexec being lost", given(noExec(attach("t", "v1", "", ""))), SetMode{Task: "t", Volume: "v1", Mode: resource.RO}, `
			- attachment v1 t s RW,noexec path
			+ attachment v1 t s RO,noexec path`},
		{"at one of two places", given(attach("t", "v1", "a", ""), attach("t", "v1", "b", "")), SetMode{Task: "t", Volume: "v1", Path: "b", Mode: resource.RO}, `
			- attachment v1 t b RW path
			+ attachment v1 t b RO path`},
		{"at both", given(attach("t", "v1", "a", ""), attach("t", "v1", "b", "")), SetMode{Task: "t", Volume: "v1", Mode: resource.RO}, `
			- attachment v1 t a RW path
			- attachment v1 t b RW path
			+ attachment v1 t a RO path
			+ attachment v1 t b RO path`},
		{"of a claim", given(claim("t", Use{Volume: "v1"})), SetMode{Task: "t", Volume: "v1", Mode: resource.RO}, `
			- attachment v1 t s RW claim
			+ attachment v1 t s RO claim`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mustApply(t, machine(t), numbered(), c.given...)
			out, err := Apply(s, numbered(), c.op)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(linesOf(c.want), difference(dump(s), dump(out.Next))); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if len(out.Touched) == 0 {
				t.Error("nothing is reconciled")
			}
		})
	}
}

func TestAModeThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	two := ops(oneWriter("ow"))
	for _, c := range []refused{
		{name: "no mode", given: given(attach("t", "v1", "", "")), ops: ops(SetMode{Task: "t", Volume: "v1"}), kind: ErrInvalid, words: "neither RW nor RO"},
		{name: "no task", given: given(), ops: ops(SetMode{Task: "t", Volume: "v1", Mode: resource.RO}), kind: ErrNotFound, words: "no task"},
		{name: "no volume", given: given(claim("t")), ops: ops(SetMode{Task: "t", Volume: "web/none", Mode: resource.RO}), kind: ErrNotFound, words: "no volume"},
		{name: "a volume that the task does not have", given: given(claim("t")), ops: ops(SetMode{Task: "t", Volume: "v1", Mode: resource.RO}), kind: ErrNotFound, words: "is not attached to task t"},
		{name: "a place where it is not", given: given(attach("t", "v1", "a", "")), ops: ops(SetMode{Task: "t", Volume: "v1", Path: "b", Mode: resource.RO}), kind: ErrNotFound, words: "to task t at b"},
		{name: "what is being detached", given: given(attach("t", "v1", "", ""), claim("t2"), detach("t", "v1")), ops: ops(SetMode{Task: "t", Volume: "v1", Mode: resource.RO}), kind: ErrPending, words: "is being detached"},
		{name: "a mount of the task's own", given: given(byDescriptor(attach("t", "v1", "", ""))), ops: ops(SetMode{Task: "t", Volume: "v1", Mode: resource.RO}), kind: ErrInUse, words: "namespace of the task itself"},
		{name: "a second writer of a volume that allows one", given: two, edit: ready, ops: ops(attach("t", "web/ow", "", ""), attach("u", "web/ow", "", "")), kind: ErrInUse, words: "allows one writer, which is task t"},
		{name: "a reader that would be the second writer", given: two, edit: ready, ops: ops(attach("t", "web/ow", "", ""), attach("u", "web/ow", "", resource.RO), SetMode{Task: "u", Volume: "web/ow", Mode: resource.RW}), kind: ErrInUse, words: "allows one writer"},
		{name: "one writer of an exclusive volume", given: given(), ops: ops(Create{Volume: vol("z", 1, "web"), OneWriter: true}), kind: ErrInvalid, words: "one writer is for shared volumes"},
	} {
		if c.edit != nil {
			c.given = append(given(), c.given...)
		}
		t.Run(c.name, c.run)
	}
}

func TestOneWriterLeavesRoomForReadersAndForTheNextWriter(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := ready(mustApply(t, machine(t), env, append(given(), oneWriter("ow"))...))
	s = mustApply(t, s, env, attach("t", "web/ow", "", ""), attach("t", "web/ow", "again", ""), attach("u", "web/ow", "", resource.RO), attach("w", "web/ow", "", resource.RO))
	s = mustApply(t, s, env, SetMode{Task: "t", Volume: "web/ow", Mode: resource.RO}, SetMode{Task: "u", Volume: "web/ow", Mode: resource.RW})
	v, _ := s.Named(Name{"web", "ow"})
	if hs := s.Holders(v.UUID); len(hs) != 3 || hs[0].Mode != resource.RO || hs[1].Mode != resource.RW {
		t.Errorf("holders are %+v", hs)
	}
}
