package resource

import "testing"

func TestSameMetadataLooksAtWhatAThingIs(t *testing.T) {
	t.Parallel()
	v := disk(64, "eng").volume("v", "data")
	source := func(change func(*Source)) Resource {
		r := disk(64, "").on(SourceRaw, "")
		change(r.Disk.Source)
		return r
	}
	raw := source(func(*Source) {})
	for name, c := range map[string]struct {
		a, b Resource
		want bool
	}{
		"another amount":              {disk(64, ""), disk(65, ""), true},
		"another container path":      {v, disk(64, "eng").volume("v", "elsewhere"), true},
		"read-only":                   {v, v.with(func(r *Resource) { r.Disk = &Disk{Persistence: r.Disk.Persistence, Volume: &Volume{"data", nil, RO}} }), true},
		"another creator":             {v, v.with(func(r *Resource) { r.Disk = &Disk{Persistence: &Persistence{"v", ptr("ops")}, Volume: r.Disk.Volume} }), true},
		"another id":                  {v, disk(64, "eng").volume("w", "data"), false},
		"another role":                {v, disk(64, "web").volume("v", "data"), false},
		"no volume":                   {v, disk(64, "eng"), false},
		"empty disk info":             {disk(64, "eng"), disk(64, "eng").with(func(r *Resource) { r.Disk = &Disk{} }), false},
		"shared":                      {v, v.shared(), false},
		"revocable":                   {disk(64, ""), disk(64, "").with(func(r *Resource) { r.Revocable = true }), false},
		"allocated":                   {disk(64, ""), disk(64, "").with(func(r *Resource) { r.Allocation = "eng" }), false},
		"allocated to another role":   {v.with(func(r *Resource) { r.Allocation = "a" }), v.with(func(r *Resource) { r.Allocation = "b" }), false},
		"from a provider":             {disk(64, ""), disk(64, "").with(func(r *Resource) { r.Provider = "p" }), false},
		"another name":                {disk(64, ""), disk(64, "").with(func(r *Resource) { r.Name = "mem" }), false},
		"another type":                {disk(64, ""), disk(64, "").with(func(r *Resource) { r.Type = TypeSet }), false},
		"refined":                     {disk(64, "eng"), disk(64, "eng").PushReservation(Reservation{Type: Dynamic, Role: "eng/ml"}), false},
		"static":                      {disk(64, "eng"), disk(64, "").PushReservation(Reservation{Type: Static, Role: "eng"}), false},
		"another principal":           {disk(64, "eng"), ads(64).with(func(r *Resource) { r.Reservations[0].Role = "eng" }), false},
		"path and root disk":          {disk(64, ""), disk(64, "").on(SourcePath, "/d"), false},
		"the same path":               {disk(64, "").on(SourcePath, "/d"), disk(64, "").on(SourcePath, "/d"), true},
		"another root":                {disk(64, "").on(SourcePath, "/d"), disk(64, "").on(SourcePath, "/e"), false},
		"path and mount":              {disk(64, "").on(SourcePath, "/d"), disk(64, "").on(SourceMount, "/d"), false},
		"raw disks alike":             {raw, source(func(*Source) {}), true},
		"raw with an id":              {raw, source(func(s *Source) { s.ID = ptr("x") }), false},
		"raw with a profile":          {raw, source(func(s *Source) { s.Profile = ptr("x") }), false},
		"raw with a vendor":           {raw, source(func(s *Source) { s.Vendor = ptr("x") }), false},
		"raw with metadata":           {raw, source(func(s *Source) { s.Metadata = []Label{{"k", nil}} }), false},
		"source nil and without type": {disk(64, "").with(func(r *Resource) { r.Disk = &Disk{} }), disk(64, "").with(func(r *Resource) { r.Disk = &Disk{Source: &Source{}} }), false},
	} {
		if got := SameMetadata(c.a, c.b); got != c.want {
			t.Errorf("%s: SameMetadata(%s, %s) = %t, want %t", name, c.a, c.b, got, c.want)
		}
		if got := c.a.Key() == c.b.Key(); got != c.want {
			t.Errorf("%s: one key is %t, want %t", name, got, c.want)
		}
	}
}

func TestWhatAddsUpAndWhatComesApart(t *testing.T) {
	t.Parallel()
	raw := disk(64, "").on(SourceRaw, "")
	rawID := disk(64, "").on(SourceRaw, "").with(func(r *Resource) { r.Disk.Source.ID = ptr("x") })
	v := disk(64, "eng").volume("v", "p")
	double := func(r Resource) Resource { r.Scalar *= 2; return r }
	for name, c := range map[string]struct {
		a, b             Resource
		adds, comesApart bool
	}{
		"root disk":                         {disk(64, ""), disk(128, ""), true, true},
		"reserved alike":                    {disk(64, "eng"), disk(128, "eng"), true, true},
		"reserved to others":                {disk(64, "eng"), disk(64, "web"), false, false},
		"path disk":                         {disk(64, "").on(SourcePath, "/d"), disk(128, "").on(SourcePath, "/d"), true, true},
		"path disks elsewhere":              {disk(64, "").on(SourcePath, "/d"), disk(64, "").on(SourcePath, "/e"), false, false},
		"mount disk, whole":                 {disk(64, "").on(SourceMount, "/d"), disk(64, "").on(SourceMount, "/d"), false, true},
		"mount disk, part":                  {disk(64, "").on(SourceMount, "/d"), disk(32, "").on(SourceMount, "/d"), false, false},
		"block disk, whole":                 {disk(64, "").on(SourceBlock, ""), disk(64, "").on(SourceBlock, ""), false, true},
		"block disk, part":                  {disk(64, "").on(SourceBlock, ""), disk(32, "").on(SourceBlock, ""), false, false},
		"raw without an id":                 {raw, double(raw), true, true},
		"raw with an id, whole":             {rawID, rawID, false, true},
		"raw with an id, part":              {rawID, double(rawID), false, false},
		"volume, whole":                     {v, v, false, true},
		"volume, part":                      {v, double(v), false, false},
		"volume on a path":                  {v.on(SourcePath, "/d"), v.on(SourcePath, "/d"), false, true},
		"shared volume, whole":              {v.shared(), v.shared(), true, true},
		"shared volume of another size":     {v.shared(), double(v).shared(), false, false},
		"shared, though no volume, part":    {disk(64, "").shared(), disk(32, "").shared(), false, false},
		"shared volume and its twin":        {v.shared(), v, false, false},
		"shared volume mounted another way": {v.shared(), disk(64, "eng").volume("v", "q").shared(), true, true},
	} {
		if got := Addable(c.a, c.b); got != c.adds || got != Addable(c.b, c.a) {
			t.Errorf("%s: Addable(%s, %s) = %t, want %t both ways", name, c.a, c.b, got, c.adds)
		}
		if got := Subtractable(c.a, c.b); got != c.comesApart {
			t.Errorf("%s: Subtractable(%s, %s) = %t, want %t", name, c.a, c.b, got, c.comesApart)
		}
	}
}
