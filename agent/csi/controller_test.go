package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func TestAVolumeIsWhatItsRequestAskedFor(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	r := creation("data", multi)
	r.Parameters = map[string]string{"role": "web", "uid": "1000", "gid": "2000", "mode": "2770", "disk": "root",
		"csi.storage.k8s.io/pvc/name": "data-web-0"}
	r.CapacityRange = &csi.CapacityRange{RequiredBytes: 10_000_000, LimitBytes: 10_001_000}
	r.AccessibilityRequirements = &csi.TopologyRequirement{
		Requisite: []*csi.Topology{{Segments: map[string]string{TopologyKey: "node-2"}}, {Segments: map[string]string{TopologyKey: nodeName}}},
		Preferred: []*csi.Topology{{Segments: map[string]string{TopologyKey: "node-2"}}},
	}
	res, err := n.CreateVolume(context.Background(), r)
	must(t, err)
	v := n.find(t, res.Volume)
	want := &csi.Volume{VolumeId: string(v.UUID) + "." + n.agent.State().Agent, CapacityBytes: int64(v.Size.Bytes()),
		AccessibleTopology: []*csi.Topology{{Segments: map[string]string{TopologyKey: nodeName}}}}
	if diff := cmp.Diff(want, res.Volume, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if size := v.Size.Bytes(); size < 10_000_000 || size > 10_001_000 {
		t.Errorf("size %d is out of range", size)
	}
	if v.Name != (volume.Name{Role: "web", ID: "data"}) || !v.Shared || *v.Principal != Driver {
		t.Errorf("volume is %+v", v)
	}
	if owner := (volume.Owner{UID: 1000, GID: 2000, Mode: 0o2770}); v.Owner != owner {
		t.Errorf("owner is %+v, want %+v", v.Owner, owner)
	}
}

func TestAccessModesSayWhetherAVolumeIsShared(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	for i, c := range []struct {
		modes  []csi.VolumeCapability_AccessMode_Mode
		shared string
		want   bool
	}{
		{[]csi.VolumeCapability_AccessMode_Mode{writer}, "", false},
		{[]csi.VolumeCapability_AccessMode_Mode{single}, "", false},
		{[]csi.VolumeCapability_AccessMode_Mode{readOnly}, "", false},
		{[]csi.VolumeCapability_AccessMode_Mode{multi}, "", true},
		{[]csi.VolumeCapability_AccessMode_Mode{single, multi, writer}, "", true},
		{[]csi.VolumeCapability_AccessMode_Mode{writer}, "true", true},
		{[]csi.VolumeCapability_AccessMode_Mode{writer}, "false", false},
		{[]csi.VolumeCapability_AccessMode_Mode{multi}, "true", true},
	} {
		r := creation(fmt.Sprint("v", i), writer)
		r.VolumeCapabilities = nil
		for _, m := range c.modes {
			r.VolumeCapabilities = append(r.VolumeCapabilities, mounted(m))
		}
		if c.shared != "" {
			r.Parameters["shared"] = c.shared
		}
		res, err := n.CreateVolume(context.Background(), r)
		must(t, err)
		if got := n.find(t, res.Volume).Shared; got != c.want {
			t.Errorf("%v with shared %q: shared is %t, want %t", c.modes, c.shared, got, c.want)
		}
	}
}

func TestTheSameRequestIsTheSameVolumeAndAnotherIsRefused(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	_, err := n.agent.Do(context.Background(), volume.Reserve{Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar,
		Scalar: 512 * resource.One, Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "db"}}}}})
	must(t, err)
	first := n.create(t, "data", writer)
	for name, c := range map[string]struct {
		change func(*csi.CreateVolumeRequest)
		want   codes.Code
	}{
		"the same":             {func(*csi.CreateVolumeRequest) {}, codes.OK},
		"any size":             {func(r *csi.CreateVolumeRequest) { r.CapacityRange = nil }, codes.OK},
		"a smaller size":       {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = mib }, codes.OK},
		"the disk by name":     {func(r *csi.CreateVolumeRequest) { r.Parameters["disk"] = "root" }, codes.OK},
		"the mode by name":     {func(r *csi.CreateVolumeRequest) { r.Parameters["mode"] = "0755" }, codes.OK},
		"another claim's name": {func(r *csi.CreateVolumeRequest) { r.Parameters["csi.storage.k8s.io/pvc/name"] = "x" }, codes.OK},
		"a larger size":        {func(r *csi.CreateVolumeRequest) { r.CapacityRange.RequiredBytes = 65 * mib }, codes.AlreadyExists},
		"a lower limit":        {func(r *csi.CreateVolumeRequest) { r.CapacityRange = &csi.CapacityRange{LimitBytes: 63 * mib} }, codes.AlreadyExists},
		"another role":         {func(r *csi.CreateVolumeRequest) { r.Parameters["role"] = "db" }, codes.AlreadyExists},
		"another disk":         {func(r *csi.CreateVolumeRequest) { r.Parameters["disk"] = "PATH:/d" }, codes.AlreadyExists},
		"another owner":        {func(r *csi.CreateVolumeRequest) { r.Parameters["uid"] = "1" }, codes.AlreadyExists},
		"another mode":         {func(r *csi.CreateVolumeRequest) { r.Parameters["mode"] = "700" }, codes.AlreadyExists},
		"shared":               {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities[0] = mounted(multi) }, codes.AlreadyExists},
		"reserved with it":     {func(r *csi.CreateVolumeRequest) { r.Parameters["reserve"] = "true" }, codes.AlreadyExists},
	} {
		r := creation("data", writer)
		c.change(r)
		res, err := n.CreateVolume(context.Background(), r)
		wantCode(t, name, err, c.want)
		if err == nil && res.Volume.VolumeId != first.VolumeId {
			t.Errorf("%s: another volume", name)
		}
	}
}

