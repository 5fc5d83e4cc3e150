package volume

import (
	"strings"
	"testing"

	"tenon/agent/resource"
)

func TestCreateCarvesAVolume(t *testing.T) {
	t.Parallel()
	for _, c := range []accepted{
		{name: "from a role's reservation", given: ops(reserve(mib(100, "web"))), ops: ops(create(vol("data", 64, "web"))), want: `
			- free root 100 "DYNAMIC""web"
			+ free root 36 "DYNAMIC""web"
			+ volume v1 web/data 64 on root creating
			touch volume v1`},
		{name: "of all that is reserved, shared", given: ops(reserve(mib(64, "web"))), ops: ops(create(shared(vol("data", 64, "web")))), want: `
			- free root 64 "DYNAMIC""web"
			+ volume v1 web/data 64 on root creating shared
			touch volume v1`},
		{name: "on another disk", given: ops(reserve(on(mib(64, "web")))), ops: ops(create(on(vol("data", 64, "web")))), want: `
			- free PATH:/mnt/d 64 "DYNAMIC""web"
			+ volume v1 web/data 64 on PATH:/mnt/d creating
			touch volume v1`},
		{name: "from a refined reservation, named by its last role", given: ops(reserve(mib(64, "org"), mib(64, "org", "org/web"))),
			ops: ops(create(vol("data", 64, "org", "org/web"))), want: `
			- free root 64 "DYNAMIC""org"|"DYNAMIC""org/web"
			+ volume v1 org/web/data 64 on root creating
			touch volume v1`},
		{name: "reserved in the same batch", ops: ops(reserve(mib(10, "web")), create(vol("a", 4, "web")), create(vol("b", 6, "web"))), want: `
			- free root 4096
			+ free root 4086
			+ volume v1 web/a 4 on root creating
			+ volume v2 web/b 6 on root creating
			touch volume v1
			touch volume v2`},
		{name: "by role, from the first reservation that has room", given: ops(reserve(mib(8, "web"), labelled(mib(64, ""), "ops", "x"))),
			ops: ops(Create{Volume: vol("data", 32), Role: "web"}), want: `
			- free root 64 "DYNAMIC""web" principal="ops"{"x"}
			+ free root 32 "DYNAMIC""web" principal="ops"{"x"}
			+ volume v1 web/data 32 on root creating
			touch volume v1`},
		{name: "by role, from a refinement to it", given: ops(reserve(mib(64, "org"), mib(64, "org", "org/web"))),
			ops: ops(Create{Volume: vol("data", 64), Role: "org/web"}), want: `
			- free root 64 "DYNAMIC""org"|"DYNAMIC""org/web"
			+ volume v1 org/web/data 64 on root creating
			touch volume v1`},
		{name: "by role, on another disk", given: ops(reserve(mib(64, "web"), on(mib(64, "web")))),
			ops: ops(Create{Volume: on(vol("data", 64)), Role: "web"}), want: `
			- free PATH:/mnt/d 64 "DYNAMIC""web"
			+ volume v1 web/data 64 on PATH:/mnt/d creating
			touch volume v1`},
		{name: "a stack goes before a role", given: ops(reserve(mib(64, "web"), mib(64, "db"))),
			ops: ops(Create{Volume: vol("data", 64, "db"), Role: "web"}), want: `
			- free root 64 "DYNAMIC""db"
			+ volume v1 db/data 64 on root creating
			touch volume v1`},
		{name: "the same id for another role", given: ops(reserve(mib(64, "web"), mib(64, "web/data")), create(vol("data", 64, "web"))),
			ops: ops(create(vol("data", 64, "web/data"))), want: `
			- free root 64 "DYNAMIC""web/data"
			+ volume v2 web/data/data 64 on root creating
			touch volume v2`},
		{name: "the name of one that is being destroyed, when there is space", given: ops(reserve(mib(10, "web")), create(vol("x", 4, "web")), Destroy{Ref: "web/x"}),
			ops: ops(create(vol("x", 6, "web"))), want: `
			- free root 6 "DYNAMIC""web"
			+ volume v2 web/x 6 on root creating
			touch volume v2`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestCreateKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, reserve(mib(64, "web")))
	owner := Owner{UID: 7, GID: 8, Mode: 0o2770}
	principal := "ops"
	r := with(shared(vol("data", 64, "web")), func(d *resource.Disk) {
		d.Persistence = &resource.Persistence{ID: "data", Principal: &principal}
		d.Volume = &resource.Volume{ContainerPath: "here/there", Mode: resource.RW}
	})
	out, err := Apply(s, env, Create{Volume: r, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	v, ok := out.Next.Named(Name{Role: "web", ID: "data"})
	if !ok {
		t.Fatal("there is no volume web/data")
	}
	if v.Owner != owner || v.ContainerPath != "here/there" || v.Principal == nil || *v.Principal != "ops" || !v.Created.Equal(second) || !v.Shared {
		t.Errorf("got %+v", v)
	}
	if got := out.Next.Resource(v); !resource.Equal(got, r) || got.String() != r.String() {
		t.Errorf("the volume is the resource %s, want %s", got, r)
	}
}

func TestCreateIsRefused(t *testing.T) {
	t.Parallel()
	room := ops(reserve(mib(100, "web"), mib(100, "db"), on(mib(10, "web"))))
	taken := append(room, create(vol("data", 10, "web")))
	revocable, provided := vol("data", 1, "web"), vol("data", 1, "web")
	revocable.Revocable, provided.Provider = true, "csi"
	hostPath, gone := "/etc", "/mnt/gone"
	id := func(id string) Operation {
		return create(with(vol("data", 1, "web"), func(d *resource.Disk) { d.Persistence = &resource.Persistence{ID: id} }))
	}
	at := func(v *resource.Volume) Operation {
		return create(with(vol("data", 1, "web"), func(d *resource.Disk) { d.Volume = v }))
	}
	byRole := func(n float64, role string) []Operation { return ops(Create{Volume: vol("data", n), Role: role}) }
	for _, c := range []refused{
		{name: "a taken name", given: taken, ops: ops(create(vol("data", 10, "web"))), kind: ErrExists, words: "Persistence ID 'data' is not unique"},
		{name: "a taken name on another disk", given: taken, ops: ops(create(on(vol("data", 10, "web")))), kind: ErrExists, words: "Persistence ID 'data' is not unique"},
		{name: "a shared volume that exists, verbatim", given: append(room, create(shared(vol("s", 10, "web")))), ops: ops(create(shared(vol("s", 10, "web")))),
			kind: ErrExists, words: "Persistence ID 's' is not unique"},
		{name: "a name twice in one batch", given: room, ops: ops(create(vol("x", 1, "web")), create(vol("x", 1, "web"))), kind: ErrExists, words: "is not unique"},
		{name: "a taken name, by role", given: taken, ops: byRole(1, "web"), kind: ErrExists, words: "is not unique"},
		{name: "more than is reserved", given: room, ops: ops(create(vol("data", 100.001, "web"))), kind: ErrInsufficient,
			words: "does not contain disk(reservations: [(DYNAMIC,web)]):100.001"},
		{name: "of what is reserved to another principal", given: ops(reserve(labelled(mib(9, ""), "ops", "x"))), ops: ops(create(vol("data", 9, "web"))),
			kind: ErrInsufficient, words: "does not contain"},
		{name: "with the space of one that is being destroyed", given: append(taken, Destroy{Ref: "web/data"}), ops: ops(create(vol("data", 91, "web"))),
			kind: ErrInsufficient, words: "does not contain"},
		{name: "more than one reservation of the role has", given: room, ops: byRole(101, "web"), kind: ErrInsufficient,
			words: "disk root has 100 MiB reserved for role web in one piece, 101 MiB is asked for"},
		{name: "for a role with nothing reserved", given: room, ops: byRole(1, "ops"), kind: ErrInsufficient, words: "tenon reserve disk:1 --role ops"},
		{name: "for a role that may not be", given: room, ops: byRole(1, "-x"), kind: ErrInvalid, words: "starts with a dash"},
		{name: "from unreserved space", ops: ops(create(vol("data", 1))), kind: ErrInvalid, words: "cannot be created from unreserved resources"},
		{name: "from revocable space", given: room, ops: ops(create(revocable)), kind: ErrInvalid, words: "cannot be created from revocable resources"},
		{name: "from a static reservation that is not there", given: room, ops: ops(create(static(vol("data", 1)))), kind: ErrInsufficient, words: "does not contain"},
		{name: "from a provider's disk", given: room, ops: ops(create(provided)), kind: ErrInvalid, words: "resource provider"},
		{name: "of no size", given: room, ops: ops(create(vol("data", 0, "web"))), kind: ErrInvalid, words: "must be greater than zero"},
		{name: "no volume at all", given: room, ops: ops(create(mib(1, "web"))), kind: ErrInvalid, words: "does not have DiskInfo"},
		{name: "without a persistence", given: room, ops: ops(create(on(mib(1, "web")))), kind: ErrInvalid, words: "'persistence' is not set in DiskInfo"},
		{name: "without a container path's volume", given: room, ops: ops(at(nil)), kind: ErrInvalid, words: "Expecting 'volume' to be set"},
		{name: "without a persistence, with a volume", given: room, ops: ops(create(with(vol("data", 1, "web"), func(d *resource.Disk) { d.Persistence = nil }))),
			kind: ErrInvalid, words: "Non-persistent volume not supported"},
		{name: "read-only", given: room, ops: ops(at(&resource.Volume{ContainerPath: "p", Mode: resource.RO})), kind: ErrInvalid,
			words: "Read-only persistent volume not supported"},
		{name: "with a host path", given: room, ops: ops(at(&resource.Volume{ContainerPath: "p", HostPath: &hostPath, Mode: resource.RW})), kind: ErrInvalid,
			words: "Expecting 'host_path' to be unset"},
		{name: "at an absolute path", given: room, ops: ops(at(&resource.Volume{ContainerPath: "/p", Mode: resource.RW})), kind: ErrInvalid, words: "must be relative"},
		{name: "outside the sandbox", given: room, ops: ops(at(&resource.Volume{ContainerPath: "../p", Mode: resource.RW})), kind: ErrInvalid, words: "must be clean"},
		{name: "with no id", given: room, ops: ops(id("")), kind: ErrInvalid, words: "ID must not be empty"},
		{name: "with a path for an id", given: room, ops: ops(id("a/b")), kind: ErrInvalid, words: "'a/b' contains invalid characters"},
		{name: "with dots for an id", given: room, ops: ops(id("..")), kind: ErrInvalid, words: "'..' is disallowed"},
		{name: "with a long id", given: room, ops: ops(id(strings.Repeat("x", 256))), kind: ErrInvalid, words: "greater than 255 characters"},
		{name: "on an unknown disk", given: room, ops: ops(create(with(on(vol("data", 1, "web")), func(d *resource.Disk) {
			d.Source = &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &gone}}
		}))), kind: ErrNotFound, words: "has no disk PATH:/mnt/gone"},
		{name: "on a disk that is away", given: room, edit: faulty(UnitOfDisk(dataDisk), ErrUnavailable), ops: ops(create(on(vol("data", 1, "web")))),
			kind: ErrUnavailable, words: "disk PATH:/mnt/d is unavailable"},
		{name: "in a batch whose first part was fine", given: room, ops: ops(create(vol("a", 1, "web")), create(vol("b", 1000, "web"))), kind: ErrInsufficient, words: "does not contain"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestDestroyLeavesATombstone(t *testing.T) {
	t.Parallel()
	given := ops(reserve(mib(64, "a/b")), create(shared(vol("data", 64, "a/b"))))
	gone := `
		- volume v1 a/b/data 64 on root ready shared
		+ volume v1 a/b/data 64 on root destroying shared
		touch volume v1`
	asked := with(shared(vol("data", 64, "a/b")), func(d *resource.Disk) {
		principal := "somebody"
		d.Persistence = &resource.Persistence{ID: "data", Principal: &principal}
		d.Volume = &resource.Volume{ContainerPath: "elsewhere", Mode: resource.RW}
	})
	allocated := shared(vol("data", 64, "a/b"))
	allocated.Allocation = "a/b"
	held := Claim{Task: "t", Sandbox: "/s/t", Uses: []Use{{Volume: "a/b/data"}}}
	for _, c := range []accepted{
		{name: "by name", given: given, ops: ops(Destroy{Ref: "a/b/data"}), want: gone},
		{name: "by uuid", given: given, ops: ops(Destroy{Ref: "v1"}), want: gone},
		{name: "as a resource", given: given, ops: ops(Destroy{Volume: shared(vol("data", 64, "a/b"))}), want: gone},
		{name: "as a resource at another path and of another principal", given: given, ops: ops(Destroy{Volume: asked}), want: gone},
		{name: "as a resource that was allocated to a role", given: given, ops: ops(Destroy{Volume: allocated}), want: gone},
		{name: "a lost one", given: given, edit: faulty(UnitOfVolume("v1"), ErrLost), ops: ops(Destroy{Ref: "v1"}), want: gone},
		{name: "one that is being made", ops: append(given, Destroy{Ref: "a/b/data"}), want: `
			- free root 4096
			+ free root 4032
			+ volume v1 a/b/data 64 on root destroying shared
			touch volume v1`},
		{name: "again, by uuid", given: append(given, Destroy{Ref: "v1"}), ops: ops(Destroy{Ref: "v1"}), want: `touch volume v1`},
		{name: "once its last holder is gone", given: append(given, held), edit: func(s *State) *State {
			return s.With(Change{Drop: &Drop{Volume: "v1", Task: "t", Path: "data"}})
		}, ops: ops(Destroy{Ref: "v1"}), want: gone},
	} {
		t.Run(c.name, c.run)
	}
}

func TestDestroyIsRefused(t *testing.T) {
	t.Parallel()
	given := ops(reserve(mib(64, "web")), create(shared(vol("data", 64, "web"))))
	claim := Claim{Task: "t", Sandbox: "/s/t", Lease: Lease{PID: 42}, Uses: []Use{{Volume: "web/data"}}}
	attach := Attach{Task: "t", Sandbox: "/s/t", Use: Use{Volume: "web/data"}, Via: ByPath}
	held := append(given, claim)
	ro := with(shared(vol("data", 64, "web")), func(d *resource.Disk) { d.Volume = &resource.Volume{ContainerPath: "data", Mode: resource.RO} })
	for _, c := range []refused{
		{name: "claimed", given: held, ops: ops(Destroy{Ref: "web/data"}), kind: ErrInUse, words: "Persistent volumes in use: held by task t (pid 42)"},
		{name: "attached", given: append(given, attach), ops: ops(Destroy{Ref: "web/data"}), kind: ErrInUse, words: "Persistent volumes in use: held by task t"},
		{name: "attached, as a resource", given: append(given, attach), ops: ops(Destroy{Volume: shared(vol("data", 64, "web"))}), kind: ErrInUse, words: "Persistent volumes in use"},
		{name: "being detached", given: append(given, attach, Detach{Task: "t", Volume: "web/data"}), ops: ops(Destroy{Ref: "v1"}), kind: ErrInUse, words: "in use"},
		{name: "held by a task that is being released", given: append(held, Release{Task: "t", Ended: true}), ops: ops(Destroy{Ref: "v1"}), kind: ErrInUse, words: "in use"},
		{name: "claimed in the same batch", given: given, ops: ops(claim, Destroy{Ref: "web/data"}), kind: ErrInUse, words: "in use"},
		{name: "an unknown name", given: given, ops: ops(Destroy{Ref: "web/other"}), kind: ErrNotFound, words: `there is no volume "web/other"`},
		{name: "the name of one that is being destroyed", given: append(given, Destroy{Ref: "v1"}), ops: ops(Destroy{Ref: "web/data"}), kind: ErrNotFound, words: "no volume"},
		{name: "of another size", given: given, ops: ops(Destroy{Volume: shared(vol("data", 63, "web"))}), kind: ErrNotFound, words: "Persistent volumes not found"},
		{name: "not shared", given: given, ops: ops(Destroy{Volume: vol("data", 64, "web")}), kind: ErrNotFound, words: "Persistent volumes not found"},
		{name: "of another role", given: given, ops: ops(Destroy{Volume: shared(vol("data", 64, "db"))}), kind: ErrNotFound, words: "Persistent volumes not found"},
		{name: "of another disk", given: given, ops: ops(Destroy{Volume: on(shared(vol("data", 64, "web")))}), kind: ErrNotFound, words: "Persistent volumes not found"},
		{name: "of another stack", given: given, ops: ops(Destroy{Volume: shared(vol("data", 64, "we", "we/web"))}), kind: ErrNotFound, words: "not found"},
		{name: "read-only", given: given, ops: ops(Destroy{Volume: ro}), kind: ErrInvalid, words: "Read-only persistent volume not supported"},
		{name: "what is no volume", given: given, ops: ops(Destroy{Volume: mib(64, "web")}), kind: ErrInvalid, words: "does not have DiskInfo"},
		{name: "nothing", given: given, ops: ops(Destroy{}), kind: ErrInvalid, words: "invalid"},
		{name: "on a disk that is away", given: given, edit: faulty(UnitOfVolume("v1"), ErrUnavailable), ops: ops(Destroy{Ref: "v1"}), kind: ErrUnavailable, words: "destroy web/data"},
		{name: "twice in a batch, by name", given: given, ops: ops(Destroy{Ref: "web/data"}, Destroy{Ref: "web/data"}), kind: ErrNotFound, words: "no volume"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestARefusalToDestroyNamesTheHolders(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, reserve(mib(64, "web")), create(shared(vol("data", 64, "web"))))
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		s = mustApply(t, s, env, Claim{Task: id, Sandbox: "/s/" + id, Uses: []Use{{Volume: "v1"}}})
	}
	_, err := Apply(s, env, Destroy{Ref: "v1"})
	e, ok := err.(*Error)
	if !ok || len(e.Holders) != 5 {
		t.Fatalf("got %v with %+v, want five holders", err, e)
	}
	if want := "held by task a, task b, task c, 2 more"; !strings.Contains(e.Message, want) {
		t.Errorf("got %q, want … %s", e.Message, want)
	}
}

// A name is free as soon as its volume is a tombstone; when that is gone, the name stays
// with whoever took it, whatever is replayed in which order.
func TestANameStaysWithItsNewVolume(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, reserve(mib(10, "web")), create(vol("x", 4, "web")), Destroy{Ref: "web/x"}, create(vol("x", 6, "web")))
	tombstone, _ := s.Volume("v1")
	later := map[string]*State{
		"the tombstone is put again": s.With(Change{Volume: tombstone}),
		"the tombstone is gone":      s.With(Settle(s, UnitOfVolume("v1"), Seen{}, second)...),
		"the agent starts anew":      refold(t, s),
	}
	for what, s := range later {
		if v, ok := s.Named(Name{"web", "x"}); !ok || v.UUID != "v2" {
			t.Errorf("%s: web/x is %+v, %v, want v2", what, v, ok)
		}
		if err := checkIndexes(s); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := later["the tombstone is gone"].Free("", mib(1, "web").Reservations); got != 4*resource.One {
		t.Errorf("%s is free, want 4", got)
	}
}
