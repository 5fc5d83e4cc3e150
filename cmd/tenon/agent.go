package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/api"
	"tenon/agent/config"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/systemd"
)

// drainTime is how long calls under way may take when the agent stops.
const drainTime = 10 * time.Second

func agentCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "read the configuration from `FILE`", Value: config.DefaultFile},
		&cli.BoolFlag{Name: "dev", Usage: "try it out: everything in a temporary directory that is removed at the end"},
	}
	for _, s := range config.Settings() {
		flags = append(flags, &cli.StringFlag{Name: s.Flag, Usage: s.Doc, DefaultText: s.Default})
	}
	return &cli.Command{
		Name:  "agent",
		Usage: "run the daemon of this host",
		Description: "Settings come from the defaults, then the file, then TENON_* of the environment, then flags.\n\n" +
			"EXAMPLES:\n   tenon agent --dev\n   tenon agent --config /etc/tenon/tenon.toml --log-level debug",
		Flags: flags,
		Action: func(c *cli.Context) error {
			cfg, clean, err := configure(c)
			if err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			err = serve(ctx, cfg, c.Bool("dev"), c.App.ErrWriter)
			return errors.Join(err, clean())
		},
	}
}

// configure makes the configuration that the command line asks for. clean removes what
// --dev made.
func configure(c *cli.Context) (cfg config.Config, clean func() error, err error) {
	clean = func() error { return nil }
	from := config.Sources{File: c.String("config"), FileOptional: !c.IsSet("config"), Environ: os.Environ(), Flags: map[string]string{}}
	for _, s := range config.Settings() {
		if c.IsSet(s.Flag) {
			from.Flags[s.Name] = c.String(s.Flag)
		}
	}
	base := config.Default()
	if c.Bool("dev") {
		if err := onlyDev(c); err != nil {
			return cfg, clean, err
		}
		dir, err := os.MkdirTemp("", "tenon-dev-")
		if err != nil {
			return cfg, clean, err
		}
		from.Environ = nil // what is set for another agent is not meant for this one
		base, clean = config.Dev(dir), func() error { return removeDev(config.Dev(dir), dir) }
		from.File = ""
	}
	cfg, err = config.Load(base, from)
	if err != nil {
		return cfg, clean, errors.Join(err, clean())
	}
	if c.Bool("dev") {
		devHelp(c.App.ErrWriter, cfg)
	}
	return cfg, clean, nil
}

// onlyDev refuses what would mix a throw-away agent, which removes all that it has at the
// end, with places that last.
func onlyDev(c *cli.Context) error {
	for _, lasting := range []string{"config", "state-dir", "pool", "sandbox-roots", "cgroup-parent"} {
		if c.IsSet(lasting) {
			return fmt.Errorf("--dev and --%s do not go together: it removes everything at the end", lasting)
		}
	}
	return nil
}

func devHelp(w io.Writer, cfg config.Config) {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	fmt.Fprintf(w, `A throw-away agent. In another terminal:

    export PATH=%s:$PATH TENON_SOCKET=%s
    tenon reserve disk:2048 --role web
    tenon volume create web/data --size 1024 --shared
    tenon run --task writer --volume web/data:data:rw -- sh -c 'echo hi > data/greeting'
    tenon run --task reader --volume web/data:data:ro -- cat data/greeting
    tenon status

Control-C ends it and removes everything.

`, filepath.Dir(program), cfg.Socket)
}

