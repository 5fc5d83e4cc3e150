package config

import (
	"errors"
	"fmt"
	"slices"

	"tenon/agent/resource"
)

// unreserved is the role that is nobody's.
const unreserved = "*"

// Space is one disk that the agent offers.
type Space struct {
	// Source is where the space comes from: of type PATH or MOUNT, or nil for the root
	// disk.
	Source *resource.Source

	// Dir is the directory of the disk: the pool's, or the root of the source.
	Dir string

	// Parts are how much of it is offered to whom; one for each role. Without any, the
	// file system decides how much there is, and all of it is for Role.
	Parts []Part

	// Role is whom a Space without Parts is reserved to; empty when unreserved.
	Role string
}

// Part is what a disk offers to one role.
type Part struct {
	// Role is whom it is reserved to, statically; empty when unreserved.
	Role string

	// Size is in MiB. It is 0 only where a disk is mentioned and offers nothing, such
	// as by "disk:0"; then there is no other Part.
	Size resource.Scalar
}

// Space returns all disks that the agent offers, whichever way they are configured. The
// root disk comes first, also where it offers nothing: volumes may be on it already. The
// error joins all that is wrong with the configuration of disks and resources; there is
// none when c is valid.
func (c Config) Space() ([]Space, error) {
	if err := resource.CheckConfigured(c.Resources); err != nil {
		return nil, fmt.Errorf("resources: %w", err)
	}
	if slices.ContainsFunc(c.Resources, isDisk) {
		return c.spaceOfResources()
	}
	return c.spaceOfDisks()
}

// Others returns the configured resources that are not disks, as they are. What was not
// configured is not among them: nothing about cpus, mem or ports is found out.
func (c Config) Others() []resource.Resource {
	return slices.DeleteFunc(slices.Clone(c.Resources), isDisk)
}

func isDisk(r resource.Resource) bool { return r.Name == "disk" }

// spaceOfDisks returns the pool and the disks that have tables of their own.
func (c Config) spaceOfDisks() ([]Space, error) {
	spaces := []Space{whole(nil, c.Pool, c.PoolSize, c.roleOr(""))}
	var errs []error
	for i, d := range c.Disks {
		source := &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &d.Path}}
		if d.Mount {
			source = &resource.Source{Type: resource.SourceMount, Mount: &resource.Root{Root: &d.Path}}
		}
		errs = append(errs, d.check(fmt.Sprintf("disk %d: ", i+1)))
		spaces = append(spaces, whole(source, d.Path, d.Size, c.roleOr(d.Role)))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return spaces, nil
}

// check looks at a disk alone; prefix says which it is.
func (d Disk) check(prefix string) error {
	return errors.Join(
		checkPath(prefix+"path", d.Path),
		checkSize(prefix+"size", d.Size),
		checkRole(prefix+"role", d.Role, ""))
}

// whole is a disk with one part at most.
func whole(source *resource.Source, dir string, size resource.Bytes, role string) Space {
	if size == 0 {
		return Space{Source: source, Dir: dir, Role: role}
	}
	return Space{Source: source, Dir: dir, Parts: []Part{{Role: role, Size: size.Scalar()}}}
}

// roleOr is the role that a part has: its own or else the default one; "" when that is
// nobody's.
func (c Config) roleOr(own string) string {
	if own == "" {
		own = c.DefaultRole
	}
	if own == unreserved {
		return ""
	}
	return own
}

// spaceOfResources returns the disks among the resources, with their entries added up.
func (c Config) spaceOfResources() ([]Space, error) {
	errs := []error{
		check(c.PoolSize == 0, "pool_size: is set, but resources say already what each disk offers"),
		check(len(c.Disks) == 0, "disk: is set, but resources say already what each disk offers"),
	}
	spaces := []Space{{Dir: c.Pool}}
	for _, r := range c.Resources {
		if !isDisk(r) {
			continue
		}
		var err error
		if spaces, err = c.join(spaces, r); err != nil {
			errs = append(errs, fmt.Errorf("resources: %s: %w", r, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range spaces {
		if len(spaces[i].Parts) == 0 {
			spaces[i].Parts = []Part{{}} // never without: that means something else
		}
	}
	return spaces, nil
}

// join adds one entry to the disks that were found before it.
func (c Config) join(spaces []Space, r resource.Resource) ([]Space, error) {
	source, dir, err := sourceOf(r)
	if err == nil {
		err = checkEntry(r)
	}
	if err != nil {
		return spaces, err
	}
	same := func(s Space) bool { return s.Source.Key() == source.Key() }
	at := slices.IndexFunc(spaces, same)
	switch {
	case at < 0:
		at = len(spaces)
		spaces = append(spaces, Space{Source: source, Dir: dir})
	case source != nil && source.Type == resource.SourceMount:
		return spaces, fmt.Errorf("%s has an entry already, and what is mounted there cannot be divided", dir)
	}
	return spaces, spaces[at].add(Part{Role: c.roleOr(roleOf(r)), Size: r.Scalar})
}

// add offers more to a role. Nothing more is not said.
func (s *Space) add(p Part) error {
	if p.Size == 0 {
		return nil
	}
	at := slices.IndexFunc(s.Parts, func(known Part) bool { return known.Role == p.Role })
	if at < 0 {
		s.Parts = append(s.Parts, p)
		return nil
	}
	sum, ok := s.Parts[at].Size.Add(p.Size)
	if !ok {
		return fmt.Errorf("with the entries before it, it is above %s", resource.MaxScalar)
	}
	s.Parts[at].Size = sum
	return nil
}

// roleOf is the role of a static reservation; "" without one.
func roleOf(r resource.Resource) string {
	if !r.IsReserved() {
		return ""
	}
	return r.Role()
}

// sourceOf returns where a disk's space is: its source, and that one's directory.
// (spec.md 1.4)
func sourceOf(r resource.Resource) (source *resource.Source, dir string, err error) {
	if r.Disk == nil {
		return nil, "", nil
	}
	if err := r.ValidateDisk(); err != nil {
		return nil, "", err
	}
	source = r.Disk.Source
	root, other := source.Path, source.Mount
	switch source.Type {
	case resource.SourceMount:
		root, other = other, root
	case resource.SourcePath:
	default:
		return nil, "", fmt.Errorf("a source of type %s cannot be configured: only PATH and MOUNT", source.Type)
	}
	if other != nil {
		return nil, "", fmt.Errorf("a source of type %s cannot have the root of another type", source.Type)
	}
	if source.ID != nil {
		return nil, "", errors.New("its source has the id of a resource provider's disk")
	}
	if root == nil || root.Root == nil {
		return nil, "", errors.New("the root of its source is missing")
	}
	return source, *root.Root, checkPath("root", *root.Root)
}

// checkEntry wants a disk to be what a Part can say: an amount, reserved to a role or to
// nobody. All else CheckConfigured has refused.
func checkEntry(r resource.Resource) error {
	switch {
	case r.Type != resource.TypeScalar:
		return errors.New("a disk is an amount")
	case r.Allocation != "":
		return errors.New("it is allocated already")
	case r.Provider != "":
		return errors.New("it belongs to a resource provider")
	case !r.IsReserved():
		return nil
	case r.Reservations[0].Principal != nil:
		return errors.New("a static reservation of a disk has a role alone, no principal")
	case len(r.Reservations[0].Labels) > 0:
		return errors.New("a static reservation of a disk has a role alone, no labels")
	}
	return nil
}
