package volume

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// carved is divided with things on every part: web/s, 100 of the static 1,000, and a
// refinement of 50 more; db/d, 200 of what was unreserved, 300 being reserved; mnt/m, the MOUNT disk.
func carved(t testing.TB) *State {
	env := numbered()
	s := mustApply(t, divided(t), env, create(static(vol("s", 100))), reserve(refined(mib(50), "web/a")), reserve(mib(300, "db")), create(vol("d", 200, "db")),
		reserve(whole(mib(500, "mnt"))), create(whole(vol("m", 500, "mnt"))))
	return refold(t, s)
}

func TestANewConfigurationKeepsWhatIsTakenOfEachPart(t *testing.T) {
	t.Parallel()
	db := []resource.Reservation{{Type: resource.Static, Role: "db"}}
	same := configured(t, carved(t), "boot-1", staticDisk(3000, 1000), wholeDisk(500))
	for _, c := range []struct {
		name  string
		disks []Disk
		want  string
	}{
		{"the same", []Disk{staticDisk(3000, 1000), wholeDisk(500)}, ``},
		{"more of everything", []Disk{staticDisk(3001, 1002), wholeDisk(500)}, `
			- free root 2700
			- free root 850 "STATIC""web"
			+ free root 2701
			+ free root 852 "STATIC""web"`},
		{"less, down to what is taken", []Disk{staticDisk(300, 150), wholeDisk(500)}, `
			- free root 2700
			- free root 850 "STATIC""web"`},
		{"another role gets a part", []Disk{{Total: 4000 * resource.One, Parts: []Part{{Size: 2000 * resource.One}, {Reservations: staticWeb(), Size: 1000 * resource.One}, {Reservations: db, Size: 1000 * resource.One}}}, wholeDisk(500)}, `
			- free root 2700
			+ free root 1000 "STATIC""db"
			+ free root 1700`},
		{"a disk is added", []Disk{staticDisk(3000, 1000), wholeDisk(500), otherDisk(10)}, `
			+ disk PATH:/mnt/d creating
			+ free PATH:/mnt/d 10`},
		{"a disk is added that is all one role's", []Disk{staticDisk(3000, 1000), wholeDisk(500),
			{Key: dataDisk, Source: dataSource(), Total: 10 * resource.One, Parts: []Part{{Reservations: db, Size: 10 * resource.One}}}}, `
			+ disk PATH:/mnt/d creating
			+ free PATH:/mnt/d 10 "STATIC""db"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := difference(dump(same), dump(configured(t, carved(t), "boot-1", c.disks...)))
			if d := cmp.Diff(linesOf(c.want), got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestAConfigurationThatTakesAwayWhatIsTakenIsRefused(t *testing.T) {
	t.Parallel()
	db := []resource.Reservation{{Type: resource.Static, Role: "db"}}
	auto := func(stack []resource.Reservation) Disk {
		return Disk{Total: resource.One, Auto: true, Parts: []Part{{Reservations: stack, Size: resource.One}}}
	}
	for _, c := range []struct {
		name  string
		disks []Disk
		words string
	}{
		{"less unreserved than is taken", []Disk{staticDisk(299.0, 1000), wholeDisk(500)},
			"disk root is configured with 299 MiB that are unreserved, which does not contain the 300 MiB that are reserved or carved already (volume db/d, a reservation for role db)"},
		{"less static than is taken", []Disk{staticDisk(3000, 149), wholeDisk(500)},
			"disk root is configured with 149 MiB that are statically reserved for role web, which does not contain the 150 MiB that are reserved or carved already (volume web/s, a reservation for role web/a)"},
		{"static no more", []Disk{{Total: 4000 * resource.One}, wholeDisk(500)}, "0 B that are statically reserved for role web"},
		{"static for another role", []Disk{{Total: 4000 * resource.One, Parts: []Part{{Size: 3000 * resource.One}, {Reservations: db, Size: 1000 * resource.One}}}, wholeDisk(500)}, "statically reserved for role web"},
		{"all of it static", []Disk{{Total: 4000 * resource.One, Parts: []Part{{Reservations: staticWeb(), Size: 4000 * resource.One}}}, wholeDisk(500)}, "0 B that are unreserved"},
		{"the disk is gone", []Disk{staticDisk(3000, 1000)}, "disk MOUNT:/mnt/m is configured with 0 B that are unreserved, which does not contain the 500 MiB"},
		{"a smaller MOUNT disk", []Disk{staticDisk(3000, 1000), wholeDisk(499)}, "volume mnt/m"},
		{"a size that was only proposed, for another role", []Disk{auto(db), wholeDisk(500)}, "does not contain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := carved(t)
			before := records(t, s)
			changes, err := Configure(s, numberedAs("new"), "boot-1", c.disks)
			if !errors.Is(err, ErrInsufficient) || !strings.Contains(err.Error(), c.words) || changes != nil {
				t.Errorf("got %v with %d changes, want … %s …", err, len(changes), c.words)
			}
			if d := cmp.Diff(before, records(t, s)); d != "" {
				t.Errorf("a refusal changed the state:\n%s", d)
			}
		})
	}
}

// What is on a part frees it: a role may change once nothing is left there.
func TestARoleMayChangeWhenNothingIsOnIt(t *testing.T) {
	t.Parallel()
	s := configured(t, carved(t), "boot-1", staticDisk(3000, 1000), wholeDisk(500))
	s = mustApply(t, s, numbered(), unreserve(refined(mib(50), "web/a")), Destroy{Ref: "web/s"})
	unreservedDisk := []Disk{{Total: 4000 * resource.One}, wholeDisk(500)}
	if _, err := Configure(refold(t, s), numbered(), "boot-1", unreservedDisk); !errors.Is(err, ErrInsufficient) {
		t.Errorf("while the tombstone is there: %v, want insufficient", err)
	}
	s = s.settledAs("v1", SeenVolume{})
	if got := configured(t, refold(t, s), "boot-1", unreservedDisk...).Free("", nil); got != 3700*resource.One {
		t.Errorf("%s are free, want 3700", got)
	}
}

// A tombstone whose space will come back as something else still has its place in the part
// that it came from, and gives it back there.
func TestATombstoneOfAStaticPartComesBackThere(t *testing.T) {
	t.Parallel()
	s := configured(t, carved(t), "boot-1", staticDisk(3000, 1000), wholeDisk(500))
	env := numberedAs("w")
	s = mustApply(t, s, env, create(refined(vol("r", 50), "web/a")))
	out, err := Apply(s, env, Destroy{Ref: "web/a/r"}, unreserve(refined(mib(50), "web/a")))
	if err != nil {
		t.Fatal(err)
	}
	s = configured(t, refold(t, out.Next), "boot-1", staticDisk(3000, 150), wholeDisk(500))
	for v := range s.Tombstones() {
		s = s.settledAs(v.UUID, SeenVolume{})
	}
	if err := s.Check(); err != nil || s.Free("", staticWeb()) != 50*resource.One {
		t.Errorf("%v; %s are free, want 50", err, s.Free("", staticWeb()))
	}
}

func TestASizeThatIsLeftOpenIsDecidedOnce(t *testing.T) {
	t.Parallel()
	auto := func(n resource.Scalar, stack []resource.Reservation) Disk {
		return Disk{Total: n * resource.One, Auto: true, Parts: []Part{{Reservations: stack, Size: n * resource.One}}}
	}
	s := configured(t, Empty(), "boot-1", auto(100, staticWeb()))
	if got := configured(t, refold(t, s), "boot-1", auto(120, staticWeb())).Free("", staticWeb()); got != 120*resource.One {
		t.Errorf("before its first use it has %s, want the 120 that are proposed now", got)
	}
	d, _ := s.Disk("")
	used := *d
	used.Phase = Ready
	s = mustApply(t, s.With(Change{Disk: &used}), numbered(), create(static(vol("x", 90))))
	for _, n := range []resource.Scalar{1, 120} {
		if got := configured(t, refold(t, s), "boot-1", auto(n, staticWeb())).Free("", staticWeb()); got != 10*resource.One {
			t.Errorf("with %s proposed it has %s free, want the 10 that were decided", n, got)
		}
	}
	if got := configured(t, refold(t, s), "boot-1", Disk{Total: 95 * resource.One, Parts: []Part{{Reservations: staticWeb(), Size: 95 * resource.One}}}).Free("", staticWeb()); got != 5*resource.One {
		t.Errorf("with a size of its own it has %s free, want 5", got)
	}
}

func TestStaticSpaceIsCarvedAndRefined(t *testing.T) {
	t.Parallel()
	for _, c := range []accepted{
		{name: "by its reservation", on: divided, ops: ops(create(static(vol("x", 10)))), want: `
			- free root 1000 "STATIC""web"
			+ free root 990 "STATIC""web"
			+ volume v1 web/x 10 on root creating
			touch volume v1`},
		{name: "by its role", on: divided, ops: ops(Create{Volume: vol("x", 10), Role: "web"}), want: `
			- free root 1000 "STATIC""web"
			+ free root 990 "STATIC""web"
			+ volume v1 web/x 10 on root creating
			touch volume v1`},
		{name: "refined and back", on: divided, given: ops(reserve(refined(mib(10), "web/a"))), ops: ops(unreserve(refined(mib(4), "web/a"))), want: `
			- free root 10 "STATIC""web"|"DYNAMIC""web/a"
			- free root 990 "STATIC""web"
			+ free root 6 "STATIC""web"|"DYNAMIC""web/a"
			+ free root 994 "STATIC""web"`},
	} {
		t.Run(c.name, c.run)
	}
	for _, c := range []refused{
		{name: "unreserve of what is static", on: divided, ops: ops(unreserve(static(mib(1)))), kind: ErrInvalid, words: "is not dynamically reserved"},
		{name: "more than the part has", on: divided, ops: ops(create(static(vol("x", 1001)))), kind: ErrInsufficient, words: "does not contain"},
		{name: "refined for a role that is none beneath it", on: divided, ops: ops(reserve(refined(mib(1), "db"))), kind: ErrInvalid, words: "is not a refinement"},
	} {
		t.Run(c.name, c.run)
	}
}
