package volume

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

// measuredDisk is a disk whose file system enforces nothing, on which volumes are measured.
func measuredDisk(then OnExceed) Change {
	return Change{Disk: &Disk{Pool: "p", Phase: Ready, Enforcement: Enforcement{Mode: EnforcedNone}, OnExceed: then}}
}

// hundred is a state with a volume v1 of 100 MiB that was exceeded at a size of from, or never.
func hundred(from resource.Scalar, then OnExceed) *State {
	v := &Volume{UUID: "v1", Name: Name{"web", "v"}, Size: 100 * resource.One, Phase: Ready}
	if from > 0 {
		v.Exceeded = &Exceeded{Since: second, Used: 7, Size: from}
	}
	return Empty().With(measuredDisk(then), Change{Volume: v})
}

func TestAVolumeIsExceededAboveItsSizeAndNoLongerWellWithinIt(t *testing.T) {
	t.Parallel()
	const one = resource.MiB
	later := second.Add(time.Hour)
	for name, c := range map[string]struct {
		from   resource.Scalar // the size at which it was exceeded; 0 is not
		used   resource.Bytes
		over   bool // afterwards
		noted  bool // an event
		stored int
	}{
		"empty":                        {0, 0, false, false, 0},
		"just full":                    {0, 100 * one, false, false, 0},
		"a byte too much":              {0, 100*one + 1, true, true, 1},
		"still too much":               {100 * resource.One, 120 * one, true, false, 0},
		"just full again":              {100 * resource.One, 100 * one, true, false, 0},
		"nearly within":                {100 * resource.One, 95*one + 1, true, false, 0},
		"within":                       {100 * resource.One, 95 * one, false, true, 1},
		"made larger, and within":      {50 * resource.One, 100 * one, false, true, 1},
		"made larger, and too much":    {50 * resource.One, 100*one + 1, true, false, 1},
		"made smaller, and not within": {200 * resource.One, 96 * one, true, false, 1},
		"made smaller, and within":     {200 * resource.One, 95 * one, false, true, 1},
	} {
		s := hundred(c.from, Report)
		changes := Weigh(s, "v1", c.used, later)
		stored, noted := 0, false
		for _, change := range changes {
			if change.Stored() {
				stored++
			}
			if change.Durable() {
				t.Errorf("%s: %+v is waited for", name, change)
			}
			if n := change.Notice; n != nil {
				noted = true
				if want := (Notice{"v1", c.over, c.used, 100 * one, later, nil}); !cmp.Equal(*n, want) {
					t.Errorf("%s: the notice is %+v, want %+v", name, *n, want)
				}
			}
		}
		s = s.With(changes...)
		v, _ := s.Volume("v1")
		if (v.Exceeded != nil) != c.over || noted != c.noted || stored != c.stored || v.Resized() {
			t.Errorf("%s: it is %+v, told: %v, %d records; want %+v", name, v.Exceeded, noted, stored, c)
		}
		if want := map[bool]int{true: 1}[c.over]; s.CountExceeded() != want {
			t.Errorf("%s: %d volumes are counted, want %d", name, s.CountExceeded(), want)
		}
		if c.over && c.from > 0 && (!v.Exceeded.Since.Equal(second) || v.Exceeded.Used != 7) {
			t.Errorf("%s: it is forgotten when that began: %+v", name, v.Exceeded)
		}
		if again := Weigh(s, "v1", c.used, later); len(again) > 0 {
			t.Errorf("%s: the same again makes changes: %+v", name, again)
		}
	}
}

