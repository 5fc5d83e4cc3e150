package volume

import (
	"testing"

	"tenon/agent/resource"
)

func grow(v, by resource.Resource) Grow { return Grow{Volume: v, Addition: by} }

func shrink(v resource.Resource, by float64) Shrink {
	return Shrink{Volume: v, Subtract: resource.Scalar(by * float64(resource.One))}
}

func resize(ref string, to float64) Resize {
	return Resize{Ref: ref, Size: resource.Scalar(to * float64(resource.One))}
}

// roomy is role web with 100 MiB, of which the shared v1, s, and the exclusive v2, x, have 20 each.
func roomy(more ...Operation) []Operation {
	return append(ops(reserve(mib(100, "web")), create(shared(vol("s", 20, "web"))), create(vol("x", 20, "web"))), more...)
}

// A size, a principal or a container path that was guessed wrong tells nothing of the volume.
func TestARefusalToResizeTellsNothingOfTheVolumeThatThereIs(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), roomy()...)
	for _, op := range ops(grow(vol("x", 19, "web"), mib(5, "web")), shrink(vol("x", 19, "web"), 5)) {
		of := func(s *State) string { _, err := Apply(s, numbered(), op); return err.Error() }
		if there, not := of(s), of(machine(t)); there != not {
			t.Errorf("%s: %q where there is one, %q where there is none", op.Name(), there, not)
		}
	}
}

