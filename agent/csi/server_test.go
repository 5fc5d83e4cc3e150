package csi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"tenon/agent"
	"tenon/agent/volume"
	"tenon/mount/mounttest"
)

func TestOptionsThatCannotBeRightAreRefused(t *testing.T) {
	t.Parallel()
	right := Options{Agent: still{}, Node: "node-1.example", Roots: []string{"/var/lib/kubelet"}}
	if _, err := New(right); err != nil {
		t.Errorf("what is right: %v", err)
	}
	for name, change := range map[string]func(*Options){
		"no agent":            func(o *Options) { o.Agent = nil },
		"no node":             func(o *Options) { o.Node = "" },
		"a long node":         func(o *Options) { o.Node = strings.Repeat("n", 64) },
		"a node with a slash": func(o *Options) { o.Node = "a/b" },
		"a node with a dash":  func(o *Options) { o.Node = "-a" },
		"a node with a dot":   func(o *Options) { o.Node = "a." },
		"no root":             func(o *Options) { o.Roots = nil },
		"a relative root":     func(o *Options) { o.Roots = []string{"/a", "b"} },
		"an unclean root":     func(o *Options) { o.Roots = []string{"/a/../b"} },
		"everything":          func(o *Options) { o.Roots = []string{"/"} },
	} {
		o := right
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestThePluginSaysWhatItIs(t *testing.T) {
	t.Parallel()
	n, ctx := fake(t, nil), context.Background()
	info, err := n.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{})
	must(t, err)
	if info.Name != "tenon.dev" || info.VendorVersion != "1.2.3" {
		t.Errorf("plugin is %v", info)
	}
	probe, err := n.Probe(ctx, &csi.ProbeRequest{})
	must(t, err)
	if !probe.Ready.GetValue() {
		t.Error("it is not ready")
	}
	reg, err := registration.NewRegistrationClient(n.conn).GetInfo(ctx, &registration.InfoRequest{})
	must(t, err)
	want := &registration.PluginInfo{Type: "CSIPlugin", Name: "tenon.dev", Endpoint: "/csi.sock", SupportedVersions: []string{"1.13.0"}}
	if diff := cmp.Diff(want, reg, protocmp.Transform()); diff != "" {
		t.Errorf("registration (-want +got):\n%s", diff)
	}
}

// sick is an agent that cannot do its work.
type sick struct{ Agent }

// Health says why.
func (sick) Health() error { return errors.New("the journal has failed") }

// Ask has a defect.
func (sick) Ask(context.Context, agent.Request) (*volume.State, error) { panic("a defect") }

func TestAnAgentThatCannotWorkIsNotReady(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	n.server.agent = sick{n.agent}
	_, err := n.Probe(context.Background(), &csi.ProbeRequest{})
	wantCode(t, "probe", err, codes.FailedPrecondition)
	if !strings.Contains(err.Error(), "the journal has failed") {
		t.Errorf("probe says %v", err)
	}
}

// lines is a log that may be written and read at once.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestADefectIsToldAndTheServerGoesOn(t *testing.T) {
	t.Parallel()
	log := &lines{}
	n := fake(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
	n.server.agent = sick{n.agent}
	_, err := n.CreateVolume(context.Background(), creation("data", writer))
	wantCode(t, "create", err, codes.Internal)
	if strings.Contains(err.Error(), "a defect\n") || !strings.Contains(log.String(), "a defect") {
		t.Errorf("told %v, logged %s", err, log)
	}
	_, err = n.GetPluginInfo(context.Background(), &csi.GetPluginInfoRequest{})
	must(t, err)
}

func TestACallIsOneLineOfTheLogWithoutWhatWasAsked(t *testing.T) {
	t.Parallel()
	log := &lines{}
	n := fake(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
	r := creation("data", writer)
	r.Secrets = map[string]string{"password": "hunter2"}
	_, err := n.CreateVolume(context.Background(), r)
	must(t, err)
	got := log.String()
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, "method=CreateVolume status=OK") || strings.Contains(got, "hunter2") {
		t.Errorf("the log is:\n%s", got)
	}
	_, err = n.ListVolumes(context.Background(), &csi.ListVolumesRequest{})
	must(t, err)
	if log.String() != got {
		t.Errorf("a call that only looks is logged:\n%s", log)
	}
}

func TestTheKubeletsVerdictIsLogged(t *testing.T) {
	t.Parallel()
	log := &lines{}
	n := fake(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) })
	c := registration.NewRegistrationClient(n.conn)
	for want, st := range map[string]*registration.RegistrationStatus{
		`level=INFO msg="registered with the kubelet" socket=/csi.sock`:                             {PluginRegistered: true},
		`level=ERROR msg="not registered with the kubelet" socket=/csi.sock reason="no such thing"`: {Error: "no such thing"},
	} {
		_, err := c.NotifyRegistrationStatus(context.Background(), st)
		must(t, err)
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no line with %s:\n%s", want, log)
		}
	}
}

