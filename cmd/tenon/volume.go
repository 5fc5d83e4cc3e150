package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func volumeCommand() *cli.Command {
	return &cli.Command{
		Name:  "volume",
		Usage: "make, list, inspect and destroy volumes",
		Subcommands: []*cli.Command{
			volumeCreateCommand(), volumeListCommand(), volumeInspectCommand(), volumeDestroyCommand(),
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
			&cli.StringFlag{Name: "disk", Usage: "`DISK` to make it on, by name or directory", DefaultText: rootDisk},
			&cli.StringFlag{Name: "container-path", Usage: "`PATH` in a sandbox where it appears unless a task says otherwise", DefaultText: "the id"},
			&cli.IntFlag{Name: "uid", Usage: "`USER` that its directory belongs to"},
			&cli.IntFlag{Name: "gid", Usage: "`GROUP` that its directory belongs to"},
			&cli.StringFlag{Name: "mode", Usage: "`BITS` of its directory, octal", DefaultText: "0755"},
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
	done := progress(c, "making volume "+name.String())
	v, err := newClient(c).Create(c.Context, wire.CreateVolume{
		Role: name.Role, ID: name.ID, Size: size, Shared: c.Bool("shared"), Disk: c.String("disk"),
		ContainerPath: c.String("container-path"), UID: c.Int("uid"), GID: c.Int("gid"), Mode: c.String("mode"),
	})
	done()
	if err != nil {
		return err
	}
	return show(c, v, func(p *page) {
		p.line("volume %s made: %s, %s, on disk %s, uuid %s", clean(v.Name), v.Size, accessOf(v), clean(v.Disk), v.UUID)
	})
}

// accessOf says in a word how many tasks may have a volume.
func accessOf(v wire.Volume) string {
	if v.Shared {
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

func volumeDestroyCommand() *cli.Command {
	return &cli.Command{
		Name:      "destroy",
		Usage:     "destroy a volume and its data",
		ArgsUsage: "NAME|UUID",
		Description: "Refused while a task holds it. Returns when its data is removed and its space is back.\n\n" +
			"EXAMPLES:\n   tenon volume destroy web/data\n   tenon volume destroy web/data --no-wait",
		Flags:        []cli.Flag{&cli.BoolFlag{Name: "no-wait", Usage: "return as soon as it is certain that it will go"}},
		BashComplete: completeVolumes,
		Action:       volumeDestroy,
	}
}

func volumeDestroy(c *cli.Context) error {
	ref, wait := c.Args().First(), !c.Bool("no-wait")
	api := newClient(c)
	v, err := api.Volume(c.Context, ref)
	if err != nil {
		return adviseOn(err, ref)
	}
	done := progress(c, "removing the data of volume "+clean(v.Name))
	gone, err := destroyWaiting(c.Context, api, v, wait)
	done()
	if err != nil {
		return adviseOn(err, v.Name)
	}
	if wantsJSON(c) {
		return nil // there is no object any more
	}
	return show(c, nil, func(p *page) {
		if gone {
			p.line("volume %s destroyed; %s is back with role %s", clean(v.Name), v.Size, clean(v.Role))
			return
		}
		p.line("volume %s is being destroyed; %s goes back to role %s when its data is removed", clean(v.Name), v.Size, clean(v.Role))
	})
}

// destroyWaiting asks again while it takes longer than a request may.
func destroyWaiting(ctx context.Context, api *client.Client, v wire.Volume, wait bool) (gone bool, err error) {
	gone, err = api.Destroy(ctx, string(v.UUID), wait)
	for err == nil && !gone && wait {
		if gone, err = api.Destroy(ctx, string(v.UUID), wait); errors.Is(err, volume.ErrNotFound) {
			return true, nil
		}
	}
	return gone, err
}
