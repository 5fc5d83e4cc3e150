package main

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
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
		Description: "An exclusive volume has one task at a time, a shared one any number.\n" + specText + allText + "\n" +
			"EXAMPLES:\n   tenon volume create web/data --size 1024 --shared\n" +
			"   tenon volume create db/main --size 100GiB --disk /mnt/d1 --uid 999 --gid 999 --mode 0700\n" +
			"   tenon volume create db/log --size all --disk /mnt/d2",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "size", Usage: "`SIZE` of the volume, or all", Required: true},
			&cli.BoolFlag{Name: "shared", Usage: "let several tasks use it at once"},
			&cli.BoolFlag{Name: "one-writer", Usage: "of those, let one write and the others read"},
			&cli.StringFlag{Name: "disk", Usage: "`DISK` to make it on, by name or directory", DefaultText: rootDisk},
			&cli.StringFlag{Name: "container-path", Usage: "`PATH` in a sandbox where it appears unless a task says otherwise", DefaultText: "the id"},
			&cli.StringFlag{Name: "uid", Usage: "`USER` that its directory belongs to, by number or by name on this host", DefaultText: "0"},
			&cli.StringFlag{Name: "gid", Usage: "`GROUP` that its directory belongs to, by number or by name on this host", DefaultText: "0"},
			&cli.StringFlag{Name: "mode", Usage: "`BITS` of its directory, octal", DefaultText: "0755"},
			&cli.StringFlag{Name: "on-exceed", Usage: "`WHAT` follows when it holds more than its size, where the file system does not refuse that: report, readonly or kill",
				DefaultText: "as the agent is configured"},
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
	api := newClient(c)
	request, err := volumeRequest(c, name)
	if err == nil {
		request.Size, err = sizeToCarve(c, api, request)
	}
	if err != nil {
		return err
	}
	create := api.Create
	if c.Bool("dry-run") {
		create = api.TryCreate
	}
	done := progress(c, "making volume "+name.String())
	v, err := create(c.Context, request)
	done()
	if err != nil {
		return adviseOnCreate(c.Context, err, api, request)
	}
	return show(c, v, func(p *page) {
		if c.Bool("dry-run") {
			p.wouldHave("make volume %s: %s, %s, on disk %s", clean(v.Name), sizeText(v.Size), accessOf(v), clean(v.Disk))
			return
		}
		p.line("volume %s made: %s, %s, on disk %s, uuid %s", clean(v.Name), sizeText(v.Size), accessOf(v), clean(v.Disk), v.UUID)
	})
}

// volumeRequest reads the command line, but for the size.
func volumeRequest(c *cli.Context, name volume.Name) (request wire.CreateVolume, err error) {
	request = wire.CreateVolume{
		Role: name.Role, ID: name.ID, Shared: c.Bool("shared"), OneWriter: c.Bool("one-writer"), Disk: plainDisk(c.String("disk")),
		ContainerPath: c.String("container-path"), Mode: c.String("mode"),
		OnExceed: volume.OnExceed(c.String("on-exceed")),
	}
	if request.UID, err = ownerID("uid", c.String("uid"), userID); err != nil {
		return request, misused(c, "%v", err)
	}
	if request.GID, err = ownerID("gid", c.String("gid"), groupID); err != nil {
		return request, misused(c, "%v", err)
	}
	return request, nil
}

// ownerID is a user or a group as the kernel knows it: by its number, or looked up by its
// name on this host. None is root's.
func ownerID(flag, text string, lookUp func(name string) (string, error)) (int, error) {
	if text == "" {
		return 0, nil
	}
	if id, err := strconv.Atoi(text); err == nil {
		return id, nil
	}
	number, err := lookUp(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a value for --%s: neither a number nor a name that this host knows", text, flag)
	}
	return strconv.Atoi(number)
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
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
	role, seen := c.String("role"), 0
	list := wire.Volumes{Volumes: []wire.Volume{}}
	api := newClient(c)
	for v, err := range api.AllVolumes(c.Context) {
		if err != nil {
			return err
		}
		seen++
		if role == "" || role == v.Role {
			list.Volumes = append(list.Volumes, v)
		}
	}
	if len(list.Volumes) == 0 && !wantsJSON(c) {
		defer hint(c, "no volumes%s%s", ofRole(role), createOne(c.Context, api, role, seen))
	}
	return show(c, list, func(p *page) { p.volumes(list.Volumes, usedOf(c, api, list.Volumes)) })
}

// usedOf is what volumes take of which that is known. That it is not known at all keeps nobody
// from the list.
func usedOf(c *cli.Context, api *client.Client, list []wire.Volume) map[volume.UUID]wire.Used {
	used := map[volume.UUID]wire.Used{}
	if len(list) == 0 {
		return used
	}
	for u, err := range api.AllUsage(c.Context) {
		if err != nil {
			break
		}
		used[u.UUID] = u.Used
	}
	return used
}

// createOne advises to create a volume, unless there are some that may not be seen.
func createOne(ctx context.Context, api *client.Client, role string, seen int) string {
	if st, err := api.Status(ctx); err == nil && st.Counts.Volumes > seen {
		return " that you may see"
	}
	return fmt.Sprintf("; create one with: tenon volume create %s/ID --size SIZE", firstOf(role, "ROLE"))
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

func (p *page) volumes(list []wire.Volume, used map[volume.UUID]wire.Used) {
	if len(list) == 0 {
		return
	}
	var rows [][]string
	for _, v := range list {
		rows = append(rows, []string{
			clean(v.Name), shortSize(v.Size), p.volumeUse(v.Size, used, v.UUID), accessOf(v), p.state(v.State), strconv.Itoa(v.References), clean(v.Disk), p.age(v.Created),
		})
	}
	p.table([]column{{"name", false}, {"size", true}, {"used", true}, {"access", false}, {"state", false}, {"holders", true}, {"disk", false}, {"age", true}}, rows)
	for _, v := range list {
		if v.Fault != nil {
			p.line("%s", p.paint(red, clean(v.Name)+": "+clean(v.Fault.Reason)))
		}
		if v.Exceeded != nil {
			p.line("%s", p.paint(red, clean(v.Name)+": "+p.exceeded(v)))
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
		{"size", sizeText(v.Size)},
		{"used", p.usedText(v)},
		{"limit", limitWords[v.Enforcement] + onExceedWords[v.OnExceed]},
		{"access", accessOf(v)},
		{"state", p.state(v.State)},
		{"disk", clean(v.Disk)},
		{"container path", clean(v.ContainerPath)},
		{"owner", fmt.Sprintf("%d:%d, mode %s", v.Owner.UID, v.Owner.GID, v.Owner.Mode)},
		{"group", groupOf(v)},
		{"created", fmt.Sprintf("%s (%s ago)", v.Created.Local().Format(time.DateTime), p.age(v.Created))},
		{"holders", strconv.Itoa(v.References)},
		{"resource", clean(v.Resource.String())},
	}
	if v.Fault != nil {
		list = append(list, field{"fault", p.fault(v.Fault)})
	}
	if v.Exceeded != nil {
		list = append(list, field{"exceeded", p.paint(red, p.exceeded(v))})
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
