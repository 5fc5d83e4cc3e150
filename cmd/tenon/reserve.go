package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

const specText = "A size is a number of MiB, as in Mesos, or has a unit: 2048, 2GiB, 1.5T.\n\n"

func reserveCommand() *cli.Command {
	return &cli.Command{
		Name:      "reserve",
		Usage:     "reserve disk for a role",
		ArgsUsage: "disk:SIZE",
		Description: "Volumes are carved from what is reserved for their role.\n" + specText +
			"EXAMPLES:\n   tenon reserve disk:2048 --role web\n   tenon reserve disk:1TiB --role db --disk /mnt/d1 --label team=data",
		Flags:  reservationFlags(),
		Action: reserve,
	}
}

func unreserveCommand() *cli.Command {
	return &cli.Command{
		Name:      "unreserve",
		Usage:     "give reserved disk back that no volume is made of",
		ArgsUsage: "disk:SIZE",
		Description: "Principal and labels must be those that it was reserved with.\n" + specText +
			"EXAMPLES:\n   tenon unreserve disk:2048 --role web",
		Flags:  reservationFlags(),
		Action: unreserve,
	}
}

func reservationFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "role", Usage: "`ROLE` that it is reserved for", Required: true},
		&cli.StringFlag{Name: "disk", Usage: "`DISK` that it is part of, by name or directory", Value: rootDisk},
		&cli.StringFlag{Name: "principal", Usage: "`NAME` of whoever reserves"},
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` of the reservation; may be repeated"},
	}
}

func reserve(c *cli.Context) error {
	return changeReservation(c, "reserved for role %s", func(r resource.Resource) resource.Operation {
		return resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: []resource.Resource{r}}}
	})
}

func unreserve(c *cli.Context) error {
	return changeReservation(c, "given back by role %s", func(r resource.Resource) resource.Operation {
		return resource.Operation{Type: resource.OpUnreserve, Unreserve: &resource.Unreserve{Resources: []resource.Resource{r}}}
	})
}

// changeReservation applies one operation on the resource that the command line names,
// and tells what is reserved in that way now.
func changeReservation(c *cli.Context, done string, make func(resource.Resource) resource.Operation) error {
	size, err := parseSpec(c.Args().First())
	if err != nil {
		return misused(c, "%v", err)
	}
	reservation, err := reservationOf(c)
	if err != nil {
		return misused(c, "%v", err)
	}
	api := newClient(c)
	source, err := sourceOf(c.Context, api, c.String("disk"))
	if err != nil {
		return err
	}
	r := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: size, Reservations: []resource.Reservation{reservation}}
	if source != nil {
		r.Disk = &resource.Disk{Source: source}
	}
	applied, err := api.Apply(c.Context, make(r))
	if err != nil {
		return err
	}
	st, err := api.Status(c.Context)
	if err != nil {
		return err
	}
	return show(c, applied, func(p *page) {
		p.line("%s of disk %s "+done+", which has %s left to make volumes of", size.Bytes(), clean(c.String("disk")),
			clean(reservation.Role), freeIn(st, r))
	})
}

// freeIn says how much is reserved like r and free.
func freeIn(st wire.Status, r resource.Resource) string {
	for _, have := range st.Reservations {
		same := have.Resource
		if same.Scalar = r.Scalar; resource.Equal(same, r) {
			return have.Free.String()
		}
	}
	return "nothing"
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

// rootDisk is what the agent calls the disk that has no source.
const rootDisk = "root"

// sourceOf finds the disk that people name, by its name or its directory.
func sourceOf(ctx context.Context, api *client.Client, name string) (*resource.Source, error) {
	if name == "" || name == rootDisk {
		return nil, nil //nolint:nilnil // the root disk has no source
	}
	st, err := api.Status(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, d := range st.Disks {
		kind, dir, _ := strings.Cut(d.Key, ":")
		if d.Key != "" && (name == d.Key || name == dir) {
			return source(resource.SourceType(kind), dir), nil
		}
		known = append(known, d.Name)
	}
	return nil, &volume.Error{
		Kind:    volume.ErrNotFound,
		Message: fmt.Sprintf("this agent has no disk %q; it has: %s", name, strings.Join(known, ", ")),
	}
}

func source(kind resource.SourceType, dir string) *resource.Source {
	root := &resource.Root{Root: &dir}
	if kind == resource.SourceMount {
		return &resource.Source{Type: kind, Mount: root}
	}
	return &resource.Source{Type: kind, Path: root}
}
