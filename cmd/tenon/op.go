package main

import (
	"fmt"
	"io"
	"os"

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
