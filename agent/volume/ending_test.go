package volume

import (
	"fmt"
	"testing"

	"tenon/agent/resource"
)

func unreserve(rs ...resource.Resource) Unreserve { return Unreserve{rs} }

func TestWhatIsDestroyedInABatchComesBackAsTheBatchHasIt(t *testing.T) {
	t.Parallel()
	three := ops(reserve(mib(30, "a")), create(vol("x", 10, "a")), create(vol("y", 10, "a")), create(vol("z", 10, "a")))
	deep := ops(reserve(mib(10, "a"), mib(10, "a", "a/b")), create(vol("x", 10, "a", "a/b")))
	all := ops(Destroy{Ref: "v1"}, Destroy{Ref: "v2"}, Destroy{Ref: "v3"})
	for _, c := range []accepted{
		{name: "all of it unreserved", given: three, ops: ops(Destroy{Ref: "v1"}, unreserve(mib(10, "a"))), want: `
			- volume v1 a/x 10 on root ready
			+ volume v1 a/x 10 on root destroying back 10 []
			touch volume v1`},
		{name: "a part of it", given: three, ops: ops(Destroy{Ref: "v1"}, unreserve(mib(4, "a"))), want: `
			- volume v1 a/x 10 on root ready
			+ volume v1 a/x 10 on root destroying back 6 ["DYNAMIC""a"] back 4 []
			touch volume v1`},
		{name: "what is free goes first", given: append(three, reserve(mib(3, "a"))), ops: ops(Destroy{Ref: "v1"}, unreserve(mib(4, "a"))), want: `
			- free root 3 "DYNAMIC""a"
			- free root 4063
			- volume v1 a/x 10 on root ready
			+ free root 4066
			+ volume v1 a/x 10 on root destroying back 9 ["DYNAMIC""a"] back 1 []
			touch volume v1`},
		{name: "of several volumes, the last first", given: three, ops: append(all, unreserve(mib(15, "a"))), want: `
			- volume v1 a/x 10 on root ready
			- volume v2 a/y 10 on root ready
			- volume v3 a/z 10 on root ready
			+ volume v1 a/x 10 on root destroying
			+ volume v2 a/y 10 on root destroying back 5 ["DYNAMIC""a"] back 5 []
			+ volume v3 a/z 10 on root destroying back 10 []
			touch volume v1
			touch volume v2
			touch volume v3`},
		{name: "in many pieces", given: three, ops: append(all, unreserve(mib(7, "a")), unreserve(mib(7, "a"), mib(7, "a")), unreserve(mib(9, "a"))), want: `
			- volume v1 a/x 10 on root ready
			- volume v2 a/y 10 on root ready
			- volume v3 a/z 10 on root ready
			+ volume v1 a/x 10 on root destroying back 10 []
			+ volume v2 a/y 10 on root destroying back 10 []
			+ volume v3 a/z 10 on root destroying back 10 []
			touch volume v1
			touch volume v2
			touch volume v3`},
		{name: "a refined stack, one step", given: deep, ops: ops(Destroy{Ref: "v1"}, unreserve(mib(10, "a", "a/b"))), want: `
			- volume v1 a/b/x 10 on root ready
			+ volume v1 a/b/x 10 on root destroying back 10 ["DYNAMIC""a"]
			touch volume v1`},
		{name: "a refined stack, both steps", given: deep, ops: ops(Destroy{Ref: "v1"}, unreserve(mib(10, "a", "a/b"), mib(7, "a"))), want: `
			- volume v1 a/b/x 10 on root ready
			+ volume v1 a/b/x 10 on root destroying back 3 ["DYNAMIC""a"] back 7 []
			touch volume v1`},
		{name: "reserved anew, and back again", given: three, ops: ops(Destroy{Ref: "v1"}, again(mib(10, "a"), mib(10, "b")), again(mib(10, "b"), mib(10, "a"))), want: `
			- volume v1 a/x 10 on root ready
			+ volume v1 a/x 10 on root destroying
			touch volume v1`},
		{name: "reserved as what it is, when another's is gone from there", given: three, ops: append(all[:2:2], unreserve(mib(10, "a")), again(mib(10, "a"), mib(10, "a"))), want: `
			- volume v1 a/x 10 on root ready
			- volume v2 a/y 10 on root ready
			+ volume v1 a/x 10 on root destroying
			+ volume v2 a/y 10 on root destroying back 10 []
			touch volume v1
			touch volume v2`},
		{name: "what is static stays static", on: divided, given: ops(create(static(vol("x", 10)))), ops: ops(Destroy{Ref: "v1"}), want: `
			- volume v1 web/x 10 on root ready
			+ volume v1 web/x 10 on root destroying
			touch volume v1`},
		{name: "above a static base", on: divided, given: ops(reserve(refined(mib(10), "web/a")), create(refined(vol("x", 10), "web/a"))),
			ops: ops(Destroy{Ref: "v1"}, unreserve(refined(mib(10), "web/a"))), want: `
			- volume v1 web/a/x 10 on root ready
			+ volume v1 web/a/x 10 on root destroying back 10 ["STATIC""web"]
			touch volume v1`},
		{name: "one that the batch has made", given: ops(reserve(mib(10, "a"))), ops: ops(create(vol("x", 10, "a")), Destroy{Ref: "a/x"}, unreserve(mib(10, "a"))), want: `
			- free root 10 "DYNAMIC""a"
			+ volume v1 a/x 10 on root destroying back 10 []
			touch volume v1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t)
			env := numbered()
			s := mustApply(t, begin(t, c.on), env, c.given...)
			out, err := Apply(s, env, c.ops...)
			if err != nil {
				t.Fatal(err)
			}
			s = out.Next
			for v := range out.Next.Tombstones() {
				s = s.With(Settle(s, UnitOfVolume(v.UUID), Seen{}, second)...)
			}
			if err := s.Check(); err != nil {
				t.Errorf("when it is back: %v", err)
			}
			for a := range out.Next.Accounts() {
				if s.Free(a.Disk, a.Reservations) < a.Free {
					t.Errorf("%s were free, now %s", s.Describe(a), s.Free(a.Disk, a.Reservations))
				}
			}
		})
	}
}

func TestWhatIsDestroyedIsUnreservedOnceAndWithinTheBatchOnly(t *testing.T) {
	t.Parallel()
	given := ops(reserve(mib(10, "a")), create(vol("x", 10, "a")))
	for _, c := range []refused{
		{name: "before the destroy", given: given, ops: ops(unreserve(mib(10, "a")), Destroy{Ref: "v1"}), kind: ErrInsufficient, words: "does not contain"},
		{name: "more than it has", given: given, ops: ops(Destroy{Ref: "v1"}, unreserve(mib(11, "a"))), kind: ErrInsufficient, words: "10 MiB more are back"},
		{name: "twice", given: given, ops: ops(Destroy{Ref: "v1"}, unreserve(mib(6, "a")), unreserve(mib(6, "a"))), kind: ErrInsufficient, words: "4 MiB more are back"},
		{name: "of another role", given: append(given, reserve(mib(1, "b"))), ops: ops(Destroy{Ref: "v1"}, unreserve(mib(10, "b"))), kind: ErrInsufficient, words: "does not contain"},
		{name: "in another batch", given: append(given, Destroy{Ref: "v1"}), ops: ops(unreserve(mib(10, "a"))), kind: ErrInsufficient, words: "does not contain"},
		{name: "of one that was a tombstone before", given: append(given, Destroy{Ref: "v1"}), ops: ops(Destroy{Ref: "v1"}, unreserve(mib(10, "a"))), kind: ErrInsufficient, words: "does not contain"},
		{name: "and carved again, while it is not back", given: given, ops: ops(Destroy{Ref: "v1"}, again(mib(10, "a"), mib(10, "b")), create(vol("y", 10, "b"))), kind: ErrInsufficient,
			words: "10 MiB more are back when the volumes that are destroyed are removed"},
	} {
		t.Run(c.name, c.run)
	}
}

// The cost of a batch does not grow faster than the batch, however its space is divided: a
// volume whose space goes to as many reservations as there are operations is recorded once.
func TestAVolumeThatComesBackInThousandsOfPiecesIsRecordedOnce(t *testing.T) {
	t.Parallel()
	const pieces = 4000
	env := numbered()
	s := mustApply(t, machine(t), env, reserve(mib(pieces, "a")), create(vol("x", pieces, "a")))
	batch := ops(Destroy{Ref: "v1"})
	for i := range pieces {
		batch = append(batch, again(mib(1, "a"), mib(1, fmt.Sprint("role", i))))
	}
	out, err := Apply(s, env, batch...)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := out.Next.Volume("v1"); len(v.Back) != pieces || len(out.Changes) != 2 {
		t.Errorf("%d parts in %d changes, want %d in 2", len(v.Back), len(out.Changes), pieces)
	}
	n := out.Next.With(Settle(out.Next, UnitOfVolume("v1"), Seen{}, second)...)
	if err := n.Check(); err != nil || n.Free("", mib(1, "role7").Reservations) != resource.One {
		t.Errorf("afterwards: %v", err)
	}
}
