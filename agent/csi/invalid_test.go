package csi

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// foreignID has the form of another agent's.
const foreignID = "11111111-2222-3333-4444-555555555555.66666666-7777-8888-9999-000000000000"

// block is the capability of a device.
func block() *csi.VolumeCapability {
	return &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: writer},
		AccessType: &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}}
}

// with is a capability of a mount with one thing changed.
func with(change func(*csi.VolumeCapability)) *csi.VolumeCapability {
	c := mounted(writer)
	change(c)
	return c
}

// badCapabilities are those that no volume has.
var badCapabilities = map[string]*csi.VolumeCapability{
	"missing":                 nil,
	"of a block device":       block(),
	"without an access type":  {AccessMode: &csi.VolumeCapability_AccessMode{Mode: writer}},
	"without an access mode":  with(func(c *csi.VolumeCapability) { c.AccessMode = nil }),
	"of an unknown mode":      mounted(csi.VolumeCapability_AccessMode_UNKNOWN),
	"of a mode without name":  mounted(99),
	"of several nodes, read":  mounted(csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY),
	"of several nodes, one":   mounted(csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER),
	"of several nodes, write": mounted(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER),
	"with a flag: suid":       mounted(writer, "suid"),
	"with a flag: noexec":     mounted(writer, "ro", "noexec"),
	"with flags in one":       mounted(writer, "ro,bind"),
	"with an empty flag":      mounted(writer, ""),
	"with a file system":      with(func(c *csi.VolumeCapability) { c.GetMount().FsType = "xfs" }),
	"with a group":            with(func(c *csi.VolumeCapability) { c.GetMount().VolumeMountGroup = "1000" }),
	"with very many flags":    mounted(writer, strings.Repeat("ro,", 40), strings.Repeat("ro,", 2000)),
}

func TestWhatNoVolumeCanDoIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v, at := n.create(t, "data", multi), n.target(t, "pod")
	ctx := context.Background()
	for name, c := range badCapabilities {
		r := creation("other", writer)
		r.VolumeCapabilities = []*csi.VolumeCapability{mounted(writer), c}
		_, err := n.CreateVolume(ctx, r)
		wantCode(t, "create, capability "+name, err, codes.InvalidArgument)
		_, err = n.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: at, VolumeCapability: c})
		wantCode(t, "publish, capability "+name, err, codes.InvalidArgument)
		if c == nil || strings.Contains(name, "very many") {
			continue
		}
		res, err := n.ValidateVolumeCapabilities(ctx, &csi.ValidateVolumeCapabilitiesRequest{VolumeId: v.VolumeId,
			VolumeCapabilities: []*csi.VolumeCapability{c}})
		if err != nil || res.Confirmed != nil || res.Message == "" {
			t.Errorf("validate, capability %s: %v, %v", name, res, err)
		}
		capacity, err := n.GetCapacity(ctx, &csi.GetCapacityRequest{VolumeCapabilities: []*csi.VolumeCapability{c}})
		if err != nil || capacity.AvailableCapacity != 0 {
			t.Errorf("capacity, capability %s: %v, %v", name, capacity, err)
		}
	}
	if live, _ := n.agent.State().CountVolumes(); live != 1 || n.agent.State().CountTasks() != 0 {
		t.Errorf("%d volumes and %d tasks, want 1 and 0", live, n.agent.State().CountTasks())
	}
}

