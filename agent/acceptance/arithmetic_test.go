package acceptance

import (
	"encoding/json"
	"testing"

	"tenon/agent/resource"
)

func textAndJSONReadAlike(t *testing.T) {
	for text, list := range map[string]string{
		"cpus:45.55;ports:[10000-20000,30000-50000];disks:{sda1}": `[
			{"name":"disks","type":"SET","set":{"item":["sda1"]}},
			{"name":"cpus","type":"SCALAR","scalar":{"value":45.55}},
			{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":30000,"end":50000},{"begin":10000,"end":20000}]}}]`,
		"cpus(eng):2;mem:3": `[{"name":"mem","type":"SCALAR","scalar":{"value":3},"role":"*"},
			{"name":"cpus","type":"SCALAR","scalar":{"value":2},"role":"eng"}]`,
		"disk(eng):64": `[{"name":"disk","type":"SCALAR","scalar":{"value":64},"reservations":[{"type":"STATIC","role":"eng"}]}]`,
	} {
		fromJSON, err := resource.ParseList(list)
		allowed(t, list, err)
		fromText, err := resource.ParseList(text)
		allowed(t, text, err)
		same(t, text, resource.SetOf(fromJSON...), resource.SetOf(fromText...))
	}
	same(t, "a default role", resource.SetOf(resource.WithDefaultRole(texts(t, "cpus:2;mem(web):3"), "eng")...), set(t, "cpus(eng):2;mem(web):3"))
}

func malformedListsAreErrors(t *testing.T) {
	for list, says := range map[string]string{
		"cpus":        "missing or extra ':'",
		"cpus:1:2":    "missing or extra ':'",
		"cpus(eng:1":  "mismatched parentheses",
		"cpus)eng(:1": "mismatched parentheses",
		`[`:           "",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1}}`:       "",
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}] end`: "",
		`[{"name":"cpus","scalar":{"value":1}}]`:                     "type",
		`[{"name":"cpus","type":"SCALAR"}]`:                          "scalar",
		`["cpus"]`:                                                   "",
	} {
		_, err := resource.ParseList(list)
		refused(t, list, err, says)
	}
	refused(t, "one name with two types", resource.CheckConfigured(texts(t, "ports:1;ports:[1-2]")), "ports")
}

func printingIsMesos(t *testing.T) {
	labelled := dynamic("alice")
	labelled.Principal, labelled.Labels = ptr("hadoop"), []resource.Label{{Key: "foo", Value: ptr("bar")}}
	revocable := scalar("cpus", 2)
	revocable.Revocable = true
	hosted := changed(vol(space(1, static("alice")), "hdfs"), func(d *resource.Disk) {
		d.Volume = &resource.Volume{ContainerPath: "/data", HostPath: ptr("/hdfs"), Mode: resource.RW}
	})
	for want, r := range map[string]resource.Resource{
		"cpus:45.55": scalar("cpus", 45.55),
		"disk(reservations: [(STATIC,alice)])[hdfs:/hdfs:/data:rw]:1":  hosted,
		"disk(reservations: [(DYNAMIC,alice,hadoop,{foo: bar})]):1":    space(1, labelled),
		"disk(reservations: [(STATIC,a), (DYNAMIC,a/b)])[id:data]:64":  vol(space(64, static("a"), dynamic("a/b")), "id"),
		"disk(reservations: [(STATIC,alice)])[PATH:/mnt/p,id:data]:64": vol(on(resource.SourcePath, "/mnt/p", space(64, static("alice"))), "id"),
		"disk[MOUNT:/mnt/m]:64": on(resource.SourceMount, "/mnt/m", space(64)),
		"cpus{REV}:2":           revocable,
		"ports:[1-2, 4-4]":      texts(t, "ports:[1-2,4-4]")[0],
		"disks:{sda1, sda2}":    texts(t, "disks:{sda1,sda2}")[0],
	} {
		is(t, "printed", r.String(), want)
	}
	for given, want := range map[string]string{"disk:45.551": "disk:45.551", "disk:45.5514": "disk:45.551", "disk:45.5999": "disk:45.6"} {
		is(t, given, set(t, given).String(), want)
	}
}