// removeDev removes what a --dev agent made, unless something is mounted there still.
func removeDev(cfg config.Config, dir string) error {
	o := host.Options{Disks: map[string]string{"": cfg.Pool}, SandboxRoots: cfg.SandboxRoots, CgroupParent: cfg.CgroupParent}
	if err := host.Remove(o, dir); err != nil {
		return fmt.Errorf("%s is left: %w", dir, err)
	}
	return nil
}

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
	h, err := host.Open(host.Options{Disks: dirs, SandboxRoots: cfg.SandboxRoots, CgroupParent: cfg.CgroupParent, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	boot, err := host.Boot()
	if err != nil {
		return err
	}
	crash, arm := crashHook()
	a, err := agent.Start(ctx, agent.Options{Kernel: h, Journal: journal, Boot: boot, Disks: disks,
		Host: volume.HostInfo{Resources: cfg.Others(), Attributes: cfg.Attributes}, Log: log, Crash: crash})
	if err != nil {
		return err
	}
	defer a.Stop()
	if dev {
		defer releaseAll(a, log)
	}
	arm()
	return listen(ctx, cfg, a, log)
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

// listen serves the API until ctx ends, and then lets the calls under way finish.
func listen(ctx context.Context, cfg config.Config, a *agent.Agent, log *slog.Logger) (err error) {
	var audit *access.Audit
	if cfg.AuditLog != "" {
		if audit, err = access.OpenAudit(cfg.AuditLog); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, audit.Close()) }()
	}
	lns, err := listeners(cfg, log)
	if err != nil {
		return err
	}
	srv := api.New(api.Options{Agent: a, Group: cfg.Group, Version: version(), Timeout: cfg.RequestTimeout, Log: log,
		Principals: cfg.Principals, ACLs: cfg.ACLs, Audit: audit})
	var work sync.WaitGroup
	defer work.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	work.Go(func() {
		if err := systemd.Watchdog(ctx, func() bool { return a.Health() == nil }); err != nil {
			log.Warn("watchdog not fed", "err", err)
		}
	})
	failed := make(chan error, len(lns))
	var at []string
	for _, ln := range lns {
		work.Go(func() { failed <- srv.Serve(ln) })
		at = append(at, ln.Addr().String())
		log.Info("agent serves", "path", ln.Addr().String())
	}
	tell(log, systemd.Ready("serving on "+strings.Join(at, " and ")))
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	log.Info("agent stops")
	tell(log, systemd.Stopping())
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return errors.Join(err, srv.Shutdown(drain))
}

// listeners are the unix socket and, if it is configured, the address for other hosts.
func listeners(cfg config.Config, log *slog.Logger) ([]net.Listener, error) {
	local, err := socket(cfg)
	if err != nil || cfg.TLSListen == "" {
		return []net.Listener{local}, err
	}
	remote, err := api.ListenTLS(cfg.TLSListen, cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA, log)
	if err != nil {
		return nil, errors.Join(err, local.Close())
	}
	return []net.Listener{local, remote}, nil
}

// socket is the one that systemd hands over, or one of our own.
func socket(cfg config.Config) (net.Listener, error) {
	passed, err := systemd.Listeners()
	if err != nil {
		return nil, err
	}
	if ln, ok := passed["api"]; ok {
		return ln, nil
	}
	return api.Listen(cfg.Socket, cfg.Group)
}

// tell logs a message to systemd that did not arrive; the agent works without.
func tell(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("systemd not told", "err", err)
	}
}

// disksOf gives the disks as the core wants them, and their directories by key.
func disksOf(cfg config.Config) ([]volume.Disk, map[string]string, error) {
	spaces, err := cfg.Space()
	if err != nil {
		return nil, nil, err
	}
	dirs := map[string]string{}
	var disks []volume.Disk
	for _, s := range spaces {
		disk, err := diskOf(s)
		if err != nil {
			return nil, nil, err
		}
		disks = append(disks, disk)
		dirs[disk.Key] = s.Dir
	}
	return disks, dirs, nil
}

// diskOf gives one disk; where its size is not configured, the file system decides when
// the disk is first used.
func diskOf(s config.Space) (volume.Disk, error) {
	d := volume.Disk{Key: s.Source.Key(), Source: s.Source, Auto: len(s.Parts) == 0}
	for _, p := range s.Parts {
		d.Total += p.Size
		d.Parts = append(d.Parts, part(p.Role, p.Size))
	}
	if !d.Auto {
		return d, nil
	}
	sizeOf := host.OfferedSize
	if s.Source != nil && s.Source.Type == resource.SourceMount {
		sizeOf = host.WholeSize
	}
	size, err := sizeOf(s.Dir)
	if err != nil && s.Source == nil {
		return d, err
	}
	d.Total = size.Scalar() // of a disk that can't be looked at: nothing, until it can
	d.Parts = []volume.Part{part(s.Role, d.Total)}
	return d, nil
}

// part is space that is reserved to a role, statically, or to nobody.
func part(role string, size resource.Scalar) volume.Part {
	if role == "" {
		return volume.Part{Size: size}
	}
	return volume.Part{Size: size, Reservations: []resource.Reservation{{Type: resource.Static, Role: role}}}
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
