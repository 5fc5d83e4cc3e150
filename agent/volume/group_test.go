package volume

import (
	"fmt"
	"slices"
	"testing"
)

// gids are groups for volumes, as owner.Ranges are.
type gids []uint32

func (g gids) Contains(gid uint32) bool { return slices.Contains(g, gid) }
func (g gids) Len() uint64              { return uint64(len(g)) }
func (g gids) String() string           { return fmt.Sprint([]uint32(g)) }

func (g gids) Next(from uint32, used func(uint32) bool) (uint32, bool) {
	for _, again := range []bool{false, true} {
		for _, gid := range g {
			if (gid >= from || again) && !used(gid) {
				return gid, true
			}
		}
	}
	return 0, false
}

// manyGIDs are more than a history has volumes.
func manyGIDs() (g gids) {
	for gid := range uint32(64) {
		g = append(g, 10000+gid)
	}
	return g
}

// grouped is machine with groups for volumes.
func grouped(of ...uint32) func(testing.TB) *State {
	return func(t testing.TB) *State {
		return machine(t).With(Change{Host: &HostInfo{Groups: gids(of)}})
	}
}

// owned is the creation of a volume for an owner.
func owned(c Create, o Owner) Create { c.Owner = o; return c }

func TestASharedVolumeIsGivenAGroupOfItsOwn(t *testing.T) {
	t.Parallel()
	mode := func(bits uint32) Owner { return Owner{UID: 7, Mode: bits} }
	for _, c := range []struct {
		name string
		op   Create
		want Owner
		gid  uint32
	}{
		{"a shared one", owned(create(shared(vol("v", 1, "web"))), mode(0o755)), Owner{7, 60, 0o2770}, 60},
		{"one that is closed", owned(create(shared(vol("v", 1, "web"))), mode(0o700)), Owner{7, 60, 0o2770}, 60},
		{"one with the sticky bit", owned(create(shared(vol("v", 1, "web"))), mode(0o1777)), Owner{7, 60, 0o3770}, 60},
		{"an exclusive one", owned(create(vol("v", 1, "web")), mode(0o755)), Owner{7, 0, 0o755}, 0},
		{"one of a group that is named", owned(create(shared(vol("v", 1, "web"))), Owner{7, 5, 0o755}), Owner{7, 5, 0o755}, 0},
		{"one whose tasks others start", Create{Volume: shared(vol("v", 1, "web")), Owner: mode(0o755), NoGroup: true}, Owner{7, 0, 0o755}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mustApply(t, grouped(60, 61)(t), numbered(), reserve(mib(4, "web")), c.op)
			v, _ := s.Named(Name{"web", "v"})
			if v.Owner != c.want || v.Group != c.gid {
				t.Errorf("owner %+v, group %d; want %+v, %d", v.Owner, v.Group, c.want, c.gid)
			}
			if s.GroupUsed(60) != (c.gid == 60) {
				t.Error("whether its group is used is not what it should be")
			}
		})
	}
}

// A group is its volume's until nothing is left of that, and rests as long as there are others.
func TestAGroupIsFreeOnceItsVolumeIsPurged(t *testing.T) {
	t.Parallel()
	env, volume := numbered(), func(id string) Create { return create(shared(vol(id, 1, "web"))) }
	s := mustApply(t, grouped(60, 61, 62)(t), env, reserve(mib(9, "web")), volume("a"), volume("b"), Destroy{Ref: "web/a"}, volume("c"))
	group := func(id string) uint32 { v, _ := s.Named(Name{"web", id}); return v.Group }
	if group("b") != 61 || group("c") != 62 {
		t.Errorf("groups %d and %d; want 61 and 62", group("b"), group("c"))
	}
	if _, err := Apply(s, env, volume("d")); Kind(err) != ErrInsufficient {
		t.Errorf("while the first is being purged: %v; want ErrInsufficient", err)
	}
	tomb, _ := s.Volume("v1")
	s = s.With(Settle(s, UnitOfVolume(tomb.UUID), Seen{}, second)...)
	if total, free := s.CountGroups(); total != 3 || free != 1 {
		t.Errorf("%d of %d are free, want 1 of 3", free, total)
	}
	s = mustApply(t, s, env, volume("d"))
	if group("d") != 60 {
		t.Errorf("group %d, want the one that is free again", group("d"))
	}
}

