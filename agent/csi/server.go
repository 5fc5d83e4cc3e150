package csi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"tenon/agent"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Driver is the name of the plugin, as CSIDriver objects, storage classes and Nomad's volumes
// have it, and the principal of the volumes that it makes.
const Driver = "tenon.dev"

// TopologyKey is the one segment of a topology: which node a volume is on.
const TopologyKey = "topology.tenon.dev/node"

// Agent is what is served: *agent.Agent is one.
type Agent interface {
	// Ask applies operations and waits until what they touched has converged.
	Ask(ctx context.Context, r agent.Request) (*volume.State, error)
	// State is the newest version.
	State() *volume.State
	// Health is nil while the agent can do its work.
	Health() error
}

// Options are what a Server is made of. Agent and Node must be set.
type Options struct {
	Agent Agent

	// Node is what the orchestrator calls this node, and the value of the topology's segment:
	// at most 63 letters, digits, '-', '_' and '.', as a label of Kubernetes has.
	Node string

	// Roots are the directories beneath which targets may lie, absolute and clean. Each must
	// be a sandbox root of the agent's kernel; one that a container runtime has to see into
	// (/var/lib/kubelet) must be a shared one.
	Roots []string

	// Allow is agent.Request.Allow of everything that is asked for: what the plugin may do.
	Allow func(*volume.State, volume.Operation) error

	// Endpoint is the path of the socket at which the kubelet finds the plugin, for the answer
	// to its registration; empty is the socket that it registers by.
	Endpoint string

	// NodeExpansion has the expansion of volumes announced as the node's work alone. A
	// Kubernetes cluster needs it: its one resizer would ask the controller of whichever
	// node it runs on.
	NodeExpansion bool

	Version string        // of the program; empty is "dev"
	Log     *slog.Logger  // nil is none
	Timeout time.Duration // of one call; 0 is two minutes
}

// What one client can make the agent hold.
const (
	maxMessage  = 256 << 10 // bytes of a request
	maxStreams  = 128       // calls at work of one connection
	maxHeader   = 16 << 10  // bytes of the headers of a request
	dialTimeout = 5 * time.Second
)

// Server serves one agent. Its methods may be called at the same time.
type Server struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer

	agent         Agent
	node          string
	roots         []string
	allow         func(*volume.State, volume.Operation) error
	endpoint      string
	nodeExpansion bool
	version       string
	log           *slog.Logger
	timeout       time.Duration
	grpc          *grpc.Server

	space func(path string) (space, error) // of the file system at a target
}

// New makes a Server of an agent that runs. It fails on options that cannot be right.
func New(o Options) (*Server, error) {
	if err := checkOptions(o); err != nil {
		return nil, fmt.Errorf("csi: %w", err)
	}
	s := &Server{agent: o.Agent, node: o.Node, roots: o.Roots, allow: o.Allow, endpoint: o.Endpoint,
		nodeExpansion: o.NodeExpansion, version: o.Version, log: o.Log, timeout: o.Timeout, space: spaceAt}
	if s.version == "" {
		s.version = "dev"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.timeout == 0 {
		s.timeout = 2 * time.Minute
	}
	s.grpc = grpc.NewServer(grpc.UnaryInterceptor(s.answer), grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(maxHeader), grpc.ConnectionTimeout(dialTimeout),
		grpc.WaitForHandlers(true))
	csi.RegisterIdentityServer(s.grpc, s)
	csi.RegisterControllerServer(s.grpc, s)
	csi.RegisterNodeServer(s.grpc, s)
	registration.RegisterRegistrationServer(s.grpc, registrar{s: s})
	return s, nil
}

// checkOptions finds the first thing that is wrong with options.
func checkOptions(o Options) error {
	const maxLabel = 63
	outer := func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' }
	inner := func(r rune) bool { return outer(r) || strings.ContainsRune("-_.", r) }
	switch n := o.Node; {
	case o.Agent == nil:
		return errors.New("there is no agent to serve")
	case n == "" || len(n) > maxLabel || strings.TrimFunc(n, inner) != "" || !outer(rune(n[0])) || !outer(rune(n[len(n)-1])):
		return fmt.Errorf("node %q must be 1 to %d letters, digits, '-', '_' and '.', and begin and end with a letter or digit", n, maxLabel)
	case len(o.Roots) == 0:
		return errors.New("there is no root beneath which a target may lie")
	}
	for _, root := range o.Roots {
		if !path.IsAbs(root) || path.Clean(root) != root || root == "/" {
			return fmt.Errorf("root %q must be an absolute, clean path other than /", root)
		}
	}
	return nil
}

// Serve answers on a unix socket until Shutdown, and then returns nil. It may be called for
// several sockets, that of CSI and that of the kubelet's registrations, and closes each.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.grpc.Serve(&guarded{Listener: ln, log: s.log}); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown takes no more calls and waits for those at work. When the context ends first,
// theirs end; what they have recorded goes on.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop() // ends the other one
		<-done
		return ctx.Err()
	}
}

// answer is around every call: limits first, then the method, at last the code of its error
// and one line in the log. Nothing of a request is ever logged.
func (s *Server) answer(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (res any, err error) {
	start, method := time.Now(), path.Base(info.FullMethod)
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("call panicked", "method", method, "reason", fmt.Sprint(v)+"\n"+string(debug.Stack()))
			res, err = nil, status.Error(codes.Internal, "the agent has a defect here; its log says where")
		}
		s.log.Log(ctx, levelOf(method, err), "csi call", "method", method, "status", status.Code(err), "err", err, "took", time.Since(start))
	}()
	if err = checkLimits(req); err == nil {
		res, err = handle(ctx, req)
	}
	if err != nil {
		return nil, statusOf(err)
	}
	return res, nil
}

// levelOf is Info for calls that change something and for refusals of others.
func levelOf(method string, err error) slog.Level {
	for _, verb := range []string{"Create", "Delete", "ControllerExpand", "NodePublish", "NodeUnpublish", "NodeExpand"} {
		if strings.HasPrefix(method, verb) {
			return slog.LevelInfo
		}
	}
	if err != nil {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// ask has operations done. check, if not nil, is asked about each with the state that it meets.
func (s *Server) ask(ctx context.Context, check func(*volume.State, volume.Operation) error, ops ...volume.Operation) (*volume.State, error) {
	return s.agent.Ask(ctx, agent.Request{Operations: ops, Allow: func(st *volume.State, op volume.Operation) error {
		if s.allow != nil {
			if err := s.allow(st, op); err != nil {
				return err
			}
		}
		if check != nil {
			return check(st, op)
		}
		return nil
	}})
}

// refuse makes an error of a kind of package volume.
func refuse(kind error, format string, args ...any) error {
	return &volume.Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// driver gives a new pointer to Driver, as principals are.
func driver() *string {
	name := Driver
	return &name
}

// reservedHere says whether the plugin reserved the space of a volume together with making it.
func reservedHere(v *volume.Volume) bool {
	last := v.Reservations[len(v.Reservations)-1]
	return last.Type == resource.Dynamic && last.Principal != nil && *last.Principal == Driver
}
