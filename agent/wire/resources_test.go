package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// withHost is example with what a host has besides disk.
func withHost() *volume.State {
	scalar := func(name string, n resource.Scalar, stack ...resource.Reservation) resource.Resource {
		return resource.Resource{Name: name, Type: resource.TypeScalar, Scalar: n, Reservations: stack}
	}
	static := resource.Reservation{Type: resource.Static, Role: "web"}
	return example().With(volume.Change{Host: &volume.HostInfo{
		Resources: []resource.Resource{
			scalar("cpus", 2500), scalar("cpus", 500, static), scalar("mem", 1024*resource.One),
			{Name: "ports", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 31000, End: 31999}}},
			{Name: "ports", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 32000, End: 32000}}, Reservations: []resource.Reservation{static}},
		},
		Attributes: []resource.Attribute{
			{Name: "rack", Type: resource.TypeText, Text: "r1"}, {Name: "level", Type: resource.TypeScalar, Scalar: -1500},
			{Name: "keys", Type: resource.TypeRanges, Ranges: []resource.Range{{Begin: 1, End: 2}}},
		},
	}})
}

// ids are the persistence ids in a list, each with its copies where these are more than one.
func ids(list []wire.Copies) (names []string) {
	for _, c := range list {
		if c.Resource.IsVolume() {
			names = append(names, c.Resource.Disk.Persistence.ID+strings.Repeat("+", c.Copies-1))
		}
	}
	return names
}

func TestASharedVolumeIsAllocatedAsOftenAsItIsHeldAndUsedOnce(t *testing.T) {
	t.Parallel()
	w := wire.ResourcesOf(withHost(), "", true, nil)
	for name, c := range map[string]struct{ got, want []string }{
		"allocated": {ids(w.Allocated), []string{"shared+++", "alone"}},
		"total":     {ids(w.Total), []string{"away", "alone", "lost", "making", "shared"}},
		"reserved":  {ids(w.Reserved), []string{"away", "alone", "lost", "making", "shared"}},
		"offerable": {ids(w.Offerable), []string{"shared"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := w.Used["disk"].Scalar; got != 1024*resource.One {
		t.Errorf("%s MiB are used, want two volumes of 512", got)
	}
	if got := w.ReservedResourcesAllocated["web"]["disk"].Scalar; got != 1024*resource.One || len(w.ReservedResourcesAllocated) != 1 {
		t.Errorf("%v are allocated, want 1024 MiB of web", w.ReservedResourcesAllocated)
	}
}

func TestWithoutSharedNoSharedVolumeIsAnywhereInTheAnswer(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(wire.ResourcesOf(withHost(), "web", false, nil))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), `"shared":{}`) || !strings.Contains(string(data), `"alone"`) {
		t.Errorf("got %s, want the exclusive volume and no shared one", data)
	}
}

func TestAViewHidesTheResourcesOfOthers(t *testing.T) {
	t.Parallel()
	w := wire.ResourcesOf(withHost(), "", true, func(role string) bool { return role == "web" })
	data, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), `"db`) || len(w.ReservedResourcesFull) != 1 || w.UnreservedResources["disk"].Scalar != 4096*resource.One {
		t.Errorf("got %s, want nothing of db", data)
	}
}

func TestAggregatesAreTheSumsOfTheirLists(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		w := wire.ResourcesOf(withHost(), "", shared, nil)
		var all, unreserved resource.Set
		reserved := map[string]resource.Set{}
		for _, c := range w.Total {
			all = all.Add(c.Resource)
		}
		for _, e := range w.UnreservedResourcesFull {
			unreserved = unreserved.Add(e.Resource)
		}
		for role, list := range w.ReservedResourcesFull {
			for _, e := range list {
				reserved[role] = reserved[role].Add(e.Resource)
			}
		}
		check := func(what string, a wire.Aggregate, set resource.Set) {
			t.Helper()
			for _, name := range []string{"disk", "cpus", "mem", "gpus"} {
				want, _ := set.Quantity(name)
				if q, told := a[name]; !told || q.Scalar != want {
					t.Errorf("%s has %s %s, want %s", what, a[name].Scalar, name, want)
				}
			}
		}
		check("resources", w.Resources, all)
		check("unreserved", w.UnreservedResources, unreserved)
		for role, set := range reserved {
			check(role, w.ReservedResources[role], set)
		}
		if len(reserved) != len(w.ReservedResources) || w.Resources["ports"].Text != "[31000-32000]" || w.ReservedResources["web"]["ports"].Text != "[32000-32000]" {
			t.Errorf("got %+v and %+v", w.Resources, w.ReservedResources)
		}
	}
}

func TestResourcesReadBack(t *testing.T) {
	t.Parallel()
	want := wire.ResourcesOf(withHost(), "", true, nil)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got wire.Resources
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// BenchmarkResources is what a master's look at all resources of a busy host costs.
func BenchmarkResources(b *testing.B) {
	for _, volumes := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("volumes=%d", volumes), func(b *testing.B) {
			var changes []volume.Change
			for n := range volumes {
				changes = append(changes, volume.Change{Volume: aVolume(n+10, volume.Name{Role: "web", ID: fmt.Sprint("v", n)}, volume.Ready)})
			}
			s := withHost().With(changes...)
			b.ReportAllocs()
			for b.Loop() {
				if w := wire.ResourcesOf(s, "web", true, nil); len(w.Offerable) < volumes {
					b.Fatalf("%d are offerable", len(w.Offerable))
				}
			}
		})
	}
}
