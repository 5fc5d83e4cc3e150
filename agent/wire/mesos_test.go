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
	got, err := wire.FromMesos(in)
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

func TestOperationsThatThisVersionCannotDoAreRefusedClearly(t *testing.T) {
	t.Parallel()
	disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: resource.One}
	for want, op := range map[string]resource.Operation{
		"RESERVE with a source is not supported": {Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: []resource.Resource{disk}, Source: []resource.Resource{disk}}},
		"GROW_VOLUME is not supported":           {Type: resource.OpGrowVolume, GrowVolume: &resource.GrowVolume{Volume: disk, Addition: disk}},
		"SHRINK_VOLUME is not supported":         {Type: resource.OpShrinkVolume, ShrinkVolume: &resource.ShrinkVolume{Volume: disk, Subtract: 1}},
		"operation type \"LAUNCH\" is unknown":   {Type: "LAUNCH"},
		"'create' is not set":                    {Type: resource.OpCreate},
	} {
		ops, err := wire.FromMesos([]resource.Operation{op})
		if !errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), want) || ops != nil {
			t.Errorf("FromMesos(%s) = %v, %v; want ErrInvalid with %q", op.Type, ops, err, want)
		}
	}
	if _, err := wire.FromMesos(nil); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("FromMesos of nothing: %v, want ErrInvalid", err)
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
		ops, err := wire.FromMesos(mesos)
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
