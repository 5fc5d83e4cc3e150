package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// some reservations of one disk.
var (
	engStatic = resource.Reservation{Type: resource.Static, Role: "eng"}
	eng       = resource.Reservation{Type: resource.Dynamic, Role: "eng"}
	ml        = resource.Reservation{Type: resource.Dynamic, Role: "eng/ml"}
	web       = resource.Reservation{Type: resource.Dynamic, Role: "web"}
)

func shareWith(top resource.Reservation, stacks ...[]resource.Reservation) share {
	s := share{size: resource.One, top: top, disk: rootDisk}
	for _, stack := range stacks {
		s.have = append(s.have, wire.Reservation{Disk: rootDisk, Resource: s.resource(stack...)})
	}
	return s
}

type stack = []resource.Reservation

func TestTheWholeReservationIsFound(t *testing.T) {
	t.Parallel()
	all := []stack{{engStatic}, {engStatic, ml}, {web}}
	for name, tc := range map[string]struct {
		top   resource.Reservation
		above string
		want  stack
	}{
		"plain":                    {web, "", stack{web}},
		"refined":                  {ml, "", stack{engStatic, ml}},
		"refined, with what above": {ml, "eng", stack{engStatic, ml}},
		"static, for a refusal":    {eng, "", stack{engStatic}},
		"none":                     {resource.Reservation{Type: resource.Dynamic, Role: "db"}, "", stack{{Type: resource.Dynamic, Role: "db"}}},
		"none below that":          {ml, "web", stack{ml}},
	} {
		got, err := shareWith(tc.top, all...).stackOf(tc.above, false)
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

func TestOfSeveralReservationsNoneIsTaken(t *testing.T) {
	t.Parallel()
	s := shareWith(ml, stack{engStatic}, stack{eng}, stack{engStatic, ml}, stack{eng, ml})
	_, up := s.stackFor("eng")
	_, down := s.stackOf("", false)
	for want, err := range map[string]error{
		"disk root has 2 reservations for role eng\n   static\n   dynamic\nsay all of it as":                                               up,
		"disk root has 2 reservations for role eng/ml like this\n   dynamic, within eng (static)\n   dynamic, within eng\nsay with --from": down,
	} {
		if !errors.Is(err, volume.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := s.stackFor("db"); !errors.Is(err, volume.ErrInsufficient) {
		t.Errorf("what is not reserved is found: %v", err)
	}
	dynamicOnly, err := shareWith(eng, stack{engStatic}, stack{eng}).stackOf("", false)
	if diff := cmp.Diff(stack{eng}, dynamicOnly); err != nil || diff != "" {
		t.Errorf("a static reservation stands in the way: %v\n%s", err, diff)
	}
}

func TestTheOnlyReservationOfARoleIsFoundWhoeverHasMadeIt(t *testing.T) {
	t.Parallel()
	ops, ci := "ops", "ci"
	byOps := resource.Reservation{Type: resource.Dynamic, Role: "web", Principal: &ops, Labels: []resource.Label{{Key: "k"}}}
	byCI := resource.Reservation{Type: resource.Dynamic, Role: "web", Principal: &ci}
	for name, tc := range map[string]struct {
		top   resource.Reservation
		have  []stack
		exact bool
		want  stack
	}{
		"somebody else's":            {web, []stack{{byOps}, {eng}}, false, stack{byOps}},
		"one's own, of several":      {byCI, []stack{{byOps}, {byCI}}, false, stack{byCI}},
		"not where it is said whose": {web, []stack{{byOps}}, true, stack{web}},
		"not a static one":           {web, []stack{{{Type: resource.Static, Role: "web"}}, {byOps}}, false, stack{byOps}},
	} {
		got, err := shareWith(tc.top, tc.have...).stackOf("", !tc.exact)
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
	_, err := shareWith(web, stack{byOps}, stack{byCI}).stackOf("", true)
	want := "disk root has 2 reservations for role web\n   dynamic, by ops, k\n   dynamic, by ci\nsay which with --principal"
	if !errors.Is(err, volume.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestDisksAreFoundByNameAndDirectory(t *testing.T) {
	t.Parallel()
	st := wire.Status{Disks: []wire.Disk{{Name: "root"}, {Name: "PATH:/a", Key: "PATH:/a"}, {Name: "MOUNT:/b", Key: "MOUNT:/b"}}}
	for name, want := range map[string]string{"": "root", "root": "root", "/a": "PATH:/a", "PATH:/a": "PATH:/a", "/b": "MOUNT:/b"} {
		source, called, err := sourceOf(st, name)
		if err != nil || called != want || source.Key() != strings.TrimPrefix(want, rootDisk) {
			t.Errorf("%q is %s, called %q, %v", name, source, called, err)
		}
	}
	for _, name := range []string{"a", "PATH:/b", "sda"} {
		if _, _, err := sourceOf(st, name); !errors.Is(err, volume.ErrNotFound) || !strings.Contains(err.Error(), "it has: root, PATH:/a, MOUNT:/b") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