func valuesAreAlgebra(t *testing.T) {
	for _, c := range []struct {
		a, b, sum, difference string
		contains              bool
	}{
		{"cpus:5", "cpus:3", "cpus:8", "cpus:2", true},
		{"cpus:3", "cpus:5", "cpus:8", "", false},
		{"cpus:50;mem:4096", "cpus:0.5;mem:1024", "cpus:50.5;mem:5120", "cpus:49.5;mem:3072", true},
		{"ports:[1-10]", "ports:[5-30]", "ports:[1-30]", "ports:[1-4]", false},
		{"ports:[1-10,20-30]", "ports:[2-9,22-28]", "ports:[1-10,20-30]", "ports:[1-1,10-10,20-21,29-30]", true},
		{"ports:[1-3]", "ports:[4-6]", "ports:[1-6]", "ports:[1-3]", false},
		{"disks:{sda1,sda2,sda3}", "disks:{sda1}", "disks:{sda1,sda2,sda3}", "disks:{sda2,sda3}", true},
		{"disks:{sda1}", "disks:{sda2}", "disks:{sda1,sda2}", "disks:{sda1}", false},
		{"cpus:1", "", "cpus:1", "cpus:1", true},
	} {
		a, b := set(t, c.a), set(t, c.b)
		same(t, c.a+" + "+c.b, a.AddSet(b), set(t, c.sum))
		same(t, c.a+" - "+c.b, a.SubtractSet(b), set(t, c.difference))
		is(t, c.a+" contains "+c.b, a.ContainsSet(b), c.contains)
		is(t, c.a+" equals "+c.b, a.Equal(b), false)
	}
}

func invalidIsNotAdded(t *testing.T) {
	for _, bad := range []resource.Resource{
		{Name: "cpus", Type: resource.TypeScalar, Scalar: -1000},
		{Name: "", Type: resource.TypeScalar, Scalar: 1000},
		{Name: "ports", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 10, End: 1}}},
		{Name: "cpus", Type: resource.TypeScalar},
	} {
		same(t, bad.String(), set(t, "mem:1").Add(bad), set(t, "mem:1"))
	}
}

func sumsAreExact(t *testing.T) {
	for given, want := range map[string]string{"cpus:1.5011": "cpus:1.501", "cpus:1.5015": "cpus:1.502", "cpus:1.4995": "cpus:1.5"} {
		same(t, given, set(t, given), set(t, want))
	}
	for _, step := range []string{"cpus:0.1", "cpus:0.001", "cpus:0.333"} {
		start, small := set(t, "cpus:1.001"), set(t, step)
		now := start
		for range 2500 {
			now = now.AddSet(small)
		}
		for range 2500 {
			now = now.SubtractSet(small)
		}
		same(t, "2,500 times "+step+" and back", now, start)
	}
	same(t, "1.1 - 1", set(t, "cpus:1.1").SubtractSet(set(t, "cpus:1")), set(t, "cpus:0.1"))
	same(t, "tenths", set(t, "cpus:0.1").AddSet(set(t, "cpus:0.2")), set(t, "cpus:0.3"))
}

func almostNothingIsAnError(t *testing.T) {
	_, err := resource.ParseText("cpus:0.00001")
	refused(t, "text", err, "value <= 0")
	var r resource.Resource
	err = json.Unmarshal([]byte(`{"name":"cpus","type":"SCALAR","scalar":{"value":0.00001}}`), &r)
	refused(t, "JSON", err, "value <= 0")
}

func absentIsNone(t *testing.T) {
	_, ok := set(t, "cpus:1").Quantity("disk")
	is(t, "there is disk", ok, false)
}

func reservationsFilter(t *testing.T) {
	all := set(t, "disk:1;disk(a):2;disk(a/b):4;disk(a/b/c):8;disk(ab):16")
	for role, want := range map[string]string{"": "disk(a):2;disk(a/b):4;disk(a/b/c):8;disk(ab):16", "a": "disk(a):2", "a/b": "disk(a/b):4", "x": ""} {
		same(t, "reserved to "+role, all.Reserved(role), set(t, want))
	}
	same(t, "unreserved", all.Unreserved(), set(t, "disk:1"))
	same(t, "for a/b", all.AllocatableTo("a/b"), set(t, "disk:1;disk(a):2;disk(a/b):4"))
	same(t, "for a", all.AllocatableTo("a"), set(t, "disk:1;disk(a):2"))
}

