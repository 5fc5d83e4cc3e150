package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/volume"
)

func taskKillCommand() *cli.Command {
	return &cli.Command{
		Name:      "kill",
		Usage:     "end a task's processes, and its use of all its volumes",
		ArgsUsage: "TASK",
		Description: "Sends SIGKILL to all processes in the task's cgroup or, where the task has none, to the process that\n" +
			"holds it, which must be yours unless you are root. Returns when the task is released. A launcher that\n" +
			"holds a task besides its cgroup is left alone, and waited for. A task that only a time holds, or\n" +
			"nothing at all, has nothing to kill: end it with tenon task release.\n\nEXAMPLES:\n   tenon task kill writer",
		BashComplete: completeTasks,
		Action: func(c *cli.Context) error {
			id := c.Args().First()
			done := progress(c, "ending the processes of task "+clean(id))
			err := killWaiting(c.Context, newClient(c), id)
			done()
			if err != nil || wantsJSON(c) {
				return adviseOnKill(err, id)
			}
			return show(c, nil, func(p *page) { p.line("task %s killed", clean(id)) })
		},
	}
}

// killWaiting asks again while it takes longer than a request may.
func killWaiting(ctx context.Context, api *client.Client, id string) error {
	gone, err := api.Kill(ctx, id)
	for err == nil && !gone {
		if gone, err = api.Kill(ctx, id); errors.Is(err, volume.ErrNotFound) {
			return nil
		}
	}
	return err
}

// adviseOnKill advises on an error of ending a task's processes.
func adviseOnKill(err error, id string) error {
	switch kind := volume.Kind(err); {
	case errors.Is(kind, volume.ErrBusy):
		return advice{err, []string{"it is recorded and tried again; see how far it is: tenon task ls"}}
	case errors.Is(kind, volume.ErrInvalid):
		return advice{err, []string{"to end its use of volumes: tenon task release " + clean(id)}}
	}
	return adviseOnTask(err)
}
