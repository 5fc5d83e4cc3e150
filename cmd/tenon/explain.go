package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/cgroup"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:         "explain",
		Usage:        "tell why a volume can or can't be destroyed, and who holds it",
		ArgsUsage:    "VOLUME",
		Description:  "EXAMPLES:\n   tenon explain web/data",
		BashComplete: completeVolumes,
		Action: func(c *cli.Context) error {
			ref, api := c.Args().First(), newClient(c)
			v, err := api.Volume(c.Context, ref)
			if err != nil {
				return adviseOn(err, ref)
			}
			return show(c, v, func(p *page) {
				p.explain(v, func(task string) []int { return processesOf(c.Context, api, task) })
			})
		},
	}
}

// explain tells all about who holds a volume; left finds the processes that a task has
// left behind.
func (p *page) explain(v wire.Volume, left func(task string) []int) {
	p.line("%s", p.paint(bold, clean(v.Why)))
	if len(v.Holders) > 0 {
		p.line("")
		p.holders(v.Holders)
	}
	p.line("")
	for _, step := range stepsFor(v, left) {
		p.line("%s", step)
	}
}

// stepsFor says what can be done with a volume next.
func stepsFor(v wire.Volume, left func(task string) []int) (steps []string) {
	switch {
	case v.Phase == volume.Destroying:
		return []string{"nothing needs to be done; tenon status shows when the space is back"}
	case v.CanDestroy:
		return []string{"to destroy it: tenon volume destroy " + clean(v.Name)}
	case len(v.Holders) == 0:
		return []string{"bring its disk back; the agent looks for it by itself"}
	}
	const most = 10
	for i, h := range v.Holders {
		if i == most {
			return append(steps, fmt.Sprintf("and so on for %d more: tenon task ls", len(v.Holders)-most))
		}
		steps = append(steps, stepFor(h, left))
	}
	return steps
}

func stepFor(h wire.Holder, left func(task string) []int) string {
	task := clean(h.Task)
	switch {
	case h.PID == 0:
		return fmt.Sprintf("when task %s has ended: tenon task release %s", task, task)
	case processName(h.PID) != "":
		return fmt.Sprintf("task %s is released when it ends: wait for process %d, or end it", task, h.PID)
	}
	var processes []string
	for _, pid := range left(h.Task) {
		processes = append(processes, fmt.Sprintf("%d (%s)", pid, clean(processName(pid))))
	}
	if len(processes) == 0 {
		return fmt.Sprintf("task %s has ended, and is being released", task)
	}
	return fmt.Sprintf("task %s is released when the last process ends that it left in its cgroup: %s", task, strings.Join(processes, ", "))
}

// processesOf lists the processes in a task's cgroup: a few of many, and none where they
// can't be seen from here.
func processesOf(ctx context.Context, api *client.Client, task string) []int {
	const few = 10
	t, err := api.Task(ctx, task)
	if err != nil || t.Lease.Cgroup == "" {
		return nil
	}
	group, err := cgroup.Find(t.Lease.Cgroup)
	if err != nil {
		return nil
	}
	pids, err := group.Processes()
	if err != nil {
		return nil
	}
	slices.Sort(pids)
	return pids[:min(few, len(pids))]
}

// holders prints the table of those who hold a volume.
func (p *page) holders(list []wire.Holder) {
	var rows [][]string
	for _, h := range list {
		pid, command := "-", "-"
		if h.PID != 0 {
			pid, command = strconv.Itoa(h.PID), firstOf(clean(processName(h.PID)), "(ended)")
		}
		rows = append(rows, []string{
			clean(h.Task), pid, command, modeWord(h.Mode), string(h.Via), p.age(h.Since), clean(strings.Join(h.Targets, ", ")),
		})
	}
	p.table([]column{{"task", false}, {"pid", true}, {"command", false}, {"mode", false}, {"via", false}, {"since", true}, {"targets", false}}, rows)
}

// processName is what a process calls itself (proc_pid_comm(5)); "" when it has ended.
func processName(pid int) string {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
