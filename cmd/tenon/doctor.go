package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"tenon/agent/config"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/cgroup"
	"tenon/isolator/quota"
	"tenon/mount"
)

// finding is one thing that was looked at.
type finding struct {
	About    string   `json:"about"`
	Level    level    `json:"level"`
	Text     string   `json:"text"`
	Commands []string `json:"commands,omitempty"` // mend it, one after the other, as root
}

// level says what is to be made of a finding.
type level string

const (
	fine level = "ok"
	note level = "note" // good to know; nothing must be done
	todo level = "do"
)

// examined is all that was found.
type examined struct {
	Healthy  bool      `json:"healthy"` // nothing must be done
	Findings []finding `json:"findings"`
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "look at the host and the agent for what should be mended, and tell how",
		Description: "Works without an agent as well, by the configuration. It changes nothing. Exits with 1 if\n" +
			"something must be done.\n\nEXAMPLES:\n   tenon doctor\n   tenon doctor --output json",
		Flags: []cli.Flag{&cli.StringFlag{Name: "config", Usage: "read the configuration from `FILE`", Value: config.DefaultFile}},
		Action: func(c *cli.Context) error {
			cfg, err := config.Load(config.Default(), config.Sources{File: c.String("config"), FileOptional: !c.IsSet("config"), Environ: os.Environ()})
			if err != nil {
				return usageError{err}
			}
			socket := firstOf(global(c, "socket"), config.Default().Socket)
			api := newClient(c)
			found := examine(c.Context, cfg, socket, api.Status)
			found.Findings = append(append(found.Findings, escapeFindings(c.Context, api)...), outsiderFindings(c.Context, api)...)
			if err := show(c, found, func(p *page) { p.findings(found) }); err != nil || found.Healthy {
				return err
			}
			return codeError{code: exitFailed}
		},
	}
}

// examine looks at everything.
func examine(ctx context.Context, cfg config.Config, socket string, ask func(context.Context) (wire.Status, error)) examined {
	st, err := ask(ctx)
	all := []finding{agentFinding(st, err)}
	if err == nil {
		all = append(all, diskFindings(st.Disks)...)
	}
	all = append(all, directoryFindings(cfg, err == nil)...)
	all = append(all, groupFindings(cfg, st.Groups)...)
	all = append(all, socketFinding(socket), cgroupFinding(cgroup.Supported()))
	all = append(all, kernelFindings()...)
	out := examined{Healthy: true, Findings: all}
	for _, f := range all {
		out.Healthy = out.Healthy && f.Level != todo
	}
	return out
}

func agentFinding(st wire.Status, err error) finding {
	switch {
	case err != nil:
		return finding{"agent", todo, err.Error(), []string{"systemctl start tenon.socket tenon.service"}}
	case !st.Healthy:
		return finding{"agent", todo, st.Problem, []string{"systemctl restart tenon.service"}}
	case st.Counts.Faults > 0:
		return finding{"agent", todo, count(st.Counts.Faults, "fault", "faults") + " of disks, volumes, tasks or attachments", []string{"tenon status"}}
	}
	return finding{About: "agent", Level: fine, Text: "it runs, and nothing is wrong"}
}

// diskFindings are what the agent knows of its disks.
func diskFindings(disks []wire.Disk) (all []finding) {
	for _, d := range disks {
		about := "disk " + d.Name
		if d.Enforcement == nil {
			all = append(all, finding{About: about, Level: note, Text: "the agent has not seen it yet"})
			continue
		}
		e := *d.Enforcement
		if d.Pressure != nil {
			all = append(all, finding{About: about, Level: todo, Text: d.Pressure.Reason})
		}
		all = append(all, sizeFindings(about, e.Mode, e.Why, e.Commands, e.Escapes)...)
	}
	return all
}

// sizeFindings say whether sizes are enforced, and what that is worth.
func sizeFindings(about string, mode volume.EnforcementMode, why string, commands, escapes []string) []finding {
	if mode != volume.EnforcedHard {
		text := "sizes of volumes are not enforced: "
		if mode == volume.EnforcedSoft {
			text = "sizes of volumes are not enforced, what is in them is only measured from time to time: "
		}
		f := finding{About: about, Level: note, Text: text + why, Commands: commands}
		if len(commands) > 0 {
			f.Level = todo
			f.Commands = withoutAgent(commands)
		}
		return []finding{f}
	}
	text := "sizes of volumes are enforced"
	if why != "" {
		text += "; " + why
	}
	all := []finding{{About: about, Level: fine, Text: text}}
	for _, way := range escapes {
		all = append(all, finding{About: about, Level: note, Text: way})
	}
	return all
}

// withoutAgent has commands run while the agent is stopped, if they unmount what it uses. What
// is switched on otherwise it finds out by itself.
func withoutAgent(commands []string) []string {
	if !strings.HasPrefix(commands[0], "umount ") {
		return commands
	}
	return append(append([]string{"systemctl stop tenon.service"}, commands...), "systemctl start tenon.service")
}

