package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/wire"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "show the agent, its disks, reservations and faults",
		Description: "EXAMPLES:\n   tenon status\n   tenon status --output json",
		Action: func(c *cli.Context) error {
			st, err := newClient(c).Status(c.Context)
			if err != nil {
				return err
			}
			if len(st.Reservations) == 0 && st.Counts.Volumes == 0 {
				defer hint(c, "\nnothing is reserved; reserve disk with: tenon reserve disk:SIZE --role ROLE")
			}
			return show(c, st, func(p *page) { p.status(st) })
		},
	}
}

func (p *page) status(st wire.Status) {
	health := p.paint(green, "healthy")
	if !st.Healthy {
		health = p.paint(red, "not healthy: "+clean(st.Problem))
	}
	p.fields([]field{
		{"agent", fmt.Sprintf("%s, up %s, version %s", health, p.age(st.Started), clean(st.Version))},
		{"id", clean(st.Agent)},
		{"in use", counts(st.Counts)},
	})
	p.line("")
	p.disks(st.Disks)
	if len(st.Reservations) > 0 {
		p.line("")
		p.reservations(st.Reservations)
	}
	if len(st.Faults) > 0 {
		p.line("")
		p.faults(st)
	}
}

func counts(n wire.Counts) string {
	list := []string{
		count(n.Volumes, "volume", "volumes"), count(n.Tasks, "task", "tasks"),
		count(n.Attachments, "attachment", "attachments"),
	}
	if n.Tombstones > 0 {
		list = append(list, count(n.Tombstones, "volume", "volumes")+" being destroyed")
	}
	return strings.Join(list, ", ")
}

func (p *page) disks(list []wire.Disk) {
	var rows [][]string
	for _, d := range list {
		state := p.state(string(d.Phase))
		if d.Fault != nil {
			state = p.state(d.Fault.Kind)
		}
		rows = append(rows, []string{
			clean(d.Name), d.Total.String(), d.Reserved.String(), d.Carved.String(), d.Free.String(), state,
		})
	}
	p.table([]column{{"disk", false}, {"total", true}, {"reserved", true}, {"carved", true}, {"free", true}, {"state", false}}, rows)
}

func (p *page) reservations(list []wire.Reservation) {
	var rows [][]string
	for _, r := range list {
		stack := r.Resource.Reservations
		var how []string
		for _, one := range stack {
			how = append(how, strings.TrimSuffix(strings.TrimPrefix(one.String(), "("), ")"))
		}
		rows = append(rows, []string{clean(r.Role), clean(r.Disk), r.Free.String(), clean(strings.Join(how, " "))})
	}
	p.table([]column{{"role", false}, {"disk", false}, {"free for volumes", true}, {"reservation", false}}, rows)
}

func (p *page) faults(st wire.Status) {
	var rows [][]string
	for _, f := range st.Faults {
		rows = append(rows, []string{clean(f.Unit), p.state(f.Kind), p.age(f.Since), clean(f.Reason)})
	}
	p.table([]column{{"fault of", false}, {"kind", false}, {"since", true}, {"reason", false}}, rows)
	if more := st.Counts.Faults - len(st.Faults); more > 0 {
		p.line("and %d more", more)
	}
}