func TestOnlyWhatNothingElseHoldsToItsSizeIsWeighed(t *testing.T) {
	t.Parallel()
	disk := func(e Enforcement, then OnExceed) Change {
		return Change{Disk: &Disk{Pool: "p", Phase: Ready, Enforcement: e, OnExceed: then}}
	}
	fault := func(kind error) Change { return Change{Fault: &FaultOf{UnitOfVolume("v1"), Fault{Kind: kind}}} }
	project := &Volume{UUID: "v1", Size: 100 * resource.One, Phase: Ready, Project: 5000}
	making, ending := *project, *project
	making.Phase, ending.Phase = Creating, Destroying
	none, hard := Enforcement{Mode: EnforcedNone}, Enforcement{Mode: EnforcedHard}
	for name, c := range map[string]struct {
		changes []Change
		weighed bool
	}{
		"measured":                   {nil, true},
		"a fault that passes":        {[]Change{fault(ErrFailed)}, true},
		"lost":                       {[]Change{fault(ErrLost)}, false},
		"unavailable":                {[]Change{fault(ErrUnavailable)}, false},
		"nobody measures":            {[]Change{disk(none, "")}, false},
		"not seen":                   {[]Change{disk(Enforcement{}, Report)}, false},
		"held by its file system":    {[]Change{disk(hard, Report), {Volume: project}}, false},
		"without a project":          {[]Change{disk(hard, Report)}, true},
		"being made":                 {[]Change{{Volume: &making}}, false},
		"being destroyed":            {[]Change{{Volume: &ending}}, false},
		"gone":                       {[]Change{{Drop: &Drop{Volume: "v1"}}}, false},
		"with a project, but no one": {[]Change{{Volume: project}}, true},
	} {
		s := hundred(0, Report).With(c.changes...)
		if got := len(Weigh(s, "v1", 200*resource.MiB, second)) > 0; got != c.weighed {
			t.Errorf("%s: weighed is %v, want %v", name, got, c.weighed)
		}
	}
}

func TestWhatIsNotMeasuredAnyMoreIsNotExceeded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		disk   Disk
		lifted bool
	}{
		"still measured":            {Disk{Enforcement: Enforcement{Mode: EnforcedNone}, OnExceed: Report}, false},
		"not seen":                  {Disk{OnExceed: Report}, false},
		"nobody measures":           {Disk{Enforcement: Enforcement{Mode: EnforcedNone}}, true},
		"a limit holds it":          {Disk{Enforcement: Enforcement{Mode: EnforcedHard}, OnExceed: Report}, true},
		"a limit, and nobody looks": {Disk{Enforcement: Enforcement{Mode: EnforcedHard}}, true},
	} {
		v := &Volume{UUID: "v1", Name: Name{"web", "v"}, Size: resource.One, Phase: Ready, Project: 1, Exceeded: &Exceeded{Size: resource.One}}
		s := Empty().With(Change{Disk: &c.disk}, Change{Volume: v})
		s = s.With(Lift(s, second)...)
		if s.CountExceeded() == 0 != c.lifted {
			t.Errorf("%s: %d are exceeded, lifted should be %v", name, s.CountExceeded(), c.lifted)
		}
	}
}

func TestAnExceededVolumeIsReadOnlyWhereThatFollows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		disk, own OnExceed
		over      bool
		want      resource.Mode
	}{
		{MakeReadOnly, "", true, resource.RO}, {MakeReadOnly, "", false, resource.RW}, {Report, "", true, resource.RW},
		{Report, MakeReadOnly, true, resource.RO}, {MakeReadOnly, Report, true, resource.RW},
		{"", MakeReadOnly, true, resource.RW}, // nobody would find out that it is within again
	} {
		s := hundred(0, c.disk)
		v, _ := s.Volume("v1")
		other := *v
		if other.OnExceed = c.own; c.over {
			other.Exceeded = &Exceeded{Size: v.Size}
		}
		s = s.With(Change{Volume: &other}, Change{Task: &Task{ID: "t", Sandbox: "/s/t"}},
			Change{Attachment: &Attachment{Volume: "v1", Task: "t", Path: "p", Mode: resource.RW, Via: ByPath}})
		u := Unit{Kind: AttachmentUnit, Volume: "v1", Task: "t", Path: "p"}
		a, _ := s.Attachment(u)
		if got := s.InForce(a).Mode; got != c.want || a.Mode != resource.RW {
			t.Errorf("%+v: it is mounted %s, want %s; recorded %s", c, got, c.want, a.Mode)
		}
		steps := Plan(s, u, Seen{Attachment: SeenAttachment{Mounted: true}})
		if flips := cmp.Equal(steps, []Step{{Flip, u}}); flips != (c.want == resource.RO) {
			t.Errorf("%+v: a writable mount has steps %v", c, steps)
		}
		steps = Plan(s, u, Seen{Attachment: SeenAttachment{Mounted: true, ReadOnly: true}})
		if flips := cmp.Equal(steps, []Step{{Flip, u}}); flips != (c.want == resource.RW) {
			t.Errorf("%+v: a read-only mount has steps %v", c, steps)
		}
	}
}