func TestOnlyOneOfManyRequestsAtOnceMakesAVolume(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	_, err := n.agent.Do(context.Background(), volume.Reserve{Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar,
		Scalar: 512 * resource.One, Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "db"}}}}})
	must(t, err)
	var all sync.WaitGroup
	var mu sync.Mutex
	made := map[string]bool{}
	for i := range 16 {
		all.Go(func() {
			r := creation("data", writer)
			r.Parameters["role"] = []string{"web", "db"}[i%2]
			res, err := n.CreateVolume(context.Background(), r)
			mu.Lock()
			defer mu.Unlock()
			switch status.Code(err) {
			case codes.OK:
				made[res.Volume.VolumeId] = true
			case codes.AlreadyExists, codes.Aborted:
			default:
				t.Errorf("create: %v", err)
			}
		})
	}
	all.Wait()
	if live, _ := n.agent.State().CountVolumes(); live != 1 || len(made) > 1 {
		t.Errorf("%d volumes were made, and told: %v", live, made)
	}
}

func TestSomebodyElsesVolumeIsNotTakenForTheOrchestrators(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	for _, role := range []string{"web", "db"} {
		reservation := []resource.Reservation{{Type: resource.Dynamic, Role: role}}
		res := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 64 * resource.One, Reservations: reservation}
		v := res
		v.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: "data-" + role}, Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}
		_, err := n.agent.Do(context.Background(), volume.Reserve{Resources: []resource.Resource{res}}, volume.Create{Volume: v})
		must(t, err)
	}
	_, err := n.CreateVolume(context.Background(), creation("data-web", writer))
	wantCode(t, "a name that is taken in the role", err, codes.AlreadyExists)
	if v := n.create(t, "data-db", writer); n.find(t, v).Role != "web" {
		t.Error("a name that is taken in another role was not free")
	}
}

func TestNamesThatNoVolumeCanHaveAreDigested(t *testing.T) {
	t.Parallel()
	for name, plain := range map[string]bool{
		"pvc-7d2f": true, "data": true, strings.Repeat("n", 128): true, "with space": true, "ünï": true,
		"a/b": false, `a\b`: false, "..": false, ".": false, "tab\tinside": false, "csi-0123": false,
	} {
		id := persistenceID(name)
		if err := resource.CheckID(id); err != nil {
			t.Errorf("%q becomes %q: %v", name, id, err)
		}
		if (id == name) != plain || id != persistenceID(name) {
			t.Errorf("%q becomes %q", name, id)
		}
	}
	if persistenceID("a/b") == persistenceID("a/c") || persistenceID(persistenceID("a/b")) == persistenceID("a/b") {
		t.Error("two names have one id")
	}
}

func TestARefusalForWantOfSpaceSaysWhatToReserve(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	r := creation("data", writer)
	r.Parameters["role"], r.Parameters["disk"] = "db", "root"
	_, err := n.CreateVolume(context.Background(), r)
	wantCode(t, "create", err, codes.ResourceExhausted)
	if want := "tenon reserve disk:64 --role db --disk root"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
}

