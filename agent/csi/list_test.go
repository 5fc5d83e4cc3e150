package csi

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// list asks for all volumes, page by page, and calls between after each page but the last.
func (n *node) list(t *testing.T, entries int32, between func()) (ids []string) {
	t.Helper()
	for token := ""; ; {
		res, err := n.ListVolumes(context.Background(), &csi.ListVolumesRequest{MaxEntries: entries, StartingToken: token})
		must(t, err)
		if entries > 0 && len(res.Entries) > int(entries) {
			t.Fatalf("a page of %d entries, %d are allowed", len(res.Entries), entries)
		}
		for _, e := range res.Entries {
			ids = append(ids, e.Volume.VolumeId)
		}
		if token = res.NextToken; token == "" {
			return ids
		}
		between()
	}
}

func TestPagesListEveryVolumeOnce(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	var want []string
	for i := range 7 {
		want = append(want, n.create(t, fmt.Sprint("data-", i), writer).VolumeId)
	}
	for _, entries := range []int32{0, 1, 3, 7, 8, maxPage + 1} {
		if diff := cmp.Diff(want, n.list(t, entries, func() {})); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", entries, diff)
		}
	}
}

func TestAPageGoesOnWhereTheLastOneEndedWhateverWasDeleted(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	var all []string
	for i := range 5 {
		all = append(all, n.create(t, fmt.Sprint("data-", i), writer).VolumeId)
	}
	deleted := false
	got := n.list(t, 2, func() {
		if !deleted { // the last one of the first page, by which the token goes
			_, err := n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: all[1]})
			must(t, err)
			deleted = true
		}
	})
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestTokensThatAreNoneOfOursBeginAgain(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	for _, token := range []string{"x", "after:", "after:web", "after:/", "0", "web/data"} {
		_, err := n.ListVolumes(context.Background(), &csi.ListVolumesRequest{StartingToken: token})
		wantCode(t, "token "+token, err, codes.Aborted)
		_, err = n.ControllerListVolumeHealth(context.Background(), &csi.ControllerListVolumeHealthRequest{StartingToken: token})
		wantCode(t, "token of health "+token, err, codes.Aborted)
	}
	for name, r := range map[string]*csi.ListVolumesRequest{
		"a negative number": {MaxEntries: -1},
		"a long token":      {StartingToken: strings.Repeat("t", maxToken+1)},
	} {
		_, err := n.ListVolumes(context.Background(), r)
		wantCode(t, name, err, codes.InvalidArgument)
	}
	_, err := n.ControllerListVolumeHealth(context.Background(), &csi.ControllerListVolumeHealthRequest{MaxEntries: -1})
	wantCode(t, "a negative number of health", err, codes.InvalidArgument)
}

func TestAListSaysWhereAVolumeIsPublished(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v := n.create(t, "data", multi)
	published := func() (listed, got []string) {
		l, err := n.ListVolumes(context.Background(), &csi.ListVolumesRequest{})
		must(t, err)
		g, err := n.ControllerGetVolume(context.Background(), &csi.ControllerGetVolumeRequest{VolumeId: v.VolumeId})
		must(t, err)
		if diff := cmp.Diff(v, g.Volume, protocmp.Transform()); diff != "" {
			t.Errorf("what was made and what is got (-want +got):\n%s", diff)
		}
		return l.Entries[0].Status.PublishedNodeIds, g.Status.PublishedNodeIds
	}
	if l, g := published(); len(l)+len(g) > 0 {
		t.Errorf("published at %v, %v before anybody asked", l, g)
	}
	n.publish(t, v, n.target(t, "a"), multi)
	n.publish(t, v, n.target(t, "b"), multi)
	if l, g := published(); len(l) != 1 || l[0] != nodeName || len(g) != 1 || g[0] != nodeName {
		t.Errorf("published at %v, %v, want %s", l, g, nodeName)
	}
}

