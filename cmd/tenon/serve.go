package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/api"
	"tenon/agent/config"
	"tenon/agent/host"
	"tenon/agent/metrics"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/checkpoint"
	"tenon/systemd"
)

// drainTime is how long calls under way may take when the agent stops.
const drainTime = 10 * time.Second

// serve runs an agent until ctx ends.
func serve(ctx context.Context, cfg config.Config, dev bool, logTo io.Writer) (err error) {
	syscall.Umask(0o022) // mount points have the modes that they are made with
	log := newLogger(cfg, logTo)
	if err := makeParents(cfg); err != nil {
		return err
	}
	journal, err := checkpoint.Open(cfg.StateDir, checkpoint.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	disks, dirs, err := disksOf(cfg)
	if err != nil {
		return err
	}
	h, err := host.Open(hostOptions(cfg, dirs, log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	boot, err := host.Boot()
	if err != nil {
		return err
	}
	crash, arm := crashHook()
	meter := metrics.New(version())
	info, err := hostInfo(cfg, log)
	if err != nil {
		return err
	}
	a, err := agent.Start(ctx, agent.Options{Kernel: h, Gauge: h, MeasureEvery: cfg.SoftQuotaInterval, Journal: journal, Boot: boot, Disks: disks, Meter: meter,
		Host: info, Log: log, Crash: crash})
	if err != nil {
		return err
	}
	defer a.Stop()
	if dev {
		defer releaseAll(a, log)
	}
	meter.Watch(a)
	debug.FreeOSMemory() // what only the start has needed: twice what there is
	arm()
	return listen(ctx, daemon{Agent: a, cfg: cfg, meter: meter, log: log})
}

// hostOptions are the parts of the host that are configured; dirs are those of the disks.
func hostOptions(cfg config.Config, dirs map[string]string, log *slog.Logger) host.Options {
	return host.Options{Disks: dirs, SandboxRoots: cfg.SandboxRoots, SharedRoots: sharedRoots(cfg), CgroupParent: cfg.CgroupParent, Projects: cfg.Projects, Log: log}
}

// makeParents makes what is missing above the agent's own directories and files: those are
// closed to others, but the tasks of any user walk to their sandboxes.
func makeParents(cfg config.Config) error {
	below := append([]string{cfg.StateDir, cfg.Pool}, cfg.SandboxRoots...)
	if cfg.AuditLog != "" {
		below = append(below, cfg.AuditLog)
	}
	for _, dir := range below {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// releaseAll ends the tasks of an agent that was only tried out. One that still runs stays.
func releaseAll(a *agent.Agent, log *slog.Logger) {
	for t := range a.State().Tasks("") {
		if _, err := a.Do(context.Background(), volume.Release{Task: t.ID, Lazy: true}); err != nil {
			log.Warn("task not released", "task", t.ID, "err", err)
		}
	}
}

// daemon is an agent that runs, with what those need who ask it.
type daemon struct {
	*agent.Agent
	cfg   config.Config
	meter *metrics.Metrics
	log   *slog.Logger
	audit *access.Audit // nil where none is written
}

// listen serves all who ask until ctx ends, and then lets the calls under way finish. What
// the configuration has wrong is an error before anybody is served, and so is an address of
// the API that cannot be listened on. A master that is not reached and a CSI socket that
// cannot be made are logged and tried again: the agent has others to serve.
func listen(ctx context.Context, d daemon) (err error) {
	if d.cfg.AuditLog != "" {
		if d.audit, err = access.OpenAudit(d.cfg.AuditLog); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.audit.Close()) }()
	}
	masters, err := newSupervisor(d)
	if err != nil {
		return err
	}
	plugin, err := newPlugin(d)
	if err != nil {
		return err
	}
	token, err := pollToken(d)
	if err != nil {
		return err
	}
	lns, err := listeners(d.cfg, d.log)
	if err != nil {
		return err
	}
	plugin.passed = lns.csi
	told := func() []wire.Master { return toldOf(masters) }
	d.meter.WatchMasters(told)
	srv := api.New(api.Options{Agent: d.Agent, Gauge: d.Agent, Group: d.cfg.Group, Version: version(), Timeout: d.cfg.RequestTimeout, Log: d.log,
		Principals: d.cfg.Principals, ACLs: d.cfg.ACLs, Audit: d.audit, Token: token,
		Masters: told, Metrics: d.meter.Handler, Count: d.meter.Request})
	return d.run(ctx, srv, lns, masters.Run, plugin)
}

// run serves until ctx ends. Those who ask stop before the agent does, all at the same time:
// none of them needs another.
func (d daemon) run(ctx context.Context, srv *api.Server, lns sockets, masters func(context.Context), plugin *plugin) (err error) {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work.Go(func() {
		if err := systemd.Watchdog(ctx, func() bool { return d.Health() == nil }); err != nil {
			d.log.Warn("watchdog not fed", "err", err)
		}
	})
	work.Go(func() { masters(ctx) })
	plugin.start(ctx, &work)
	failed := make(chan error, len(lns.api)+1)
	var at []string
	for _, ln := range lns.api {
		work.Go(func() { failed <- srv.Serve(ln) })
		at = append(at, ln.Addr().String())
	}
	if lns.pollers != nil {
		work.Go(func() { failed <- srv.ServePollers(lns.pollers) })
		at = append(at, lns.pollers.Addr().String())
	}
	for _, addr := range at {
		d.log.Info("agent serves", "path", addr)
	}
	tell(d.log, systemd.Ready("serving on "+strings.Join(at, " and ")))
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	d.log.Info("agent stops")
	tell(d.log, systemd.Stopping())
	stop()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	work.Go(func() { plugin.shutdown(drain) })
	return errors.Join(err, srv.Shutdown(drain))
}

// sockets are all that the agent listens on when it starts.
type sockets struct {
	api     []net.Listener // the unix socket and, if it is configured, the address for other hosts
	pollers net.Listener   // nil where nobody polls
	csi     net.Listener   // nil where systemd hands none over
}

// close closes all of them.
func (s sockets) close() error {
	var errs []error
	for _, ln := range append(s.api, s.pollers, s.csi) {
		if ln != nil {
			errs = append(errs, ln.Close())
		}
	}
	return errors.Join(errs...)
}

// listeners are the sockets that systemd hands over and those of our own.
func listeners(cfg config.Config, log *slog.Logger) (s sockets, err error) {
	passed, err := systemd.Listeners()
	if err != nil {
		return s, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = sockets{}
		}
	}()
	s.csi = passed["csi"]
	local, ok := passed["api"]
	if !ok {
		if local, err = api.Listen(cfg.Socket, cfg.Group); err != nil {
			return s, err
		}
	}
	s.api = append(s.api, local)
	if cfg.TLSListen != "" {
		remote, err := api.ListenTLS(cfg.TLSListen, cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA, log)
		if err != nil {
			return s, err
		}
		s.api = append(s.api, remote)
	}
	if cfg.PollListen != "" {
		s.pollers, err = api.ListenPollers(cfg.PollListen, cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA, cfg.PollTokenFile != "", log)
	}
	return s, err
}

// pollToken is the token of those who only read; nil if there is none.
func pollToken(d daemon) (*api.Token, error) {
	if d.cfg.PollTokenFile == "" {
		return nil, nil
	}
	return api.OpenToken(d.cfg.PollTokenFile, d.log)
}

// tell logs a message to systemd that did not arrive; the agent works without.
func tell(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("systemd not told", "err", err)
	}
}

func newLogger(cfg config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.JSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// crashHook ends the process, as kill -9 would, the n-th time that it comes to a point
// after it was armed: TENON_TEST_CRASH="attach:after" or "settle#2". It is for the crash
// tests alone; without the variable both functions do nothing.
func crashHook() (hook func(point string), arm func()) {
	want, count, _ := strings.Cut(os.Getenv("TENON_TEST_CRASH"), "#")
	if want == "" {
		return nil, func() {}
	}
	times := int64(1)
	_, _ = fmt.Sscan(count, &times) // no count is the first time
	var left atomic.Int64           // not armed: never 0 again
	hook = func(point string) {
		if point == want && left.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing more happens here
		}
	}
	return hook, func() { left.Store(times) }
}