func TestRequestsToCreateThatCannotBeRightChangeNothing(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	elsewhere := &csi.Topology{Segments: map[string]string{TopologyKey: "node-2"}}
	here := &csi.Topology{Segments: map[string]string{TopologyKey: nodeName}}
	parameter := func(k, v string) func(*csi.CreateVolumeRequest) {
		return func(r *csi.CreateVolumeRequest) { r.Parameters[k] = v }
	}
	size := func(least, most int64) func(*csi.CreateVolumeRequest) {
		return func(r *csi.CreateVolumeRequest) {
			r.CapacityRange = &csi.CapacityRange{RequiredBytes: least, LimitBytes: most}
		}
	}
	for name, c := range map[string]struct {
		change func(*csi.CreateVolumeRequest)
		want   codes.Code
	}{
		"no name":                       {func(r *csi.CreateVolumeRequest) { r.Name = "" }, codes.InvalidArgument},
		"a name too long":               {func(r *csi.CreateVolumeRequest) { r.Name = strings.Repeat("n", 129) }, codes.InvalidArgument},
		"a name with a control":         {func(r *csi.CreateVolumeRequest) { r.Name = "a\x00b" }, codes.InvalidArgument},
		"a name with a later control":   {func(r *csi.CreateVolumeRequest) { r.Name = "a\u0085b" }, codes.InvalidArgument},
		"no capabilities":               {func(r *csi.CreateVolumeRequest) { r.VolumeCapabilities = nil }, codes.InvalidArgument},
		"no role":                       {func(r *csi.CreateVolumeRequest) { r.Parameters = nil }, codes.InvalidArgument},
		"a role that cannot be":         {parameter("role", "../etc"), codes.InvalidArgument},
		"the role of what is not":       {parameter("role", "*"), codes.InvalidArgument},
		"an unknown parameter":          {parameter("Role", "web"), codes.InvalidArgument},
		"a user that is none":           {parameter("uid", "-1"), codes.InvalidArgument},
		"a user that is a name":         {parameter("uid", "root"), codes.InvalidArgument},
		"a group out of range":          {parameter("gid", "4294967295"), codes.InvalidArgument},
		"a mode that is decimal":        {parameter("mode", "0999"), codes.InvalidArgument},
		"a mode with more bits":         {parameter("mode", "17777"), codes.InvalidArgument},
		"shared, perhaps":               {parameter("shared", "perhaps"), codes.InvalidArgument},
		"reserve, perhaps":              {parameter("reserve", ""), codes.InvalidArgument},
		"a disk that there is not":      {parameter("disk", "PATH:/nowhere"), codes.ResourceExhausted},
		"parameters of 5 KiB":           {parameter("csi.storage.k8s.io/x", strings.Repeat("x", 5<<10)), codes.InvalidArgument},
		"secrets of 5 KiB":              {func(r *csi.CreateVolumeRequest) { r.Secrets = map[string]string{"k": strings.Repeat("x", 5<<10)} }, codes.InvalidArgument},
		"mutable parameters":            {func(r *csi.CreateVolumeRequest) { r.MutableParameters = map[string]string{"a": "b"} }, codes.InvalidArgument},
		"a snapshot as its source":      {func(r *csi.CreateVolumeRequest) { r.VolumeContentSource = &csi.VolumeContentSource{} }, codes.InvalidArgument},
		"a negative size":               {size(-1, 0), codes.InvalidArgument},
		"a negative limit":              {size(0, -1), codes.InvalidArgument},
		"a limit below the size":        {size(2*mib, mib), codes.OutOfRange},
		"a size that is none":           {size(1, 1), codes.OutOfRange},
		"a limit that is none":          {size(0, 1), codes.OutOfRange},
		"the largest size":              {size(1<<63-1, 0), codes.OutOfRange},
		"more than is reserved":         {size(4096*mib, 0), codes.ResourceExhausted},
		"a role without any space":      {parameter("role", "db"), codes.ResourceExhausted},
		"more than there is to reserve": {func(r *csi.CreateVolumeRequest) { r.Parameters["reserve"] = "true"; size(4096*mib, 0)(r) }, codes.ResourceExhausted},
		"another node": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: []*csi.Topology{elsewhere}}
		}, codes.ResourceExhausted},
		"another node, though preferred here": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: []*csi.Topology{elsewhere}, Preferred: []*csi.Topology{here}}
		}, codes.ResourceExhausted},
		"another node preferred": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements = &csi.TopologyRequirement{Preferred: []*csi.Topology{elsewhere}}
		}, codes.ResourceExhausted},
		"another topology": {func(r *csi.CreateVolumeRequest) {
			r.AccessibilityRequirements = &csi.TopologyRequirement{Requisite: []*csi.Topology{{Segments: map[string]string{TopologyKey: nodeName, "zone": "a"}}, {}}}
		}, codes.ResourceExhausted},
		"shared by mode, exclusive by parameter": {func(r *csi.CreateVolumeRequest) {
			r.Parameters["shared"], r.VolumeCapabilities = "false", []*csi.VolumeCapability{mounted(multi)}
		}, codes.InvalidArgument},
	} {
		r := creation("data", writer)
		c.change(r)
		_, err := n.CreateVolume(context.Background(), r)
		wantCode(t, name, err, c.want)
	}
	if live, all := n.agent.State().CountVolumes(); live+all > 0 {
		t.Errorf("%d volumes were made", all)
	}
	if free := n.agent.State().Free("", reserve(1).Resources[0].Reservations); free.Bytes() != 2048<<20 {
		t.Errorf("%s are reserved, want what there was", free)
	}
}

