package volume

import (
	"testing"

	"tenon/agent/resource"
)

func launch(task string, rs ...resource.Resource) Launch {
	return Launch{Task: task, Sandbox: "/s/" + task, Own: true, Resources: rs}
}

// at says where, and how, a task wants a volume.
func at(r resource.Resource, path string, mode resource.Mode) resource.Resource {
	return with(r, func(d *resource.Disk) { d.Volume = &resource.Volume{ContainerPath: path, Mode: mode} })
}

func TestLaunchIsAClaimAndItsAttaches(t *testing.T) {
	t.Parallel()
	s, x := shared(vol("s", 20, "web")), vol("x", 20, "web")
	cpus := resource.Resource{Name: "cpus", Type: resource.TypeScalar, Scalar: resource.One}
	offered := s
	offered.Allocation = "web"
	for _, c := range []accepted{
		{name: "two volumes, and what is none", given: roomy(), ops: ops(launch("t", cpus, at(offered, "in", resource.RO), mib(10, "web"), x)), want: `
			+ attachment v1 t in RO path
			+ attachment v2 t x RW path
			+ task t /s/t own
			touch task t
			touch volume v1 in task t at in
			touch volume v2 in task t at x`},
		{name: "without volumes", given: roomy(), ops: ops(launch("t")), want: `
			+ task t /s/t own
			touch task t`},
		{name: "in another sandbox", given: roomy(), ops: ops(Launch{Task: "t", Sandbox: "/foreign/t", Resources: []resource.Resource{x}}), want: `
			+ attachment v2 t x RW path
			+ task t /foreign/t
			touch task t
			touch volume v2 in task t at x`},
		{name: "many tasks of one shared volume in one batch", given: roomy(), ops: ops(launch("t", s), launch("u", at(s, "in", resource.RO))), want: `
			+ attachment v1 t s RW path
			+ attachment v1 u in RO path
			+ task t /s/t own
			+ task u /s/u own
			touch task t
			touch volume v1 in task t at s
			touch task u
			touch volume v1 in task u at in`},
		{name: "on a volume of the same batch, reserved and created", ops: ops(reserve(mib(10, "web")), create(vol("x", 10, "web")), launch("t", vol("x", 10, "web"))), want: `
			- free root 4096
			+ attachment v1 t x RW path
			+ free root 4086
			+ task t /s/t own
			+ volume v1 web/x 10 on root creating
			touch volume v1
			touch task t
			touch volume v1 in task t at x`},
		{name: "between creates", given: roomy(), ops: ops(create(vol("y", 1, "web")), launch("t", s), create(vol("z", 1, "web")), launch("u", s)), want: `
			- free root 60 "DYNAMIC""web"
			+ attachment v1 t s RW path
			+ attachment v1 u s RW path
			+ free root 58 "DYNAMIC""web"
			+ task t /s/t own
			+ task u /s/u own
			+ volume v3 web/y 1 on root creating
			+ volume v4 web/z 1 on root creating
			touch volume v3
			touch task t
			touch volume v1 in task t at s
			touch volume v4
			touch task u
			touch volume v1 in task u at s`},
		{name: "again", given: roomy(launch("t", s, x)), ops: ops(launch("t", s, x)), want: `
			touch task t
			touch volume v1 in task t at s
			touch volume v2 in task t at x`},
		{name: "again, with one more", given: roomy(launch("t", s)), ops: ops(launch("t", s, x)), want: `
			+ attachment v2 t x RW path
			touch task t
			touch volume v1 in task t at s
			touch volume v2 in task t at x`},
		{name: "released while its volume is being made", given: ops(reserve(mib(10, "web"))), edit: func(s *State) *State {
			out, err := Apply(s, numberedAs("u"), create(vol("x", 10, "web")), launch("t", vol("x", 10, "web")))
			if err != nil {
				panic(err)
			}
			return out.Next
		}, ops: ops(Release{Task: "t"}), want: `
			- attachment u1 t x RW path
			- task t /s/t own
			+ attachment u1 t x RW path gone
			+ task t /s/t own releasing
			touch volume u1 in task t at x
			touch task t`},
		{name: "detached while its volume is being made", given: ops(reserve(mib(10, "web"))), edit: func(s *State) *State {
			out, err := Apply(s, numberedAs("u"), create(vol("x", 10, "web")), launch("t", vol("x", 10, "web")))
			if err != nil {
				panic(err)
			}
			return out.Next
		}, ops: ops(Detach{Task: "t", Volume: "web/x"}), want: `
			- attachment u1 t x RW path
			- task t /s/t own
			+ attachment u1 t x RW path gone
			+ task t /s/t own releasing
			touch volume u1 in task t at x
			touch task t`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestLaunchIsRefused(t *testing.T) {
	t.Parallel()
	s, x := shared(vol("s", 20, "web")), vol("x", 20, "web")
	pathless := with(x, func(d *resource.Disk) { d.Volume = nil })
	for _, c := range []refused{
		{name: "a volume that is not there", given: roomy(), ops: ops(launch("t", vol("z", 20, "web"))), kind: ErrNotFound, words: "is required by the task, and there is no such volume"},
		{name: "a volume of another size", given: roomy(), ops: ops(launch("t", vol("x", 19, "web"))), kind: ErrNotFound, words: "is required by the task"},
		{name: "a shared volume as if it were exclusive", given: roomy(), ops: ops(launch("t", vol("s", 20, "web"))), kind: ErrNotFound, words: "is required by the task"},
		{name: "before the volume is created in the batch", given: roomy(), ops: ops(launch("t", vol("y", 1, "web")), create(vol("y", 1, "web"))), kind: ErrNotFound, words: "is required by the task"},
		{name: "a volume that another batch is making", given: roomy(), edit: func(s *State) *State {
			out, _ := Apply(s, numberedAs("u"), create(vol("y", 1, "web")))
			return out.Next
		}, ops: ops(launch("t", vol("y", 1, "web"))), kind: ErrPending, words: "is being made"},
		{name: "a volume that the batch has destroyed", given: roomy(), ops: ops(Destroy{Ref: "v2"}, launch("t", x)), kind: ErrNotFound, words: "is required by the task"},
		{name: "a volume that the batch has resized, as it was", given: roomy(), ops: ops(resize("v2", 30), launch("t", x)), kind: ErrNotFound, words: "is required by the task"},
		{name: "destroyed behind the launch", given: roomy(), ops: ops(launch("t", x), Destroy{Ref: "v2"}), kind: ErrInUse, words: "held by task t"},
		{name: "an exclusive volume of another task", given: roomy(launch("t", x)), ops: ops(launch("u", x)), kind: ErrInUse, words: "held by task t"},
		{name: "an exclusive volume, twice in a batch", given: roomy(), ops: ops(launch("t", x), launch("u", x)), kind: ErrInUse, words: "held by task t"},
		{name: "two volumes at one place", given: roomy(), ops: ops(launch("t", at(s, "p", resource.RW), at(x, "p/q", resource.RW))), kind: ErrExists, words: "collides"},
		{name: "one volume at two places", given: roomy(), ops: ops(launch("t", at(s, "p", resource.RW), at(s, "q", resource.RO))), kind: ErrInvalid, words: "launch t: Persistence ID 's' is not unique"},
		{name: "one volume twice at one place", given: roomy(), ops: ops(launch("t", x, x)), kind: ErrInvalid, words: "Persistence ID 'x' is not unique"},
		{name: "the same place in another mode", given: roomy(launch("t", s)), ops: ops(launch("t", at(s, "s", resource.RO))), kind: ErrExists, words: "detach it first"},
		{name: "a task that has another sandbox", given: roomy(launch("t")), ops: ops(Launch{Task: "t", Sandbox: "/else"}), kind: ErrExists, words: "exists since"},
		{name: "a task that is being released", given: roomy(launch("t"), Release{Task: "t"}), ops: ops(launch("t", x)), kind: ErrPending, words: "is being released"},
		{name: "a task with a lease", given: roomy(Claim{Task: "t", Sandbox: "/s/t", Own: true, Lease: Lease{PID: 7}}), ops: ops(launch("t", x)), kind: ErrExists, words: "exists since"},
		{name: "no sandbox", given: roomy(), ops: ops(Launch{Task: "t", Resources: []resource.Resource{x}}), kind: ErrInvalid, words: "must be an absolute, clean path"},
		{name: "no task", given: roomy(), ops: ops(Launch{Sandbox: "/s/t"}), kind: ErrInvalid, words: "task"},
		{name: "nowhere", given: roomy(), ops: ops(launch("t", pathless)), kind: ErrInvalid, words: "Expecting 'volume' to be set"},
		{name: "at an absolute path", given: roomy(), ops: ops(launch("t", at(x, "/p", resource.RW))), kind: ErrInvalid, words: "must be relative"},
		{name: "in no mode that there is", given: roomy(), ops: ops(launch("t", at(x, "p", "RX"))), kind: ErrInvalid, words: "RX"},
		{name: "a lost volume", given: roomy(), edit: faulty(UnitOfVolume("v2"), ErrLost), ops: ops(launch("t", x)), kind: ErrLost, words: "as the test has it"},
		{name: "a part that is no resource", given: roomy(), ops: ops(launch("t", vol("x", -1, "web"))), kind: ErrInvalid, words: "launch t"},
	} {
		t.Run(c.name, c.run)
	}
}
