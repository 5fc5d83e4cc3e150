package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func volumeResizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "resize",
		Usage:     "make a volume larger or smaller",
		ArgsUsage: "NAME|UUID",
		Description: "It grows by what is reserved as it is, also while tasks use it. It shrinks while no task holds it, and\n" +
			"never below what is in it. A size with a sign is what is added or taken away.\n" + specText + "\n" +
			"EXAMPLES:\n   tenon volume resize web/data --size 2GiB\n   tenon volume resize web/data --size +512\n" +
			"   tenon volume resize web/data --size -1GiB --dry-run",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "size", Usage: "`SIZE` that it is to have; +SIZE or -SIZE, what is added or taken away", Required: true},
			dryRunFlag(),
		},
		BashComplete: completeVolumes,
		Action:       volumeResize,
	}
}

func volumeResize(c *cli.Context) error {
	ref := c.Args().First()
	target, err := parseTarget(c.String("size"))
	if err != nil {
		return misused(c, "%v", err)
	}
	api := newClient(c)
	old, err := api.Volume(c.Context, ref)
	if err != nil {
		return adviseOn(err, ref)
	}
	size, err := target.from(old.Size)
	if err != nil {
		return fmt.Errorf("resize %s: %w", old.Name, err)
	}
	resize := api.Resize
	if c.Bool("dry-run") {
		resize = api.TryResize
	}
	done := progress(c, "resizing volume "+clean(old.Name))
	v, err := resize(c.Context, string(old.UUID), size)
	done()
	if errors.Is(err, volume.ErrInsufficient) && size < old.Size {
		return advice{error: err} // its data does not fit, and the disks have nothing to do with it
	}
	if err != nil {
		return adviseOn(err, old.Name)
	}
	return show(c, v, func(p *page) {
		switch {
		case c.Bool("dry-run"):
			p.wouldHave("resize volume %s from %s to %s", clean(v.Name), sizeText(old.Size), sizeText(v.Size))
		case v.Size == old.Size:
			p.line("volume %s has %s already", clean(v.Name), sizeText(v.Size))
		default:
			p.line("volume %s resized from %s to %s", clean(v.Name), sizeText(old.Size), sizeText(v.Size))
		}
	})
}

// target is a size that is wanted: an amount, or what an amount is more or less by.
type target struct {
	sign   byte // '+', '-', or 0
	amount resource.Bytes
}

// parseTarget reads SIZE, +SIZE or -SIZE.
func parseTarget(text string) (t target, err error) {
	if text != "" && (text[0] == '+' || text[0] == '-') {
		t.sign, text = text[0], text[1:]
	}
	t.amount, err = resource.ParseBytes(text)
	return t, err
}

// from is the size that a volume of an old size is to have.
func (t target) from(old resource.Bytes) (resource.Bytes, error) {
	size := t.amount
	switch t.sign {
	case '+':
		size = old + t.amount
		if size < old {
			return 0, usageError{fmt.Errorf("%s more than %s is more than anything can be", sizeText(t.amount), sizeText(old))}
		}
	case '-':
		size = old - t.amount
		if size <= 0 {
			return 0, usageError{fmt.Errorf("nothing would be left: it has %s, and %s are to be taken away", sizeText(old), sizeText(t.amount))}
		}
	}
	return size, nil
}
