package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func volumeDestroyCommand() *cli.Command {
	return &cli.Command{
		Name:      "destroy",
		Usage:     "destroy a volume and its data",
		ArgsUsage: "NAME|UUID",
		Description: "Refused while a task holds it. Returns when its data is removed and its space is back.\n\n" +
			"EXAMPLES:\n   tenon volume destroy web/data\n   tenon volume destroy web/data --no-wait\n   tenon volume destroy web/data --dry-run",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-wait", Usage: "return as soon as it is certain that it will go"},
			dryRunFlag(),
		},
		BashComplete: completeVolumes,
		Action:       volumeDestroy,
	}
}

// destroyed is what became of a volume, as programs get it.
type destroyed struct {
	Volume    string      `json:"volume"`
	UUID      volume.UUID `json:"uuid"`
	Destroyed bool        `json:"destroyed"` // its data is removed and its space is back; else it goes on
}

func volumeDestroy(c *cli.Context) error {
	ref := c.Args().First()
	api := newClient(c)
	v, err := api.Volume(c.Context, ref)
	if err != nil {
		return adviseOn(err, ref)
	}
	if c.Bool("dry-run") {
		return volumeTryDestroy(c, api, v)
	}
	done := progress(c, "removing the data of volume "+clean(v.Name))
	gone, err := destroyWaiting(c.Context, api, v, !c.Bool("no-wait"))
	done()
	if err != nil {
		return adviseOn(err, v.Name)
	}
	return show(c, destroyed{v.Name, v.UUID, gone}, func(p *page) {
		if gone {
			p.line("volume %s destroyed; %s is back with role %s", clean(v.Name), sizeText(v.Size), clean(v.Role))
			return
		}
		p.line("volume %s is being destroyed; %s goes back to role %s when its data is removed", clean(v.Name), sizeText(v.Size), clean(v.Role))
	})
}

// volumeTryDestroy tells whether a volume can be destroyed.
func volumeTryDestroy(c *cli.Context, api *client.Client, v wire.Volume) error {
	if err := api.TryDestroy(c.Context, string(v.UUID)); err != nil {
		return adviseOn(err, v.Name)
	}
	return show(c, v, func(p *page) {
		p.wouldHave("destroy volume %s and give %s back to role %s", clean(v.Name), sizeText(v.Size), clean(v.Role))
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
