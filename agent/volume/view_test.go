package volume

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenon/agent/resource"
)

// setOf collects resources the slow way.
func setOf(list ...resource.Resource) (set resource.Set) { return set.Add(list...) }

// allocated collects what tasks hold, with its copies.
func allocated(s *State) (set resource.Set) {
	for r, n := range s.Allocated(true) {
		set = set.AddCopies(r, n)
	}
	return set
}

// names is what the volumes are called.
func names(s *State) (all []string) {
	for v := range s.Volumes(Name{}) {
		all = append(all, v.Name.String())
	}
	return all
}

// texts prints resources in order.
func texts(list []resource.Resource) (all []string) {
	for _, r := range list {
		all = append(all, r.String())
	}
	return all
}

func hosted(s *State) *State {
	return s.With(Change{Host: &HostInfo{Resources: []resource.Resource{
		{Name: "cpus", Type: resource.TypeScalar, Scalar: 2 * resource.One},
		{Name: "mem", Type: resource.TypeScalar, Scalar: resource.One, Reservations: []resource.Reservation{{Type: resource.Static, Role: "db"}}},
	}}})
}

func TestWhatIsOfferableIsWhatTheAllocatorOfMesosWouldOffer(t *testing.T) {
	t.Parallel()
	held := 0
	rapid.Check(t, func(rt *rapid.T) {
		s, env := hosted(machine(t)), numbered()
		for _, role := range []string{"web", "web/a", "db"} {
			s = mustApply(t, s, env, reserve(mib(300, role)), reserve(on(mib(200, role))))
		}
		for n := range rapid.IntRange(0, 40).Draw(rt, "operations") {
			role := rapid.SampledFrom([]string{"web", "web/a", "db"}).Draw(rt, "role")
			r := vol(fmt.Sprint("v", rapid.IntRange(0, 9).Draw(rt, "id")), float64(rapid.IntRange(1, 60).Draw(rt, "size")), role)
			if rapid.Bool().Draw(rt, "other disk") {
				r = on(r)
			}
			if rapid.Bool().Draw(rt, "shared") {
				r = shared(r)
			}
			ref := Name{role, r.Disk.Persistence.ID}.String()
			use := ref // mostly of a volume that there is
			if all := names(s); len(all) > 0 && rapid.IntRange(0, 9).Draw(rt, "any") > 0 {
				use = rapid.SampledFrom(all).Draw(rt, "volume")
			}
			op := rapid.SampledFrom([]Operation{
				create(r), create(r), Destroy{Ref: ref}, reserve(mib(7, role)), Unreserve{Resources: []resource.Resource{mib(5, role)}},
				Attach{Task: fmt.Sprint("t", n%4), Sandbox: fmt.Sprint("/s/t", n%4), Use: Use{Volume: use}, Via: ByPath},
				Attach{Task: fmt.Sprint("t", n%3), Sandbox: fmt.Sprint("/s/t", n%3), Use: Use{Volume: use, Path: "again"}, Via: ByPath},
			}).Draw(rt, "operation")
			out, err := Apply(s, env, op)
			if err == nil {
				s = gone(ready(out.Next))
			}
		}
		checkView(rt, s)
		held = max(held, s.CountAttachments())
	})
	t.Logf("up to %d attachments", held)
	if held < 3 && !testing.Short() { // which tries too little
		t.Errorf("there were never more than %d attachments", held)
	}
}

// gone ends every tombstone.
func gone(s *State) *State {
	for v := range s.Tombstones() {
		s = s.With(Settle(s, UnitOfVolume(v.UUID), Seen{}, second)...)
	}
	return s
}

// checkView holds the view of a state with nothing unfinished and no fault against sets.
func checkView(t *rapid.T, s *State) {
	total := setOf(slices.Collect(s.Total(true))...)
	if got, _ := total.Quantity("disk"); got != 5096*resource.One {
		t.Errorf("the total has %s MiB of disk, want all 5096", got)
	}
	used := allocated(s)
	available := total.NonShared().SubtractSet(used.NonShared()).AddSet(total.Shared())
	if got := setOf(slices.Collect(s.Offerable("", true))...); !got.Equal(available) {
		t.Errorf("offerable is %s\nwant %s", got, available)
	}
	for _, role := range []string{"web", "web/a", "db", "nobody", "we"} {
		if got, want := setOf(slices.Collect(s.Offerable(role, true))...), available.AllocatableTo(role); !got.Equal(want) {
			t.Errorf("offerable to %s is %s\nwant %s", role, got, want)
		}
		if got, want := setOf(slices.Collect(s.Offerable(role, false))...), available.NonShared().AllocatableTo(role); !got.Equal(want) {
			t.Errorf("offerable to %s without shared ones is %s\nwant %s", role, got, want)
		}
	}
	if got := setOf(slices.Collect(s.Total(false))...); !got.Equal(total.NonShared()) {
		t.Errorf("the total without shared volumes is %s\nwant %s", got, total.NonShared())
	}
	for v := range s.Volumes(Name{}) {
		if n := used.Count(s.Resource(v)); n != len(s.Holders(v.UUID)) && (v.Shared || len(s.Holders(v.UUID)) > 1) {
			t.Errorf("%s is allocated %d times and has %d holders", v.Name, n, len(s.Holders(v.UUID)))
		}
	}
}

