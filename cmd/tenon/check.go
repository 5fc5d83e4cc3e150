package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"tenon/agent"
	"tenon/agent/check"
	"tenon/agent/config"
	"tenon/agent/host"
	"tenon/agent/volume"
	"tenon/checkpoint"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "compare journal, disks and kernel, and tell what does not agree",
		Description: "Reads all of them, works while an agent runs, and changes nothing. What the agent would mend when\n" +
			"it next starts is marked \"start\". --repair, for which no agent may run (systemctl stop\n" +
			"tenon.service), writes lost markers of disks again where their volumes prove them, unmounts what is\n" +
			"nobody's, and then does what a start does. Nothing that holds data is ever removed: that is left\n" +
			"to a person. Exits with 1 if anything is left.\n\n" +
			"EXAMPLES:\n   tenon check\n   tenon check --repair",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "read the configuration from `FILE`", Value: config.DefaultFile},
			&cli.BoolFlag{Name: "repair", Usage: "mend what can be mended without a person"},
		},
		Action: func(c *cli.Context) error {
			cfg, err := config.Load(config.Default(), config.Sources{File: c.String("config"), FileOptional: !c.IsSet("config"), Environ: os.Environ()})
			if err != nil {
				return usageError{err}
			}
			done := progress(c, "comparing journal, disks and kernel")
			report, err := checkHost(c.Context, cfg, c.Bool("repair"))
			done()
			if err != nil {
				return adviseOnStart(journalError(c, err))
			}
			if err := show(c, report, func(p *page) { p.checked(report) }); err != nil || len(report.Findings) == 0 {
				return err
			}
			return codeError{code: exitFailed}
		},
	}
}

// checkReport is what a check found, and what a repair has done about it.
type checkReport struct {
	Agrees   bool            `json:"agrees"` // nothing is left
	Mended   []check.Finding `json:"mended,omitempty"`
	Findings []check.Finding `json:"findings"`
}

// checkHost compares and, if it is asked to, mends.
func checkHost(ctx context.Context, cfg config.Config, repair bool) (r checkReport, err error) {
	if r.Findings, err = lookTwice(ctx, cfg); err != nil {
		return r, err
	}
	if repair {
		before := r.Findings
		failed, err := mend(ctx, cfg)
		if err != nil {
			return r, err
		}
		if r.Findings, err = lookTwice(ctx, cfg); err != nil {
			return r, err
		}
		r.Mended = without(before, r.Findings)
		r.tellWhy(failed)
	}
	r.Agrees = len(r.Findings) == 0
	return r, nil
}

// tellWhy adds to what is left why it could not be mended.
func (r *checkReport) tellWhy(failed map[string]error) {
	for i, f := range r.Findings {
		if err := failed[f.About]; err != nil {
			r.Findings[i].Text += ": " + err.Error()
		}
	}
}

// lookTwice finds what does not agree now and does not a moment later: what an agent that
// runs is at work on is no finding.
func lookTwice(ctx context.Context, cfg config.Config) ([]check.Finding, error) {
	first, err := look(ctx, cfg)
	if err != nil || len(first) == 0 {
		return []check.Finding{}, err
	}
	second, err := look(ctx, cfg)
	return slices.DeleteFunc(second, func(f check.Finding) bool { return !slices.ContainsFunc(first, f.Same) }), err
}

// without are those of all that are not among left.
func without(all, left []check.Finding) []check.Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f check.Finding) bool { return slices.ContainsFunc(left, f.Same) })
}

func look(ctx context.Context, cfg config.Config) ([]check.Finding, error) {
	s, o, err := loadState(cfg)
	if err != nil {
		return nil, err
	}
	h, err := host.OpenToLook(o)
	if err != nil {
		return nil, err
	}
	defer h.Close() // only descriptors
	return check.Look(ctx, h, s)
}

// loadState reads the journal and fits it to the configuration and the running boot, as a
// start would, but records nothing.
func loadState(cfg config.Config) (*volume.State, host.Options, error) {
	var changes []volume.Change
	err := checkpoint.Show(cfg.StateDir, func(e checkpoint.Entry) error {
		change, err := volume.Decode(e.Record)
		changes = append(changes, change)
		return err
	})
	if err == nil && len(changes) == 0 || errors.Is(err, fs.ErrNotExist) {
		err = advice{&volume.Error{Kind: volume.ErrNotFound, Message: "there is no journal in " + cfg.StateDir},
			[]string{"if the agent has another state_dir, name its configuration: tenon check --config FILE"}}
	}
	if err != nil {
		return nil, host.Options{}, err
	}
	s := volume.Empty().With(changes...)
	disks, dirs, err := disksOf(cfg)
	if err != nil {
		return nil, host.Options{}, err
	}
	boot, err := host.Boot()
	if err != nil {
		return nil, host.Options{}, err
	}
	env := volume.Env{Now: time.Now(), NewUUID: func() volume.UUID { return volume.UUID(uuid.NewString()) }}
	fit, err := volume.Configure(s, env, boot, disks)
	return s.With(fit...), hostOptions(cfg, dirs, slog.New(slog.DiscardHandler)), err
}

// mend does what is safe and no start does, and then starts an agent that serves nobody. It
// tells by what they are about why findings could not be mended.
func mend(ctx context.Context, cfg config.Config) (failed map[string]error, err error) {
	journal, err := checkpoint.Open(cfg.StateDir, checkpoint.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer journal.Close() // everything was waited for
	s, o, err := loadState(cfg)
	if err != nil {
		return nil, err
	}
	h, err := host.Open(o)
	if err != nil {
		return nil, err
	}
	defer h.Close() // only descriptors
	found, err := check.Look(ctx, h, s)
	if err != nil {
		return nil, err
	}
	failed = check.Mend(h, s, found)
	disks, _, err := disksOf(cfg)
	if err != nil {
		return nil, err
	}
	a, err := agent.Start(ctx, agent.Options{Kernel: h, Journal: journal, Boot: s.Boot, Disks: disks,
		Host: volume.HostInfo{Resources: cfg.Others(), Attributes: cfg.Attributes}})
	if err != nil {
		return nil, err
	}
	a.Stop()
	return failed, nil
}

// byStyles are how those look who mend.
var byStyles = map[check.By]style{check.ByPerson: red, check.ByRepair: yellow, check.ByStart: green}

func (p *page) checked(r checkReport) {
	for _, part := range []struct {
		title string
		list  []check.Finding
	}{{"mended", r.Mended}, {"does not agree", r.Findings}} {
		var rows [][]string
		for _, f := range part.list {
			text := clean(f.Text)
			if len(f.Steps) > 0 {
				text += fmt.Sprintf(" (to do: %s)", joinSteps(f.Steps))
			}
			rows = append(rows, []string{p.paint(byStyles[f.By], string(f.By)), clean(f.About), text})
			for _, command := range f.Commands {
				rows = append(rows, []string{"", "", "   " + clean(command)})
			}
		}
		if len(rows) > 0 {
			p.table([]column{{"by", false}, {part.title, false}, {"", false}}, rows)
			p.line("")
		}
	}
	if r.Agrees {
		p.line("%s", p.paint(green, "journal, disks and kernel agree"))
		return
	}
	p.line("start: the agent mends it when it next starts; repair: tenon check --repair; person: it is for you to say what is right")
}

func joinSteps(steps []volume.StepKind) string {
	var names []string
	for _, s := range steps {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