func providersKeepApart(t *testing.T) {
	provided := func(n float64, id string) resource.Resource {
		r := space(n)
		r.Provider = id
		return r
	}
	one, other := provided(10, "a"), provided(10, "b")
	is(t, "equal", resource.Equal(one, other), false)
	is(t, "equal to no provider's", resource.Equal(one, space(10)), false)
	sum := resource.SetOf(one, other, space(10), provided(5, "a"))
	is(t, "entries", sum.Len(), 3)
	is(t, "contains", resource.SetOf(one).Contains(other), false)
	same(t, "difference", resource.SetOf(one).Subtract(other), resource.SetOf(one))
	same(t, "a's own", sum.Subtract(one), resource.SetOf(provided(5, "a"), other, space(10)))
}

func reservedResourcesKeepApart(t *testing.T) {
	labelled := func(value string) resource.Reservation {
		r := by("ops", "eng")
		r.Labels = []resource.Label{{Key: "foo", Value: &value}}
		return r
	}
	kinds := []resource.Resource{
		space(8), space(8, static("eng")), space(8, static("web")), space(8, dynamic("eng")), space(8, by("ops", "eng")),
		space(8, by("dev", "eng")), space(8, labelled("bar")), space(8, labelled("baz")), space(8, static("eng"), dynamic("eng/ml")),
	}
	all := resource.SetOf(kinds...)
	is(t, "entries", all.Len(), len(kinds))
	for _, k := range kinds {
		allowed(t, k.String(), k.Validate())
		part := k
		part.Scalar /= 2
		is(t, "contains part of "+k.String(), all.Contains(part), true)
		is(t, "entries with more of "+k.String(), all.Add(part).Len(), len(kinds))
		is(t, "entries without "+k.String(), all.Subtract(k).Len(), len(kinds)-1)
		is(t, "others contain "+k.String(), all.Subtract(k).Contains(part), false)
	}
	for _, bad := range []resource.Resource{
		space(8, dynamic("*")), space(8, static("")), space(8, dynamic("eng"), dynamic("web")),
		space(8, dynamic("eng"), static("eng/ml")), space(8, dynamic("eng"), dynamic("eng")),
	} {
		refused(t, bad.String(), bad.Validate(), "")
	}
}

func onlyDiskHasDiskInfo(t *testing.T) {
	allowed(t, "a volume", vol(space(8, dynamic("eng")), "id").Validate())
	cpus := scalar("cpus", 1)
	cpus.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: "id"}}
	refused(t, "cpus with a DiskInfo", cpus.Validate(), "DiskInfo should not be set for cpus resource")
	refused(t, "a source of unknown type", on("UNKNOWN", "", space(8)).Validate(), "Unsupported 'DiskInfo.Source.Type'")
	refused(t, "a RAW disk with a path", changed(on(resource.SourceRaw, "", space(8)), func(d *resource.Disk) {
		d.Source.Path = &resource.Root{Root: ptr("/p")}
	}).Validate(), "Path and mount should not be set")
}

func identityOfVolumes(t *testing.T) {
	v := vol(space(8, dynamic("eng")), "id")
	elsewhere := changed(v, func(d *resource.Disk) { d.Volume = &resource.Volume{ContainerPath: "other", Mode: resource.RO} })
	owned := changed(v, func(d *resource.Disk) { d.Persistence = &resource.Persistence{ID: "id", Principal: ptr("ops")} })
	for _, alike := range []resource.Resource{elsewhere, owned} {
		is(t, alike.String()+" is the same", resource.Equal(v, alike), true)
	}
	for _, other := range []resource.Resource{
		vol(space(8, dynamic("eng")), "id2"), vol(space(8, dynamic("web")), "id"), vol(space(8, static("eng")), "id"),
		space(8, dynamic("eng")), vol(space(9, dynamic("eng")), "id"), sharing(space(8, dynamic("eng")), "id"),
		vol(on(resource.SourcePath, "/p", space(8, dynamic("eng"))), "id"),
	} {
		is(t, other.String()+" is the same", resource.Equal(v, other), false)
	}
}

