package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tenon/agent/wire"
)

func taskCommand() *cli.Command {
	return &cli.Command{
		Name:        "task",
		Usage:       "list, renew, release and kill the tasks that use volumes",
		Subcommands: []*cli.Command{taskListCommand(), taskRenewCommand(), taskReleaseCommand(), taskKillCommand()},
	}
}

func taskListCommand() *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list the tasks",
		Description: "A task is held by a process, by its cgroup or for a time, or else until it is released. What is said of\n" +
			"each of them is as of now.\n\nEXAMPLES:\n   tenon task ls",
		Action: taskList,
	}
}

func taskList(c *cli.Context) error {
	list := wire.Tasks{Tasks: []wire.Task{}}
	for t, err := range newClient(c).HeldTasks(c.Context) {
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
			clean(t.ID), p.state(stateOf(t)), orDash(strings.Join(uses, ", ")), heldBy(t), p.age(t.Since), orDash(clean(t.Sandbox)),
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

// heldBy is what keeps a task, as of now where that is known.
func heldBy(t wire.Task) string {
	var parts []string
	add := func(what, now string) {
		if t.Held != nil && now != "" {
			what += " (" + now + ")"
		}
		parts = append(parts, what)
	}
	held := wire.Held{}
	if t.Held != nil {
		held = *t.Held
	}
	if t.Lease.PID != 0 {
		add(fmt.Sprintf("pid %d", t.Lease.PID), map[bool]string{true: "alive", false: "ended"}[held.Process])
	}
	if t.Lease.Cgroup != "" {
		add("cgroup", processCount(held.Processes))
	}
	switch {
	case held.ExpiresIn != "":
		parts = append(parts, "expires in "+span(held.ExpiresIn))
	case t.Lease.TTL != "":
		parts = append(parts, "time")
	}
	if len(parts) == 0 {
		return "until released"
	}
	return strings.Join(parts, ", ")
}

// span writes a time such as 1h0m0s without what is nothing: 1h.
func span(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return clean(text)
	}
	text = d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func processCount(n int) string {
	switch n {
	case 0:
		return "empty"
	case 1:
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

func taskReleaseCommand() *cli.Command {
	return &cli.Command{
		Name:      "release",
		Usage:     "end a task's use of all its volumes",
		ArgsUsage: "TASK",
		Description: "Refused while a process or a cgroup holds the task: it is released when they end, or killed. While another process\n" +
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