func TestCapacityIsWhatVolumesCanBeMadeOf(t *testing.T) {
	t.Parallel()
	n := fake(t, nil) // 2048 of 4096 MiB are web's
	n.create(t, "data", writer)
	here := &csi.Topology{Segments: map[string]string{TopologyKey: nodeName}}
	for name, c := range map[string]struct {
		r    *csi.GetCapacityRequest
		want int64
	}{
		"of any role":         {&csi.GetCapacityRequest{}, 1984},
		"of web":              {&csi.GetCapacityRequest{Parameters: map[string]string{"role": "web"}}, 1984},
		"of web, here":        {&csi.GetCapacityRequest{Parameters: map[string]string{"role": "web"}, AccessibleTopology: here}, 1984},
		"of web on root":      {&csi.GetCapacityRequest{Parameters: map[string]string{"role": "web", "disk": "root"}}, 1984},
		"of web elsewhere":    {&csi.GetCapacityRequest{AccessibleTopology: &csi.Topology{Segments: map[string]string{TopologyKey: "node-2"}}}, 0},
		"of no topology":      {&csi.GetCapacityRequest{AccessibleTopology: &csi.Topology{}}, 0},
		"of another role":     {&csi.GetCapacityRequest{Parameters: map[string]string{"role": "db"}}, 0},
		"of another disk":     {&csi.GetCapacityRequest{Parameters: map[string]string{"disk": "PATH:/d"}}, 0},
		"of what is free":     {&csi.GetCapacityRequest{Parameters: map[string]string{"role": "db", "reserve": "true"}}, 2048},
		"with a capability":   {&csi.GetCapacityRequest{VolumeCapabilities: []*csi.VolumeCapability{mounted(multi)}}, 1984},
		"of several nodes":    {&csi.GetCapacityRequest{VolumeCapabilities: []*csi.VolumeCapability{mounted(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)}}, 0},
		"with a claim's name": {&csi.GetCapacityRequest{Parameters: map[string]string{"role": "web", "csi.storage.k8s.io/pvc/name": "x"}}, 1984},
	} {
		res, err := n.GetCapacity(context.Background(), c.r)
		must(t, err)
		if res.AvailableCapacity != c.want*mib || res.MaximumVolumeSize.GetValue() != c.want*mib {
			t.Errorf("capacity %s is %v, want %d MiB", name, res, c.want)
		}
	}
	_, err := n.GetCapacity(context.Background(), &csi.GetCapacityRequest{Parameters: map[string]string{"x": "y"}})
	wantCode(t, "an unknown parameter", err, codes.InvalidArgument)
}

func TestAMountDiskGoesToOneVolumeAsAWhole(t *testing.T) {
	t.Parallel()
	s, w := mountDisk(t), wanted{parameters: parameters{role: "web"}}
	for name, c := range map[string]struct {
		sizes sizes
		fits  bool
	}{
		"any size":                  {sizes{}, true},
		"a smaller one":             {sizes{least: 10 << 20}, true},
		"one with a lower limit":    {sizes{10 << 20, 20 << 20}, false},
		"one with a limit above it": {sizes{10 << 20, 200 << 20}, true},
		"a larger one":              {sizes{least: 101 << 20}, false},
	} {
		w.sizes = c.sizes
		_, size, err := w.place(s)
		if (err == nil) != c.fits || c.fits && size.Bytes() != 100<<20 {
			t.Errorf("%s: %s, %v, want it to fit: %t", name, size, err, c.fits)
		}
	}
}

// still is an agent of which only the state is asked.
type still struct {
	Agent
	state *volume.State
}

// State is the one that it was made with.
func (a still) State() *volume.State { return a.state }

// mountDisk is a state with a MOUNT disk of 100 MiB that is reserved for web.
func mountDisk(t *testing.T) *volume.State {
	t.Helper()
	root := "/d"
	source := &resource.Source{Type: resource.SourceMount, Mount: &resource.Root{Root: &root}}
	k := agenttest.NewKernel()
	k.Configure(volume.Disk{Total: resource.One}, volume.Disk{Key: source.Key(), Source: source, Total: 100 * resource.One,
		Parts: []volume.Part{{Reservations: []resource.Reservation{{Type: resource.Static, Role: "web"}}, Size: 100 * resource.One}}})
	return agenttest.Start(t, k).State()
}

