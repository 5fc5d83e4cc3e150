package volume

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// limited is a claim of these volumes with limits.
func limited(limits []Throttle, volumes ...string) Claim {
	c := Claim{Task: "t", Sandbox: "/s/t", Own: true, Lease: Lease{PID: 42, Start: 7, Cgroup: "/c/t"}, IO: limits}
	for i, v := range volumes {
		c.Uses = append(c.Uses, Use{Volume: v, Path: string(rune('a' + i))})
	}
	return c
}

// furnishedWithDisks has the volumes a/x and a/y on one disk, and a/z on another.
func furnishedWithDisks(t *testing.T) *node {
	t.Helper()
	n := newWorld(t.Fatalf).start()
	for _, op := range ops(reserve(mib(50, "a")), reserve(on(mib(20, "a"))),
		create(shared(vol("x", 10, "a"))), create(shared(vol("y", 10, "a"))), create(on(shared(vol("z", 10, "a"))))) {
		if err := n.do(op); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func reading(n resource.Bytes) Rate { return Rate{Read: n} }

func TestLimitsAreOfDisksAndThoseOfVolumesAddUp(t *testing.T) {
	t.Parallel()
	n := furnishedWithDisks(t)
	for name, c := range map[string]struct {
		limits []Throttle
		want   []DiskLimit
	}{
		"every disk":              {[]Throttle{{Rate: reading(5)}}, []DiskLimit{{"", reading(5)}, {dataDisk, reading(5)}}},
		"that of one volume":      {[]Throttle{{"a/x", Rate{Write: 3, WriteOps: 7}}}, []DiskLimit{{"", Rate{Write: 3, WriteOps: 7}}}},
		"two volumes of one disk": {[]Throttle{{"a/x", reading(5)}, {"a/y", Rate{Read: 2, ReadOps: 9}}}, []DiskLimit{{"", Rate{Read: 7, ReadOps: 9}}}},
		"one, and the others":     {[]Throttle{{Rate: reading(1)}, {"a/z", reading(9)}}, []DiskLimit{{"", reading(1)}, {dataDisk, reading(9)}}},
	} {
		out, err := Apply(n.s, Env{}, limited(c.limits, "a/x", "a/y", "a/z"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		task, _ := out.Next.Task("t")
		if d := cmp.Diff(c.want, task.IO); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if again, err := Apply(out.Next, Env{}, limited(c.limits, "a/x", "a/y", "a/z")); err != nil || len(again.Changes) > 0 {
			t.Errorf("%s again: %v, %d changes", name, err, len(again.Changes))
		}
		if _, err := Apply(out.Next, Env{}, limited(nil, "a/x", "a/y", "a/z")); !errors.Is(err, ErrExists) {
			t.Errorf("%s, then none: %v", name, err)
		}
	}
}

func TestLimitsAreRefused(t *testing.T) {
	t.Parallel()
	n := furnishedWithDisks(t)
	naked := limited([]Throttle{{Rate: reading(1)}}, "a/x")
	naked.Lease.Cgroup = ""
	for name, c := range map[string]struct {
		claim Claim
		kind  error
	}{
		"without a bound":             {limited([]Throttle{{}}, "a/x"), ErrInvalid},
		"below zero":                  {limited([]Throttle{{Rate: reading(-1)}}, "a/x"), ErrInvalid},
		"beyond all disks":            {limited([]Throttle{{Rate: reading(1<<50 + 1)}}, "a/x"), ErrInvalid},
		"beyond all operations":       {limited([]Throttle{{Rate: Rate{WriteOps: 1<<31 + 1}}}, "a/x"), ErrInvalid},
		"twice":                       {limited([]Throttle{{Rate: reading(1)}, {Rate: reading(2)}}, "a/x"), ErrInvalid},
		"without volumes":             {limited([]Throttle{{Rate: reading(1)}}), ErrInvalid},
		"of a volume of nobody's":     {limited([]Throttle{{"a/none", reading(1)}}, "a/x"), ErrNotFound},
		"of a volume that it has not": {limited([]Throttle{{"a/y", reading(1)}}, "a/x"), ErrInvalid},
		"of what is not there":        {limited([]Throttle{{Rate: reading(1)}}, "a/none"), ErrNotFound},
		"without a cgroup":            {naked, ErrInvalid},
	} {
		if _, err := Apply(n.s, Env{}, c.claim); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}

func TestLimitsAreSetWithTheCgroupAndAgainWhereTheyAreNotThere(t *testing.T) {
	t.Parallel()
	task := Task{ID: "t", Sandbox: "/s/t", Lease: Lease{PID: 7, Cgroup: "/c"}, IO: []DiskLimit{{"", reading(1)}}}
	alive := SeenTask{Claimant: true}
	there, lost := alive, alive
	there.Cgroup = true
	lost.Cgroup, lost.Unlimited = true, true
	dying := task
	dying.Killing = true
	over := task
	over.Releasing = true
	for name, c := range map[string]struct {
		task Task
		seen SeenTask
		want []StepKind
	}{
		"a new task":               {task, alive, []StepKind{MakeCgroup, LimitIO}},
		"one that is as it is":     {task, there, nil},
		"one without its limits":   {task, lost, []StepKind{LimitIO}},
		"one that is killed":       {dying, lost, []StepKind{DoKill}},
		"one that is released":     {over, lost, []StepKind{RemoveCgroup}},
		"one that is to have none": {Task{ID: "t", Sandbox: "/s/t", Lease: task.Lease}, lost, nil},
	} {
		var got []StepKind
		for _, step := range Plan(Empty().With(Change{Task: &c.task}), UnitOfTask("t"), Seen{Task: c.seen}) {
			got = append(got, step.Kind)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
