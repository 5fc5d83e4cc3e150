package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// rootDisk is what the agent calls the disk that has no source.
const rootDisk = "root"

// share is a part of a disk as the command line names it, and what the agent has reserved
// on that disk.
type share struct {
	size   resource.Scalar
	all    bool                 // the size is what there is
	top    resource.Reservation // dynamic
	source *resource.Source     // nil is the root disk
	disk   string               // its name
	free   resource.Scalar      // of it, what is reserved for nobody
	have   []wire.Reservation
}

// shareOf reads the command line, and asks the agent for the rest.
func shareOf(c *cli.Context, api *client.Client) (s share, err error) {
	if s.size, s.all, err = parseSpec(c.Args().First()); err != nil {
		return s, misused(c, "%v", err)
	}
	if s.top, err = reservationOf(c); err != nil {
		return s, misused(c, "%v", err)
	}
	st, err := api.Status(c.Context)
	if err != nil {
		return s, err
	}
	if s.source, s.disk, err = sourceOf(st, plainDisk(c.String("disk"))); err != nil {
		return s, err
	}
	for _, d := range st.Disks {
		if d.Name == s.disk {
			s.free = d.Free.Scalar()
		}
	}
	for _, r := range st.Reservations {
		if r.Disk == s.disk {
			s.have = append(s.have, r)
		}
	}
	return s, s.nameCaller(c, api)
}

// measure makes the size what there is, where that was asked for; what says of what.
func (s *share) measure(there resource.Scalar, what string) error {
	switch {
	case !s.all:
		return nil
	case there == 0:
		return &volume.Error{Kind: volume.ErrInsufficient, Message: fmt.Sprintf("disk %s has nothing %s", s.disk, what)}
	}
	s.size = there
	return nil
}

// freeOf is how much is reserved like that and free.
func (s *share) freeOf(stack []resource.Reservation) resource.Scalar {
	for _, r := range s.have {
		if resource.EqualStacks(r.Resource.Reservations, stack) {
			return r.Free.Scalar()
		}
	}
	return 0
}

// sourceOf finds the disk that people name, by its name or its directory.
func sourceOf(st wire.Status, name string) (found *resource.Source, called string, err error) {
	if name == "" || name == rootDisk {
		return nil, rootDisk, nil
	}
	var known []string
	for _, d := range st.Disks {
		kind, dir, _ := strings.Cut(d.Key, ":")
		if d.Key != "" && (name == d.Key || name == dir) {
			return source(resource.SourceType(kind), dir), d.Name, nil
		}
		known = append(known, d.Name)
	}
	return nil, "", &volume.Error{
		Kind:    volume.ErrNotFound,
		Message: fmt.Sprintf("this agent has no disk %q; it has: %s", name, strings.Join(known, ", ")),
	}
}

func source(kind resource.SourceType, dir string) *resource.Source {
	root := &resource.Root{Root: &dir}
	if kind == resource.SourceMount {
		return &resource.Source{Type: kind, Mount: root}
	}
	return &resource.Source{Type: kind, Path: root}
}

// resource is the share as Mesos calls it when it is reserved like that.
func (s share) resource(stack ...resource.Reservation) resource.Resource {
	r := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: s.size, Reservations: stack}
	if s.source != nil {
		r.Disk = &resource.Disk{Source: s.source}
	}
	return r
}

// stackFor finds the one reservation of the disk for a role.
func (s share) stackFor(role string) ([]resource.Reservation, error) {
	found := s.matching(func(stack []resource.Reservation) bool { return stack[len(stack)-1].Role == role })
	if len(found) == 0 {
		return nil, &volume.Error{
			Kind:    volume.ErrInsufficient,
			Message: fmt.Sprintf("disk %s has nothing reserved for role %s that is free", s.disk, role),
		}
	}
	return s.only(found, "for role "+role, "say all of it as an operation: tenon op apply")
}

// stackOf finds the one reservation of the disk whose last is that of the command line; with
// a role, the one before is for that role. If there is none, it is the one whose last is for
// the same role, where anybody's is right, and then a static one, for the agent to refuse. Where
// there is none at all, it is what the command line says.
func (s share) stackOf(above string, anybody bool) ([]resource.Reservation, error) {
	like := func(is func(resource.Reservation) bool) [][]resource.Reservation {
		return s.matching(func(stack []resource.Reservation) bool {
			n := len(stack)
			return is(stack[n-1]) && (above == "" || n > 1 && stack[n-2].Role == above)
		})
	}
	forRole := func(kind resource.ReservationType) func(resource.Reservation) bool {
		return func(r resource.Reservation) bool { return r.Type == kind && r.Role == s.top.Role }
	}
	if found := like(s.top.Equal); len(found) > 0 {
		return s.only(found, "for role "+s.top.Role+" like this", "say with --from which role it is to go back to")
	}
	if found := like(forRole(resource.Dynamic)); anybody && len(found) > 0 {
		return s.only(found, "for role "+s.top.Role, "say which with --principal, --label or --from")
	}
	if found := like(forRole(resource.Static)); len(found) > 0 {
		return found[0], nil
	}
	return []resource.Reservation{s.top}, nil
}

func (s share) matching(is func(stack []resource.Reservation) bool) (found [][]resource.Reservation) {
	for _, r := range s.have {
		if is(r.Resource.Reservations) {
			found = append(found, r.Resource.Reservations)
		}
	}
	return found
}

// only gives what was found if there is one, and else lists them.
func (s share) only(found [][]resource.Reservation, what, advised string) ([]resource.Reservation, error) {
	if len(found) == 1 {
		return found[0], nil
	}
	var lines []string
	for _, stack := range found {
		lines = append(lines, "   "+clean(describeStack(stack)))
	}
	return nil, advice{&volume.Error{
		Kind:    volume.ErrInvalid,
		Message: fmt.Sprintf("disk %s has %d reservations %s", s.disk, len(found), what),
	}, append(lines, advised)}
}

// freeIn says how much is reserved like r and free.
func freeIn(st wire.Status, r resource.Resource) string {
	for _, have := range st.Reservations {
		same := have.Resource
		if same.Scalar = r.Scalar; resource.Equal(same, r) {
			return shortSize(have.Free)
		}
	}
	return "nothing"
}
