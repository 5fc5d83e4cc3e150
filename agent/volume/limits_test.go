package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tenon/agent/resource"
)

// kindsOf are n resources that are all reserved in another way, to role web.
func kindsOf(n int) (rs []resource.Resource) {
	for i := range n {
		rs = append(rs, labelled(mib(0.002, ""), "ops", fmt.Sprint("kind ", i)))
	}
	return rs
}

// crowdedDisk has as many kinds of reservations on the root disk as there may be: what is
// unreserved is one of them.
func crowdedDisk(t testing.TB) *State {
	t.Helper()
	return mustApply(t, machine(t), numbered(), reserve(kindsOf(MaxKinds-1)...))
}

func TestEverythingThatABatchNamesCounts(t *testing.T) {
	t.Parallel()
	many := make([]resource.Resource, MaxBatch)
	for i := range many {
		many[i] = mib(0.001, "web")
	}
	uses := make([]Use, MaxBatch-1)
	for i := range uses {
		uses[i] = Use{Volume: "web/none"}
	}
	s := machine(t)
	for _, c := range []struct {
		name string
		op   Operation
		over Operation
	}{
		{"resources to be reserved", reserve(many...), reserve(append(many, many[0])...)},
		{"resources of a group", as("one", "RESERVE", reserve(many[1:]...)), as("one", "RESERVE", reserve(many...))},
		{"with a source", Reserve{Resources: many[:MaxBatch/2], Source: many[:MaxBatch/2]}, Reserve{Resources: many, Source: many[:1]}},
		{"resources to be unreserved", Unreserve{many}, Unreserve{append(many, many[0])}},
		{"volumes of a task", Launch{Resources: many[1:]}, Launch{Resources: many}},
		{"uses of a task", Claim{Uses: uses}, Claim{Uses: append(uses, uses[0])}},
	} {
		const words = "a batch has at most 10000 operations, each resource that they name counted, and this one has 10001"
		if _, err := Apply(s, numbered(), c.over); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: one too many: %.200v", c.name, err)
		}
		if _, err := Apply(s, numbered(), c.op); err != nil && strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: as many as may be: %.200v", c.name, err)
		}
	}
}

func TestADiskHasSomeKindsOfReservationsAndNoMore(t *testing.T) {
	t.Parallel()
	one := labelled(mib(0.001, ""), "ops", "kind 7")
	both := labelled(mib(0.002, ""), "ops", "kind 7")
	other := labelled(mib(0.001, ""), "ops", "another")
	const words = "disk root has space in 4096 kinds of reservations (roles, principals and labels), which is all that a disk may"
	for _, c := range []refused{
		{name: "one more", on: crowdedDisk, ops: ops(reserve(other)), kind: ErrInsufficient, words: words},
		{name: "part of one as another", on: crowdedDisk, ops: ops(Reserve{Source: []resource.Resource{one}, Resources: []resource.Resource{other}}), kind: ErrInsufficient, words: words},
		{name: "part of one, refined", on: crowdedDisk, ops: ops(reserve(one.PushReservation(dynamicFor("web/a")))), kind: ErrInsufficient, words: words},
		{name: "all in one operation", ops: ops(reserve(kindsOf(MaxKinds)...)), kind: ErrInsufficient, words: words},
		{name: "of space that is to come back", on: crowdedDisk, given: ops(create(volumeOf(one, "x"))),
			ops: ops(Destroy{Ref: "v1"}, Unreserve{[]resource.Resource{both}}, reserve(labelled(mib(0.001, ""), "ops", "1")), reserve(other)), kind: ErrInsufficient, words: words},
	} {
		t.Run(c.name, c.run)
	}
	for _, c := range []accepted{
		{name: "more of one", on: crowdedDisk, ops: ops(reserve(one)), want: `
			- free root 0.002 "DYNAMIC""web" principal="ops"{"kind 7"}
			- free root 4087.81
			+ free root 0.003 "DYNAMIC""web" principal="ops"{"kind 7"}
			+ free root 4087.809`},
		{name: "one becomes another", on: crowdedDisk, ops: ops(Reserve{Source: []resource.Resource{both}, Resources: []resource.Resource{labelled(mib(0.002, ""), "ops", "another")}}), want: `
			- free root 0.002 "DYNAMIC""web" principal="ops"{"kind 7"}
			+ free root 0.002 "DYNAMIC""web" principal="ops"{"another"}`},
		{name: "one more instead of one", on: crowdedDisk, ops: ops(Unreserve{[]resource.Resource{both}}, reserve(other)), want: `
			- free root 0.002 "DYNAMIC""web" principal="ops"{"kind 7"}
			- free root 4087.81
			+ free root 0.001 "DYNAMIC""web" principal="ops"{"another"}
			+ free root 4087.811`},
		{name: "of another disk", on: crowdedDisk, ops: ops(reserve(on(mib(1, "web")))), want: `
			- free PATH:/mnt/d 1000
			+ free PATH:/mnt/d 1 "DYNAMIC""web"
			+ free PATH:/mnt/d 999`},
	} {
		t.Run(c.name, c.run)
	}
}

