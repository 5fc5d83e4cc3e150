package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// Agent is what is served: *agent.Agent is one.
type Agent interface {
	// Ask applies operations and waits until what they touched has converged.
	Ask(ctx context.Context, r agent.Request) (*volume.State, error)
	// Hand attaches a volume and gives its mount as a descriptor, which the caller closes.
	Hand(ctx context.Context, op volume.Attach, allow func(*volume.State, volume.Operation) error) (*os.File, error)
	// State is the newest version.
	State() *volume.State
	// Events is what has happened after a version, as far as it is remembered.
	Events(after uint64, limit int) (events []agent.Event, gap bool)
	// Watch waits for a version after the one given.
	Watch(ctx context.Context, after uint64) (*volume.State, error)
	// Health is nil while the agent can do its work.
	Health() error
}

// Options are what a Server is made of. Agent must be set.
type Options struct {
	Agent   Agent
	Gauge   Gauge // nil knows nothing
	Log     *slog.Logger
	Version string        // of the program, for the status
	Group   string        // whose members may ask, besides root and the agent's own user
	Timeout time.Duration // of one request; 0 is a minute

	Principals access.Principals // of the users of this host
	ACLs       access.ACLs       // the zero value allows everything
	Audit      *access.Audit     // of calls that may change something; nil is none. The caller closes it

	Token   *Token                            // of pollers; nil is none
	Masters func() []wire.Master              // how it stands with them; nil is none
	Metrics func(view wire.View) http.Handler // of GET /metrics, for who may see so much; nil is none
	Count   func(route string, status int)    // is told of each request that was answered; nil is nobody
}

// Server serves one agent. Its methods may be called at the same time.
type Server struct {
	agent   Agent
	gauge   Gauge
	log     *slog.Logger
	version string
	started time.Time
	gid     int // of the group, none is -1
	timeout time.Duration
	slots   chan struct{} // one for each request at work that may wait for the agent
	large   chan struct{} // one for each of them with a large body
	walks   chan struct{} // one for each request that looks at everything
	streams *quota        // of clients that follow events
	pulse   *pulse
	endPoll context.CancelFunc // ends those who wait for something to happen
	mux     *http.ServeMux
	http    *http.Server
	pollers *http.Server
	end     context.CancelFunc // ends the context of every request
	work    sync.WaitGroup     // requests at work

	principals access.Principals
	acls       access.ACLs
	audit      *access.Audit

	token   *Token
	masters func() []wire.Master
	metrics func(wire.View) http.Handler
	count   func(route string, status int)

	credentials func(net.Conn) (credentials, error) // of the other end
	bodyTimeout time.Duration
}

// What one client can make the agent hold.
const (
	maxHeader = 64 << 10
	maxBody   = 1 << 20

	headerTimeout = 5 * time.Second
	bodyTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 10 * time.Second // of an answer, once there is one
	endTimeout    = time.Second      // for last answers when Shutdown has no time left
)

// New makes a Server of an agent that runs.
func New(o Options) *Server {
	s := &Server{
		agent: o.Agent, gauge: o.Gauge, log: o.Log, version: o.Version, started: time.Now().UTC(), timeout: o.Timeout,
		slots: make(chan struct{}, maxRequests), large: make(chan struct{}, maxLarge), walks: make(chan struct{}, maxWalks),
		streams: newQuota(maxStreams, maxStreams/4), mux: http.NewServeMux(),
		principals: o.Principals, acls: o.ACLs, audit: o.Audit,
		token: o.Token, masters: o.Masters, metrics: o.Metrics, count: o.Count,
		credentials: credentialsOf, bodyTimeout: bodyTimeout,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.timeout == 0 {
		s.timeout = time.Minute
	}
	if s.masters == nil {
		s.masters = func() []wire.Master { return nil }
	}
	if s.count == nil {
		s.count = func(string, int) {}
	}
	s.gid = groupID(o.Group)
	if o.Group != "" && s.gid < 0 {
		s.log.Warn("group not known, only root may use the socket", "principal", o.Group)
	}
	for _, r := range routes {
		s.mux.Handle(r.method+" "+r.pattern, &endpoint{s, r, r.method + " " + r.pattern})
	}
	base, end := context.WithCancel(context.Background())
	s.end = end
	poll, endPoll := context.WithCancel(base)
	s.pulse, s.endPoll = newPulse(poll, s.agent, s.started), endPoll
	s.http, s.pollers = s.listenWith(base, s), s.listenWith(base, http.HandlerFunc(s.servePoller))
	s.http.ConnContext = s.meet
	return s
}

// listenWith is an HTTP server with the limits of all of them.
func (s *Server) listenWith(base context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return base },
	}
}

// Serve answers requests until Shutdown, and then returns nil; ln must be a unix socket or
// come from ListenTLS: whoever comes another way may do nothing. It closes ln. Several
// listeners may be served at the same time.
func (s *Server) Serve(ln net.Listener) error { return serve(s.http, ln) }

// ServePollers is Serve for those who only read; ln must come from ListenPollers.
func (s *Server) ServePollers(ln net.Listener) error { return serve(s.pollers, ln) }

