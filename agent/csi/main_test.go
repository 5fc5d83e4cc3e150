package csi

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }

const (
	mib      = int64(resource.MiB)
	nodeName = "node-1"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clients are those of all services of one socket.
type clients struct {
	csi.IdentityClient
	csi.ControllerClient
	csi.NodeClient
	conn *grpc.ClientConn
}

// node is a server with its agent and somebody who asks it.
type node struct {
	clients
	agent  *agent.Agent
	server *Server
	socket string
	root   string            // beneath which targets are
	kernel *agenttest.Kernel // nil over the real one
	stop   func()            // ends server and agent before the test does
}

// fake is a node on a kernel in memory, with 2,048 MiB of the root disk reserved for web.
func fake(t testing.TB, change func(*Options)) *node {
	t.Helper()
	root := filepath.Join(t.TempDir(), "kubelet")
	must(t, os.Mkdir(root, 0o750))
	k := agenttest.NewKernel()
	n := &node{kernel: k, root: root, agent: agenttest.Start(t, k)}
	n.start(t, change)
	_, err := n.agent.Do(context.Background(), reserve(2048))
	must(t, err)
	n.server.space = func(string) (space, error) { return space{total: 4096 * mib, free: 100 * mib, avail: 50 * mib}, nil }
	return n
}

// start serves the agent of n.
func (n *node) start(t testing.TB, change func(*Options)) {
	t.Helper()
	o := Options{Agent: n.agent, Node: nodeName, Roots: []string{n.root}, Version: "1.2.3", Endpoint: "/csi.sock"}
	if change != nil {
		change(&o)
	}
	var err error
	n.server, err = New(o)
	must(t, err)
	n.socket = filepath.Join(socketDir(t), "s")
	ln, err := net.Listen("unix", n.socket)
	must(t, err)
	served := make(chan error, 1)
	go func() { served <- n.server.Serve(ln) }()
	n.conn, err = grpc.NewClient("unix:"+n.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	n.clients = clients{csi.NewIdentityClient(n.conn), csi.NewControllerClient(n.conn), csi.NewNodeClient(n.conn), n.conn}
	n.stop = sync.OnceFunc(func() {
		must(t, n.conn.Close())
		must(t, n.server.Shutdown(context.Background()))
		must(t, <-served)
	})
	t.Cleanup(n.stop)
}

// socketDir is short, as the address of a socket must be.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "csi-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func reserve(mib int64) volume.Reserve {
	return volume.Reserve{Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar, Scalar: resource.Scalar(mib) * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}}}
}

// real is a node on the real kernel, all of it in one directory. Targets lie on a shared
// mount that has a peer, as those of a kubelet do.
func real(t testing.TB, dir string) *node {
	t.Helper()
	mounttest.RequireMounts(t)
	quiet := slog.New(slog.DiscardHandler)
	n := &node{root: filepath.Join(dir, "kubelet")}
	j, err := checkpoint.Open(filepath.Join(dir, "state"), checkpoint.Options{Logger: quiet})
	must(t, err)
	h, err := host.Open(hostOptions(dir))
	must(t, err)
	n.agent, err = agent.Start(context.Background(), agent.Options{Kernel: h, Journal: j, Boot: "this", Log: quiet,
		Disks: []volume.Disk{{Total: 1 << 30}}})
	must(t, err)
	n.start(t, nil)
	server := n.stop
	n.stop = sync.OnceFunc(func() {
		server()
		n.agent.Stop()
		must(t, errors.Join(h.Close(), j.Close()))
	})
	t.Cleanup(n.stop)
	if live, _ := n.agent.State().CountVolumes(); live == 0 {
		_, err = n.agent.Do(context.Background(), reserve(2048))
		must(t, err)
	}
	return n
}

