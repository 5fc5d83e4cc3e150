package resource

import (
	"testing"

	"pgregory.net/rapid"
)

func TestWhatAnAgentMustRemember(t *testing.T) {
	t.Parallel()
	static := reserved(Reservation{Type: Static, Role: "eng"})
	provided := disk(1, "eng").with(func(r *Resource) { r.Provider = "p1" })
	for name, c := range map[string]struct {
		r    Resource
		want bool
	}{
		"unreserved":                  {disk(1, ""), false},
		"static":                      {static, false},
		"dynamic":                     {disk(1, "eng"), true},
		"refined":                     {refine(static, "eng/ml"), true},
		"cpus":                        {refine(mustText(t, "cpus:1")[0], "eng"), true},
		"a volume":                    {disk(1, "eng").volume("v", "p"), true},
		"a volume on a static one":    {static.volume("v", "p"), true},
		"a provider's":                {provided, false},
		"a volume on a provider's":    {provided.volume("v", "p"), false},
		"a volume of nobody, invalid": {disk(1, "").volume("v", "p"), true},
	} {
		if got := c.r.NeedsCheckpoint(); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
	v := sharedVolume(4, "v")
	wantSet(t, "filtered", SetOf(disk(1, ""), static, v, v, provided).CheckpointedResources(), SetOf(v, v).String())
}

func TestWhatIsRememberedIsPutBackInPlace(t *testing.T) {
	t.Parallel()
	static := reserved(Reservation{Type: Static, Role: "eng"}).with(func(r *Resource) { r.Scalar = 8 * One })
	onPath := disk(100, "").on(SourcePath, "/d")
	mount := disk(64, "").on(SourceMount, "/m")
	total := SetOf(disk(100, ""), static, onPath, mount).Add(mustText(t, "cpus:4")...)
	refined := refine(static, "eng/ml").with(func(r *Resource) { r.Scalar = 3 * One })
	list := []Resource{
		disk(10, "web"),
		sharedVolume(20, "s"),
		refine(disk(5, "web"), "web/a").volume("r", "p"),
		static.volume("v", "p").with(func(r *Resource) { r.Scalar = 2 * One }),
		refined,
		disk(30, "web").on(SourcePath, "/d").volume("w", "p"),
		disk(64, "web").on(SourceMount, "/m").volume("m", "p"),
		refine(mustText(t, "cpus:1")[0], "web"),
	}
	got, err := ApplyCheckpointed(total, list)
	if err != nil {
		t.Fatal(err)
	}
	rest := []Resource{disk(65, ""), static.with(func(r *Resource) { r.Scalar = 3 * One }), disk(70, "").on(SourcePath, "/d")}
	if want := SetOf(append(rest, list...)...).Add(mustText(t, "cpus:3")...); !got.Equal(want) {
		t.Errorf("%s, want %s", got, want)
	}
	if amounts(got) != amounts(total) {
		t.Errorf("%s became %s", total, got)
	}
	if got, err := ApplyCheckpointed(total, nil); err != nil || !got.Equal(total) {
		t.Errorf("nothing remembered made %s, %v", got, err)
	}
}

func TestWhatTheConfigurationHasNoRoomForIsIncompatible(t *testing.T) {
	t.Parallel()
	total := SetOf(disk(100, ""), reserved(Reservation{Type: Static, Role: "eng"}), disk(64, "").on(SourceMount, "/m"))
	const unexpected, incompatible = "Unexpected checkpointed resources ", "Incompatible agent resources: "
	v := sharedVolume(10, "v")
	for name, c := range map[string]struct {
		list []Resource
		want string
	}{
		"unreserved":          {[]Resource{disk(1, "")}, unexpected + "disk:1"},
		"static":              {[]Resource{reserved(Reservation{Type: Static, Role: "eng"})}, unexpected},
		"a provider's":        {[]Resource{disk(1, "web").with(func(r *Resource) { r.Provider = "p1" })}, unexpected},
		"invalid":             {[]Resource{disk(1, "web").shared()}, unexpected},
		"a volume twice":      {[]Resource{v, v}, "Persistence ID 'v' is not unique"},
		"too much":            {[]Resource{disk(101, "web")}, incompatible + total.String() + " does not contain disk:101"},
		"too much in two":     {[]Resource{disk(60, "web"), disk(41, "eng")}, incompatible + "disk:40; "},
		"another static role": {[]Resource{refine(reserved(Reservation{Type: Static, Role: "web"}), "web/a")}, "does not contain disk(reservations: [(STATIC,web)]):1"},
		"another path":        {[]Resource{disk(1, "web").on(SourcePath, "/d")}, "does not contain disk[PATH:/d]:1"},
		"part of a mount":     {[]Resource{disk(63, "web").on(SourceMount, "/m").volume("v", "p")}, "does not contain disk[MOUNT:/m]:63"},
		"no such thing":       {[]Resource{refine(mustText(t, "cpus:1")[0], "web")}, "does not contain cpus:1"},
	} {
		got, err := ApplyCheckpointed(total, c.list)
		refused(t, name, err, c.want)
		if got.Len() != 0 {
			t.Errorf("%s: an error and %s", name, got)
		}
	}
}

// TestAStartGivesBackWhatOperationsMade holds that what an agent remembers, and its
// configuration, are all that it needs.
func TestAStartGivesBackWhatOperationsMade(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		static := reserved(Reservation{Type: Static, Role: "eng"}).with(func(r *Resource) { r.Scalar = 64 * One })
		total := SetOf(disk(100, ""), static, disk(50, "").on(SourcePath, "/d"), disk(64, "").on(SourceMount, "/m"))
		now := total
		for i := range rapid.IntRange(1, 8).Draw(t, "operations") {
			r := part(t, rapid.SampledFrom(now.Resources()).Draw(t, "of"))
			do := reserve(refine(r, "web"))
			if r.IsReserved() {
				do = reserve(refine(r, r.Role()+"/x"))
			}
			if r.IsReserved() && rapid.Bool().Draw(t, "create") {
				v := r.volume(string(rune('a'+i)), "p")
				v.Shared = rapid.Bool().Draw(t, "shared")
				do = create(v)
			}
			now, _ = now.Apply(do) // what is refused changes nothing
		}
		got, err := ApplyCheckpointed(total, now.CheckpointedResources().Resources())
		if err != nil || !got.Equal(now) {
			t.Fatalf("%s was made of %s; a start makes %s, %v", now, total, got, err)
		}
	})
}
