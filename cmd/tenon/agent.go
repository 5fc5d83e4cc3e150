package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"tenon/agent/config"
	"tenon/agent/host"
)

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
			if err := checkDev(c); err != nil {
				return err
			}
			cfg, clean, err := configure(c)
			if err != nil {
				return usageError{err}
			}
			if _, err := membersOf(cfg); err != nil {
				return usageError{errors.Join(err, clean())}
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
	if err == nil && c.Bool("dev") {
		err = tellDev(c.App.ErrWriter, cfg)
	}
	if err != nil {
		return cfg, clean, errors.Join(err, clean())
	}
	return cfg, clean, nil
}

// onlyDev refuses what would mix a throw-away agent, which removes all that it has at the
// end, with places that last.
func onlyDev(c *cli.Context) error {
	for _, lasting := range []string{"config", "state-dir", "pool", "resources", "sandbox-roots", "cgroup-parent", "audit-log", "csi-socket"} {
		if c.IsSet(lasting) {
			return fmt.Errorf("--dev and --%s do not go together: it removes everything at the end", lasting)
		}
	}
	return nil
}

// tellDev writes the configuration of a throw-away agent, for the commands that read one, and
// tells how to use it.
func tellDev(w io.Writer, cfg config.Config) error {
	file := filepath.Join(filepath.Dir(cfg.StateDir), "tenon.toml")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(config.Write(f, cfg), f.Close()); err != nil {
		return err
	}
	devHelp(w, cfg, file)
	return nil
}

func devHelp(w io.Writer, cfg config.Config, file string) {
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
    tenon check --config %s

Control-C ends it and removes everything.

`, filepath.Dir(program), cfg.Socket, file)
}

// removeDev removes what a --dev agent made, unless something is mounted there still.
func removeDev(cfg config.Config, dir string) error {
	o := host.Options{Disks: map[string]string{"": cfg.Pool}, SandboxRoots: cfg.SandboxRoots, CgroupParent: cfg.CgroupParent}
	if err := host.Remove(o, dir); err != nil {
		return leftBehind(dir, err)
	}
	return nil
}