func TestAVolumeIsAllocatedOnceForEachHolder(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), reserve(mib(100, "web")),
		create(shared(vol("s", 10, "web"))), create(vol("x", 10, "web")), create(shared(vol("free", 10, "web"))),
		Attach{Task: "t1", Sandbox: "/s/t1", Use: Use{Volume: "web/s", Path: "a"}, Via: ByPath},
		Attach{Task: "t1", Sandbox: "/s/t1", Use: Use{Volume: "web/s", Path: "b"}, Via: ByPath},
		Attach{Task: "t2", Sandbox: "/s/t2", Use: Use{Volume: "web/s"}, Via: ByPath},
		Attach{Task: "t2", Sandbox: "/s/t2", Use: Use{Volume: "web/x"}, Via: ByPath},
	)
	var got []string
	for r, n := range s.Allocated(true) {
		got = append(got, fmt.Sprintf("%d %s", n, r))
	}
	want := []string{"2 disk(reservations: [(DYNAMIC,web)])[s:s]<SHARED>:10", "1 disk(reservations: [(DYNAMIC,web)])[x:x]:10"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for r := range s.Allocated(false) {
		if r.Shared {
			t.Errorf("%s is told to who knows no shared volumes", r)
		}
	}
	if got := texts(slices.Collect(s.Offerable("web", true))); len(got) != 5 { // root, disk d, 70 of web, s, free
		t.Errorf("offerable are %q, want all but x", got)
	}
}

func TestWhatCannotBeUsedIsInTheTotalAndNotOfferable(t *testing.T) {
	t.Parallel()
	base := mustApply(t, machine(t), numbered(), reserve(on(mib(100, "web"))), create(shared(on(vol("s", 10, "web")))))
	v, err := base.Find("web/s")
	if err != nil {
		t.Fatal(err)
	}
	phase := func(p Phase) func(*State) *State {
		return func(s *State) *State {
			n := *v
			n.Phase = p
			return s.With(Change{Volume: &n})
		}
	}
	absent := func(s *State) *State {
		d, _ := s.Disk(dataDisk)
		n := *d
		n.Absent = true
		return s.With(Change{Disk: &n})
	}
	for name, c := range map[string]struct {
		change func(*State) *State
		offers int // of root, unreserved and reserved space of the other disk, and the volume
	}{
		"a good one":        {func(s *State) *State { return s }, 4},
		"a busy one":        {faulty(UnitOfVolume(v.UUID), ErrBusy), 4},
		"a lost one":        {faulty(UnitOfVolume(v.UUID), ErrLost), 3},
		"an unavailable":    {faulty(UnitOfVolume(v.UUID), ErrUnavailable), 3},
		"one that is made":  {phase(Creating), 3},
		"a tombstone":       {phase(Destroying), 3},
		"on a missing disk": {faulty(UnitOfDisk(dataDisk), ErrUnavailable), 1},
		"on an absent disk": {absent, 1},
	} {
		s := c.change(base)
		if got := texts(slices.Collect(s.Offerable("web", true))); len(got) != c.offers {
			t.Errorf("%s: offerable are %q, want %d", name, got, c.offers)
		}
		if got, _ := setOf(slices.Collect(s.Total(true))...).Quantity("disk"); got != 5096*resource.One {
			t.Errorf("%s: the total has %s MiB", name, got)
		}
	}
}

func TestASpaceOfATombstoneIsReservedAsItWillBe(t *testing.T) {
	t.Parallel()
	s := mustApply(t, machine(t), numbered(), reserve(mib(100, "web")), create(vol("a", 40, "web")), create(vol("b", 60, "web")))
	out, err := Apply(s, numberedAs("w"), Destroy{Ref: "web/a"}, Destroy{Ref: "web/b"}, Unreserve{Resources: []resource.Resource{mib(70, "web")}})
	if err != nil {
		t.Fatal(err)
	}
	total := setOf(slices.Collect(out.Next.Total(true))...)
	for what, set := range map[resource.Scalar]resource.Set{30: total.Reserved("web"), 5066: total.Unreserved()} {
		if got, _ := set.Quantity("disk"); got != what*resource.One {
			t.Errorf("the total has %s, want %d MiB there", set, what)
		}
	}
	if got, _ := setOf(slices.Collect(out.Next.Offerable("", true))...).Quantity("disk"); got != 4996*resource.One {
		t.Errorf("%s MiB are offerable, want none of the 100 that come back", got)
	}
}

func TestAListThatIsLeftEarlyEnds(t *testing.T) {
	t.Parallel()
	s := hosted(populated(t, 3))
	for name, list := range map[string]func(func(resource.Resource) bool){
		"total":     s.Total(true),
		"offerable": s.Offerable("", true),
		"allocated": func(yield func(resource.Resource) bool) {
			for r := range s.Allocated(true) {
				if !yield(r) {
					return
				}
			}
		},
	} {
		all := len(slices.Collect(list))
		for most := 1; most <= all; most++ {
			n := 0
			for range list {
				if n++; n == most {
					break
				}
			}
			if n != most {
				t.Errorf("%s: %d of %d", name, n, all)
			}
		}
	}
}

// BenchmarkView is what a master's look at all resources costs.
func BenchmarkView(b *testing.B) {
	for _, volumes := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("volumes=%d", volumes), func(b *testing.B) {
			s := populated(b, volumes)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for range s.Total(true) {
					n++
				}
				for range s.Offerable("org/web", true) {
					n++
				}
				for range s.Allocated(true) {
					n++
				}
				if n < 3*volumes {
					b.Fatalf("%d are not all", n)
				}
			}
		})
	}
}
