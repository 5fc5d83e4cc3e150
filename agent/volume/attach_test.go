package volume

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// volumes are a shared volume v1 "a/b/s" and exclusive ones v2 "web/x" and v3 "web/y".
func volumes() []Operation {
	return ops(reserve(mib(64, "a/b"), mib(64, "web")), create(shared(vol("s", 64, "a/b"))), create(vol("x", 10, "web")), create(vol("y", 10, "web")))
}

func given(more ...Operation) []Operation { return append(volumes(), more...) }

func claim(task string, uses ...Use) Claim {
	return Claim{Task: task, Sandbox: "/s/" + task, Own: true, Lease: Lease{PID: 42, Start: 7}, Uses: uses}
}

func attach(task, ref, path string, mode resource.Mode) Attach {
	return Attach{Task: task, Sandbox: "/s/" + task, Use: Use{Volume: ref, Path: path, Mode: mode}, Via: ByPath}
}

func noExec(a Attach) Attach { a.NoExec = true; return a }

func seenAs(a Attach, uid, gid uint32) Attach { a.As = &ID{uid, gid}; return a }

func byDescriptor(a Attach) Attach { a.Via = ByDescriptor; return a }

func detach(task, ref string) Detach { return Detach{Task: task, Volume: ref} }

func dropAttachment(v UUID, task, path string) func(*State) *State {
	return func(s *State) *State { return s.With(Change{Drop: &Drop{Volume: v, Task: task, Path: path}}) }
}

