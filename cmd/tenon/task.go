package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/wire"
)

func taskCommand() *cli.Command {
	return &cli.Command{
		Name:        "task",
		Usage:       "list, release and kill the tasks that use volumes",
		Subcommands: []*cli.Command{taskListCommand(), taskReleaseCommand(), taskKillCommand()},
	}
}

func taskListCommand() *cli.Command {
	return &cli.Command{
		Name:        "ls",
		Usage:       "list the tasks",
		Description: "A task is held by a process or by its cgroup, or else until it is released.\n\nEXAMPLES:\n   tenon task ls",
		Action:      taskList,
	}
}

func taskList(c *cli.Context) error {
	list := wire.Tasks{Tasks: []wire.Task{}}
	for t, err := range newClient(c).AllTasks(c.Context) {
		if err != nil {
			return err
		}
		list.Tasks = append(list.Tasks, t)
	}
	if len(list.Tasks) == 0 {
		defer hint(c, "no tasks; start one with: tenon run --task ID --volume NAME -- COMMAND")
	}
	return show(c, list, func(p *page) { p.tasks(list.Tasks) })
}

func (p *page) tasks(list []wire.Task) {
	if len(list) == 0 {
		return
	}
	var rows [][]string
	for _, t := range list {
		var uses []string
		for _, a := range t.Attachments {
			uses = append(uses, describe(a))
		}
		slices.Sort(uses)
		rows = append(rows, []string{
			clean(t.ID), p.state(stateOf(t)), orDash(strings.Join(uses, ", ")), heldBy(t.Lease), p.age(t.Since), clean(t.Sandbox),
		})
	}
	p.table([]column{{"task", false}, {"state", false}, {"volumes", false}, {"held by", false}, {"age", true}, {"sandbox", false}}, rows)
	for _, t := range list {
		p.faultsOf(t)
	}
}

func (p *page) faultsOf(t wire.Task) {
	if t.Fault != nil {
		p.line("%s", p.paint(red, fmt.Sprintf("task %s: %s", clean(t.ID), clean(t.Fault.Reason))))
	}
	for _, a := range t.Attachments {
		if a.Fault != nil {
			p.line("%s", p.paint(red, fmt.Sprintf("task %s: volume %s: %s", clean(t.ID), clean(a.Volume), clean(a.Fault.Reason))))
		}
	}
}

// stateOf is how far a task has come.
func stateOf(t wire.Task) string {
	switch {
	case t.Releasing:
		return "releasing"
	case t.Killing:
		return "killing"
	}
	return "running"
}

// heldBy is what keeps a task.
func heldBy(l wire.Lease) string {
	switch {
	case l.PID != 0 && l.Cgroup != "":
		return fmt.Sprintf("pid %d, cgroup", l.PID)
	case l.PID != 0:
		return fmt.Sprintf("pid %d", l.PID)
	case l.Cgroup != "":
		return "cgroup"
	}
	return "until released"
}

func taskReleaseCommand() *cli.Command {
	return &cli.Command{
		Name:      "release",
		Usage:     "end a task's use of all its volumes",
		ArgsUsage: "TASK",
		Description: "Refused while a process or a cgroup holds the task: it is released when they end. While another process\n" +
			"uses a mount of it, it is releasing: exit code 6, and it happens when that one lets go, or at once with --lazy.\n\nEXAMPLES:\n   tenon task release alice",
		Flags:        []cli.Flag{lazyFlag()},
		BashComplete: completeTasks,
		Action: func(c *cli.Context) error {
			id := c.Args().First()
			done := progress(c, "releasing task "+clean(id))
			err := newClient(c).Release(c.Context, id, c.Bool("lazy"))
			done()
			if err != nil || wantsJSON(c) {
				return adviseOnEnd(err)
			}
			return show(c, nil, func(p *page) { p.line("task %s released", clean(id)) })
		},
	}
}
