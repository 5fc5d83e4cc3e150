package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"tenon/agent/volume"
)

func taskRenewCommand() *cli.Command {
	return &cli.Command{
		Name:      "renew",
		Usage:     "hold a task for a time from now on",
		ArgsUsage: "TASK",
		Description: "For its time to live, or for another one, which it keeps. A task that nothing else holds is released\n" +
			"when its time has passed without a renewal.\n\n" +
			"EXAMPLES:\n   tenon task renew alice\n   tenon task renew alice --ttl 1h",
		Flags:        []cli.Flag{&cli.StringFlag{Name: "ttl", Usage: "for `TIME`, as 90s or 12h", DefaultText: "its time to live"}},
		BashComplete: completeTasks,
		Action: func(c *cli.Context) error {
			id := c.Args().First()
			t, err := newClient(c).Renew(c.Context, id, c.String("ttl"))
			if errors.Is(volume.Kind(err), volume.ErrInvalid) && c.String("ttl") == "" {
				return advice{err, []string{"to give it one: tenon task renew " + clean(id) + " --ttl 10m"}}
			}
			if err != nil {
				return adviseOnTask(err)
			}
			return show(c, t, func(p *page) { p.line("task %s is held for %s from now on", clean(t.ID), span(t.Lease.TTL)) })
		},
	}
}
