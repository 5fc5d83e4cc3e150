package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

const (
	specText = "A size is a number of MiB, as in Mesos, or has a unit: 2048, 2GiB, 1.5T.\n"
	allText  = "The size " + everything + " is all that can be had there, such as the whole of a MOUNT disk.\n"
)

func reserveCommand() *cli.Command {
	return &cli.Command{
		Name:      "reserve",
		Usage:     "reserve disk for a role",
		ArgsUsage: "disk:SIZE",
		Description: "Volumes are carved from what is reserved for their role. What a role has may be reserved once more\n" +
			"for a role below it (--from), or moved to another role in one step (--move-from).\n" + specText + allText + "\n" +
			"EXAMPLES:\n   tenon reserve disk:2048 --role web\n   tenon reserve disk:1TiB --role db --disk /mnt/d1 --label team=data\n" +
			"   tenon reserve disk:1024 --role eng/ml --from eng\n   tenon reserve disk:1024 --role web --move-from db --dry-run",
		Flags: append(reservationFlags(),
			&cli.StringFlag{Name: "from", Usage: "`ROLE` above that it is reserved for already"},
			&cli.StringFlag{Name: "move-from", Usage: "`ROLE` that it is taken from"},
			dryRunFlag()),
		Action: reserve,
	}
}

func unreserveCommand() *cli.Command {
	return &cli.Command{
		Name:      "unreserve",
		Usage:     "give reserved disk back that no volume is made of",
		ArgsUsage: "disk:SIZE",
		Description: "Where neither principal nor labels are said it is what you have reserved without labels, or else the only\n" +
			"reservation that the role has on the disk, whoever made it. What refines the reservation of a role above\n" +
			"goes back to that role.\n" + specText + allText + "\n" +
			"EXAMPLES:\n   tenon unreserve disk:2048 --role web\n   tenon unreserve disk:1TiB --role db --disk /mnt/d1 --label team=data\n" +
			"   tenon unreserve disk:1024 --role eng/ml --from eng",
		Flags: append(reservationFlags(),
			&cli.StringFlag{Name: "from", Usage: "`ROLE` above that it goes back to, where there are several"},
			dryRunFlag()),
		Action: unreserve,
	}
}

func reservationFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "role", Usage: "`ROLE` that it is reserved for", Required: true},
		&cli.StringFlag{Name: "disk", Usage: "`DISK` that it is part of, by name or directory", Value: rootDisk},
		&cli.StringFlag{Name: "principal", Usage: "`NAME` of whoever reserves; \"\" is nobody", DefaultText: "what the agent knows you by"},
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY[=VALUE]` of the reservation; without = it has no value; may be repeated"},
	}
}

// reserve pushes a reservation onto what is free, or onto what --from says, or replaces
// the one that --move-from says.
func reserve(c *cli.Context) error {
	if c.IsSet("from") && c.IsSet("move-from") {
		return misused(c, "--from and --move-from do not go together")
	}
	api := newClient(c)
	s, err := shareOf(c, api)
	if err != nil {
		return err
	}
	op, err := s.reserveOf(c.String("from"), c.String("move-from"))
	if err != nil {
		return err
	}
	return s.change(c, api, resource.Operation{Type: resource.OpReserve, Reserve: &op})
}

// reserveOf makes the operation: from is the role above that has it, moved the role that
// loses it; neither is what nobody has.
func (s *share) reserveOf(from, moved string) (op resource.Reserve, err error) {
	if from == "" && moved == "" {
		err = s.measure(s.free, "free")
		op.Resources = []resource.Resource{s.resource(s.top)}
		return op, err
	}
	below, err := s.stackFor(firstOf(from, moved))
	if err != nil {
		return op, err
	}
	if err := s.measure(s.freeOf(below), "free for role "+firstOf(from, moved)); err != nil {
		return op, err
	}
	if from != "" {
		op.Resources = []resource.Resource{s.resource(append(slices.Clone(below), s.top)...)}
		return op, nil
	}
	if err := s.staysWithin(below); err != nil {
		return op, err
	}
	op.Source = []resource.Resource{s.resource(below...)}
	op.Resources = []resource.Resource{s.resource(append(slices.Clone(below[:len(below)-1]), s.top)...)}
	return op, nil
}

// staysWithin refuses to move space out of the reservation that it refines: it has to be given back
// to that first.
func (s share) staysWithin(moved []resource.Reservation) error {
	if len(moved) < 2 {
		return nil
	}
	above, from := moved[len(moved)-2].Role, moved[len(moved)-1].Role
	if strings.HasPrefix(s.top.Role, above+"/") {
		return nil
	}
	disk := ""
	if s.source != nil {
		disk = " --disk " + clean(directory(s.disk))
	}
	what := "tenon %s disk:" + s.size.String() + disk + " --role %s %s %s"
	return advice{&volume.Error{Kind: volume.ErrInvalid, Message: fmt.Sprintf(
		"what role %s has of disk %s is part of what is reserved for role %s, and moves only to another role below %s, as %s/NAME; %s is none", from, s.disk, above, above, above, s.top.Role)},
		[]string{"to take it out of there, give it back to role " + clean(above) + " first:",
			"   " + fmt.Sprintf(what, "unreserve", clean(from), "--from", clean(above)),
			"   " + fmt.Sprintf(what, "reserve", clean(s.top.Role), "--move-from", clean(above))}}
}

// nameCaller puts the principal that the agent knows the caller by into the reservation,
// which has to be there (spec.md 3.4), unless the command line names one.
func (s *share) nameCaller(c *cli.Context, api *client.Client) error {
	if c.IsSet("principal") {
		return nil
	}
	who, err := api.Caller(c.Context)
	if err == nil && who.Principal != "" {
		s.top.Principal = &who.Principal
	}
	return err
}

// unreserve takes the reservation that the command line says off whatever is below it.
func unreserve(c *cli.Context) error {
	api := newClient(c)
	s, err := shareOf(c, api)
	if err != nil {
		return err
	}
	stack, err := s.stackOf(c.String("from"), !c.IsSet("principal") && !c.IsSet("label"))
	if err == nil {
		err = s.measure(s.freeOf(stack), "reserved like this that is free")
	}
	if err != nil {
		return err
	}
	op := resource.Unreserve{Resources: []resource.Resource{s.resource(stack...)}}
	return s.change(c, api, resource.Operation{Type: resource.OpUnreserve, Unreserve: &op})
}

// change applies one operation on one resource, and tells what is reserved in that way now.
func (s share) change(c *cli.Context, api *client.Client, op resource.Operation) error {
	verb, preposition, done := "reserve", "for", "reserved for"
	if op.Unreserve != nil {
		verb, preposition, done = "unreserve", "of", "given back by"
	}
	what := fmt.Sprintf("%s of disk %s", shortSize(s.size.Bytes()), clean(s.disk))
	role := clean(s.top.Role)
	apply := api.Apply
	if c.Bool("dry-run") {
		apply = api.TryApply
	}
	applied, err := apply(c.Context, op)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return show(c, applied, func(p *page) { p.wouldHave("%s %s %s role %s", verb, what, preposition, role) })
	}
	st, err := api.Status(c.Context)
	if err != nil {
		return err
	}
	return show(c, applied, func(p *page) {
		p.line("%s %s role %s, which has %s left to make volumes of", what, done, role, freeIn(st, op.Resources()[0]))
	})
}

// parseSpec reads disk:SIZE.
func parseSpec(spec string) (size resource.Scalar, all bool, err error) {
	name, amount, found := strings.Cut(spec, ":")
	if !found || name != "disk" {
		return 0, false, fmt.Errorf("%q is not disk:SIZE, as in disk:2048 or disk:2GiB", spec)
	}
	if amount = strings.TrimSpace(amount); amount == everything {
		return 0, true, nil
	}
	b, err := resource.ParseBytes(amount)
	if err == nil && b == 0 {
		err = fmt.Errorf("%q is nothing; the size must be greater than zero", spec)
	}
	return b.Scalar(), false, err
}

func reservationOf(c *cli.Context) (resource.Reservation, error) {
	r := resource.Reservation{Type: resource.Dynamic, Role: c.String("role")}
	if principal := c.String("principal"); principal != "" {
		r.Principal = &principal
	}
	for _, text := range c.StringSlice("label") {
		key, value, found := strings.Cut(text, "=")
		if key == "" {
			return r, fmt.Errorf("label %q has no key; write KEY=VALUE, or KEY", text)
		}
		label := resource.Label{Key: key}
		if found {
			label.Value = &value
		}
		r.Labels = append(r.Labels, label)
	}
	return r, nil
}
