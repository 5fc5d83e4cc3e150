package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func attachCommand() *cli.Command {
	return &cli.Command{
		Name:  "attach",
		Usage: "mount volumes beneath a task's sandbox",
		Description: "For launchers that start their task themselves, and for tasks that run. The volumes stay until\n" +
			"they are detached or the task ends. A task that is not there is made. A use is\n" +
			"NAME[:PATH][:OPTIONS]: the volume, where in the sandbox, and how: rw (the default) or ro, and\n" +
			"noexec, as in ro,noexec; without PATH it is where the volume says, which is its ID unless it was\n" +
			"made otherwise. --mode changes what is attached already.\n\n" +
			"With --pid the volume appears, without a restart, in the mount namespace of that process, which\n" +
			"must not be the host's: at an absolute PATH, made if need be, beneath the root of the process. A\n" +
			"task that is made so lives as long as the process. For a task of tenon run no --pid is needed.\n\n" +
			"EXAMPLES:\n   tenon attach --task alice --volume web/data\n" +
			"   tenon attach --task bob --volume web/data:shared:ro --volume web/private:mine --sandbox /var/lib/tenon/sandboxes/bob\n" +
			"   tenon attach --task carol --volume web/data --ttl 10m\n" +
			"   tenon attach --task alice --volume web/data --mode ro\n" +
			"   tenon attach --task shell --pid 4711 --volume web/data:/mnt/data",
		Flags: []cli.Flag{
			taskFlag(),
			&cli.StringSliceFlag{Name: "volume", Usage: "mount a volume: `USE`; may be repeated", Required: true},
			&cli.StringFlag{Name: "sandbox", Usage: "`DIR` of a new task, beneath a sandbox root", DefaultText: "one that is made and removed"},
			&cli.StringFlag{Name: "ttl", Usage: "hold a new task for `TIME`, as 90s or 12h, and again from each tenon task renew on", DefaultText: "until it is released"},
			idmapFlag("UID:GID"),
			&cli.IntFlag{Name: "pid", Usage: "mount in the mount namespace of process `PID`", DefaultText: "where the task sees its volumes"},
			&cli.StringFlag{Name: "mode", Usage: "make what is attached already `ro` or rw, under the running task"},
		},
		Action: attach,
	}
}

func taskFlag() *cli.StringFlag {
	return &cli.StringFlag{Name: "task", Usage: "`ID` of the task", Required: true}
}

// usesOf reads all --volume of a command.
func usesOf(c *cli.Context) (uses []wire.Use, err error) {
	for _, spec := range c.StringSlice("volume") {
		use, err := parseUse(spec)
		if err != nil {
			return nil, misused(c, "%v", err)
		}
		uses = append(uses, use)
	}
	return uses, nil
}

func attach(c *cli.Context) error {
	uses, err := usesOf(c)
	if err != nil {
		return err
	}
	if err := mapUses(c, uses, nil); err != nil {
		return err
	}
	api, id := newClient(c), c.String("task")
	if err := resource.CheckID(id); err != nil {
		return misused(c, "task: %s", err)
	}
	switch {
	case c.IsSet("pid") && c.Int("pid") <= 0:
		return misused(c, "--pid %d is not the number of a process", c.Int("pid"))
	case c.IsSet("pid") && c.IsSet("mode"):
		return misused(c, "--pid and --mode do not go together: --mode changes what is attached already, wherever that is")
	}
	if c.IsSet("mode") {
		return setModes(c, api, id, uses)
	}
	done := progress(c, "attaching to task "+clean(id))
	made, err := attachAll(c, api, id, uses)
	done()
	if err != nil {
		return err
	}
	task, err := api.Task(c.Context, id)
	if err != nil {
		return err
	}
	return show(c, task, func(p *page) {
		for _, a := range made {
			p.line("%s  %s %s", placeOf(task, a), clean(a.Volume), optionsOf(a))
			if a.Group != 0 {
				p.line("   its processes need group %d, or be root's", a.Group)
			}
		}
	})
}

// idmapFlag is for volumes that a task sees as its own.
func idmapFlag(who string) *cli.StringFlag {
	return &cli.StringFlag{Name: "idmap", Usage: "show the files of the volumes' owners as those of `WHO`: " + who, DefaultText: "as they are"}
}

// mapUses has all uses mapped as --idmap says; as is the user of the command.
func mapUses(c *cli.Context, uses []wire.Use, as *volume.ID) error {
	if !c.IsSet("idmap") {
		return nil
	}
	to, err := findMap(c.String("idmap"), as)
	if err != nil {
		return misused(c, "%v", err)
	}
	for i := range uses {
		uses[i].As = to
	}
	return nil
}

