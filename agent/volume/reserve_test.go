package volume

import (
	"testing"

	"tenon/agent/resource"
)

func ops(list ...Operation) []Operation { return list }

func static(r resource.Resource) resource.Resource {
	r.Reservations = []resource.Reservation{{Type: resource.Static, Role: "web"}}
	return r
}

// labelled reserves with a principal and a label.
func labelled(r resource.Resource, principal, label string) resource.Resource {
	r.Reservations = []resource.Reservation{{Type: resource.Dynamic, Role: "web", Principal: &principal,
		Labels: []resource.Label{{Key: label}}}}
	return r
}

// offered is a resource as it is in an offer to a role.
func offered(r resource.Resource, role string) resource.Resource { r.Allocation = role; return r }

func TestReserveAndUnreserveMoveSpaceBetweenAccounts(t *testing.T) {
	t.Parallel()
	for _, c := range []accepted{
		{name: "a part of the disk", ops: ops(reserve(mib(1024, "web"))), want: `
			- free root 4096
			+ free root 1024 "DYNAMIC""web"
			+ free root 3072`},
		{name: "all of the disk leaves no unreserved account", ops: ops(reserve(mib(4096, "web"))), want: `
			- free root 4096
			+ free root 4096 "DYNAMIC""web"`},
		{name: "a thousandth", ops: ops(reserve(mib(0.001, "web"))), want: `
			- free root 4096
			+ free root 0.001 "DYNAMIC""web"
			+ free root 4095.999`},
		{name: "offered to the role that it is reserved to", ops: ops(reserve(offered(mib(1024, "web", "web/a"), "web/a"), offered(mib(1, "web"), "web"))),
			given: ops(reserve(mib(1024, "web"))), want: `
			- free root 1024 "DYNAMIC""web"
			- free root 3072
			+ free root 1 "DYNAMIC""web"
			+ free root 1024 "DYNAMIC""web"|"DYNAMIC""web/a"
			+ free root 3071`},
		{name: "twice adds up", given: ops(reserve(mib(0.1, "web"))), ops: ops(reserve(mib(0.1, "web"))), want: `
			- free root 0.1 "DYNAMIC""web"
			- free root 4095.9
			+ free root 0.2 "DYNAMIC""web"
			+ free root 4095.8`},
		{name: "of another disk", ops: ops(reserve(on(mib(10, "web")))), want: `
			- free PATH:/mnt/d 1000
			+ free PATH:/mnt/d 10 "DYNAMIC""web"
			+ free PATH:/mnt/d 990`},
		{name: "a role with slashes", ops: ops(reserve(mib(10, "org/web/front"))), want: `
			- free root 4096
			+ free root 10 "DYNAMIC""org/web/front"
			+ free root 4086`},
		{name: "a refinement takes from what it refines", given: ops(reserve(mib(100, "a"))), ops: ops(reserve(mib(30, "a", "a/b"))), want: `
			- free root 100 "DYNAMIC""a"
			+ free root 30 "DYNAMIC""a"|"DYNAMIC""a/b"
			+ free root 70 "DYNAMIC""a"`},
		{name: "a reservation and its refinement in one operation", ops: ops(reserve(mib(100, "a"), mib(30, "a", "a/b"))), want: `
			- free root 4096
			+ free root 30 "DYNAMIC""a"|"DYNAMIC""a/b"
			+ free root 3996
			+ free root 70 "DYNAMIC""a"`},
		{name: "other principals and labels stay apart", given: ops(reserve(labelled(mib(1, ""), "ops", "x"))),
			ops: ops(reserve(labelled(mib(2, ""), "ops", "y"), labelled(mib(3, ""), "dev", "x"))), want: `
			- free root 4095
			+ free root 2 "DYNAMIC""web" principal="ops"{"y"}
			+ free root 3 "DYNAMIC""web" principal="dev"{"x"}
			+ free root 4090`},
		{name: "unreserve gives back", given: ops(reserve(mib(100, "web"))), ops: ops(Unreserve{[]resource.Resource{mib(40, "web")}}), want: `
			- free root 100 "DYNAMIC""web"
			- free root 3996
			+ free root 4036
			+ free root 60 "DYNAMIC""web"`},
		{name: "unreserve of all leaves no account", given: ops(reserve(mib(100, "web"))), ops: ops(Unreserve{[]resource.Resource{mib(100, "web")}}), want: `
			- free root 100 "DYNAMIC""web"
			- free root 3996
			+ free root 4096`},
		{name: "unreserve takes one reservation of a stack off", given: ops(reserve(mib(100, "a"), mib(30, "a", "a/b"))),
			ops: ops(Unreserve{[]resource.Resource{mib(30, "a", "a/b")}}), want: `
			- free root 30 "DYNAMIC""a"|"DYNAMIC""a/b"
			- free root 70 "DYNAMIC""a"
			+ free root 100 "DYNAMIC""a"`},
		{name: "labels are told apart when they go", given: ops(reserve(labelled(mib(1, ""), "ops", "x"), labelled(mib(1, ""), "ops", "y"))),
			ops: ops(Unreserve{[]resource.Resource{labelled(mib(1, ""), "ops", "x")}}), want: `
			- free root 1 "DYNAMIC""web" principal="ops"{"x"}
			- free root 4094
			+ free root 4095`},
		{name: "a batch is applied in order", ops: ops(reserve(mib(4096, "web")), Unreserve{[]resource.Resource{mib(96, "web")}}, reserve(mib(96, "db"))), want: `
			- free root 4096
			+ free root 4000 "DYNAMIC""web"
			+ free root 96 "DYNAMIC""db"`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestReserveAndUnreserveAreRefused(t *testing.T) {
	t.Parallel()
	const none = "is not dynamically reserved"
	cpus := mib(1, "web")
	cpus.Name = "cpus"
	ranges := resource.Resource{Name: "disk", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 1, End: 2}}}
	provided, revocable, elsewhere := mib(1, "web"), mib(1, "web"), on(mib(1, "web"))
	provided.Provider, revocable.Revocable = "csi", true
	gone := "/mnt/gone"
	elsewhere.Disk.Source.Path = &resource.Root{Root: &gone}
	unreserve := func(rs ...resource.Resource) []Operation { return ops(Unreserve{rs}) }
	for _, c := range []refused{
		{name: "nothing to reserve", ops: ops(Reserve{}), kind: ErrInvalid, words: "Operation contains no resources"},
		{name: "nothing to unreserve", ops: ops(Unreserve{}), kind: ErrInvalid, words: "Operation contains no resources"},
		{name: "reserve what is unreserved", ops: ops(reserve(mib(1))), kind: ErrInvalid, words: none},
		{name: "reserve statically", ops: ops(reserve(static(mib(1)))), kind: ErrInvalid, words: none},
		{name: "unreserve what is unreserved", ops: unreserve(mib(1)), kind: ErrInvalid, words: none},
		{name: "unreserve what is static", ops: unreserve(static(mib(1))), kind: ErrInvalid, words: none},
		{name: "reserve more than there is", ops: ops(reserve(mib(4096.001, "web"))), kind: ErrInsufficient,
			words: "disk:4096 does not contain disk:4096.001"},
		{name: "reserve the same space twice in one operation", ops: ops(reserve(mib(3000, "a"), mib(3000, "b"))), kind: ErrInsufficient,
			words: "does not contain disk:3000"},
		{name: "reserve of another disk than has room", ops: ops(reserve(on(mib(1001, "web")))), kind: ErrInsufficient,
			words: "disk[PATH:/mnt/d]:1000 does not contain disk[PATH:/mnt/d]:1001"},
		{name: "refine more than is reserved", given: ops(reserve(mib(5, "a"))), ops: ops(reserve(mib(6, "a", "a/b"))), kind: ErrInsufficient,
			words: "does not contain disk(reservations: [(DYNAMIC,a)]):6"},
		{name: "unreserve more than is reserved", given: ops(reserve(mib(5, "a"))), ops: unreserve(mib(6, "a")), kind: ErrInsufficient,
			words: "does not contain disk(reservations: [(DYNAMIC,a)]):6"},
		{name: "unreserve another role's", given: ops(reserve(mib(5, "a"))), ops: unreserve(mib(5, "b")), kind: ErrInsufficient, words: "does not contain"},
		{name: "unreserve the lower part of a stack", given: ops(reserve(mib(5, "a"), mib(5, "a", "a/b"))), ops: unreserve(mib(5, "a")),
			kind: ErrInsufficient, words: "does not contain"},
		{name: "unreserve what a volume is carved from", given: ops(reserve(mib(5, "a")), create(vol("x", 5, "a"))), ops: unreserve(mib(5, "a")),
			kind: ErrInsufficient, words: "does not contain"},
		{name: "unreserve the same labels twice", given: ops(reserve(labelled(mib(1, ""), "ops", "y"))), ops: unreserve(labelled(mib(1, ""), "ops", "x")),
			kind: ErrInsufficient, words: "does not contain"},
		{name: "reserve a volume", given: ops(reserve(mib(5, "a")), create(vol("x", 5, "a"))), ops: ops(reserve(vol("x", 5, "a", "a/b"))),
			kind: ErrInvalid, words: "cannot be reserved directly"},
		{name: "unreserve a volume", given: ops(reserve(mib(5, "a")), create(vol("x", 5, "a"))), ops: unreserve(vol("x", 5, "a")),
			kind: ErrInvalid, words: "cannot be unreserved directly. Please destroy the persistent volume first then unreserve the resource"},
		{name: "an unknown disk", ops: ops(reserve(elsewhere)), kind: ErrNotFound, words: "this agent has no disk PATH:/mnt/gone"},
		{name: "cpus", ops: ops(reserve(cpus)), kind: ErrInvalid, words: "is not disk"},
		{name: "disk as ranges", ops: ops(reserve(ranges)), kind: ErrInvalid, words: "is not disk"},
		{name: "nothing of it", ops: ops(reserve(mib(0, "web"))), kind: ErrInvalid, words: "must be greater than zero"},
		{name: "less than nothing", ops: ops(reserve(mib(-1, "web"))), kind: ErrInvalid, words: "value <= 0"},
		{name: "a provider's", ops: ops(reserve(provided)), kind: ErrInvalid, words: "resource provider"},
		{name: "what may be revoked", ops: ops(reserve(revocable)), kind: ErrInvalid, words: "Invalid ReservationInfo"},
		{name: "for everybody", ops: ops(reserve(mib(1, "*"))), kind: ErrInvalid, words: `role "*" cannot be reserved`},
		{name: "for a role that may not be", ops: ops(reserve(mib(1, "a//b"))), kind: ErrInvalid, words: "cannot contain two adjacent slashes"},
		{name: "a refinement that is none", ops: ops(reserve(mib(1, "a", "ab"))), kind: ErrInvalid, words: "is not a refinement"},
		{name: "a batch of which the last is too much", ops: ops(reserve(mib(1, "a")), create(vol("x", 1, "a")), reserve(mib(4096, "b"))),
			kind: ErrInsufficient, words: "does not contain"},
		{name: "a batch in the wrong order", ops: ops(create(vol("x", 1, "a")), reserve(mib(1, "a"))), kind: ErrInsufficient, words: "does not contain"},
		{name: "offered to another role", ops: ops(reserve(mib(1, "web"), offered(mib(1, "web"), "db"))), kind: ErrInvalid,
			words: "A reserve operation was attempted for a resource with role 'web', but it is allocated to role 'db'"},
		{name: "offered to a role above", given: ops(reserve(mib(5, "a"))), ops: ops(reserve(offered(mib(1, "a", "a/b"), "a"))), kind: ErrInvalid,
			words: "with role 'a/b', but it is allocated to role 'a'"},
		{name: "offered to another role, with a source", given: ops(reserve(mib(5, "a"))), ops: ops(again(mib(5, "a"), offered(mib(5, "b"), "a"))),
			kind: ErrInvalid, words: "with role 'b', but it is allocated to role 'a'"},
		{name: "a disk that is configured no more", edit: func(s *State) *State {
			d, _ := s.Disk(dataDisk)
			absent := *d
			absent.Absent = true
			return s.With(Change{Disk: &absent})
		}, ops: ops(reserve(on(mib(1, "web")))), kind: ErrNotFound, words: "has no disk"},
	} {
		t.Run(c.name, c.run)
	}
}