func TestHealthIsWhatTheLoopHasFound(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	ctx := context.Background()
	v, _ := n.create(t, "broken", multi), n.create(t, "sound", multi)
	at := n.target(t, "pod")
	n.publish(t, v, at, multi)
	unit := volume.UnitOfVolume(n.find(t, v).UUID)
	var mounts volume.Unit
	for a := range n.agent.State().AttachmentsOf(unit.Volume) {
		mounts = a.Unit()
	}
	entry := func(s csi.VolumeHealthErrorType, reason, message string) *csi.VolumeHealth_VolumeHealthEntry {
		return &csi.VolumeHealth_VolumeHealthEntry{Status: s, Reason: reason, Message: message}
	}
	for name, c := range map[string]struct {
		faults map[volume.Unit]volume.Fault
		want   []*csi.VolumeHealth_VolumeHealthEntry
	}{
		"nothing":      {nil, nil},
		"a lost one":   {map[volume.Unit]volume.Fault{unit: {Kind: volume.ErrLost, Reason: "gone"}}, []*csi.VolumeHealth_VolumeHealthEntry{entry(csi.VolumeHealthErrorType_DATA_LOSS, "DataLost", "gone")}},
		"a disk away":  {map[volume.Unit]volume.Fault{unit: {Kind: volume.ErrUnavailable, Reason: "away"}}, []*csi.VolumeHealth_VolumeHealthEntry{entry(csi.VolumeHealthErrorType_INACCESSIBLE, "DiskUnavailable", "away")}},
		"a busy mount": {map[volume.Unit]volume.Fault{mounts: {Kind: volume.ErrBusy, Reason: "busy"}}, []*csi.VolumeHealth_VolumeHealthEntry{entry(csi.VolumeHealthErrorType_DEGRADED, "Busy", "busy")}},
		"both failed, told once": {map[volume.Unit]volume.Fault{unit: {Kind: volume.ErrFailed, Reason: "first"}, mounts: {Kind: volume.ErrFailed, Reason: "second"}},
			[]*csi.VolumeHealth_VolumeHealthEntry{entry(csi.VolumeHealthErrorType_DEGRADED, "StepFailed", "first")}},
	} {
		st := n.agent.State()
		for u, f := range c.faults {
			st = st.With(volume.Change{Fault: &volume.FaultOf{Unit: u, Fault: f}})
		}
		s := &Server{agent: still{state: st}}
		want := &csi.VolumeHealth{VolumeId: v.VolumeId, HealthStatuses: c.want}
		one, err := s.ControllerGetVolumeHealth(ctx, &csi.ControllerGetVolumeHealthRequest{VolumeId: v.VolumeId})
		must(t, err)
		onNode, err := s.NodeGetVolumeHealth(ctx, &csi.NodeGetVolumeHealthRequest{VolumeId: v.VolumeId})
		must(t, err)
		for where, got := range map[string]*csi.VolumeHealth{"controller": one.VolumeHealth, "node": onNode.VolumeHealth} {
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, where, diff)
			}
		}
		l, err := s.ControllerListVolumeHealth(ctx, &csi.ControllerListVolumeHealthRequest{})
		must(t, err)
		if bad := min(len(c.want), 1); len(l.Entries) != bad || l.NextToken != "" {
			t.Errorf("%s: %d volumes are listed as not sound, want %d", name, len(l.Entries), bad)
		}
	}
}

func TestDisksThatAreAwayAreTheNodesHealth(t *testing.T) {
	t.Parallel()
	st := fake(t, nil).agent.State()
	s := &Server{agent: still{state: st}}
	res, err := s.NodeGetStorageHealth(context.Background(), &csi.NodeGetStorageHealthRequest{})
	if err != nil || len(res.BackendHealth) > 0 {
		t.Errorf("sound disks: %v, %v", res, err)
	}
	s = &Server{agent: still{state: st.With(volume.Change{Fault: &volume.FaultOf{Unit: volume.UnitOfDisk(""),
		Fault: volume.Fault{Kind: volume.ErrUnavailable, Reason: "not mounted"}}})}}
	res, err = s.NodeGetStorageHealth(context.Background(), &csi.NodeGetStorageHealthRequest{})
	must(t, err)
	want := []*csi.NodeGetStorageHealthResponse_StorageBackendHealth{{Status: csi.StorageHealthErrorType_STORAGE_UNREACHABLE,
		Reason: "DiskUnavailable", Message: "disk root: not mounted"}}
	if diff := cmp.Diff(want, res.BackendHealth, protocmp.Transform()); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
}

func TestFaultsHaveATypeAndAReasonInCSI(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range conditions {
		if seen[c.reason] || c.status == csi.VolumeHealthErrorType_UNKNOWN_VOLUME_HEALTH_TYPE {
			t.Errorf("%v has reason %s, which another has, or no type", c.kind, c.reason)
		}
		seen[c.reason] = true
	}
	for _, kind := range []error{volume.ErrLost, volume.ErrUnavailable, volume.ErrBusy, volume.ErrExists, volume.ErrFailed} {
		found := false
		for _, c := range conditions {
			found = found || c.kind == kind
		}
		if !found {
			t.Errorf("%v, which a Fault may be, has no type", kind)
		}
	}
}