func TestConnectionsOfNobodyAreHungUpOn(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // the kernel names no user for these
	must(t, err)
	log := &lines{}
	g := &guarded{Listener: ln, log: slog.New(slog.NewTextHandler(log, nil))}
	conn, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer conn.Close()
	done := make(chan error)
	go func() {
		_, err := g.Accept()
		done <- err
	}()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a server that knows nobody", n)
	}
	must(t, ln.Close())
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if !strings.Contains(log.String(), "principal=-1") {
		t.Errorf("the log is %s", log)
	}
}

func TestTheOwnUserIsLetThrough(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("unix", filepath.Join(socketDir(t), "s"))
	must(t, err)
	defer ln.Close()
	conn, err := net.Dial("unix", ln.Addr().String())
	must(t, err)
	defer conn.Close()
	got, err := (&guarded{Listener: ln, log: slog.New(slog.DiscardHandler)}).Accept()
	must(t, err)
	defer got.Close()
	if uid, err := peerOf(got); err != nil || uid != os.Getuid() {
		t.Errorf("the user is %d, %v, want %d", uid, err, os.Getuid())
	}
}

// TestAnotherUserIsHungUpOn is not parallel: it ends a thread.
func TestAnotherUserIsHungUpOn(t *testing.T) {
	mounttest.RequireRoot(t)
	const nobody = 65534
	n := fake(t, nil)
	must(t, os.Chmod(filepath.Dir(n.socket), 0o711))
	must(t, os.Chmod(n.socket, 0o666))
	read := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with what it has become
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			read <- nil
			return
		}
		conn, err := net.Dial("unix", n.socket)
		if err != nil {
			read <- nil
			return
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1)) // a server that knows us would speak first
		read <- err
	}()
	if err := <-read; !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read of user %d's connection: %v, want its end", nobody, err)
	}
}

func TestShutdownWaitsForCallsAtWorkUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	n := fake(t, nil)
	slow := &slowAgent{Agent: n.agent, entered: make(chan struct{})}
	n.server.agent = slow
	answered := make(chan error, 1)
	go func() {
		_, err := n.CreateVolume(context.Background(), creation("data", writer))
		answered <- err
	}()
	<-slow.entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("a call that was ended has no error")
	}
	ln, err := net.Listen("unix", filepath.Join(socketDir(t), "s"))
	must(t, err)
	if err := n.server.Serve(ln); err != nil {
		t.Errorf("serve after the end: %v", err)
	}
	if !gone(ln.Addr().String()) {
		t.Error("the listener was left open")
	}
}

// slowAgent answers no operation before its context ends.
type slowAgent struct {
	Agent
	entered chan struct{}
}

// Ask waits.
func (a *slowAgent) Ask(ctx context.Context, _ agent.Request) (*volume.State, error) {
	close(a.entered)
	<-ctx.Done()
	return nil, ctx.Err()
}