// directoryFindings are what can be seen of the configured disks from here. running says
// that the agent has told of their sizes already.
func directoryFindings(cfg config.Config, running bool) (all []finding) {
	spaces, err := cfg.Space()
	if err != nil {
		return []finding{{About: "configuration", Level: todo, Text: err.Error()}}
	}
	for _, s := range spaces {
		about := "disk " + volume.DiskName(s.Source.Key())
		dir, err := openDisk(s)
		if err != nil {
			all = append(all, finding{About: about, Level: todo, Text: err.Error()})
			continue
		}
		all = append(all, spaceFinding(about, dir)...)
		if !running {
			all = append(all, quotaFindings(about, s.Source, dir)...)
		}
		_ = dir.Close() // only looked at
	}
	return all
}

// openDisk opens the directory of a disk. That of the root disk is made when the agent first
// starts, on the file system of the nearest one above it that exists.
func openDisk(s config.Space) (*os.File, error) {
	dir, err := os.Open(s.Dir)
	for at := s.Dir; errors.Is(err, fs.ErrNotExist) && s.Source == nil && at != "/"; {
		at = filepath.Dir(at)
		dir, err = os.Open(at)
	}
	return dir, err
}

// leastFree is the part of a file system below which it is called full: 1 of so many.
const leastFree = 20

func spaceFinding(about string, dir *os.File) []finding {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(dir.Fd()), &st); err != nil {
		return []finding{{About: about, Level: note, Text: err.Error()}}
	}
	text := fmt.Sprintf("%s of its file system's %s are free", shortSize(resource.Bytes(st.Bavail)*resource.Bytes(st.Frsize)),
		shortSize(resource.Bytes(st.Blocks)*resource.Bytes(st.Frsize)))
	if st.Bavail < st.Blocks/leastFree {
		return []finding{{About: about, Level: todo, Text: "it is nearly full: " + text}}
	}
	return []finding{{About: about, Level: fine, Text: text}}
}

// quotaFindings ask the file system itself.
func quotaFindings(about string, source *resource.Source, dir *os.File) []finding {
	if source != nil && source.Type == resource.SourceMount {
		return nil // it is as large as its volume
	}
	q, err := quota.Open(dir)
	if err != nil {
		return []finding{{About: about, Level: note, Text: err.Error()}}
	}
	defer q.Close()
	st, err := q.Status()
	if err != nil {
		return []finding{{About: about, Level: note, Text: err.Error()}}
	}
	return sizeFindings(about, volume.EnforcementMode(st.Enforcement), st.Why, st.Commands, st.Escapes)
}

// socketFinding says whether others than root and one group may ask.
func socketFinding(path string) finding {
	const about = "socket"
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return finding{About: about, Level: note, Text: "it is not there: " + err.Error()}
	case info.Mode()&os.ModeSocket == 0:
		return finding{About: about, Level: todo, Text: path + " is no socket"}
	case info.Mode().Perm()&0o007 != 0:
		return finding{about, todo, fmt.Sprintf("everybody may use %s, which is as good as being root", path), []string{"chmod o= " + filepath.Clean(path)}}
	}
	return finding{About: about, Level: fine, Text: fmt.Sprintf("%s has mode %s", path, info.Mode().Perm())}
}

func cgroupFinding(err error) finding {
	if err != nil {
		return finding{About: "cgroups", Level: note, Text: "tasks have none, and end with the process that started them: " + err.Error()}
	}
	return finding{About: "cgroups", Level: fine, Text: "tasks have cgroups of their own"}
}

func kernelFindings() (all []finding) {
	features := append(mount.KernelFeatures(), mount.KernelFeature{Name: "quotactl_fd", Since: "5.14", Has: quota.HasQuotactlFD(),
		Gives: "quotas need no path of the disk's device"})
	for _, f := range features {
		found := finding{About: "kernel", Level: fine, Text: "it has " + f.Name}
		if !f.Has {
			found = finding{About: "kernel", Level: note, Text: fmt.Sprintf("it has no %s (Linux %s), or this user may not use it; with it %s", f.Name, f.Since, f.Gives)}
		}
		all = append(all, found)
	}
	return all
}

// levelStyles are how levels look.
var levelStyles = map[level]style{fine: green, note: yellow, todo: red}

func (p *page) findings(found examined) {
	var rows [][]string
	for _, f := range found.Findings {
		rows = append(rows, []string{p.paint(levelStyles[f.Level], string(f.Level)), clean(f.About), clean(f.Text)})
		for _, command := range f.Commands {
			rows = append(rows, []string{"", "", "   " + clean(command)})
		}
	}
	p.table([]column{{"", false}, {"about", false}, {"what was found, and the commands that mend it", false}}, rows)
	p.line("")
	if found.Healthy {
		p.line("%s", p.paint(green, "nothing must be done"))
		return
	}
	p.line("%s", p.paint(red, "what is marked with \"do\" should be done"))
}
