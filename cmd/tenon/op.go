package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func opCommand() *cli.Command {
	return &cli.Command{
		Name:        "op",
		Usage:       "apply operations as Mesos writes them, and see what became of them",
		Subcommands: []*cli.Command{opApplyCommand(), opListCommand(), opShowCommand(), opAckCommand()},
	}
}

func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "tell whether it can be done, and change nothing"}
}

func opApplyCommand() *cli.Command {
	return &cli.Command{
		Name:      "apply",
		Usage:     "apply Offer.Operation objects, all of them or none",
		ArgsUsage: "FILE|-",
		Description: "The file, or standard input, holds one object, an array of them, or {\"operations\": [...]}, in\n" +
			"the old or the new reservation format: RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME,\n" +
			"SHRINK_VOLUME, LAUNCH, LAUNCH_GROUP. One with an id is done once, however often it is applied.\n\n" +
			"EXAMPLES:\n   tenon op apply ops.json\n   tenon op apply - < ops.json\n   tenon op apply ops.json --dry-run",
		Flags:  []cli.Flag{dryRunFlag()},
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
	api := newClient(c)
	before, err := knownOf(c.Context, api, ops)
	if err != nil {
		return err
	}
	apply := api.Apply
	if c.Bool("dry-run") {
		apply = api.TryApply
	}
	done := progress(c, "applying operations")
	applied, err := apply(c.Context, ops...)
	done()
	if err != nil {
		return err
	}
	return show(c, applied, func(p *page) { p.applied(ops, applied, before) })
}

// knownOf tells which of the operations were asked for before, as their ids say: those are
// not done again.
func knownOf(ctx context.Context, api *client.Client, ops []resource.Operation) (map[string]bool, error) {
	known := map[string]bool{}
	if !slices.ContainsFunc(ops, func(op resource.Operation) bool { return op.ID != "" }) {
		return known, nil
	}
	for o, err := range api.AllOperations(ctx, true) {
		if err != nil {
			return nil, err
		}
		known[o.ID] = true
	}
	return known, nil
}

// applied tells what operations came to, each with its id and state where it has one;
// before are those that were asked for before.
func (p *page) applied(ops []resource.Operation, applied wire.Applied, before map[string]bool) {
	status := map[string]wire.OperationStatus{}
	for _, o := range applied.Operations {
		status[o.ID] = o
	}
	for _, op := range ops {
		text := describeOperation(op)
		o, known := status[op.ID]
		switch {
		case known && before[op.ID]:
			text += fmt.Sprintf(" (id %s: done before, nothing changed: %s)", clean(o.ID), p.operationState(o))
		case applied.DryRun:
			text = "would " + text
		case known:
			text += fmt.Sprintf(" (id %s: %s)", clean(o.ID), p.operationState(o))
		}
		p.line("%s", text)
	}
	if applied.DryRun {
		p.line("nothing was changed")
	}
}

// readInput reads a file, or standard input where it is called "-".
func readInput(c *cli.Context, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(c.App.Reader)
	}
	return os.ReadFile(name)
}

func opListCommand() *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list the operations that had ids",
		Description: "Those at work come first. The agent keeps the last thousand.\n\n" +
			"EXAMPLES:\n   tenon op ls\n   tenon op ls --all",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "also those that were acknowledged"}},
		Action: func(c *cli.Context) error {
			list := wire.OperationStatuses{Operations: []wire.OperationStatus{}}
			for o, err := range newClient(c).AllOperations(c.Context, c.Bool("all")) {
				if err != nil {
					return err
				}
				list.Operations = append(list.Operations, o)
			}
			if len(list.Operations) == 0 {
				defer hint(c, "no operations with ids%s", unlessAll(c))
			}
			return show(c, list, func(p *page) { p.operations(list.Operations) })
		},
	}
}

// unlessAll says where the rest of a list is.
func unlessAll(c *cli.Context) string {
	if c.Bool("all") {
		return ""
	}
	return "; those that were acknowledged: tenon op ls --all"
}

func (p *page) operations(list []wire.OperationStatus) {
	if len(list) == 0 {
		return
	}
	var rows [][]string
	for _, o := range list {
		rows = append(rows, []string{
			clean(o.ID), strings.ToLower(o.Type), p.operationState(o), orDash(clean(o.Principal)), p.age(o.Since), clean(o.Message),
		})
	}
	p.table([]column{{"id", false}, {"type", false}, {"state", false}, {"by", false}, {"age", true}, {"message", false}}, rows)
}

// operationState is the state of an operation in a word or two.
func (p *page) operationState(o wire.OperationStatus) string {
	return p.paint(operationStyles[o.State], stateWord(o.State, o.Acknowledged))
}

func stateWord(s volume.OperationState, acknowledged bool) string {
	word := strings.ToLower(strings.TrimPrefix(string(s), "OPERATION_"))
	if acknowledged {
		word += ", acknowledged"
	}
	return word
}

var operationStyles = map[volume.OperationState]style{
	volume.OperationPending: yellow, volume.OperationFinished: green, volume.OperationFailed: red,
}

func opShowCommand() *cli.Command {
	return &cli.Command{
		Name:         "show",
		Usage:        "tell what became of an operation",
		ArgsUsage:    "ID",
		Description:  "EXAMPLES:\n   tenon op show reserve-1",
		BashComplete: completeOperations,
		Action: func(c *cli.Context) error {
			o, err := newClient(c).Operation(c.Context, c.Args().First())
			if err != nil {
				return adviseOnOperation(err)
			}
			return show(c, o, func(p *page) { p.operation(o) })
		},
	}
}

func (p *page) operation(o wire.OperationStatus) {
	list := []field{
		{"id", p.paint(bold, clean(o.ID))},
		{"type", strings.ToLower(o.Type)},
		{"state", p.operationState(o)},
		{"by", clean(o.Principal)},
		{"asked", fmt.Sprintf("%s (%s ago)", o.Since.Local().Format(time.DateTime), p.age(o.Since))},
		{"message", clean(o.Message)},
	}
	if o.Waiting > 0 {
		list = append(list, field{"waits for", count(o.Waiting, "volume or mount", "volumes or mounts")})
	}
	p.fields(list)
}

func opAckCommand() *cli.Command {
	return &cli.Command{
		Name:      "ack",
		Usage:     "say that you have seen how operations ended",
		ArgsUsage: "ID...",
		Description: "They are not listed any more. Refused while one is at work; those before it are acknowledged then.\n\n" +
			"EXAMPLES:\n   tenon op ack reserve-1 create-1",
		BashComplete: completeOperations,
		Action: func(c *cli.Context) error {
			api := newClient(c)
			for _, id := range c.Args().Slice() {
				if err := api.Acknowledge(c.Context, id); err != nil {
					return adviseOnOperation(err)
				}
				if wantsJSON(c) {
					continue
				}
				if err := show(c, nil, func(p *page) { p.line("operation %s acknowledged", clean(id)) }); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