// volumeOf makes a volume of a resource.
func volumeOf(r resource.Resource, id string) resource.Resource {
	v := vol(id, 0)
	v.Scalar, v.Reservations = r.Scalar, r.Reservations
	return v
}

// Taking back makes as many kinds as there were, whatever others have come to make.
func TestTakingBackIsNotHeldUpByTheNumberOfKinds(t *testing.T) {
	t.Parallel()
	s, env := crowdedDisk(t), numbered()
	first := labelled(mib(0.002, ""), "ops", "kind 0")
	batch := ops(Unreserve{[]resource.Resource{first}}, create(volumeOf(labelled(mib(0.002, ""), "ops", "kind 1"), "x")))
	after := removedAll(t, takenBack(t, s, env, batch, ops(reserve(mib(1, "b")), reserve(mib(1, "c")))))
	if free := after.Free("", first.Reservations); free != first.Scalar {
		t.Errorf("%s is reserved as it was, want %s", free, first.Scalar)
	}
}

func TestARefusalTellsFewOfTheAccountsAndNobodyElses(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), reserve(kindsOf(100)...), reserve(labelled(mib(3, ""), "me", "mine")),
		Reserve{Resources: []resource.Resource{func() resource.Resource {
			r := labelled(mib(5, ""), "secret", "theirs")
			r.Reservations[0].Role = "db"
			return r
		}()}})
	_, err := Apply(s, numbered(), Unreserve{[]resource.Resource{labelled(mib(9, ""), "me", "mine")}})
	const mine, want = "disk(reservations: [(DYNAMIC,web,me,{mine})])", "and 99 more does not contain"
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), mine+":9") || !strings.Contains(err.Error(), ": "+mine+":3; disk:") {
		t.Errorf("told %.2000v,\nwant … %s …", err, want)
	}
	for _, ask := range []Operation{reserve(mib(5000, "web")), Unreserve{[]resource.Resource{mib(9, "web")}}, create(vol("x", 9, "web"))} {
		if _, err := Apply(s, numbered(), ask); !errors.Is(err, ErrInsufficient) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "db") {
			t.Errorf("%s: told %v, which is not theirs to know", ask.Name(), err)
		}
	}
	if _, err := Apply(s, numbered(), reserve(mib(5000, "web"))); !strings.Contains(err.Error(), ": disk:4087.8 does not contain disk:5000") {
		t.Errorf("of what is unreserved it is told %v", err)
	}
	if _, err := Apply(crowdedDisk(t), numbered(), Unreserve{slices.Repeat(kindsOf(1), 3)}); err == nil || len(err.Error()) > 1000 {
		t.Errorf("on a crowded disk %.2000v", err)
	}
}
