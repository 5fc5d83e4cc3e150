package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

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
				p.explain(v, func(task string) (wire.Task, []int) {
					t, _ := api.Task(c.Context, task) // one that is gone meanwhile, or may not be seen, has nothing to tell
					return t, processesOf(t)
				})
			})
		},
	}
}

// explain tells all about who holds a volume; find gives a task and
// the processes that are in its cgroup.
func (p *page) explain(v wire.Volume, find func(task string) (wire.Task, []int)) {
	p.line("%s", p.paint(bold, clean(v.Why)))
	if len(v.Holders) > 0 {
		p.line("")
		p.holders(v.Holders)
	}
	p.line("")
	for _, h := range v.Holders {
		t, pids := find(h.Task)
		for _, line := range outsiders(v, t, pids) {
			p.line("%s", p.paint(yellow, line))
		}
	}
	for _, step := range stepsFor(v, find) {
		p.line("%s", step)
	}
}

// stepsFor says what can be done with a volume next.
func stepsFor(v wire.Volume, find func(task string) (wire.Task, []int)) (steps []string) {
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
		if t, left := find(h.Task); ending(t, v) {
			steps = append(steps, endingSteps(t, v)...)
		} else {
			steps = append(steps, stepFor(h, left))
		}
	}
	return steps
}

// ending says whether a task is letting go of a volume already.
func ending(t wire.Task, v wire.Volume) bool {
	uses := usesIn(t, v)
	return t.Releasing || len(uses) > 0 && !slices.ContainsFunc(uses, func(a wire.Attachment) bool { return !a.Detaching })
}

// usesIn are the uses of a volume by a task.
func usesIn(t wire.Task, v wire.Volume) (uses []wire.Attachment) {
	for _, a := range t.Attachments {
		if a.UUID == v.UUID {
			uses = append(uses, a)
		}
	}
	return uses
}

// endingSteps say what keeps a task from letting go, and how it lets go all the same.
func endingSteps(t wire.Task, v wire.Volume) (steps []string) {
	what, lazy := fmt.Sprintf("task %s is releasing", clean(t.ID)), "tenon task release "+clean(t.ID)+" --lazy"
	if !t.Releasing {
		what = fmt.Sprintf("task %s is detaching it", clean(t.ID))
		lazy = fmt.Sprintf("tenon detach --task %s --volume %s --lazy", clean(t.ID), clean(v.Name))
	}
	for _, a := range usesIn(t, v) {
		if a.Fault != nil {
			steps = append(steps, what+": "+clean(a.Fault.Reason))
		}
	}
	if len(steps) == 0 {
		return []string{what + "; nothing needs to be done"}
	}
	return append(steps, "   at once: "+lazy)
}

func stepFor(h wire.Holder, left []int) string {
	task := clean(h.Task)
	switch {
	case h.PID == 0:
		return fmt.Sprintf("when task %s has ended: tenon task release %s", task, task)
	case processName(h.PID) != "":
		return fmt.Sprintf("task %s is released when it ends: wait for process %d, or end it", task, h.PID)
	}
	var processes []string
	for _, pid := range left {
		processes = append(processes, fmt.Sprintf("%d (%s)", pid, clean(processName(pid))))
	}
	if len(processes) == 0 {
		return fmt.Sprintf("task %s has ended; nothing needs to be done", task)
	}
	return fmt.Sprintf("task %s is released when the last process ends that it left in its cgroup: %s", task, strings.Join(processes, ", "))
}

// processesOf lists the processes in a task's cgroup: a few of many, and none where they
// can't be seen from here.
func processesOf(t wire.Task) []int {
	const few = 10
	if t.Lease.Cgroup == "" {
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
			clean(h.Task), pid, command, holderOptions(h), string(h.Via), p.age(h.Since), clean(strings.Join(h.Targets, ", ")),
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
