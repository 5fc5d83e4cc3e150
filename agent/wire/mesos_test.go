package wire_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestOperationsOfMesosBecomeThoseOfTheAgentInOrder(t *testing.T) {
	t.Parallel()
	in := mesosOperations(t)
	got, err := wire.FromMesos(in, "")
	if err != nil {
		t.Fatal(err)
	}
	owner := volume.Owner{Mode: 0o755}
	want := []volume.Operation{
		volume.Reserve{Resources: in[0].Reserve.Resources},
		volume.Create{Volume: in[1].Create.Volumes[0], Owner: owner},
		volume.Create{Volume: in[1].Create.Volumes[1], Owner: owner},
		volume.Destroy{Volume: in[2].Destroy.Volumes[0]},
		volume.Unreserve{Resources: in[3].Unreserve.Resources},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOperationsThatMakeNoSenseAreRefusedClearly(t *testing.T) {
	t.Parallel()
	shared := resource.ExecutorInfo{ID: "e", Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar, Scalar: resource.One, Shared: true}}}
	tasks := []resource.TaskInfo{{ID: "t", Executor: &shared}}
	for want, op := range map[string]resource.Operation{
		"operation type \"BOIL\" is unknown":           {Type: "BOIL"},
		"'create' is not set":                          {Type: resource.OpCreate},
		"should not contain any shared resources":      {Type: resource.OpLaunch, Launch: &resource.Launch{Tasks: tasks}},
		"<SHARED>:1 should not contain any shared res": {Type: resource.OpLaunchGroup, LaunchGroup: &resource.LaunchGroup{Executor: &shared, Tasks: []resource.TaskInfo{{ID: "t"}}}},
	} {
		ops, err := wire.FromMesos([]resource.Operation{op}, "")
		if !errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), want) || ops != nil {
			t.Errorf("FromMesos(%s) = %v, %v; want ErrInvalid with %q", op.Type, ops, err, want)
		}
	}
	if _, err := wire.FromMesos(nil, ""); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("FromMesos of nothing: %v, want ErrInvalid", err)
	}
}

func TestOperationsOfEveryTypeComeOver(t *testing.T) {
	t.Parallel()
	disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: resource.One}
	list := []resource.Resource{disk}
	for _, c := range []struct {
		in   resource.Operation
		want volume.Operation
	}{
		{resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: list, Source: list}}, volume.Reserve{Resources: list, Source: list, Principal: "ops"}},
		{resource.Operation{Type: resource.OpGrowVolume, GrowVolume: &resource.GrowVolume{Volume: disk, Addition: disk}}, volume.Grow{Volume: disk, Addition: disk}},
		{resource.Operation{Type: resource.OpShrinkVolume, ShrinkVolume: &resource.ShrinkVolume{Volume: disk, Subtract: 1}}, volume.Shrink{Volume: disk, Subtract: 1}},
		{resource.Operation{Type: resource.OpLaunch, Launch: &resource.Launch{Tasks: []resource.TaskInfo{{ID: "t", Resources: list}}}}, volume.Launch{Task: "t", Resources: list}},
		{resource.Operation{Type: resource.OpLaunchGroup, LaunchGroup: &resource.LaunchGroup{Executor: &resource.ExecutorInfo{ID: "e"}, Tasks: []resource.TaskInfo{{ID: "t", Resources: list}}}}, volume.Launch{Task: "t", Resources: list}},
	} {
		got, err := wire.FromMesos([]resource.Operation{c.in}, "ops")
		if err != nil {
			t.Fatalf("%s: %v", c.in.Type, err)
		}
		if diff := cmp.Diff([]volume.Operation{c.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.in.Type, diff)
		}
	}
}

func TestAnOperationWithAnIDIsIdentifiedByAllThatItAsksFor(t *testing.T) {
	t.Parallel()
	digest := func(size resource.Scalar) string {
		disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: size}
		op := resource.Operation{Type: resource.OpUnreserve, ID: "one", Unreserve: &resource.Unreserve{Resources: []resource.Resource{disk}}}
		got, err := wire.FromMesos([]resource.Operation{op}, "ops")
		if err != nil {
			t.Fatal(err)
		}
		group, is := got[0].(volume.Identified)
		if !is || group.ID != "one" || group.Type != "UNRESERVE" || group.Principal != "ops" || len(group.Operations) != 1 {
			t.Fatalf("got %+v", got)
		}
		return group.Digest
	}
	if first, again := digest(1), digest(1); first != again || first == digest(2) {
		t.Error("digests do not tell operations apart")
	}
}

func FuzzWhateverIsAppliedIsRefusedOrBecomesOperations(f *testing.F) {
	seed, err := os.ReadFile("testdata/operations_in.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"type":"DESTROY","destroy":{"volumes":[]}}`))
	f.Add([]byte(`[{"type":"GROW_VOLUME"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		mesos, err := resource.ParseOperations(body)
		if err != nil {
			return
		}
		ops, err := wire.FromMesos(mesos, "")
		if (err == nil) != (len(ops) > 0) || err != nil && !errors.Is(err, volume.ErrInvalid) {
			t.Fatalf("%s becomes %v, %v", body, ops, err)
		}
		for _, op := range ops {
			env := volume.Env{NewUUID: func() volume.UUID { return "u" }}
			if _, err := volume.Apply(volume.Empty(), env, op); volume.Kind(err) == nil {
				t.Fatalf("%s on an agent without disks: %v, want a refusal", body, err)
			}
		}
	})
}