func TestTargetsLieInDirectoriesBeneathTheRoots(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	v := n.create(t, "data", multi)
	for name, at := range map[string]string{
		"none":                    "",
		"a relative one":          "pods/a/mount",
		"one that climbs":         n.root + "/pods/../../etc/mount",
		"one that is not clean":   n.root + "/pods//a/mount",
		"one with a slash at end": n.root + "/pods/a/mount/",
		"the root itself":         n.root,
		"one directly in a root":  n.root + "/mount",
		"a name like the root's":  n.root + "-other/a/mount",
		"one elsewhere":           "/etc/a/mount",
		"the root directory":      "/",
		"one with a NUL":          n.root + "/a/\x00/mount",
		"one that is too long":    n.root + "/a/" + strings.Repeat("x/", 2100) + "mount",
		"one the sandbox has":     n.root + "/a/stdout",
	} {
		_, err := n.NodePublishVolume(context.Background(), publication(v, at, multi))
		wantCode(t, "publish at "+name, err, codes.InvalidArgument)
		if name == "one the sandbox has" {
			continue
		}
		_, err = n.NodeUnpublishVolume(context.Background(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: at})
		wantCode(t, "unpublish from "+name, err, codes.InvalidArgument)
	}
	if n.agent.State().CountTasks() > 0 {
		t.Error("there is a task")
	}
}

func TestIdsThatAreNotThisAgentsAreNotFound(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	ours := n.create(t, "data", multi).GetVolumeId()
	uuid, _, _ := strings.Cut(ours, ".")
	at, ctx := n.target(t, "pod"), context.Background()
	for name, c := range map[string]struct {
		id   string
		want codes.Code
	}{
		"none":                       {"", codes.InvalidArgument},
		"one that is too long":       {strings.Repeat("v", 129), codes.InvalidArgument},
		"another agent's":            {foreignID, codes.NotFound},
		"our volume, another agent":  {uuid + foreignID[36:], codes.NotFound},
		"one that was never made":    {foreignID[:37] + n.agent.State().Agent, codes.NotFound},
		"the UUID alone":             {uuid, codes.NotFound},
		"the name":                   {"web/data", codes.NotFound},
		"only the agent":             {"." + n.agent.State().Agent, codes.NotFound},
		"something":                  {"../../etc/passwd", codes.NotFound},
		"ours with something behind": {ours + ".x", codes.NotFound},
	} {
		for method, ask := range map[string]func() error{
			"get": func() error {
				_, err := n.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{VolumeId: c.id})
				return err
			},
			"validate": func() error {
				_, err := n.ValidateVolumeCapabilities(ctx, &csi.ValidateVolumeCapabilitiesRequest{VolumeId: c.id,
					VolumeCapabilities: []*csi.VolumeCapability{mounted(writer)}})
				return err
			},
			"expand": func() error {
				_, err := n.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: c.id, CapacityRange: &csi.CapacityRange{RequiredBytes: 1}})
				return err
			},
			"health": func() error {
				_, err := n.ControllerGetVolumeHealth(ctx, &csi.ControllerGetVolumeHealthRequest{VolumeId: c.id})
				return err
			},
			"node health": func() error {
				_, err := n.NodeGetVolumeHealth(ctx, &csi.NodeGetVolumeHealthRequest{VolumeId: c.id})
				return err
			},
			"publish": func() error {
				_, err := n.NodePublishVolume(ctx, publication(&csi.Volume{VolumeId: c.id}, at, multi))
				return err
			},
			"stats": func() error {
				_, err := n.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: c.id, VolumePath: at})
				return err
			},
			"node expand": func() error {
				_, err := n.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{VolumeId: c.id, VolumePath: at})
				return err
			},
		} {
			wantCode(t, method+", id "+name, ask(), c.want)
		}
	}
	if n.agent.State().CountTasks() > 0 {
		t.Error("there is a task")
	}
}

