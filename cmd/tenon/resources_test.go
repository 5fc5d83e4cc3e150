package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

// copies reads resources, each there once but for the first.
func copies(t *testing.T, first int, text string) (list []wire.Copies) {
	t.Helper()
	rs, err := resource.ParseList(text)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rs {
		n := 1
		if i == 0 {
			n = first
		}
		list = append(list, wire.Copies{Resource: r, Copies: n})
	}
	return list
}

func TestResourcesAreAddedUpByKindDiskAndRole(t *testing.T) {
	t.Parallel()
	const onMount = `[{"name": "disk", "type": "SCALAR", "scalar": {"value": 8}, "role": "web",
		"disk": {"source": {"type": "MOUNT", "mount": {"root": "/d"}}}}]`
	r := wire.Resources{
		Total:     append(copies(t, 1, "cpus:1.5;mem:512;disk:64;disk(web):32;disk(db):4;ports:[1-2]"), copies(t, 1, onMount)...),
		Reserved:  append(copies(t, 1, "disk(web):32;disk(db):4"), copies(t, 1, onMount)...),
		Allocated: copies(t, 3, "disk(web):16;disk(db):4"),
		Offerable: copies(t, 1, "cpus:1.5;mem:512;disk:64;disk(web):16;ports:[1-2]"),
	}
	want := [][]string{
		{"cpus", "-", "*", "1.5", "-", "-", "-", "1.5"},
		{"disk", "root", "all", "100 MiB", "36 MiB", "52 MiB", "20 MiB", "80 MiB"},
		{"disk", "root", "*", "64 MiB", "-", "-", "-", "64 MiB"},
		{"disk", "root", "db", "4 MiB", "4 MiB", "4 MiB", "4 MiB", "-"},
		{"disk", "root", "web", "32 MiB", "32 MiB", "48 MiB", "16 MiB", "16 MiB"},
		{"disk", "MOUNT:/d", "web", "8 MiB", "8 MiB", "-", "-", "-"},
		{"mem", "-", "*", "512 MiB", "-", "-", "-", "512 MiB"},
		{"ports", "-", "*", "[1-2]", "-", "-", "-", "[1-2]"},
	}
	if diff := cmp.Diff(want, sumsOf(r).rows()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAttributesAreListedByName(t *testing.T) {
	t.Parallel()
	p := &page{}
	p.resources(wire.Resources{Attributes: wire.Aggregate{"rack": {Text: "r1"}, "level": {Scalar: 10 * resource.One}}})
	want := "RESOURCE   DISK   ROLE   TOTAL   RESERVED   ALLOCATED   USED   OFFERABLE\n\nattribute level  10\nattribute rack   r1\n"
	if p.String() != want {
		t.Errorf("got\n%s\nwant\n%s", p.String(), want)
	}
}
