package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/resource"
)

func opCommand() *cli.Command {
	return &cli.Command{
		Name:        "op",
		Usage:       "apply operations as Mesos writes them",
		Subcommands: []*cli.Command{opApplyCommand()},
	}
}

func opApplyCommand() *cli.Command {
	return &cli.Command{
		Name:      "apply",
		Usage:     "apply Offer.Operation objects, all of them or none",
		ArgsUsage: "FILE|-",
		Description: "The file, or standard input, holds one object, an array of them, or {\"operations\": [...]}, in\n" +
			"the old or the new reservation format: RESERVE, UNRESERVE, CREATE, DESTROY.\n\n" +
			"EXAMPLES:\n   tenon op apply ops.json\n   tenon op apply - < ops.json",
		Action: opApply,
	}
}

func opApply(c *cli.Context) error {
	name := c.Args().First()
	data, err := readInput(c, name)
	if err != nil {
		return err
	}
	ops, err := resource.ParseOperations(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	done := progress(c, "applying operations")
	applied, err := newClient(c).Apply(c.Context, ops...)
	done()
	if err != nil {
		return err
	}
	return show(c, applied, func(p *page) {
		for _, op := range ops {
			p.line("%s", describeOperation(op))
		}
	})
}

// readInput reads a file, or standard input where it is called "-".
func readInput(c *cli.Context, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(c.App.Reader)
	}
	return os.ReadFile(name)
}

// describeOperation says in one line what an operation has done.
func describeOperation(op resource.Operation) string {
	var done []string
	for _, r := range op.Resources() {
		done = append(done, describeResult(op.Type, r))
	}
	return strings.ToLower(op.Type) + " " + strings.Join(done, ", ")
}

func describeResult(kind string, r resource.Resource) string {
	where := rootDisk
	if r.Disk != nil && r.Disk.Source != nil {
		where = clean(r.Disk.Source.Key())
	}
	size, role := r.Scalar.Bytes(), ""
	if n := len(r.Reservations); n > 0 {
		role = r.Reservations[n-1].Role
	}
	if !r.IsVolume() {
		return fmt.Sprintf("%s of disk %s for role %s", size, where, clean(role))
	}
	text := fmt.Sprintf("volume %s (%s", clean(role+"/"+r.Disk.Persistence.ID), size)
	if r.Shared {
		text += ", shared"
	}
	return text + ") on disk " + where
}