func TestAGroupOfSomebodyElseIsNotGiven(t *testing.T) {
	t.Parallel()
	s := machine(t).With(Change{Host: &HostInfo{Groups: gids{60, 61}, Taken: map[uint32]string{60: "staff"}}})
	s = mustApply(t, s, numbered(), reserve(mib(4, "web")), create(shared(vol("v", 1, "web"))))
	if v, _ := s.Named(Name{"web", "v"}); v.Group != 61 {
		t.Errorf("group %d, want 61", v.Group)
	}
	if total, free := s.CountGroups(); total != 2 || free != 0 {
		t.Errorf("%d of %d are free, want none of 2", free, total)
	}
}

// What a volume was given stays its own, whatever is configured later.
func TestARangeThatHasChangedLeavesGroupsAsTheyAre(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, grouped(60, 61)(t), env, reserve(mib(4, "web")), create(shared(vol("a", 1, "web"))))
	s = refold(t, s).With(Change{Host: &HostInfo{Groups: gids{61, 62}}})
	if v, _ := s.Named(Name{"web", "a"}); v.Group != 60 || !s.GroupUsed(60) {
		t.Errorf("group %d, want 60, in use", v.Group)
	}
	if total, free := s.CountGroups(); total != 2 || free != 2 {
		t.Errorf("%d of %d are free, want both", free, total)
	}
	s = mustApply(t, s, env, create(shared(vol("b", 1, "web"))))
	if v, _ := s.Named(Name{"web", "b"}); v.Group != 61 {
		t.Errorf("group %d, want 61", v.Group)
	}
	s = s.With(Change{Host: &HostInfo{}})
	if total, free := s.CountGroups(); total != 0 || free != 0 || !s.GroupUsed(60) {
		t.Errorf("without a range %d of %d are free, and 60 in use: %t", free, total, s.GroupUsed(60))
	}
}

func TestGroupsThatCannotBeGivenAreRefused(t *testing.T) {
	t.Parallel()
	one := ops(reserve(mib(9, "web")), create(shared(vol("a", 1, "web"))))
	for _, c := range []refused{
		{name: "none is left", on: grouped(60), given: one, ops: ops(create(shared(vol("b", 1, "web")))), kind: ErrInsufficient, words: "no group is left of volume_gid_range [60]"},
		{name: "two for one", on: grouped(60), given: one[:1], ops: ops(create(shared(vol("b", 1, "web"))), create(shared(vol("c", 1, "web")))), kind: ErrInsufficient, words: "create web/c: no group is left"},
		{name: "one of the range that is named", on: grouped(60), given: one[:1], ops: ops(owned(create(shared(vol("b", 1, "web"))), Owner{GID: 60})), kind: ErrInvalid, words: "group 60 is one of volume_gid_range [60]"},
		{name: "one of the range for an exclusive volume", on: grouped(60), given: one[:1], ops: ops(owned(create(vol("b", 1, "web")), Owner{GID: 60})), kind: ErrInvalid, words: "group 60 is one of"},
		{name: "one of the range for tasks that others start", on: grouped(60), given: one[:1], ops: ops(Create{Volume: shared(vol("b", 1, "web")), Owner: Owner{GID: 60}, NoGroup: true}), kind: ErrInvalid, words: "group 60 is one of"},
		{name: "none is left, but the volume is there", on: grouped(60), given: one, ops: ops(create(shared(vol("a", 1, "web")))), kind: ErrExists, words: "is not unique"},
	} {
		t.Run(c.name, c.run)
	}
}

// Undo gives a group back, by the end of the volume that it was for.
func TestWhatIsTakenBackGivesItsGroupBack(t *testing.T) {
	t.Parallel()
	env := numbered()
	s := mustApply(t, grouped(60)(t), env, reserve(mib(4, "web")))
	batch := ops(create(shared(vol("a", 1, "web"))))
	out, err := Apply(s, env, batch...)
	if err != nil {
		t.Fatal(err)
	}
	changes, _ := Undo(s, out.Next, batch, out.Touched, ErrFailed)
	s = out.Next.With(changes...)
	if !s.GroupUsed(60) {
		t.Error("a group is free although its directory may be there")
	}
	s = s.With(Settle(s, out.Touched[0], Seen{}, second)...)
	if s.GroupUsed(60) {
		t.Error("the group is not given back")
	}
}