func identityOfSources(t *testing.T) {
	provided := func(change func(*resource.Source)) resource.Resource {
		r := on(resource.SourceRaw, "id", space(8))
		change(r.Disk.Source)
		return r
	}
	different := []resource.Resource{
		space(8), on(resource.SourcePath, "/a", space(8)), on(resource.SourcePath, "/b", space(8)),
		on(resource.SourceMount, "/a", space(8)), on(resource.SourceMount, "/b", space(8)),
		on(resource.SourceBlock, "id", space(8)), on(resource.SourceRaw, "", space(8)), on(resource.SourceRaw, "id", space(8)), on(resource.SourceRaw, "id2", space(8)),
		provided(func(s *resource.Source) { s.Profile = ptr("fast") }), provided(func(s *resource.Source) { s.Profile = ptr("slow") }),
		provided(func(s *resource.Source) { s.Vendor = ptr("acme") }),
	}
	for i, a := range different {
		for j, b := range different {
			is(t, a.String()+" is "+b.String(), resource.Equal(a, b), i == j)
		}
	}
}

func whatMerges(t *testing.T) {
	eng := func(n float64) resource.Resource { return space(n, dynamic("eng")) }
	for _, c := range []struct {
		what    string
		a, b    resource.Resource
		entries int
	}{
		{"volumes with one id", vol(eng(8), "id"), vol(eng(8), "id"), 2},
		{"volumes with two ids", vol(eng(8), "id1"), vol(eng(8), "id2"), 2},
		{"a volume and plain disk", vol(eng(8), "id"), eng(8), 2},
		{"one PATH disk", on(resource.SourcePath, "/a", eng(8)), on(resource.SourcePath, "/a", eng(4)), 1},
		{"two PATH disks", on(resource.SourcePath, "/a", eng(8)), on(resource.SourcePath, "/b", eng(4)), 2},
		{"one MOUNT disk", on(resource.SourceMount, "/a", eng(8)), on(resource.SourceMount, "/a", eng(4)), 2},
		{"BLOCK", on(resource.SourceBlock, "id", eng(8)), on(resource.SourceBlock, "id", eng(4)), 2},
		{"RAW without id", on(resource.SourceRaw, "", eng(8)), on(resource.SourceRaw, "", eng(4)), 1},
		{"RAW with id", on(resource.SourceRaw, "id", eng(8)), on(resource.SourceRaw, "id", eng(4)), 2},
	} {
		is(t, c.what, resource.SetOf(c.a, c.b).Len(), c.entries)
	}
}

func whatComesOffWhole(t *testing.T) {
	eng := func(n float64) resource.Resource { return space(n, dynamic("eng")) }
	for _, c := range []struct {
		what     string
		of, part resource.Resource
		divides  bool
	}{
		{"a volume", vol(eng(8), "id"), vol(eng(4), "id"), false},
		{"MOUNT", on(resource.SourceMount, "/a", eng(8)), on(resource.SourceMount, "/a", eng(4)), false},
		{"BLOCK", on(resource.SourceBlock, "id", eng(8)), on(resource.SourceBlock, "id", eng(4)), false},
		{"RAW with id", on(resource.SourceRaw, "id", eng(8)), on(resource.SourceRaw, "id", eng(4)), false},
		{"RAW without id", on(resource.SourceRaw, "", eng(8)), on(resource.SourceRaw, "", eng(4)), true},
		{"PATH", on(resource.SourcePath, "/a", eng(8)), on(resource.SourcePath, "/a", eng(4)), true},
		{"the root disk", eng(8), eng(4), true},
	} {
		s, left := resource.SetOf(c.of), resource.SetOf(c.of)
		if c.divides {
			left = resource.SetOf(c.part)
		}
		same(t, c.what+" less a part", s.Subtract(c.part), left)
		same(t, c.what+" less all", s.Subtract(c.of), resource.Set{})
		is(t, c.what+" contains a part", s.Contains(c.part), c.divides)
		is(t, c.what+" contains itself", s.Contains(c.of), true)
		is(t, c.what+" contains more", resource.SetOf(c.part).Contains(c.of), false)
	}
	v, w := vol(eng(8), "v"), vol(on(resource.SourceMount, "/a", eng(8)), "w")
	same(t, "volumes", resource.SetOf(v, w, eng(8)).PersistentVolumes(), resource.SetOf(v, w))
}
