package main

import (
	"github.com/urfave/cli/v2"
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
			t, err := newClient(c).Renew(c.Context, c.Args().First(), c.String("ttl"))
			if err != nil {
				return adviseOnTask(err)
			}
			return show(c, t, func(p *page) { p.line("task %s is held for %s from now on", clean(t.ID), clean(t.Lease.TTL)) })
		},
	}
}