func hostOptions(dir string) host.Options {
	return host.Options{
		Disks:        map[string]string{"": filepath.Join(dir, "pool")},
		SandboxRoots: []string{filepath.Join(dir, "sandboxes")},
		SharedRoots:  []string{filepath.Join(dir, "kubelet")},
		CgroupParent: "/" + filepath.Base(dir),
		Log:          slog.New(slog.DiscardHandler),
	}
}

// directory is a place for a real node, with kubelet/ on a shared mount whose peer is peer/.
// in is where to make it: "" is the directory for temporary files.
func directory(t testing.TB, in string) string {
	t.Helper()
	mounttest.RequireMounts(t)
	dir, err := os.MkdirTemp(in, "tenon-csi-")
	must(t, err)
	dir, err = filepath.Abs(dir)
	must(t, err)
	kubelet, peer := filepath.Join(dir, "kubelet"), filepath.Join(dir, "peer")
	must(t, os.Mkdir(kubelet, 0o750))
	must(t, os.Mkdir(peer, 0o750))
	must(t, unix.Mount("kubelet", kubelet, "tmpfs", 0, ""))
	must(t, unix.Mount("", kubelet, "", unix.MS_SHARED, ""))
	must(t, unix.Mount(kubelet, peer, "", unix.MS_BIND, ""))
	t.Cleanup(func() {
		must(t, unix.Unmount(peer, unix.MNT_DETACH))
		must(t, unix.Unmount(kubelet, unix.MNT_DETACH))
		must(t, host.Remove(hostOptions(dir), dir))
	})
	return dir
}

// multi, single and so on are access modes in short.
const (
	multi    = csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	single   = csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	writer   = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	readOnly = csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY
)

// mounted is the capability of a mount with flags.
func mounted(mode csi.VolumeCapability_AccessMode_Mode, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{MountFlags: flags}},
	}
}

// creation is a request that is right, for 64 MiB of role web.
func creation(name string, mode csi.VolumeCapability_AccessMode_Mode) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{Name: name, Parameters: map[string]string{"role": "web"},
		CapacityRange: &csi.CapacityRange{RequiredBytes: 64 * mib}, VolumeCapabilities: []*csi.VolumeCapability{mounted(mode)}}
}

// create makes a volume.
func (n *node) create(t testing.TB, name string, mode csi.VolumeCapability_AccessMode_Mode) *csi.Volume {
	t.Helper()
	r, err := n.CreateVolume(context.Background(), creation(name, mode))
	must(t, err)
	return r.GetVolume()
}

// target gives the path of a target like a kubelet's, and makes the directory above it.
func (n *node) target(t testing.TB, pod string) string {
	t.Helper()
	dir := filepath.Join(n.root, "pods", pod, "volumes", "kubernetes.io~csi", "pv")
	must(t, os.MkdirAll(dir, 0o750))
	return filepath.Join(dir, "mount")
}

// publication is a request to mount a volume at a target.
func publication(v *csi.Volume, target string, mode csi.VolumeCapability_AccessMode_Mode, flags ...string) *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: target, VolumeCapability: mounted(mode, flags...)}
}

func (n *node) publish(t testing.TB, v *csi.Volume, target string, mode csi.VolumeCapability_AccessMode_Mode) {
	t.Helper()
	_, err := n.NodePublishVolume(context.Background(), publication(v, target, mode))
	must(t, err)
}

func (n *node) unpublish(t testing.TB, v *csi.Volume, target string) {
	t.Helper()
	_, err := n.NodeUnpublishVolume(context.Background(), &csi.NodeUnpublishVolumeRequest{VolumeId: v.GetVolumeId(), TargetPath: target})
	must(t, err)
}

// find gives the agent's volume behind an id.
func (n *node) find(t testing.TB, v *csi.Volume) *volume.Volume {
	t.Helper()
	found, err := find(n.agent.State(), v.GetVolumeId())
	must(t, err)
	return found
}

// wantCode holds the code of an answer against what it should be.
func wantCode(t testing.TB, what string, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// gone says whether nothing lies at a path.
func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