func TestClaimAnnouncesATaskAndWhatItUses(t *testing.T) {
	t.Parallel()
	two := claim("t", Use{Volume: "web/x"}, Use{Volume: "a/b/s", Path: "in/side", Mode: resource.RO})
	for _, c := range []accepted{
		{name: "nothing but a task", given: given(), ops: ops(Claim{Task: "t", Sandbox: "/s/t"}), want: `
			+ task t /s/t
			touch task t`},
		{name: "two volumes, by default at the volume's path and RW", given: given(), ops: ops(two), want: `
			+ attachment v1 t in/side RO claim
			+ attachment v2 t x RW claim
			+ task t /s/t own lease 42@7
			touch task t
			touch volume v2 in task t at x
			touch volume v1 in task t at in/side`},
		{name: "the same again changes nothing", given: given(two), ops: ops(two), want: `
			touch task t
			touch volume v2 in task t at x
			touch volume v1 in task t at in/side`},
		{name: "the same after it was attached changes nothing", given: given(two, attach("t", "web/x", "x", "")), ops: ops(two), want: `
			touch task t
			touch volume v2 in task t at x
			touch volume v1 in task t at in/side`},
		{name: "one more volume of a task that is there", given: given(claim("t")), ops: ops(two), want: `
			+ attachment v1 t in/side RO claim
			+ attachment v2 t x RW claim
			touch task t
			touch volume v2 in task t at x
			touch volume v1 in task t at in/side`},
		{name: "a volume by its uuid, twice at two places in two modes", given: given(),
			ops: ops(claim("t", Use{Volume: "v1", Path: "rw"}, Use{Volume: "v1", Path: "ro", Mode: resource.RO})), want: `
			+ attachment v1 t ro RO claim
			+ attachment v1 t rw RW claim
			+ task t /s/t own lease 42@7
			touch task t
			touch volume v1 in task t at rw
			touch volume v1 in task t at ro`},
		{name: "a shared volume that others hold", given: given(claim("t", Use{Volume: "v1"})), ops: ops(claim("u", Use{Volume: "v1"})), want: `
			+ attachment v1 u s RW claim
			+ task u /s/u own lease 42@7
			touch task u
			touch volume v1 in task u at s`},
		{name: "a sandbox beside another whose name it begins with", given: given(claim("t")), ops: ops(Claim{Task: "u", Sandbox: "/s/t2"}), want: `
			+ task u /s/t2
			touch task u`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestAttachMountsOrRaisesAClaim(t *testing.T) {
	t.Parallel()
	for _, c := range []accepted{
		{name: "a new task", given: given(), ops: ops(attach("t", "web/x", "", "")), want: `
			+ attachment v2 t x RW path
			+ task t /s/t
			touch task t
			touch volume v2 in task t at x`},
		{name: "a new task by descriptor", given: given(), ops: ops(byDescriptor(attach("t", "web/x", "deep/er", resource.RO))), want: `
			+ attachment v2 t deep/er RO descriptor
			+ task t /s/t
			touch task t
			touch volume v2 in task t at deep/er`},
		{name: "of which nothing can be run", given: given(), ops: ops(noExec(attach("t", "web/x", "", ""))), want: `
			+ attachment v2 t x RW,noexec path
			+ task t /s/t
			touch task t
			touch volume v2 in task t at x`},
		{name: "a claim of which nothing can be run", given: given(claim("t", Use{Volume: "web/x", NoExec: true})), ops: ops(byDescriptor(noExec(attach("t", "web/x", "", "")))), want: `
			- attachment v2 t x RW,noexec claim
			+ attachment v2 t x RW,noexec descriptor
			touch volume v2 in task t at x`},
		{name: "seen as somebody's own", given: given(), ops: ops(seenAs(attach("t", "web/x", "", ""), 7, 8)), want: `
			+ attachment v2 t x RW as 7:8 path
			+ task t /s/t
			touch task t
			touch volume v2 in task t at x`},
		{name: "a claim that is seen so, once more", given: given(claim("t", Use{Volume: "web/x", As: &ID{7, 8}})), ops: ops(seenAs(attach("t", "web/x", "", ""), 7, 8)), want: `
			- attachment v2 t x RW as 7:8 claim
			+ attachment v2 t x RW as 7:8 path
			touch volume v2 in task t at x`},
		{name: "a claim becomes a path", given: given(claim("t", Use{Volume: "web/x"})), ops: ops(attach("t", "web/x", "", "")), want: `
			- attachment v2 t x RW claim
			+ attachment v2 t x RW path
			touch volume v2 in task t at x`},
		{name: "a claim becomes a descriptor", given: given(claim("t", Use{Volume: "web/x", Mode: resource.RO})), ops: ops(byDescriptor(attach("t", "web/x", "", resource.RO))), want: `
			- attachment v2 t x RO claim
			+ attachment v2 t x RO descriptor
			touch volume v2 in task t at x`},
		{name: "a claim and its attachment in one batch", given: given(), ops: ops(claim("t", Use{Volume: "web/x"}), attach("t", "web/x", "", "")), want: `
			+ attachment v2 t x RW path
			+ task t /s/t own lease 42@7
			touch task t
			touch volume v2 in task t at x`},
		{name: "the same again changes nothing", given: given(attach("t", "web/x", "", "")), ops: ops(attach("t", "v2", "x", resource.RW)), want: `
			touch volume v2 in task t at x`},
		{name: "an exclusive volume, by its holder, at another place", given: given(attach("t", "web/x", "", "")), ops: ops(attach("t", "web/x", "y", resource.RO)), want: `
			+ attachment v2 t y RO path
			touch volume v2 in task t at y`},
		{name: "a shared volume that others hold", given: given(attach("t", "a/b/s", "", "")), ops: ops(attach("u", "a/b/s", "", resource.RO)), want: `
			+ attachment v1 u s RO path
			+ task u /s/u
			touch task u
			touch volume v1 in task u at s`},
		{name: "another volume beside one whose path it begins with", given: given(attach("t", "web/x", "a/b", "")), ops: ops(attach("t", "web/y", "a/bc", "")), want: `
			+ attachment v3 t a/bc RW path
			touch volume v3 in task t at a/bc`},
		{name: "an exclusive volume once its holder let go", given: given(attach("t", "web/x", "", ""), detach("t", "web/x")), edit: dropAttachment("v2", "t", "x"),
			ops: ops(attach("u", "web/x", "", "")), want: `
			+ attachment v2 u x RW path
			+ task u /s/u
			touch task u
			touch volume v2 in task u at x`},
		{name: "although the volume has a fault that is neither loss nor absence", given: given(), edit: faulty(UnitOfVolume("v2"), ErrFailed), ops: ops(attach("t", "web/x", "", "")), want: `
			+ attachment v2 t x RW path
			+ task t /s/t
			touch task t
			touch volume v2 in task t at x`},
	} {
		t.Run(c.name, c.run)
	}
}

// making takes a volume back to where it is being made.
func making(id UUID) func(*State) *State {
	return func(s *State) *State {
		v, _ := s.Volume(id)
		early := *v
		early.Phase = Creating
		return s.With(Change{Volume: &early})
	}
}

func TestClaimAndAttachAreRefused(t *testing.T) {
	t.Parallel()
	held := given(claim("t", Use{Volume: "web/x"}))
	for _, c := range []refused{
		{name: "an exclusive volume that another task claimed", given: held, ops: ops(attach("u", "web/x", "", "")), kind: ErrInUse,
			words: "volume web/x is exclusive and held by task t (pid 42)"},
		{name: "a claim of an exclusive volume that another task has", given: given(attach("t", "web/x", "", "")), ops: ops(claim("u", Use{Volume: "web/x", Mode: resource.RO})),
			kind: ErrInUse, words: "held by task t"},
		{name: "an exclusive volume that is not detached yet", given: given(attach("t", "web/x", "", ""), detach("t", "web/x")), ops: ops(attach("u", "web/x", "", "")),
			kind: ErrInUse, words: "held by task t"},
		{name: "an exclusive volume by two tasks of one batch", given: given(), ops: ops(claim("t", Use{Volume: "web/x"}), claim("u", Use{Volume: "web/x"})), kind: ErrInUse, words: "held by task t"},
		{name: "another mode", given: given(attach("t", "web/x", "", "")), ops: ops(attach("t", "web/x", "", resource.RO)), kind: ErrExists, words: "is attached RW; set its mode, or detach it first"},
		{name: "another mode than was claimed", given: held, ops: ops(attach("t", "web/x", "", resource.RO)), kind: ErrExists, words: "RW"},
		{name: "a claim of another mode", given: held, ops: ops(claim("t", Use{Volume: "web/x", Mode: resource.RO})), kind: ErrExists, words: "RW"},
		{name: "without noexec what was claimed with it", given: given(claim("t", Use{Volume: "web/x", NoExec: true})), ops: ops(attach("t", "web/x", "", "")), kind: ErrExists, words: "attached noexec; detach it first"},
		{name: "with noexec what is attached without", given: given(attach("t", "web/x", "", "")), ops: ops(noExec(attach("t", "web/x", "", ""))), kind: ErrExists, words: "attached without noexec; detach it first"},
		{name: "as it is what is seen as another's", given: given(seenAs(attach("t", "web/x", "", ""), 7, 8)), ops: ops(attach("t", "web/x", "", "")), kind: ErrExists, words: "attached with its files as those of 7:8; detach it first"},
		{name: "as another's what is seen as it is", given: given(attach("t", "web/x", "", "")), ops: ops(seenAs(attach("t", "web/x", "", ""), 7, 8)), kind: ErrExists, words: "attached with its files as they are; detach it first"},
		{name: "as those of another group", given: given(seenAs(attach("t", "web/x", "", ""), 7, 8)), ops: ops(seenAs(attach("t", "web/x", "", ""), 7, 9)), kind: ErrExists, words: "as those of 7:8"},
		{name: "as nobody's", given: given(), ops: ops(seenAs(attach("t", "web/x", "", ""), 1<<32-1, 8)), kind: ErrInvalid, words: "as 4294967295:8 is not a user and a group"},
		{name: "a sandbox of nobody's", given: given(), ops: ops(Claim{Task: "t", Sandbox: "/s/t", User: &ID{7, 1<<32 - 1}}), kind: ErrInvalid, words: "user 7:4294967295 is not a user and a group"},
		{name: "a sandbox of another user's", given: given(Claim{Task: "t", Sandbox: "/s/t", Own: true, User: &ID{7, 7}}), ops: ops(Claim{Task: "t", Sandbox: "/s/t", Own: true, User: &ID{7, 8}}), kind: ErrExists, words: "task t exists"},
		{name: "the same place in two modes of one claim", given: given(), ops: ops(claim("t", Use{Volume: "v1"}, Use{Volume: "v1", Mode: resource.RO})), kind: ErrExists, words: "attached RW"},
		{name: "a path for a descriptor", given: given(byDescriptor(attach("t", "web/x", "", ""))), ops: ops(attach("t", "web/x", "", "")), kind: ErrExists, words: "is attached by descriptor"},
		{name: "a descriptor for a path", given: given(attach("t", "web/x", "", "")), ops: ops(byDescriptor(attach("t", "web/x", "", ""))), kind: ErrExists, words: "is attached by path"},
		{name: "what is being detached", given: given(claim("t", Use{Volume: "web/x"}), detach("t", "web/x")), ops: ops(attach("t", "web/x", "", "")), kind: ErrPending, words: "is being detached"},
		{name: "a path that another volume has", given: given(attach("t", "web/x", "p", "")), ops: ops(attach("t", "web/y", "p", "")), kind: ErrExists,
			words: "task t: p collides with p, where it has a volume"},
		{name: "a path beneath one that is taken", given: given(attach("t", "web/x", "p", "")), ops: ops(attach("t", "web/y", "p/q/r", "")), kind: ErrExists, words: "p/q/r collides with p"},
		{name: "a path above one that is taken", given: given(attach("t", "web/x", "p/q", "")), ops: ops(attach("t", "a/b/s", "p", "")), kind: ErrExists, words: "p collides with p/q"},
		{name: "the same volume nested in itself", given: given(attach("t", "a/b/s", "p", "")), ops: ops(attach("t", "a/b/s", "p/q", "")), kind: ErrExists, words: "collides"},
		{name: "a path that is not free yet", given: given(attach("t", "web/x", "p", ""), attach("t", "a/b/s", "keep", ""), detach("t", "web/x")), ops: ops(attach("t", "web/y", "p", "")),
			kind: ErrPending, words: "p collides with p, where a volume is being detached"},
		{name: "two uses of a claim that collide", given: given(), ops: ops(claim("t", Use{Volume: "v1", Path: "p"}, Use{Volume: "v2", Path: "p/q"})), kind: ErrExists, words: "collides"},
		{name: "an unknown volume", given: given(), ops: ops(attach("t", "web/z", "", "")), kind: ErrNotFound, words: `there is no volume "web/z"`},
		{name: "a volume that is being destroyed, by name", given: given(Destroy{Ref: "v2"}), ops: ops(attach("t", "web/x", "", "")), kind: ErrNotFound, words: "no volume"},
		{name: "a volume that is being destroyed, by uuid", given: given(Destroy{Ref: "v2"}), ops: ops(attach("t", "v2", "", "")), kind: ErrNotFound, words: "web/x is being destroyed"},
		{name: "a volume that is being made", given: given(), edit: making("v2"), ops: ops(attach("t", "web/x", "", "")), kind: ErrPending, words: "volume web/x is being made"},
		{name: "a lost volume", given: given(), edit: faulty(UnitOfVolume("v2"), ErrLost), ops: ops(attach("t", "web/x", "", "")), kind: ErrLost, words: "volume web/x"},
		{name: "a volume whose disk is away", given: given(), edit: faulty(UnitOfVolume("v2"), ErrUnavailable), ops: ops(claim("t", Use{Volume: "web/x"})), kind: ErrUnavailable, words: "volume web/x"},
		{name: "a mode that is none", given: given(), ops: ops(attach("t", "web/x", "", "WO")), kind: ErrInvalid, words: `mode "WO" is neither RW nor RO`},
		{name: "a path outside", given: given(), ops: ops(attach("t", "web/x", "a/../../b", "")), kind: ErrInvalid, words: "must be clean"},
		{name: "an absolute path", given: given(), ops: ops(attach("t", "web/x", "/a", "")), kind: ErrInvalid, words: "must be relative"},
		{name: "a path that the sandbox has itself", given: given(), ops: ops(attach("t", "web/x", "stdout", "")), kind: ErrInvalid, words: "taken by the sandbox itself"},
		{name: "a task without a name", given: given(), ops: ops(claim("")), kind: ErrInvalid, words: "ID must not be empty"},
		{name: "a task named like a path", given: given(), ops: ops(Claim{Task: "a/b", Sandbox: "/s/x"}), kind: ErrInvalid, words: "contains invalid characters"},
		{name: "a relative sandbox", given: given(), ops: ops(Claim{Task: "t", Sandbox: "s/t"}), kind: ErrInvalid, words: "must be an absolute, clean path"},
		{name: "a sandbox with dots", given: given(), ops: ops(Claim{Task: "t", Sandbox: "/s/../t"}), kind: ErrInvalid, words: "clean"},
		{name: "the whole host as a sandbox", given: given(), ops: ops(Claim{Task: "t", Sandbox: "/"}), kind: ErrInvalid, words: "clean"},
		{name: "no sandbox", given: given(), ops: ops(Attach{Task: "t", Use: Use{Volume: "v1"}, Via: ByPath}), kind: ErrInvalid, words: "sandbox"},
		{name: "a sandbox that the journal could not keep", given: given(), ops: ops(Claim{Task: "t", Sandbox: "/s/\xff"}), kind: ErrInvalid, words: "sandbox"},
		{name: "a sandbox that no path can name", given: given(), ops: ops(Claim{Task: "t", Sandbox: "/s/a\x00b"}), kind: ErrInvalid, words: "sandbox"},
		{name: "a cgroup that the journal could not keep", given: given(), ops: ops(Claim{Task: "t", Sandbox: "/s/t", Lease: Lease{Cgroup: "/c/\xff"}}), kind: ErrInvalid, words: "cgroup"},
		{name: "another task's sandbox", given: held, ops: ops(Claim{Task: "u", Sandbox: "/s/t"}), kind: ErrExists, words: "sandbox /s/t overlaps that of task t, /s/t"},
		{name: "a sandbox in another's", given: held, ops: ops(Claim{Task: "u", Sandbox: "/s/t/in/side"}), kind: ErrExists, words: "overlaps"},
		{name: "a sandbox around another's", given: held, ops: ops(Claim{Task: "u", Sandbox: "/s"}), kind: ErrExists, words: "overlaps"},
		{name: "a sandbox of a task that is being released", given: append(held, Release{Task: "t", Ended: true}), ops: ops(Claim{Task: "u", Sandbox: "/s/t"}), kind: ErrExists, words: "overlaps"},
		{name: "a task that exists with another sandbox", given: held, ops: ops(Claim{Task: "t", Sandbox: "/s/u", Own: true, Lease: Lease{PID: 42, Start: 7}}), kind: ErrExists, words: "task t exists since 2026-01-02"},
		{name: "a task that exists with another lease", given: held, ops: ops(Claim{Task: "t", Sandbox: "/s/t", Own: true, Lease: Lease{PID: 43}}), kind: ErrExists, words: "task t exists"},
		{name: "a claim of a task that is being released", given: append(held, Release{Task: "t", Ended: true}), ops: ops(claim("t")), kind: ErrPending, words: "task t is being released"},
		{name: "an attachment of a task that is being released", given: append(held, Release{Task: "t", Ended: true}), ops: ops(attach("t", "v1", "", "")), kind: ErrPending, words: "task t is being released"},
		{name: "no way to get at it", given: given(), ops: ops(Attach{Task: "t", Sandbox: "/s/t", Use: Use{Volume: "v1"}}), kind: ErrInvalid, words: "neither a path nor a descriptor"},
		{name: "a claim as an attachment", given: given(), ops: ops(Attach{Task: "t", Sandbox: "/s/t", Use: Use{Volume: "v1"}, Via: Claimed}), kind: ErrInvalid, words: "neither a path nor a descriptor"},
		{name: "a claim of which the second use is refused", given: held, ops: ops(claim("u", Use{Volume: "v1"}, Use{Volume: "v2"})), kind: ErrInUse, words: "exclusive"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestDetachEndsAttachments(t *testing.T) {
	t.Parallel()
	leased := given(claim("t", Use{Volume: "web/x"}), attach("t", "web/x", "", ""), attach("t", "web/x", "again", ""), attach("t", "v1", "", ""))
	for _, c := range []accepted{
		{name: "one of a task with a lease", given: leased, ops: ops(detach("t", "v1")), want: `
			- attachment v1 t s RW path
			+ attachment v1 t s RW path gone
			touch volume v1 in task t at s`},
		{name: "all places of a volume", given: leased, ops: ops(detach("t", "web/x")), want: `
			- attachment v2 t again RW path
			- attachment v2 t x RW path
			+ attachment v2 t again RW path gone
			+ attachment v2 t x RW path gone
			touch volume v2 in task t at again
			touch volume v2 in task t at x`},
		{name: "one place of a volume, although it is busy", given: leased, ops: ops(Detach{Task: "t", Volume: "web/x", Path: "again", Lazy: true}), want: `
			- attachment v2 t again RW path
			+ attachment v2 t again RW path gone lazy
			touch volume v2 in task t at again`},
		{name: "the last of a task with a lease leaves the task", given: given(claim("t", Use{Volume: "v1"})), ops: ops(detach("t", "v1")), want: `
			- attachment v1 t s RW claim
			+ attachment v1 t s RW claim gone
			touch volume v1 in task t at s`},
		{name: "the last of a task without a lease ends the task", given: given(attach("t", "v1", "", "")), ops: ops(detach("t", "a/b/s")), want: `
			- attachment v1 t s RW path
			- task t /s/t
			+ attachment v1 t s RW path gone
			+ task t /s/t releasing
			touch volume v1 in task t at s
			touch task t`},
		{name: "the last but those on their way out ends the task", given: given(attach("t", "v1", "", ""), attach("t", "v2", "", ""), detach("t", "v1")), ops: ops(detach("t", "v2")), want: `
			- attachment v2 t x RW path
			- task t /s/t
			+ attachment v2 t x RW path gone
			+ task t /s/t releasing
			touch volume v2 in task t at x
			touch task t`},
		{name: "again changes nothing", given: append(leased, detach("t", "v1")), ops: ops(detach("t", "v1")), want: `touch volume v1 in task t at s`},
		{name: "again, lazily now", given: append(leased, detach("t", "v1")), ops: ops(Detach{Task: "t", Volume: "v1", Lazy: true}), want: `
			- attachment v1 t s RW path gone
			+ attachment v1 t s RW path gone lazy
			touch volume v1 in task t at s`},
		{name: "again without lazy leaves it lazy", given: append(leased, Detach{Task: "t", Volume: "v1", Lazy: true}), ops: ops(detach("t", "v1")), want: `touch volume v1 in task t at s`},
		{name: "of a volume that is lost", given: leased, edit: faulty(UnitOfVolume("v1"), ErrLost), ops: ops(detach("t", "v1")), want: `
			- attachment v1 t s RW path
			+ attachment v1 t s RW path gone
			touch volume v1 in task t at s`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestReleaseEndsATask(t *testing.T) {
	t.Parallel()
	leased := given(claim("t", Use{Volume: "web/x"}, Use{Volume: "v1"}), attach("t", "web/x", "", ""))
	for _, c := range []accepted{
		{name: "whose lease has ended", given: leased, ops: ops(Release{Task: "t", Ended: true}), want: `
			- attachment v1 t s RW claim
			- attachment v2 t x RW path
			- task t /s/t own lease 42@7
			+ attachment v1 t s RW claim gone
			+ attachment v2 t x RW path gone
			+ task t /s/t own lease 42@7 releasing
			touch volume v1 in task t at s
			touch volume v2 in task t at x
			touch task t`},
		{name: "without a lease, lazily", given: given(attach("t", "v1", "", ""), byDescriptor(attach("t", "v2", "", ""))), ops: ops(Release{Task: "t", Lazy: true}), want: `
			- attachment v1 t s RW path
			- attachment v2 t x RW descriptor
			- task t /s/t
			+ attachment v1 t s RW path gone lazy
			+ attachment v2 t x RW descriptor gone lazy
			+ task t /s/t releasing
			touch volume v1 in task t at s
			touch volume v2 in task t at x
			touch task t`},
		{name: "that has nothing", given: given(Claim{Task: "t", Sandbox: "/s/t"}), ops: ops(Release{Task: "t"}), want: `
			- task t /s/t
			+ task t /s/t releasing
			touch task t`},
		{name: "again, whatever the lease says", given: append(leased, Release{Task: "t", Ended: true}), ops: ops(Release{Task: "t"}), want: `
			touch volume v1 in task t at s
			touch volume v2 in task t at x
			touch task t`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestKillEndsWhatTheLeaseNamesAndLeavesTheRestToItsEnd(t *testing.T) {
	t.Parallel()
	leased := given(claim("t", Use{Volume: "v1"}))
	for _, c := range []accepted{
		{name: "of a task with a lease", given: leased, ops: ops(Kill{Task: "t"}), want: `
			- task t /s/t own lease 42@7
			+ task t /s/t own lease 42@7 killing
			touch task t`},
		{name: "again", given: append(leased, Kill{Task: "t"}), ops: ops(Kill{Task: "t"}), want: `touch task t`},
		{name: "of one that is being released", given: append(leased, Release{Task: "t", Ended: true}), ops: ops(Kill{Task: "t"}), want: `touch task t`},
		{name: "and its detach goes on", given: append(leased, Kill{Task: "t"}), ops: ops(detach("t", "v1")), want: `
			- attachment v1 t s RW claim
			+ attachment v1 t s RW claim gone
			touch volume v1 in task t at s`},
	} {
		t.Run(c.name, c.run)
	}
}

func TestKillIsRefusedAndRefusesWhatIsNew(t *testing.T) {
	t.Parallel()
	leased := given(claim("t", Use{Volume: "v1"}))
	for _, c := range []refused{
		{name: "an unknown task", given: leased, ops: ops(Kill{Task: "u"}), kind: ErrNotFound, words: `there is no task "u"`},
		{name: "another task of the name", given: leased, ops: ops(Kill{Task: "t", Since: second.Add(-1)}), kind: ErrNotFound, words: "there is a new one of that name"},
		{name: "a task without a lease", given: given(attach("t", "v1", "", "")), ops: ops(Kill{Task: "t"}), kind: ErrInvalid, words: "so there is nothing to kill"},
		{name: "a claim of one that is killed", given: append(leased, Kill{Task: "t"}), ops: ops(claim("t", Use{Volume: "v1"})), kind: ErrPending, words: "task t is being killed"},
		{name: "an attachment of one that is killed", given: append(leased, Kill{Task: "t"}), ops: ops(attach("t", "v1", "", "")), kind: ErrPending, words: "task t is being killed"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestDetachAndReleaseAreRefused(t *testing.T) {
	t.Parallel()
	leased := given(claim("t", Use{Volume: "web/x"}), attach("t", "web/x", "", ""), byDescriptor(attach("t", "v1", "", "")))
	for _, c := range []refused{
		{name: "detach of an unknown task", given: leased, ops: ops(detach("u", "v1")), kind: ErrNotFound, words: `there is no task "u"`},
		{name: "detach of an unknown volume", given: leased, ops: ops(detach("t", "web/z")), kind: ErrNotFound, words: `there is no volume "web/z"`},
		{name: "detach of a volume that the task has not", given: leased, ops: ops(detach("t", "v3")), kind: ErrNotFound, words: "volume web/y is not attached to task t"},
		{name: "detach at a place where it is not", given: leased, ops: ops(Detach{Task: "t", Volume: "v2", Path: "y"}), kind: ErrNotFound, words: "not attached to task t at y"},
		{name: "detach of what lives in the task's own namespace", given: leased, ops: ops(detach("t", "v1")), kind: ErrInUse, words: "ends with it"},
		{name: "detach after the last of a batch", given: given(attach("t", "v1", "", "")), edit: dropAttachment("v1", "t", "s"), ops: ops(detach("t", "v1")), kind: ErrNotFound, words: "not attached"},
		{name: "release of an unknown task", given: leased, ops: ops(Release{Task: "u"}), kind: ErrNotFound, words: `there is no task "u"`},
		{name: "release of a running task", given: leased, ops: ops(Release{Task: "t"}), kind: ErrInUse, words: "task t is still running"},
		{name: "release of one, then of a running task", given: append(leased, Claim{Task: "u", Sandbox: "/s/u"}), ops: ops(Release{Task: "u"}, Release{Task: "t"}), kind: ErrInUse, words: "still running"},
	} {
		t.Run(c.name, c.run)
	}
}

func TestHoldersAreDistinctTasks(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, given(
		claim("b", Use{Volume: "v1", Path: "z", Mode: resource.RO}),
		attach("b", "v1", "y", resource.RW),
		attach("a", "v1", "", resource.RO),
		detach("a", "v1"),
		claim("c", Use{Volume: "v2"}),
		seenAs(noExec(attach("d", "v1", "p", resource.RO)), 7, 8),
		seenAs(noExec(attach("d", "v1", "q", resource.RO)), 7, 8),
		noExec(attach("e", "v1", "p", resource.RO)),
		seenAs(attach("e", "v1", "q", resource.RW), 7, 8),
		seenAs(attach("e", "v1", "r", resource.RO), 9, 9),
	)...)
	want := []Holder{
		{Task: "a", Mode: resource.RO, Via: ByPath, Since: second, Targets: []string{"s"}},
		{Task: "b", PID: 42, Mode: resource.RW, Via: ByPath, Since: second, Targets: []string{"y", "z"}},
		{Task: "d", Mode: resource.RO, NoExec: true, As: []ID{{UID: 7, GID: 8}}, Via: ByPath, Since: second, Targets: []string{"p", "q"}},
		{Task: "e", Mode: resource.RW, As: []ID{{UID: 7, GID: 8}, {UID: 9, GID: 9}}, Via: ByPath, Since: second, Targets: []string{"p", "q", "r"}},
	}
	if d := cmp.Diff(want, s.Holders("v1")); d != "" {
		t.Errorf("holders (-want +got):\n%s", d)
	}
	if hs := s.Holders("v3"); len(hs) != 0 {
		t.Errorf("a volume that nobody uses has holders %v", hs)
	}
}

func TestNamesWithSlashesInTheRoleAreFound(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, machine(t), env, given(reserve(mib(9, "a")), create(vol("b", 1, "a")))...)
	for ref, want := range map[string]UUID{"a/b/s": "v1", "v1": "v1", "a/b": "v4", "web/x": "v2"} {
		if v, err := s.Find(ref); err != nil || v.UUID != want {
			t.Errorf("%s: got %v, %v, want %s", ref, v, err, want)
		}
	}
	for _, ref := range []string{"", "/", "a/", "/s", "s", "b/s", "a/b/s/", "v9"} {
		if v, err := s.Find(ref); Kind(err) != ErrNotFound {
			t.Errorf("%q: got %v, %v, want ErrNotFound", ref, v, err)
		}
	}
	var names []string
	for v := range s.Volumes(Name{Role: "a", ID: "b"}) {
		names = append(names, fmt.Sprint(v.Name))
	}
	if d := cmp.Diff([]string{"a/b/s", "web/x", "web/y"}, names); d != "" {
		t.Errorf("names after a/b (-want +got):\n%s", d)
	}
}
