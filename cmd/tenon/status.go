package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/quota"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "show the agent, its disks, reservations, masters and faults",
		Description: "EXAMPLES:\n   tenon status\n   tenon status --output json",
		Action: func(c *cli.Context) error {
			st, err := newClient(c).Status(c.Context)
			if err != nil {
				return err
			}
			if len(st.Reservations) == 0 && st.Counts.Volumes == 0 {
				defer hint(c, "\nnothing is reserved; reserve disk with: tenon reserve disk:SIZE --role ROLE")
			}
			return show(c, st, func(p *page) {
				p.status(st, usedOnDisks(c))
				tasks, _ := escapesOf(c.Context, newClient(c), st.Disks, quota.EscapeByCapability, keepsCapability) // which tenon doctor tells of in any case
				p.notHeld(tasks)
			})
		},
	}
}

// usedOnDisks is what volumes take, by the names of disks, as far as that is known. That it is
// not known at all keeps nobody from the rest.
func usedOnDisks(c *cli.Context) map[string]wire.DiskUsage {
	used := map[string]wire.DiskUsage{}
	usage, _ := newClient(c).Usage(c.Context, "", 1)
	for _, d := range usage.Disks {
		used[d.Name] = d
	}
	return used
}

func (p *page) status(st wire.Status, used map[string]wire.DiskUsage) {
	health := p.paint(green, "healthy")
	if !st.Healthy {
		health = p.paint(red, "not healthy: "+clean(st.Problem))
	}
	if n := unavailable(st.Disks); n > 0 {
		health += ", " + p.paint(red, count(n, "disk", "disks")+" unavailable")
	}
	p.fields([]field{
		{"agent", fmt.Sprintf("%s, up %s, version %s", health, p.age(st.Started), clean(st.Version))},
		{"id", clean(st.Agent)},
		{"in use", counts(st.Counts)},
		{"groups", groupsText(st.Groups)},
		{"too full", p.tooFull(st.Counts.Exceeded)},
	})
	p.line("")
	p.disks(st.Disks, used)
	if len(st.Reservations) > 0 {
		p.line("")
		p.reservations(st.Reservations)
	}
	if len(st.Masters) > 0 {
		p.line("")
		p.masters(st.Masters)
	}
	if len(st.Faults) > 0 {
		p.line("")
		p.faults(st)
	}
}

// tooFull says how many volumes hold more than their sizes, if any does.
func (p *page) tooFull(n int) string {
	if n == 0 {
		return ""
	}
	return p.paint(red, count(n, "volume holds more than its size", "volumes hold more than their sizes")+"; tenon volume ls tells which")
}

// unavailable counts the disks that are not there.
func unavailable(list []wire.Disk) (n int) {
	for _, d := range list {
		if d.Fault != nil && d.Fault.Kind == wire.KindName(volume.ErrUnavailable) {
			n++
		}
	}
	return n
}

func (p *page) masters(list []wire.Master) {
	var rows [][]string
	for _, m := range list {
		row := []string{clean(m.Name), clean(m.URL), p.paint(green, "connected"), "", clean(m.Incomplete)}
		if !m.Connected {
			heard := "never"
			if !m.LastContact.IsZero() {
				heard = p.age(m.LastContact) + " ago"
			}
			row = append(row[:2], p.paint(red, "lost"), heard, clean(m.LastError))
		}
		rows = append(rows, row)
	}
	p.table([]column{{"master", false}, {"at", false}, {"state", false}, {"heard from", false}, {"reason", false}}, rows)
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

// limitsOf says in a few words what a disk does about the sizes of volumes.
func limitsOf(e *wire.Enforcement) string {
	if e == nil {
		return ""
	}
	switch e.By {
	case volume.ByProject:
		return "hard (project quota)"
	case volume.BySubvolume:
		return "hard (subvolume quota)"
	case volume.ByFileSystem:
		return "hard (whole disk)"
	}
	if e.Mode == volume.EnforcedSoft {
		return "soft (measured)"
	}
	return string(e.Mode)
}

// limitStyles are how these look.
var limitStyles = map[volume.EnforcementMode]style{volume.EnforcedHard: green, volume.EnforcedSoft: yellow, volume.EnforcedNone: yellow}

func (p *page) limits(e *wire.Enforcement) string {
	if e == nil {
		return "-"
	}
	return p.paint(limitStyles[e.Mode], limitsOf(e))
}

func (p *page) disks(list []wire.Disk, used map[string]wire.DiskUsage) {
	var rows [][]string
	for _, d := range list {
		state := p.state(string(d.Phase))
		if d.Fault != nil {
			state = p.state(d.Fault.Kind)
		}
		rows = append(rows, []string{
			clean(d.Name), shortSize(d.Total), shortSize(d.Reserved), shortSize(d.Carved), p.diskUse(d, used[d.Name]), shortSize(d.Free), p.limits(d.Enforcement), state,
		})
	}
	p.table([]column{{"disk", false}, {"total", true}, {"reserved", true}, {"carved", true}, {"used", true}, {"free", true}, {"limits", false}, {"state", false}}, rows)
	for _, d := range list {
		if d.Pressure != nil {
			p.line("%s", p.paint(red, fmt.Sprintf("disk %s: %s (since %s)", clean(d.Name), d.Pressure.Reason, p.age(d.Pressure.Since))))
		}
	}
}

func (p *page) reservations(list []wire.Reservation) {
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{clean(r.Role), clean(r.Disk), shortSize(r.Free), clean(describeStack(r.Resource.Reservations))})
	}
	p.table([]column{{"role", false}, {"disk", false}, {"free for volumes", true}, {"reserved", false}}, rows)
}

// describeStack says what makes a reservation differ from others for the same role.
func describeStack(stack []resource.Reservation) string {
	top := stack[len(stack)-1]
	parts := []string{strings.ToLower(string(top.Type))}
	if top.Principal != nil {
		parts = append(parts, "by "+*top.Principal)
	}
	for _, label := range top.Labels {
		if label.Value == nil {
			parts = append(parts, label.Key)
		} else {
			parts = append(parts, label.Key+"="+*label.Value)
		}
	}
	for _, below := range slices.Backward(stack[:len(stack)-1]) {
		within := "within " + below.Role
		if below.Type == resource.Static {
			within += " (static)"
		}
		if below.Principal != nil {
			within += " by " + *below.Principal
		}
		parts = append(parts, within)
	}
	return strings.Join(parts, ", ")
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
