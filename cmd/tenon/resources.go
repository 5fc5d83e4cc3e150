package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

func resourcesCommand() *cli.Command {
	return &cli.Command{
		Name:  "resources",
		Usage: "show what there is, who has it, and what may be offered",
		Description: "By kind, disk and role; role * is unreserved, and a volume is part of its role's. A shared volume is allocated\n" +
			"once for each task that holds it, and used once.\n\n" +
			"EXAMPLES:\n   tenon resources\n   tenon resources --role web --no-shared\n   tenon resources --output json",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "role", Usage: "count as offerable what may be offered to `ROLE`"},
			&cli.BoolFlag{Name: "no-shared", Usage: "leave shared volumes out, as for a framework that does not know them"},
		},
		Action: func(c *cli.Context) error {
			r, err := newClient(c).Resources(c.Context, c.String("role"), !c.Bool("no-shared"))
			if err != nil {
				return err
			}
			return show(c, r, func(p *page) { p.resources(r) })
		},
	}
}

// resources prints the sums, and the attributes if there are any.
func (p *page) resources(r wire.Resources) {
	p.table([]column{
		{"resource", false}, {"disk", false}, {"role", false}, {"total", true}, {"reserved", true},
		{"allocated", true}, {"used", true}, {"offerable", true},
	}, sumsOf(r).rows())
	if len(r.Attributes) == 0 {
		return
	}
	p.line("")
	var list []field
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		list = append(list, field{"attribute " + clean(name), clean(quantity(r.Attributes[name]))})
	}
	p.fields(list)
}

// quantity is a number or a text.
func quantity(q wire.Quantity) string {
	if q.Text != "" {
		return q.Text
	}
	return q.Scalar.String()
}

// kind is what is added up: all that has the same name and comes from the same disk.
type kind struct{ name, disk string }

// compare puts the root disk before others.
func (k kind) compare(o kind) int {
	if c := strings.Compare(k.name, o.name); c != 0 || k.disk == o.disk {
		return c
	}
	switch rootDisk {
	case k.disk:
		return -1
	case o.disk:
		return 1
	}
	return strings.Compare(k.disk, o.disk)
}

// columns of a sum.
const (
	total = iota
	reserved
	allocated
	used
	offerable
	numColumns
)

// sum is how much there is of one kind for one role, column by column.
type sum [numColumns]amount

// amount is a number, or of ranges and sets their text.
type amount struct {
	number resource.Scalar
	texts  []string
}

// sums are those of all kinds, by role; "" is all of them.
type sums map[kind]map[string]*sum

// sumsOf adds up what the agent tells.
func sumsOf(r wire.Resources) sums {
	s := sums{}
	for _, c := range r.Total {
		s.add(c.Resource, total, 1)
	}
	for _, c := range r.Reserved {
		s.add(c.Resource, reserved, 1)
	}
	for _, c := range r.Allocated {
		s.add(c.Resource, allocated, c.Copies)
		s.add(c.Resource, used, 1)
	}
	for _, c := range r.Offerable {
		s.add(c.Resource, offerable, 1)
	}
	return s
}

// add counts a resource so many times, for its role and for all.
func (s sums) add(r resource.Resource, column, times int) {
	k := kind{name: r.Name}
	if r.Name == "disk" {
		k.disk = diskName(r)
	}
	for _, role := range []string{"", r.Role()} {
		if s[k] == nil {
			s[k] = map[string]*sum{}
		}
		if s[k][role] == nil {
			s[k][role] = &sum{}
		}
		s[k][role][column].add(r, times)
	}
}

func (a *amount) add(r resource.Resource, times int) {
	if r.Type == resource.TypeScalar {
		a.number += r.Scalar * resource.Scalar(times)
		return
	}
	_, text, _ := strings.Cut(resource.Resource{Type: r.Type, Ranges: r.Ranges, Set: r.Set}.String(), ":")
	a.texts = append(a.texts, text)
}

// rows are those of a table: of each kind all of it, and then by role where there are
// several.
func (s sums) rows() (rows [][]string) {
	for _, k := range slices.SortedFunc(maps.Keys(s), kind.compare) {
		for _, role := range slices.Sorted(maps.Keys(s[k])) {
			if role == "" && len(s[k]) == 2 {
				continue // the same as the one role's
			}
			row := []string{clean(k.name), orDash(k.disk), firstOf(clean(role), "all")}
			for _, a := range s[k][role] {
				row = append(row, a.text(k))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// text is how an amount of a kind is written: memory and disk as sizes.
func (a amount) text(k kind) string {
	switch {
	case len(a.texts) > 0:
		return clean(strings.Join(a.texts, " "))
	case a.number == 0:
		return "-"
	case k.name == "disk" || k.name == "mem":
		return shortSize(a.number.Bytes())
	}
	return a.number.String()
}