func TestDeletingWhatIsNotThereIsNilAndWhatIsAnotherNodesIsRefused(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	for name, c := range map[string]struct {
		id   string
		want codes.Code
	}{
		"none":                    {"", codes.InvalidArgument},
		"one that is too long":    {strings.Repeat("v", 129), codes.InvalidArgument},
		"another agent's":         {foreignID, codes.NotFound},
		"one that was never made": {foreignID[:37] + n.agent.State().Agent, codes.OK},
		"something":               {"something", codes.OK},
	} {
		_, err := n.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: c.id})
		wantCode(t, "delete, id "+name, err, c.want)
	}
}

func TestALargeRequestIsRefusedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	r := creation("data", writer)
	r.Secrets = map[string]string{"k": strings.Repeat("x", maxMessage)}
	_, err := n.CreateVolume(context.Background(), r)
	wantCode(t, "a request of more than 256 KiB", err, codes.ResourceExhausted)
}

// raw sends bytes as they are.
type raw struct{}

// Marshal is what was given.
func (raw) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

// Unmarshal takes nothing.
func (raw) Unmarshal([]byte, any) error { return nil }

// Name is that of protobuf.
func (raw) Name() string { return "proto" }

func TestBytesThatAreNoRequestAreRefusedAndTheServerGoesOn(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	for name, bytes := range map[string][]byte{
		"a field that does not end":   {0x0a, 0x7f, 'x'},
		"a wire type that is none":    {0x0f},
		"a name that is no text":      {0x0a, 0x02, 0xff, 0xfe},
		"a field of another type":     {0x0a},
		"a number that does not end":  {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a length beyond all lengths": {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f},
	} {
		err := n.conn.Invoke(context.Background(), "/csi.v1.Controller/CreateVolume", bytes, nil, grpc.ForceCodec(raw{}))
		wantCode(t, name, err, codes.Internal) // gRPC's own
	}
	for name, text := range map[string]string{
		"another protocol": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"nothing at all":   strings.Repeat("\x00", 1<<16),
	} {
		conn, err := net.Dial("unix", n.socket)
		must(t, err)
		_, _ = conn.Write([]byte(text)) // the server may have hung up by then
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, conn.Close())
	}
	if _, err := n.Probe(context.Background(), &csi.ProbeRequest{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestMethodsThatAreNotAnnouncedAreUnimplemented(t *testing.T) {
	t.Parallel()
	n, ctx := fake(t, nil), context.Background()
	_, err := n.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{})
	wantCode(t, "controller publish", err, codes.Unimplemented)
	_, err = n.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{})
	wantCode(t, "stage", err, codes.Unimplemented)
	_, err = n.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{})
	wantCode(t, "snapshot", err, codes.Unimplemented)
	_, err = n.ControllerModifyVolume(ctx, &csi.ControllerModifyVolumeRequest{})
	wantCode(t, "modify", err, codes.Unimplemented)
}