func TestSpaceThatIsReservedWithAVolumeGoesBackWithIt(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	unreserved := func() int64 { return int64(n.agent.State().Free("", nil).Bytes()) }
	before := unreserved()
	r := creation("data", writer)
	r.Parameters = map[string]string{"role": "db", "reserve": "true"}
	ctx := context.Background()
	res, err := n.CreateVolume(ctx, r)
	must(t, err)
	again, err := n.CreateVolume(ctx, r)
	if err != nil || again.Volume.VolumeId != res.Volume.VolumeId {
		t.Errorf("asked for again: %v, %v", again, err)
	}
	if got := unreserved(); got != before-64*mib {
		t.Errorf("%d bytes are unreserved, want 64 MiB less than %d", got, before)
	}
	grown, err := n.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: res.Volume.VolumeId, CapacityRange: &csi.CapacityRange{RequiredBytes: 100 * mib}})
	if err != nil || grown.CapacityBytes != 100*mib || unreserved() != before-100*mib {
		t.Errorf("expand: %v, %v; %d bytes unreserved", grown, err, unreserved())
	}
	for range 2 {
		_, err = n.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: res.Volume.VolumeId})
		must(t, err)
	}
	if got := unreserved(); got != before {
		t.Errorf("%d bytes are unreserved, want %d", got, before)
	}
}

func TestAVolumeInUseIsNotDeleted(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v, at := n.create(t, "data", writer), n.target(t, "pod")
	n.publish(t, v, at, writer)
	_, err := n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	wantCode(t, "delete", err, codes.FailedPrecondition)
	n.unpublish(t, v, at)
	_, err = n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	must(t, err)
	_, err = n.ControllerGetVolume(context.Background(), &csi.ControllerGetVolumeRequest{VolumeId: v.VolumeId})
	wantCode(t, "get", err, codes.NotFound)
}

func TestADeletionThatCouldNotEndIsGoneOnWith(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v := n.create(t, "data", writer)
	fail := func(err error) {
		n.kernel.Lock()
		defer n.kernel.Unlock()
		n.kernel.Fail = func(s volume.Step) error {
			if s.Kind == volume.Purge {
				return err
			}
			return nil
		}
	}
	fail(errors.New("the disk is slow"))
	_, err := n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	wantCode(t, "delete, while the data cannot be removed", err, codes.Internal)
	fail(nil)
	_, err = n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: v.VolumeId})
	must(t, err)
	if _, all := n.agent.State().CountVolumes(); all > 0 {
		t.Error("the tombstone is there still")
	}
}

func TestVolumesGrowInUseAndNeverShrink(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v, at := n.create(t, "data", multi), n.target(t, "pod")
	n.publish(t, v, at, multi)
	ctx := context.Background()
	for _, c := range []struct {
		name              string
		least, most, size int64
		want              codes.Code
	}{
		{"larger", 128 * mib, 0, 128 * mib, codes.OK},
		{"the same again", 128 * mib, 128 * mib, 128 * mib, codes.OK},
		{"smaller is what there is", mib, 0, 128 * mib, codes.OK},
		{"nothing required", 0, 0, 128 * mib, codes.OK},
		{"a limit below what there is", 0, 127 * mib, 0, codes.OutOfRange},
		{"a limit below the size", 256 * mib, 255 * mib, 0, codes.OutOfRange},
		{"negative", -1, 0, 0, codes.InvalidArgument},
		{"more than is reserved", 4096 * mib, 0, 0, codes.ResourceExhausted},
		{"larger again", 256 * mib, 300 * mib, 256 * mib, codes.OK},
	} {
		r := &csi.CapacityRange{RequiredBytes: c.least, LimitBytes: c.most}
		res, err := n.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: v.VolumeId, CapacityRange: r})
		wantCode(t, c.name, err, c.want)
		if res.GetCapacityBytes() != c.size || res.GetNodeExpansionRequired() {
			t.Errorf("%s: %v, want %d bytes", c.name, res, c.size)
		}
		onNode, err := n.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{VolumeId: v.VolumeId, VolumePath: at, CapacityRange: r})
		wantCode(t, c.name+", on the node", err, c.want)
		if onNode.GetCapacityBytes() != c.size {
			t.Errorf("%s, on the node: %v, want %d bytes", c.name, onNode, c.size)
		}
	}
	_, err := n.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{VolumeId: v.VolumeId, VolumePath: at, VolumeCapability: block()})
	wantCode(t, "a block device on the node", err, codes.InvalidArgument)
	_, err = n.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{VolumeId: v.VolumeId, VolumePath: n.target(t, "other")})
	wantCode(t, "where it is not published", err, codes.NotFound)
	_, err = n.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: v.VolumeId})
	wantCode(t, "no range", err, codes.InvalidArgument)
}

