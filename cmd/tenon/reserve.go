package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
)

const specText = "A size is a number of MiB, as in Mesos, or has a unit: 2048, 2GiB, 1.5T.\n\n"

func reserveCommand() *cli.Command {
	return &cli.Command{
		Name:      "reserve",
		Usage:     "reserve disk for a role",
		ArgsUsage: "disk:SIZE",
		Description: "Volumes are carved from what is reserved for their role. What a role has may be reserved once more\n" +
			"for a role below it (--from), or moved to another role in one step (--move-from).\n" + specText +
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
		Description: "Principal and labels must be those that it was reserved with. What refines the reservation of a role\n" +
			"above goes back to that role.\n" + specText +
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
		&cli.StringFlag{Name: "principal", Usage: "`NAME` of whoever reserves", DefaultText: "what the agent knows you by"},
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` of the reservation; may be repeated"},
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
	if err := s.nameCaller(c, api); err != nil {
		return err
	}
	op := resource.Reserve{Resources: []resource.Resource{s.resource(s.top)}}
	switch {
	case c.IsSet("from"):
		below, err := s.stackFor(c.String("from"))
		if err != nil {
			return err
		}
		op.Resources[0] = s.resource(append(below, s.top)...)
	case c.IsSet("move-from"):
		from, err := s.stackFor(c.String("move-from"))
		if err != nil {
			return err
		}
		op.Source = []resource.Resource{s.resource(from...)}
		op.Resources[0] = op.Source[0]
		op.Resources[0].Reservations = append(from[:len(from)-1:len(from)-1], s.top)
	}
	return s.change(c, api, resource.Operation{Type: resource.OpReserve, Reserve: &op})
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
	if err := s.nameCaller(c, api); err != nil {
		return err
	}
	stack, err := s.stackOf(c.String("from"))
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
	what := fmt.Sprintf("%s of disk %s", s.size.Bytes(), clean(s.disk))
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
func parseSpec(spec string) (resource.Scalar, error) {
	name, amount, found := strings.Cut(spec, ":")
	if !found || name != "disk" {
		return 0, fmt.Errorf("%q is not disk:SIZE, as in disk:2048 or disk:2GiB", spec)
	}
	size, err := resource.ParseBytes(strings.TrimSpace(amount))
	return size.Scalar(), err
}

func reservationOf(c *cli.Context) (resource.Reservation, error) {
	r := resource.Reservation{Type: resource.Dynamic, Role: c.String("role")}
	if c.IsSet("principal") {
		principal := c.String("principal")
		r.Principal = &principal
	}
	for _, text := range c.StringSlice("label") {
		key, value, found := strings.Cut(text, "=")
		if key == "" {
			return r, fmt.Errorf("label %q has no key; write KEY=VALUE", text)
		}
		label := resource.Label{Key: key}
		if found {
			label.Value = &value
		}
		r.Labels = append(r.Labels, label)
	}
	return r, nil
}