// placeOf is where a volume is mounted, and for whom if not for all of the host.
func placeOf(task wire.Task, a wire.Attachment) string {
	at := a.Path
	if !filepath.IsAbs(at) {
		at = filepath.Join(task.Sandbox, at)
	}
	if a.PID != 0 {
		return fmt.Sprintf("%s of process %d", clean(at), a.PID)
	}
	return clean(at)
}

// setModes flips volumes that are attached, one after the other.
func setModes(c *cli.Context, api *client.Client, id string, uses []wire.Use) error {
	mode := resource.Mode(strings.ToUpper(c.String("mode")))
	if mode != resource.RW && mode != resource.RO {
		return misused(c, "--mode %q is neither rw nor ro", c.String("mode"))
	}
	var task wire.Task
	for _, use := range uses {
		var err error
		if task, err = api.SetMode(c.Context, id, wire.SetMode{Volume: use.Volume, Path: use.Path, Mode: mode}); err != nil {
			return err
		}
	}
	return show(c, task, func(p *page) {
		for _, use := range uses {
			p.line("%s is %s in task %s", clean(use.Volume), modeWord(mode), clean(id))
		}
	})
}

// attachAll attaches one after the other. Where one is refused, those before it stay.
func attachAll(c *cli.Context, api *client.Client, id string, uses []wire.Use) (made []wire.Attachment, err error) {
	for _, use := range uses {
		a, err := api.Attach(c.Context, id, wire.Attach{Use: use, Sandbox: c.String("sandbox"), TTL: c.String("ttl"), PID: c.Int("pid")})
		if err != nil {
			for _, a := range made {
				hint(c, "%s is attached already", clean(a.Volume))
			}
			return nil, adviseOn(err, use.Volume)
		}
		made = append(made, a)
	}
	return made, nil
}

func detachCommand() *cli.Command {
	return &cli.Command{
		Name:  "detach",
		Usage: "take a volume away from a task",
		Description: "Without a path, from everywhere in the task's sandbox. A task that attach made ends with its\n" +
			"last volume. While a process uses the mount, it is detaching: exit code 6, and it happens when that\n" +
			"one lets go, or at once with --lazy. It may be one that was attached under the running task.\n\nEXAMPLES:\n   tenon detach --task alice --volume web/data\n   tenon detach --task alice --volume web/data:data --lazy",
		Flags: []cli.Flag{
			taskFlag(),
			&cli.StringFlag{Name: "volume", Usage: "`NAME[:PATH]` of the volume", Required: true},
			lazyFlag(),
		},
		Action: detach,
	}
}

func lazyFlag() *cli.BoolFlag {
	return &cli.BoolFlag{Name: "lazy", Usage: "let go of a mount although processes use it"}
}

func detach(c *cli.Context) error {
	use, err := parseUse(c.String("volume"))
	if err != nil {
		return misused(c, "%s", strings.ReplaceAll(err.Error(), "[:OPTIONS]", ""))
	}
	if use.Mode != "" || use.NoExec {
		return misused(c, "volume %q: options mean nothing here; write NAME[:PATH]", c.String("volume"))
	}
	id := c.String("task")
	if err := resource.CheckID(id); err != nil {
		return misused(c, "task: %s", err)
	}
	api := newClient(c)
	done := progress(c, "detaching from task "+clean(id))
	err = api.Detach(c.Context, id, use.Volume, use.Path, c.Bool("lazy"))
	done()
	if err != nil || wantsJSON(c) {
		return adviseOnEnd(err)
	}
	return show(c, nil, func(p *page) {
		p.line("volume %s detached from task %s%s", clean(use.Volume), clean(id), endedToo(c, api, id))
	})
}

// endedToo says of a task that has lost a volume whether it has ended with it.
func endedToo(c *cli.Context, api *client.Client, id string) string {
	t, err := api.Task(c.Context, id)
	if errors.Is(volume.Kind(err), volume.ErrNotFound) || err == nil && t.Releasing {
		return ", and the task has ended, as that was its last"
	}
	return ""
}

// describe is an attachment in a word: what is used, where and how.
func describe(a wire.Attachment) string {
	text := clean(a.Volume + ":" + a.Path)
	if a.Mode == resource.RO || a.NoExec || a.As != nil {
		text += ":" + optionsOf(a)
	}
	if a.Detaching {
		text += " (detaching)"
	}
	return text
}