func TestGrowingAtOnceNeverMakesAVolumeSmaller(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v := n.create(t, "data", multi)
	var all sync.WaitGroup
	largest := make(chan int64, 16)
	for i := range 16 {
		all.Go(func() {
			want := int64(65+i*7%16) * mib
			_, err := n.ControllerExpandVolume(context.Background(), &csi.ControllerExpandVolumeRequest{VolumeId: v.VolumeId,
				CapacityRange: &csi.CapacityRange{RequiredBytes: want}})
			if err == nil {
				largest <- want
			} else if status.Code(err) != codes.Aborted {
				t.Error(err)
			}
		})
	}
	all.Wait()
	close(largest)
	var most int64
	for got := range largest {
		most = max(most, got)
	}
	if got := int64(n.find(t, v).Size.Bytes()); got != most {
		t.Errorf("the volume has %d bytes, and %d were promised", got, most)
	}
}

func TestCapabilitiesAreConfirmedOrRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	shared, exclusive := n.create(t, "shared", multi), n.create(t, "exclusive", writer)
	for name, c := range map[string]struct {
		r    *csi.ValidateVolumeCapabilitiesRequest
		want bool
	}{
		"shared, as several writers":    {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: shared.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(multi)}}, true},
		"shared, as one":                {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: shared.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(single), mounted(readOnly)}}, true},
		"exclusive, as one":             {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: exclusive.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(writer)}}, true},
		"exclusive, as several writers": {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: exclusive.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(multi)}}, false},
		"its own parameters": {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: shared.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(multi)},
			Parameters: map[string]string{"role": "web", "disk": "root", "shared": "true"}}, true},
		"another role": {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: shared.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(multi)},
			Parameters: map[string]string{"role": "db"}}, false},
		"an unknown parameter": {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: shared.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(multi)},
			Parameters: map[string]string{"x": "y"}}, false},
		"a context": {&csi.ValidateVolumeCapabilitiesRequest{VolumeId: shared.VolumeId, VolumeCapabilities: []*csi.VolumeCapability{mounted(multi)},
			VolumeContext: map[string]string{"x": "y"}}, false},
	} {
		res, err := n.ValidateVolumeCapabilities(context.Background(), c.r)
		must(t, err)
		if (res.Confirmed != nil) != c.want || (res.Message == "") != c.want {
			t.Errorf("%s: %v, want confirmed %t", name, res, c.want)
		}
		if c.want && len(res.Confirmed.VolumeCapabilities) != len(c.r.VolumeCapabilities) {
			t.Errorf("%s: %d of %d capabilities are confirmed", name, len(res.Confirmed.VolumeCapabilities), len(c.r.VolumeCapabilities))
		}
	}
}

func TestWhoMayNotIsToldSo(t *testing.T) {
	t.Parallel()
	n := fake(t, func(o *Options) {
		o.Allow = func(_ *volume.State, op volume.Operation) error {
			return refuse(volume.ErrForbidden, "csi may not %s", op.Name())
		}
	})
	_, err := n.CreateVolume(context.Background(), creation("data", writer))
	wantCode(t, "create", err, codes.PermissionDenied)
}

func TestWhatIsAnnouncedCanBeAsked(t *testing.T) {
	t.Parallel()
	for onNode, want := range map[bool]bool{false: true, true: false} {
		n := fake(t, func(o *Options) { o.NodeExpansion = onNode })
		res, err := n.ControllerGetCapabilities(context.Background(), &csi.ControllerGetCapabilitiesRequest{})
		must(t, err)
		var got []csi.ControllerServiceCapability_RPC_Type
		for _, c := range res.Capabilities {
			got = append(got, c.GetRpc().GetType())
		}
		if has := slices.Contains(got, csi.ControllerServiceCapability_RPC_EXPAND_VOLUME); has != want {
			t.Errorf("with expansion on the node %t, the controller announces %v", onNode, got)
		}
	}
}
