package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func volumeCommand() *cli.Command {
	return &cli.Command{
		Name:  "volume",
		Usage: "make, list, inspect, resize and destroy volumes",
		Subcommands: []*cli.Command{
			volumeCreateCommand(), volumeListCommand(), volumeInspectCommand(), volumeResizeCommand(), volumeDestroyCommand(),
		},
	}
}

func volumeCreateCommand() *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "carve a volume from what is reserved for its role",
		ArgsUsage: "ROLE/ID",
		Description: "An exclusive volume has one task at a time, a shared one any number.\n" + specText +
			"EXAMPLES:\n   tenon volume create web/data --size 1024 --shared\n" +
			"   tenon volume create db/main --size 100GiB --disk /mnt/d1 --uid 999 --gid 999 --mode 0700",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "size", Usage: "`SIZE` of the volume", Required: true},
			&cli.BoolFlag{Name: "shared", Usage: "let several tasks use it at once"},
			&cli.BoolFlag{Name: "one-writer", Usage: "of those, let one write and the others read"},
			&cli.StringFlag{Name: "disk", Usage: "`DISK` to make it on, by name or directory", DefaultText: rootDisk},
			&cli.StringFlag{Name: "container-path", Usage: "`PATH` in a sandbox where it appears unless a task says otherwise", DefaultText: "the id"},
			&cli.IntFlag{Name: "uid", Usage: "`USER` that its directory belongs to"},
			&cli.IntFlag{Name: "gid", Usage: "`GROUP` that its directory belongs to"},
			&cli.StringFlag{Name: "mode", Usage: "`BITS` of its directory, octal", DefaultText: "0755"},
			dryRunFlag(),
		},
		Action: volumeCreate,
	}
}

func volumeCreate(c *cli.Context) error {
	name, ok := volume.ParseName(c.Args().First())
	if !ok {
		return misused(c, "%q is not ROLE/ID, as in web/data", c.Args().First())
	}
	size, err := resource.ParseBytes(c.String("size"))
	if err != nil {
		return misused(c, "%v", err)
	}
	api := newClient(c)
	create := api.Create
	if c.Bool("dry-run") {
		create = api.TryCreate
	}
	done := progress(c, "making volume "+name.String())
	v, err := create(c.Context, wire.CreateVolume{
		Role: name.Role, ID: name.ID, Size: size, Shared: c.Bool("shared"), OneWriter: c.Bool("one-writer"), Disk: c.String("disk"),
		ContainerPath: c.String("container-path"), UID: c.Int("uid"), GID: c.Int("gid"), Mode: c.String("mode"),
	})
	done()
	if err != nil {
		return err
	}
	return show(c, v, func(p *page) {
		if c.Bool("dry-run") {
			p.wouldHave("make volume %s: %s, %s, on disk %s", clean(v.Name), v.Size, accessOf(v), clean(v.Disk))
			return
		}
		p.line("volume %s made: %s, %s, on disk %s, uuid %s", clean(v.Name), v.Size, accessOf(v), clean(v.Disk), v.UUID)
	})
}

// accessOf says in a word how many tasks may have a volume.
func accessOf(v wire.Volume) string {
	switch {
	case v.OneWriter:
		return "one writer"
	case v.Shared:
		return "shared"
	}
	return "exclusive"
}

func volumeListCommand() *cli.Command {
	return &cli.Command{
		Name:        "ls",
		Usage:       "list the volumes",
		Description: "Those that are being destroyed are not listed; tenon status counts them.\n\nEXAMPLES:\n   tenon volume ls --role web",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "role", Usage: "only those of `ROLE`"}},
		Action:      volumeList,
	}
}

func volumeList(c *cli.Context) error {
	role := c.String("role")
	list := wire.Volumes{Volumes: []wire.Volume{}}
	for v, err := range newClient(c).AllVolumes(c.Context) {
		if err != nil {
			return err
		}
		if role == "" || role == v.Role {
			list.Volumes = append(list.Volumes, v)
		}
	}
	if len(list.Volumes) == 0 {
		defer hint(c, "no volumes%s; create one with: tenon volume create %s/ID --size SIZE", ofRole(role), firstOf(role, "ROLE"))
	}
	return show(c, list, func(p *page) { p.volumes(list.Volumes) })
}

func ofRole(role string) string {
	if role == "" {
		return ""
	}
	return " of role " + clean(role)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (p *page) volumes(list []wire.Volume) {
	if len(list) == 0 {
		return
	}
	var rows [][]string
	for _, v := range list {
		rows = append(rows, []string{
			clean(v.Name), v.Size.String(), accessOf(v), p.state(v.State), strconv.Itoa(v.References), clean(v.Disk), p.age(v.Created),
		})
	}
	p.table([]column{{"name", false}, {"size", true}, {"access", false}, {"state", false}, {"holders", true}, {"disk", false}, {"age", true}}, rows)
	for _, v := range list {
		if v.Fault != nil {
			p.line("%s", p.paint(red, clean(v.Name)+": "+clean(v.Fault.Reason)))
		}
	}
}

func volumeInspectCommand() *cli.Command {
	return &cli.Command{
		Name:         "inspect",
		Usage:        "tell all about a volume",
		ArgsUsage:    "NAME|UUID",
		Description:  "EXAMPLES:\n   tenon volume inspect web/data\n   tenon volume inspect web/data --output json",
		BashComplete: completeVolumes,
		Action: func(c *cli.Context) error {
			ref := c.Args().First()
			v, err := newClient(c).Volume(c.Context, ref)
			if err != nil {
				return adviseOn(err, ref)
			}
			return show(c, v, func(p *page) { p.volume(v) })
		},
	}
}

func (p *page) volume(v wire.Volume) {
	list := []field{
		{"name", p.paint(bold, clean(v.Name))},
		{"uuid", string(v.UUID)},
		{"size", v.Size.String()},
		{"access", accessOf(v)},
		{"state", p.state(v.State)},
		{"disk", clean(v.Disk)},
		{"container path", clean(v.ContainerPath)},
		{"owner", fmt.Sprintf("%d:%d, mode %s", v.Owner.UID, v.Owner.GID, v.Owner.Mode)},
		{"created", fmt.Sprintf("%s (%s ago)", v.Created.Local().Format(time.DateTime), p.age(v.Created))},
		{"holders", strconv.Itoa(v.References)},
		{"resource", clean(v.Resource.String())},
	}
	if v.Fault != nil {
		list = append(list, field{"fault", p.fault(v.Fault)})
	}
	p.fields(list)
	if v.References > 0 {
		p.line("")
		p.holders(v.Holders)
	}
}

func (p *page) fault(f *wire.Fault) string {
	return fmt.Sprintf("%s since %s: %s", p.state(f.Kind), p.age(f.Since), clean(f.Reason))
}