func TestGrowAndShrinkMoveSpaceBetweenAVolumeAndItsReservation(t *testing.T) {
	t.Parallel()
	held := Claim{Task: "t", Sandbox: "/s/t", Uses: []Use{{Volume: "v1"}}}
	used := shrink(vol("x", 20, "web"), 5)
	used.Used = 15 << 20
	offered := vol("x", 20, "web")
	offered.Allocation = "web"
	for _, c := range []accepted{
		{name: "grow", given: roomy(), ops: ops(grow(vol("x", 20, "web"), mib(5, "web"))), want: `
			- free root 60 "DYNAMIC""web"
			- volume v2 web/x 20 on root ready
			+ free root 55 "DYNAMIC""web"
			+ volume v2 web/x 25 on root ready
			touch volume v2`},
		{name: "grow by all that is left", given: roomy(), ops: ops(grow(vol("x", 20, "web"), mib(60, "web"))), want: `
			- free root 60 "DYNAMIC""web"
			- volume v2 web/x 20 on root ready
			+ volume v2 web/x 80 on root ready
			touch volume v2`},
		{name: "grow a shared volume that is in use", given: roomy(held), ops: ops(grow(shared(vol("s", 20, "web")), mib(5, "web"))), want: `
			- free root 60 "DYNAMIC""web"
			- volume v1 web/s 20 on root ready shared
			+ free root 55 "DYNAMIC""web"
			+ volume v1 web/s 25 on root ready shared
			touch volume v1`},
		{name: "grow what was offered to a role", given: roomy(), ops: ops(grow(offered, mib(5, "web"))), want: `
			- free root 60 "DYNAMIC""web"
			- volume v2 web/x 20 on root ready
			+ free root 55 "DYNAMIC""web"
			+ volume v2 web/x 25 on root ready
			touch volume v2`},
		{name: "grow on another disk", given: ops(reserve(on(mib(10, "web"))), create(on(vol("x", 4, "web")))), ops: ops(grow(on(vol("x", 4, "web")), on(mib(6, "web")))), want: `
			- free PATH:/mnt/d 6 "DYNAMIC""web"
			- volume v1 web/x 4 on PATH:/mnt/d ready
			+ volume v1 web/x 10 on PATH:/mnt/d ready
			touch volume v1`},
		{name: "shrink to a thousandth", given: roomy(), ops: ops(shrink(vol("x", 20, "web"), 19.999)), want: `
			- free root 60 "DYNAMIC""web"
			- volume v2 web/x 20 on root ready
			+ free root 79.999 "DYNAMIC""web"
			+ volume v2 web/x 0.001 on root ready
			touch volume v2`},
		{name: "shrink to just what is in it", given: roomy(), ops: ops(used), want: `
			- free root 60 "DYNAMIC""web"
			- volume v2 web/x 20 on root ready
			+ free root 65 "DYNAMIC""web"
			+ volume v2 web/x 15 on root ready
			touch volume v2`},
		{name: "shrink a shared volume that nobody holds", given: roomy(), ops: ops(shrink(shared(vol("s", 20, "web")), 5)), want: `
			- free root 60 "DYNAMIC""web"
			- volume v1 web/s 20 on root ready shared
			+ free root 65 "DYNAMIC""web"
			+ volume v1 web/s 15 on root ready shared
			touch volume v1`},
		{name: "resize up while held", given: roomy(held), ops: ops(resize("web/s", 30)), want: `
			- free root 60 "DYNAMIC""web"
			- volume v1 web/s 20 on root ready shared
			+ free root 50 "DYNAMIC""web"
			+ volume v1 web/s 30 on root ready shared
			touch volume v1`},
		{name: "resize down, by uuid", given: roomy(), ops: ops(resize("v2", 1)), want: `
			- free root 60 "DYNAMIC""web"
			- volume v2 web/x 20 on root ready
			+ free root 79 "DYNAMIC""web"
			+ volume v2 web/x 1 on root ready
			touch volume v2`},
		{name: "resize to the size that it has, in use", given: roomy(held), ops: ops(resize("v1", 20)), want: `touch volume v1`},
		{name: "in one batch, each meets what those before it have made", given: roomy(),
			ops: ops(grow(vol("x", 20, "web"), mib(60, "web")), shrink(vol("x", 80, "web"), 70), resize("v1", 90)), want: `
			- free root 60 "DYNAMIC""web"
			- volume v1 web/s 20 on root ready shared
			- volume v2 web/x 20 on root ready
			+ volume v1 web/s 90 on root ready shared
			+ volume v2 web/x 10 on root ready
			touch volume v2
			touch volume v1`},
		{name: "one that is made in the same batch", given: roomy(), ops: ops(create(vol("y", 1, "web")), grow(vol("y", 1, "web"), mib(2, "web"))), want: `
			- free root 60 "DYNAMIC""web"
			+ free root 57 "DYNAMIC""web"
			+ volume v3 web/y 3 on root creating
			touch volume v3`},
		{name: "one carved from a static reservation", on: divided, given: ops(create(static(vol("x", 10)))),
			ops: ops(grow(static(vol("x", 10)), static(mib(990)))), want: `
			- free root 990 "STATIC""web"
			- volume v1 web/x 10 on root ready
			+ volume v1 web/x 1000 on root ready
			touch volume v1`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestGrowIsRefused(t *testing.T) {
	t.Parallel()
	x := vol("x", 20, "web")
	provided, cpus := x, mib(5, "web")
	provided.Provider, cpus.Name = "csi", "cpus"
	const incompatible = "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields"
	for _, c := range []refused{
		{name: "a volume that is no resource", given: roomy(), ops: ops(grow(vol("x", -1, "web"), mib(5, "web"))), kind: ErrInvalid, words: "Invalid resource in the 'GrowVolume.volume' field"},
		{name: "an addition that is no resource", given: roomy(), ops: ops(grow(x, mib(-5, "web"))), kind: ErrInvalid, words: "'GrowVolume.addition' field"},
		{name: "by nothing", given: roomy(), ops: ops(grow(x, mib(0, "web"))), kind: ErrInvalid, words: "'GrowVolume.addition' field must be greater than zero"},
		{name: "a provider's", given: roomy(), ops: ops(grow(provided, mib(5, "web"))), kind: ErrInvalid, words: "Growing a volume from a resource provider is not supported"},
		{name: "by a provider's", given: roomy(), ops: ops(grow(x, func() resource.Resource { r := mib(5, "web"); r.Provider = "csi"; return r }())), kind: ErrInvalid, words: "resource provider"},
		{name: "what is no volume", given: roomy(), ops: ops(grow(mib(20, "web"), mib(5, "web"))), kind: ErrInvalid, words: "Invalid persistent volume in the 'GrowVolume.volume' field"},
		{name: "read-only", given: roomy(), ops: ops(grow(with(x, func(d *resource.Disk) { d.Volume = &resource.Volume{ContainerPath: "x", Mode: resource.RO} }), mib(5, "web"))),
			kind: ErrInvalid, words: "Read-only persistent volume not supported"},
		{name: "by cpus", given: roomy(), ops: ops(grow(x, cpus)), kind: ErrInvalid, words: incompatible},
		{name: "by another disk's", given: roomy(reserve(on(mib(5, "web")))), ops: ops(grow(x, on(mib(5, "web")))), kind: ErrInvalid, words: incompatible},
		{name: "by another role's", given: roomy(reserve(mib(5, "db"))), ops: ops(grow(x, mib(5, "db"))), kind: ErrInvalid, words: incompatible},
		{name: "by what is unreserved", given: roomy(), ops: ops(grow(x, mib(5))), kind: ErrInvalid, words: incompatible},
		{name: "by a volume", given: roomy(), ops: ops(grow(x, vol("x", 20, "web"))), kind: ErrInvalid, words: incompatible},
		{name: "on a MOUNT disk", on: divided, given: ops(reserve(whole(mib(500, "web"))), create(whole(vol("x", 500, "web")))),
			ops: ops(grow(whole(vol("x", 500, "web")), whole(mib(1, "web")))), kind: ErrInvalid, words: incompatible},
		{name: "of another size", given: roomy(), ops: ops(grow(vol("x", 19, "web"), mib(5, "web"))), kind: ErrNotFound, words: "grow: Persistent volumes not found: this agent does not contain disk(reservations: [(DYNAMIC,web)])[x:x]:19"},
		{name: "of no such name", given: roomy(), ops: ops(grow(vol("z", 20, "web"), mib(5, "web"))), kind: ErrNotFound, words: "Persistent volumes not found: this agent does not contain"},
		{name: "not shared, as which it is", given: roomy(), ops: ops(grow(vol("s", 20, "web"), mib(5, "web"))), kind: ErrNotFound, words: "does not contain"},
		{name: "in the form that it had before the same batch", given: roomy(), ops: ops(grow(x, mib(5, "web")), grow(x, mib(5, "web"))), kind: ErrNotFound, words: "does not contain"},
		{name: "by more than is left", given: roomy(), ops: ops(grow(x, mib(60.001, "web"))), kind: ErrInsufficient, words: "disk root has 60 MiB with this reservation"},
		{name: "into the space of one that is destroyed in the batch", given: roomy(), ops: ops(Destroy{Ref: "v1"}, grow(x, mib(61, "web"))), kind: ErrInsufficient,
			words: "20 MiB more are back when the volumes that are destroyed are removed"},
		{name: "a lost one", given: roomy(), edit: faulty(UnitOfVolume("v2"), ErrLost), ops: ops(grow(x, mib(5, "web"))), kind: ErrLost, words: "as the test has it"},
		{name: "one whose disk is away", given: roomy(), edit: faulty(UnitOfVolume("v2"), ErrUnavailable), ops: ops(grow(x, mib(5, "web"))), kind: ErrUnavailable, words: "as the test has it"},
		{name: "one that is being destroyed", given: roomy(Destroy{Ref: "v2"}), ops: ops(grow(x, mib(5, "web"))), kind: ErrNotFound, words: "Persistent volumes not found"},
		{name: "beyond all that can be", given: roomy(), ops: ops(grow(x, func() resource.Resource { r := mib(1, "web"); r.Scalar = resource.MaxScalar; return r }())), kind: ErrInvalid, words: "larger than anything can be"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestShrinkAndResizeAreRefused(t *testing.T) {
	t.Parallel()
	x := vol("x", 20, "web")
	held := Claim{Task: "t", Sandbox: "/s/t", Lease: Lease{PID: 7}, Uses: []Use{{Volume: "v1"}}}
	provided, used := x, shrink(x, 5)
	provided.Provider, used.Used = "csi", 15<<20+1
	tight := resize("v2", 15)
	tight.Used = used.Used
	onMount := ops(reserve(whole(mib(500, "web"))), create(whole(vol("x", 500, "web"))))
	for _, c := range []refused{
		{name: "a volume that is no resource", given: roomy(), ops: ops(shrink(vol("x", -1, "web"), 5)), kind: ErrInvalid, words: "Invalid resource in the 'ShrinkVolume.volume' field"},
		{name: "by nothing", given: roomy(), ops: ops(shrink(x, 0)), kind: ErrInvalid, words: "'ShrinkVolume.subtract' must be greater than zero"},
		{name: "by less than nothing", given: roomy(), ops: ops(shrink(x, -1)), kind: ErrInvalid, words: "'ShrinkVolume.subtract' must be greater than zero"},
		{name: "to nothing", given: roomy(), ops: ops(shrink(x, 20)), kind: ErrInvalid, words: "must be smaller than the size of 'ShrinkVolume.volume'"},
		{name: "to less than nothing", given: roomy(), ops: ops(shrink(x, 21)), kind: ErrInvalid, words: "must be smaller than the size of 'ShrinkVolume.volume'"},
		{name: "a provider's", given: roomy(), ops: ops(shrink(provided, 5)), kind: ErrInvalid, words: "Shrinking a volume from a resource provider is not supported"},
		{name: "what is no volume", given: roomy(), ops: ops(shrink(mib(20, "web"), 5)), kind: ErrInvalid, words: "Invalid persistent volume in the 'ShrinkVolume.volume' field"},
		{name: "on a MOUNT disk", on: divided, given: onMount, ops: ops(shrink(whole(vol("x", 500, "web")), 5)), kind: ErrInvalid, words: "on a MOUNT disk is not supported"},
		{name: "of another size", given: roomy(), ops: ops(shrink(vol("x", 19, "web"), 5)), kind: ErrNotFound, words: "does not contain"},
		{name: "while a task holds it", given: roomy(held), ops: ops(shrink(shared(vol("s", 20, "web")), 5)), kind: ErrInUse, words: "Persistent volumes in use: held by task t (pid 7)"},
		{name: "while it is being detached", given: roomy(held), edit: func(s *State) *State {
			a, _ := s.Attachment(Unit{AttachmentUnit, "", "v1", "t", "s"})
			gone := *a
			gone.Gone = true
			return s.With(Change{Attachment: &gone})
		}, ops: ops(resize("v1", 5)), kind: ErrInUse, words: "in use"},
		{name: "to less than is in it", given: roomy(), ops: ops(used), kind: ErrInsufficient, words: "do not fit into 15 MiB; remove some of its files first"},
		{name: "resize to less than is in it", given: roomy(), ops: ops(tight), kind: ErrInsufficient, words: "do not fit into 15 MiB"},
		{name: "resize to nothing", given: roomy(), ops: ops(resize("v2", 0)), kind: ErrInvalid, words: "must be greater than zero"},
		{name: "resize to less than nothing", given: roomy(), ops: ops(resize("v2", -1)), kind: ErrInvalid, words: "must be greater than zero"},
		{name: "resize beyond all that can be", given: roomy(), ops: ops(Resize{Ref: "v2", Size: resource.MaxScalar + 1}), kind: ErrInvalid, words: "not larger than"},
		{name: "resize beyond what is left", given: roomy(), ops: ops(resize("v2", 80.001)), kind: ErrInsufficient, words: "does not contain disk(reservations: [(DYNAMIC,web)]):60.001"},
		{name: "resize of what is not there", given: roomy(), ops: ops(resize("web/z", 1)), kind: ErrNotFound, words: `there is no volume "web/z"`},
		{name: "resize of one that is being destroyed", given: roomy(Destroy{Ref: "v2"}), ops: ops(resize("v2", 1)), kind: ErrNotFound, words: "is being destroyed"},
		{name: "resize on a MOUNT disk", on: divided, given: onMount, ops: ops(resize("v1", 499)), kind: ErrInvalid, words: "on a MOUNT disk is not supported"},
		{name: "resize of a lost one", given: roomy(), edit: faulty(UnitOfVolume("v2"), ErrLost), ops: ops(resize("v2", 1)), kind: ErrLost, words: "as the test has it"},
		{name: "a shrink behind a claim in the same batch", given: roomy(), ops: ops(held, resize("v1", 5)), kind: ErrInUse, words: "in use"},
	} {
		t.Run(c.name, c.run)
	}
}
