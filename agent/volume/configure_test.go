package volume

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// configured applies a configuration to a state as a start of the agent does.
func configured(t *testing.T, s *State, boot string, disks ...Disk) *State {
	t.Helper()
	changes, err := Configure(s, numberedAs("new"), boot, disks)
	if err != nil {
		t.Fatal(err)
	}
	next := s.With(changes...)
	if err := next.Check(); err != nil {
		t.Fatal(err)
	}
	return next
}

func rootDisk(n resource.Scalar) Disk { return Disk{Total: n * resource.One} }
func otherDisk(n resource.Scalar) Disk {
	return Disk{Key: dataDisk, Source: dataSource(), Total: n * resource.One}
}

func TestTheFirstStartNamesTheAgentAndItsPools(t *testing.T) {
	t.Parallel()
	s := configured(t, Empty(), "boot-1", rootDisk(100), otherDisk(10))
	want := []string{"agent new1 boot boot-1", "disk PATH:/mnt/d creating", "disk root creating", "free PATH:/mnt/d 10", "free root 100"}
	if d := cmp.Diff(want, dump(s)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	root, _ := s.Disk("")
	other, _ := s.Disk(dataDisk)
	if root.Pool != "new2" || other.Pool != "new3" {
		t.Errorf("pools are %s and %s", root.Pool, other.Pool)
	}
}

func TestANewConfigurationIsMetByTheStateThatThereIs(t *testing.T) {
	t.Parallel()
	held := given(claim("t", Use{Volume: "v1"}), Destroy{Ref: "v3"})
	for _, c := range []struct {
		name  string
		boot  string
		disks []Disk
		want  string
	}{
		{name: "the same changes nothing", boot: "boot-1", disks: []Disk{rootDisk(4096), otherDisk(1000)}},
		{name: "a larger disk has more that is unreserved", boot: "boot-1", disks: []Disk{rootDisk(5000), otherDisk(1000)}, want: `
			- free root 3968
			+ free root 4872`},
		{name: "a disk just large enough has nothing", boot: "boot-1", disks: []Disk{rootDisk(128), otherDisk(1000)}, want: `
			- free root 3968`},
		{name: "a size that was only proposed stays as it was decided", boot: "boot-1", disks: []Disk{{Total: 7 * resource.One, Auto: true}, otherDisk(1000)}},
		{name: "a disk that is configured no more is absent", boot: "boot-1", disks: []Disk{rootDisk(4096)}, want: `
			- disk PATH:/mnt/d ready
			+ disk PATH:/mnt/d ready absent`},
		{name: "another boot ends the tasks", boot: "boot-2", disks: []Disk{rootDisk(4096), otherDisk(1000)}, want: `
			- agent agent1 boot boot-1
			- attachment v1 t s RW claim
			- task t /s/t own lease 42@7
			+ agent agent1 boot boot-2
			+ task t /s/t own releasing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := mustApply(t, machine(t), numbered(), held...)
			got := difference(dump(s), dump(configured(t, s, c.boot, c.disks...)))
			if d := cmp.Diff(linesOf(c.want), got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestAnEmptyDiskThatComesBackIsTheOneThatWas(t *testing.T) {
	t.Parallel()
	s := machine(t)
	away := configured(t, s, "boot-1", rootDisk(4096))
	back := configured(t, refold(t, away), "boot-1", rootDisk(4096), otherDisk(1000))
	if d := cmp.Diff(dump(s), dump(back)); d != "" {
		t.Errorf("(-before +after):\n%s", d)
	}
	before, _ := s.Disk(dataDisk)
	after, _ := back.Disk(dataDisk)
	if before.Pool != after.Pool {
		t.Errorf("its pool was %s and is %s", before.Pool, after.Pool)
	}
}

func TestADiskSmallerThanWhatIsReservedIsRefused(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), given(Destroy{Ref: "v3"})...)
	if _, err := Configure(s, numbered(), "boot-1", []Disk{rootDisk(127), otherDisk(1000)}); Kind(err) != ErrInsufficient {
		t.Errorf("got %v, want ErrInsufficient: a tombstone has its space still", err)
	}
}

func TestCheckFindsEveryBreach(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), given(attach("t", "v2", "", ""), attach("u", "v1", "", ""))...)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	x, _ := s.Volume("v2")
	ending, bigger := *x, *x
	ending.Phase, bigger.Size = Destroying, bigger.Size+1
	second := Attachment{Volume: "v2", Task: "u", Path: "x", Mode: resource.RW, Via: ByPath}
	nowhere := Attachment{Volume: "v9", Task: "t", Path: "z", Mode: resource.RW, Via: ByPath}
	for name, c := range map[string]Change{
		"an overdrawn account":                {Account: &Account{Disk: dataDisk, Reservations: x.Reservations, Free: -1}},
		"more reserved than there is":         {Account: &Account{Reservations: x.Reservations, Free: 10 * resource.One}},
		"a volume that grew from nothing":     {Volume: &bigger},
		"a volume that went and took space":   {Drop: &Drop{Volume: "v3"}},
		"a volume that went under its holder": {Drop: &Drop{Volume: "v2"}},
		"a holder of a destroyed volume":      {Volume: &ending},
		"two holders of an exclusive volume":  {Attachment: &second},
		"a holder of an unknown volume":       {Attachment: &nowhere},
		"an attachment of an unknown task":    {Drop: &Drop{Task: "t"}},
	} {
		if s.With(c).Check() == nil {
			t.Errorf("%s is not found", name)
		}
	}
}

// A disk that was away when it was first configured had nothing to propose.
func TestAnUnknownSizeIsDecidedWhenTheDiskIsThere(t *testing.T) {
	t.Parallel()
	unknown := Disk{Key: dataDisk, Source: dataSource(), Auto: true}
	s := configured(t, Empty(), "boot-1", rootDisk(100), unknown)
	d, _ := s.Disk(dataDisk)
	ready := *d
	ready.Phase = Ready
	s = s.With(Change{Disk: &ready})
	known := unknown
	known.Total = 40 * resource.One
	s = configured(t, s, "boot-1", rootDisk(100), known)
	if free := s.Free(dataDisk, nil); free != 40*resource.One {
		t.Errorf("%s is free, want 40", free)
	}
}
