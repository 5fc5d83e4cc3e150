package volume

import (
	"testing"

	"tenon/agent/resource"
)

// again re-reserves.
func again(source, to resource.Resource) Reserve {
	return Reserve{Source: []resource.Resource{source}, Resources: []resource.Resource{to}}
}

// nowhere puts a resource on a disk that no machine has.
func nowhere(r resource.Resource, root string) resource.Resource {
	r = on(r)
	r.Disk.Source.Path = &resource.Root{Root: &root}
	return r
}

// refined pushes a dynamic reservation on the static one of role web.
func refined(r resource.Resource, role string) resource.Resource {
	return static(r).PushReservation(dynamicFor(role))
}

func TestReserveWithASourceChangesTheReservationInOneStep(t *testing.T) {
	t.Parallel()
	list := func(rs ...resource.Resource) []resource.Resource { return rs }
	for _, c := range []accepted{
		{name: "from role to role", given: ops(reserve(mib(100, "a"))), ops: ops(again(mib(40, "a"), mib(40, "b"))), want: `
			- free root 100 "DYNAMIC""a"
			+ free root 40 "DYNAMIC""b"
			+ free root 60 "DYNAMIC""a"`},
		{name: "from nobody, several steps deep", ops: ops(again(mib(40), mib(40, "a", "a/b"))), want: `
			- free root 4096
			+ free root 40 "DYNAMIC""a"|"DYNAMIC""a/b"
			+ free root 4056`},
		{name: "from a refined stack to another one", given: ops(reserve(mib(40, "a"), mib(40, "a", "a/b"))), ops: ops(again(mib(40, "a", "a/b"), mib(40, "c", "c/d"))), want: `
			- free root 40 "DYNAMIC""a"|"DYNAMIC""a/b"
			+ free root 40 "DYNAMIC""c"|"DYNAMIC""c/d"`},
		{name: "other labels", given: ops(reserve(labelled(mib(4, ""), "ops", "x"))), ops: ops(again(labelled(mib(4, ""), "ops", "x"), labelled(mib(4, ""), "ops", "y"))), want: `
			- free root 4 "DYNAMIC""web" principal="ops"{"x"}
			+ free root 4 "DYNAMIC""web" principal="ops"{"y"}`},
		{name: "of two disks, named in another order", given: ops(reserve(mib(5, "a"), on(mib(6, "a")))),
			ops: ops(Reserve{Source: list(mib(5, "a"), on(mib(6, "a"))), Resources: list(on(mib(6, "b")), mib(2, "b"), mib(3, "b"))}), want: `
			- free PATH:/mnt/d 6 "DYNAMIC""a"
			- free root 5 "DYNAMIC""a"
			+ free PATH:/mnt/d 6 "DYNAMIC""b"
			+ free root 5 "DYNAMIC""b"`},
		{name: "to what it is", given: ops(reserve(mib(100, "a"))), ops: ops(again(mib(40, "a"), mib(40, "a")))},
		{name: "above a static reservation", on: divided, given: ops(reserve(refined(mib(5), "web/a"))), ops: ops(again(refined(mib(5), "web/a"), refined(mib(5), "web/b"))), want: `
			- free root 5 "STATIC""web"|"DYNAMIC""web/a"
			+ free root 5 "STATIC""web"|"DYNAMIC""web/b"`},
		{name: "all of a MOUNT disk", on: divided, given: ops(reserve(whole(mib(500, "a")))), ops: ops(again(whole(mib(500, "a")), whole(mib(500, "b")))), want: `
			- free MOUNT:/mnt/m 500 "DYNAMIC""a"
			+ free MOUNT:/mnt/m 500 "DYNAMIC""b"`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestReserveWithASourceIsRefused(t *testing.T) {
	t.Parallel()
	list := func(rs ...resource.Resource) []resource.Resource { return rs }
	given := ops(reserve(mib(50, "a"), mib(50, "b"), on(mib(50, "a"))))
	huge := mib(0, "a")
	huge.Scalar = resource.MaxScalar
	const other, mixed = "Source and target resources should refer to identical resource quantities", "Mixed reservations are not supported"
	for _, c := range []refused{
		{name: "to nothing", given: given, ops: ops(Reserve{Source: list(mib(5, "a"))}), kind: ErrInvalid, words: "Operation contains no resources"},
		{name: "more than the source", given: given, ops: ops(again(mib(5, "a"), mib(6, "b"))), kind: ErrInvalid, words: other},
		{name: "less than the source", given: given, ops: ops(again(mib(5, "a"), mib(4, "b"))), kind: ErrInvalid, words: other},
		{name: "on another disk", given: given, ops: ops(again(mib(5, "a"), on(mib(5, "b")))), kind: ErrInvalid, words: other},
		{name: "on another disk, in Mesos' words", given: given, ops: ops(again(mib(5, "a"), on(mib(5, "b")))), kind: ErrInvalid, words: "quantities: disk:5 is not disk[PATH:/mnt/d]:5"},
		{name: "of a disk that is not there, whatever it is to be", given: given, ops: ops(again(nowhere(mib(5, "a"), "/1"), mib(6, "b"))), kind: ErrNotFound, words: "this agent has no disk PATH:/1"},
		{name: "to a disk that is not there", given: given, ops: ops(again(mib(6, "a"), nowhere(mib(5, "b"), "/1"))), kind: ErrNotFound, words: "this agent has no disk PATH:/1"},
		{name: "more than can be counted", given: given, ops: ops(Reserve{Source: list(huge, huge), Resources: list(huge, huge)}), kind: ErrInvalid, words: "more than anything can be"},
		{name: "from several reservations", given: given, ops: ops(Reserve{Source: list(mib(5, "a"), mib(5, "b")), Resources: list(mib(10, "c"))}), kind: ErrInvalid, words: mixed},
		{name: "to several reservations", given: given, ops: ops(Reserve{Source: list(mib(10, "a")), Resources: list(mib(5, "c"), mib(5, "d"))}), kind: ErrInvalid, words: mixed},
		{name: "to what is unreserved", given: given, ops: ops(again(mib(5, "a"), mib(5))), kind: ErrInvalid, words: "is not dynamically reserved"},
		{name: "a source that is no resource", given: given, ops: ops(again(mib(-5, "a"), mib(5, "b"))), kind: ErrInvalid, words: "Invalid source"},
		{name: "a volume as the source", given: append(given, create(vol("x", 5, "a"))), ops: ops(again(vol("x", 5, "a"), mib(5, "b"))), kind: ErrInvalid, words: "Invalid source"},
		{name: "a volume as the target", given: append(given, create(vol("x", 5, "a"))), ops: ops(again(mib(5, "a"), vol("x", 5, "b"))), kind: ErrInvalid, words: "cannot be reserved directly"},
		{name: "more than the source's reservation has", given: given, ops: ops(again(mib(51, "a"), mib(51, "b"))), kind: ErrInsufficient, words: "does not contain disk(reservations: [(DYNAMIC,a)]):51"},
		{name: "what a volume is carved from", given: append(given, create(vol("x", 50, "a"))), ops: ops(again(mib(1, "a"), mib(1, "b"))), kind: ErrInsufficient, words: "does not contain"},
		{name: "to what it is, and is not there", given: given, ops: ops(again(mib(51, "a"), mib(51, "a"))), kind: ErrInsufficient, words: "does not contain"},
		{name: "what is unreserved to a static base", on: divided, ops: ops(again(mib(5), refined(mib(5), "web/a"))), kind: ErrInvalid, words: "static reservations are the configuration's to change"},
		{name: "what is static to no base", on: divided, ops: ops(again(static(mib(5)), mib(5, "a"))), kind: ErrInvalid, words: "static reservations are the configuration's to change"},
		{name: "part of a MOUNT disk", on: divided, given: ops(reserve(whole(mib(500, "a")))), ops: ops(again(whole(mib(5, "a")), whole(mib(5, "b")))), kind: ErrInsufficient, words: "a MOUNT disk goes as a whole"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestWhoeverAsksMustBeNamed(t *testing.T) {
	t.Parallel()
	ops1, ops2 := "ops", "dev"
	by := func(r resource.Resource, principal *string) resource.Resource {
		return with(r, func(d *resource.Disk) { d.Persistence = &resource.Persistence{ID: "x", Principal: principal} })
	}
	room := ops(reserve(mib(9, "web")))
	mine := Reserve{Resources: []resource.Resource{labelled(mib(1, ""), "ops", "x")}, Principal: "ops"}
	for _, c := range []refused{
		{name: "reserve by nobody", ops: ops(Reserve{Resources: []resource.Resource{mib(1, "web")}, Principal: "ops"}), kind: ErrInvalid, words: "with no principal set"},
		{name: "reserve by somebody else", ops: ops(Reserve{Resources: []resource.Resource{labelled(mib(1, ""), "dev", "x")}, Principal: "ops"}), kind: ErrInvalid, words: "with principal 'dev'"},
		{name: "of several, one by somebody else", ops: ops(Reserve{Resources: append(mine.Resources, labelled(mib(1, ""), "dev", "x")), Principal: "ops"}), kind: ErrInvalid, words: "with principal 'dev'"},
		{name: "reserve again for somebody else", given: ops(mine), ops: ops(Reserve{Source: mine.Resources, Resources: []resource.Resource{labelled(mib(1, ""), "dev", "x")}, Principal: "ops"}), kind: ErrInvalid, words: "with principal 'dev'"},
		{name: "create by nobody", given: room, ops: ops(Create{Volume: by(vol("x", 1, "web"), nil), Principal: "ops"}), kind: ErrInvalid, words: "with no principal set in 'disk.persistence'"},
		{name: "create by somebody else", given: room, ops: ops(Create{Volume: by(vol("x", 1, "web"), &ops2), Principal: "ops"}), kind: ErrInvalid, words: "with principal 'dev' set in 'disk.persistence'"},
	} {
		t.Run(c.name, c.run)
	}
	for _, c := range []accepted{
		{name: "reserve by oneself", ops: ops(mine), want: `
			- free root 4096
			+ free root 1 "DYNAMIC""web" principal="ops"{"x"}
			+ free root 4095`},
		{name: "unreserve asks for nobody", given: ops(mine), ops: ops(Unreserve{mine.Resources}), want: `
			- free root 1 "DYNAMIC""web" principal="ops"{"x"}
			- free root 4095
			+ free root 4096`},
		{name: "create by oneself", given: room, ops: ops(Create{Volume: by(vol("x", 1, "web"), &ops1), Principal: "ops"}), want: `
			- free root 9 "DYNAMIC""web"
			+ free root 8 "DYNAMIC""web"
			+ volume v1 web/x 1 on root creating
			touch volume v1`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestAMountDiskGoesAsAWhole(t *testing.T) {
	t.Parallel()
	all := ops(reserve(whole(mib(500, "web"))))
	const words = "a MOUNT disk goes as a whole"
	for _, c := range []refused{
		{name: "reserve a part", on: divided, ops: ops(reserve(whole(mib(499, "web")))), kind: ErrInsufficient, words: words},
		{name: "reserve more", on: divided, ops: ops(reserve(whole(mib(501, "web")))), kind: ErrInsufficient, words: words},
		{name: "in two parts", on: divided, ops: ops(reserve(whole(mib(250, "web")), whole(mib(250, "web")))), kind: ErrInsufficient, words: words},
		{name: "unreserve a part", on: divided, given: all, ops: ops(Unreserve{[]resource.Resource{whole(mib(1, "web"))}}), kind: ErrInsufficient, words: words},
		{name: "carve a part", on: divided, given: all, ops: ops(create(whole(vol("x", 499, "web")))), kind: ErrInsufficient, words: words},
		{name: "unreserve a part of one that is destroyed", on: divided, given: append(all, create(whole(vol("x", 500, "web")))),
			ops: ops(Destroy{Ref: "v1"}, Unreserve{[]resource.Resource{whole(mib(1, "web"))}}), kind: ErrInsufficient, words: "more are back"},
	} {
		t.Run(c.name, c.run)
	}
	for _, c := range []accepted{
		{name: "all of it", on: divided, ops: append(all, create(whole(vol("x", 500, "web")))), want: `
			- free MOUNT:/mnt/m 500
			+ volume v1 web/x 500 on MOUNT:/mnt/m creating
			touch volume v1`},
		{name: "and all of it back", on: divided, given: append(all, create(whole(vol("x", 500, "web")))), ops: ops(Destroy{Ref: "v1"}, Unreserve{[]resource.Resource{whole(mib(500, "web"))}}), want: `
			- volume v1 web/x 500 on MOUNT:/mnt/m ready
			+ volume v1 web/x 500 on MOUNT:/mnt/m destroying back 500 []
			touch volume v1`},
	} {
		t.Run(c.name, c.run)
	}
}