func serve(h *http.Server, ln net.Listener) error {
	if err := h.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown takes no more requests and waits for those at work; who waits for something to
// happen is answered at once. When the context ends
// first, they are answered that the agent is stopping; what they recorded goes on.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.end()
	s.endPoll()
	err := errors.Join(s.shutdown(ctx, s.pollers), s.shutdown(ctx, s.http))
	s.work.Wait()
	s.pulse.work.Wait()
	return err
}

func (s *Server) shutdown(ctx context.Context, h *http.Server) error {
	err := h.Shutdown(ctx)
	if err != nil {
		s.end()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		err = h.Shutdown(last)
	}
	if err != nil {
		err = errors.Join(err, h.Close())
	}
	return err
}

// ServeHTTP answers one request: access first, then the route, and at last one line in
// the log. Nothing of a body is read before access is granted, and none is ever logged.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.work.Add(1)
	defer s.work.Done()
	start := time.Now()
	rec := &recorder{ResponseWriter: w, plain: isMesos(r.URL.Path), route: noRoute}
	p := s.peerOf(r)
	defer func() {
		if v := recover(); v != nil {
			s.panicked(rec, r, v)
		}
		s.count(rec.route, rec.status)
		level := slog.LevelInfo
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			level = slog.LevelDebug
		}
		s.log.Log(r.Context(), level, "request", "principal", p.name(), "pid", p.pid, "method", r.Method,
			"path", r.URL.Path, "status", rec.status, "took", time.Since(start))
	}()
	if !p.allowed {
		w.Header().Set("Connection", "close")
		s.turnAway(rec, r, p)
		return
	}
	if p.reads && r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", http.MethodGet)
		s.refuse(rec, problem(http.StatusMethodNotAllowed, volume.ErrInvalid, "%s %s: there is only GET at this address", r.Method, r.URL.Path))
		return
	}
	s.route(rec, r)
}

// route finds a request's way. Paths must be clean: what a client means by "..", by an
// empty element or by a slash at the end is not guessed, and nobody is sent elsewhere.
func (s *Server) route(w *recorder, r *http.Request) {
	if s.has(r) && path.Clean(r.URL.Path) == r.URL.Path {
		s.mux.ServeHTTP(w, r)
		return
	}
	if methods := s.methods(r); len(methods) > 0 {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		s.refuse(w, problem(http.StatusMethodNotAllowed, volume.ErrInvalid, "%s %s: the method is not one of %s",
			r.Method, r.URL.Path, strings.Join(methods, ", ")))
		return
	}
	s.refuse(w, refusal(volume.ErrNotFound, "there is nothing at %s; GET /v1/openapi.yaml describes what there is", r.URL.Path))
}

// has says whether a request is for one of the routes.
func (s *Server) has(r *http.Request) bool {
	h, _ := s.mux.Handler(r)
	_, is := h.(*endpoint) // the mux has handlers of its own, for redirects
	return is
}

// methods are those that a clean path has.
func (s *Server) methods(r *http.Request) (list []string) {
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		probe := &http.Request{Method: m, Host: r.Host, URL: r.URL}
		if s.has(probe) && path.Clean(r.URL.Path) == r.URL.Path {
			list = append(list, m)
		}
	}
	return list
}

// endpoint is the handler of a route.
type endpoint struct {
	server *Server
	route  route
	name   string
}

// ServeHTTP answers a request that may be made.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := e.server
	rec, _ := w.(*recorder) // Server gives nothing else
	rec.route = e.name
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	if waits(r) {
		ctx, cancel = context.WithTimeout(r.Context(), longestWait)
	}
	defer cancel()
	c := &call{Request: r.WithContext(ctx), w: rec, peer: s.peerOf(r), bodyTimeout: s.bodyTimeout}
	defer c.leave()
	a, err := s.answerAudited(e.route, c)
	switch {
	case err != nil:
	case a.stream != nil:
		a.stream(r.Context(), rec)
	default:
		err = s.write(rec, a)
	}
	if err != nil {
		s.refuse(rec, err)
	}
}

// waits says whether a request asks to wait for something to happen, which bounds its time
// by itself.
func waits(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("index") }

// answer waits for its turn, checks what every request must keep to and asks the route.
func (s *Server) answer(r route, c *call) (answer, error) {
	if r.method == http.MethodGet {
		return s.handle(r, c) // never waits for work
	}
	defer c.leave()
	if c.isLarge() {
		if err := c.turn(s.large); err != nil {
			return answer{}, err
		}
	}
	if err := c.turn(s.slots); err != nil {
		return answer{}, err
	}
	return s.handle(r, c)
}

func (s *Server) handle(r route, c *call) (answer, error) {
	err := c.checkQuery(r.query)
	if err == nil {
		c.dryRun, err = c.flag("dry_run", false)
	}
	if err != nil {
		return answer{}, err
	}
	return r.handle(s, c)
}

func (s *Server) panicked(w *recorder, r *http.Request, v any) {
	s.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "reason", fmt.Sprint(v)+"\n"+string(debug.Stack()))
	if w.status == 0 {
		s.refuse(w, errDefect())
	}
}

func errDefect() error {
	return refusal(volume.ErrFailed, "the agent has a defect here; its log says where")
}