func TestTasksThatMayWriteAreKilledWhereThatFollows(t *testing.T) {
	t.Parallel()
	task := func(id, cgroup string) *Task {
		return &Task{ID: id, Sandbox: "/s/" + id, Lease: Lease{PID: 7, Cgroup: cgroup}}
	}
	use := func(id string, mode resource.Mode, via Via) Change {
		return Change{Attachment: &Attachment{Volume: "v1", Task: id, Path: "p", Mode: mode, Via: via}}
	}
	for _, then := range OnExceeds() {
		s := hundred(0, then)
		for _, id := range []string{"path", "descriptor", "claim", "reader"} {
			s = s.With(Change{Task: task(id, "/c/"+id)})
		}
		ending, killing := task("ending", "/c/e"), task("killing", "/c/k")
		ending.Releasing, killing.Killing = true, true
		s = s.With(Change{Task: ending}, Change{Task: killing}, Change{Task: task("named", "")}, use("path", resource.RW, ByPath),
			use("descriptor", resource.RW, ByDescriptor), use("claim", resource.RW, Claimed), use("reader", resource.RO, ByPath),
			use("ending", resource.RW, ByPath), use("killing", resource.RW, ByPath), use("named", resource.RW, ByPath))
		var want []string
		if then == KillWriters {
			want = []string{"claim", "descriptor", "path"}
		}
		for range 2 { // again, where it is exceeded already
			var killed, told []string
			changes := Weigh(s, "v1", 200*resource.MiB, second)
			for _, c := range changes {
				if c.Task != nil && c.Task.Killing {
					killed = append(killed, c.Task.ID)
				}
				if c.Notice != nil {
					told = append(told, c.Notice.Killed...)
				}
			}
			if !slices.Equal(killed, want) || !slices.Equal(told, want) {
				t.Errorf("%s: %v are killed, %v told; want %v", then, killed, told, want)
			}
			v, _ := s.With(changes...).Volume("v1")
			s = s.With(Change{Volume: v})
		}
		named, _ := s.Attachment(Unit{Kind: AttachmentUnit, Volume: "v1", Task: "named", Path: "p"})
		if got := s.InForce(named).Mode == resource.RO; got != (then != Report) {
			t.Errorf("%s: what can't be killed is read-only: %v", then, got)
		}
		path, _ := s.Attachment(Unit{Kind: AttachmentUnit, Volume: "v1", Task: "path", Path: "p"})
		if got := s.InForce(path).Mode == resource.RO; got != (then == MakeReadOnly) {
			t.Errorf("%s: what can be killed is read-only: %v", then, got)
		}
	}
}

func TestAWritableDescriptorOfAReadOnlyVolumeIsRefused(t *testing.T) {
	t.Parallel()
	s := hundred(100*resource.One, MakeReadOnly)
	use := func(mode resource.Mode, via Via) error {
		_, err := Apply(s, numbered(), Attach{Task: "t", Sandbox: "/s/t", Use: Use{Volume: "web/v", Path: "p", Mode: mode}, Via: via})
		return err
	}
	if err := use("", ByDescriptor); !errors.Is(err, ErrInsufficient) {
		t.Errorf("a writable descriptor: %v, want ErrInsufficient", err)
	}
	for _, err := range []error{use(resource.RO, ByDescriptor), use(resource.RW, ByPath)} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestACreateSaysWhatFollowsOrLeavesIt(t *testing.T) {
	t.Parallel()
	s := machine(t)
	out, err := Apply(s, numbered(), reserve(mib(100).PushReservation(dynamicFor("web"))))
	if err != nil {
		t.Fatal(err)
	}
	made := create(vol("data", 8).PushReservation(dynamicFor("web")))
	made.OnExceed = MakeReadOnly
	out, err = Apply(out.Next, numbered(), made)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := out.Next.Volume("v1"); v.OnExceed != MakeReadOnly {
		t.Errorf("it is %+v", v)
	}
	made.Volume.Disk.Persistence.ID, made.OnExceed = "other", "weep"
	if _, err := Apply(out.Next, numbered(), made); !errors.Is(err, ErrInvalid) {
		t.Errorf("something else: %v, want ErrInvalid", err)
	}
}
