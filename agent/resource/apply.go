package resource

import "slices"

// conversion is what an operation comes down to: what it consumes goes, what it converts
// that to comes.
type conversion struct {
	consumed, converted Set
	destroyed           *Resource // must be gone afterwards
}

// Apply returns what o makes of s (spec.md 2.6). A launch takes nothing away: it adds
// the copies of shared volumes that its tasks hold beyond those in s. The quantities of
// everything, a shared volume counted once, stay as they were.
//
// It refuses with Mesos' texts what Validate and ValidateList refuse, what s does not
// contain, and what would not keep the quantities. Who may do this, and whether a volume
// is in use, is not its business. With an error the result is s.
func (s Set) Apply(o Operation) (Set, error) {
	if err := o.validateAll(); err != nil {
		return s, err
	}
	convert := map[string]func(Set) ([]conversion, error){
		OpReserve: o.reserves, OpUnreserve: o.unreserves, OpCreate: o.creates, OpDestroy: o.destroys,
		OpGrowVolume: o.grows, OpShrinkVolume: o.shrinks, OpLaunch: o.launches, OpLaunchGroup: o.launches,
	}[o.Type]
	conversions, err := convert(s)
	if err != nil {
		return s, err
	}
	next := s
	for _, c := range conversions {
		if next, err = next.convert(c); err != nil {
			return s, err
		}
	}
	return next, nil
}

// validateAll says whether o and all that it names are sound, and, a launch aside,
// amount to something.
func (o Operation) validateAll() error {
	if err := o.Validate(); err != nil {
		return err
	}
	if err := ValidateList(o.Resources()); err != nil {
		return err
	}
	if o.Type == OpLaunch || o.Type == OpLaunchGroup {
		return nil
	}
	list := o.Resources()
	switch {
	case o.Reserve != nil:
		if err := ValidateList(o.Reserve.Source); err != nil {
			return invalidf("Invalid source: %s", err)
		}
		list = slices.Concat(list, o.Reserve.Source)
	case o.GrowVolume != nil:
		list = list[:1] // of an empty addition Mesos says more
	}
	for _, r := range list {
		if r.IsEmpty() {
			return r.refused("Resource %s is empty", r)
		}
	}
	return nil
}

func (s Set) convert(c conversion) (Set, error) {
	if !s.ContainsSet(c.consumed) {
		return s, invalidf("%s does not contain %s", s, c.consumed)
	}
	next := s.SubtractSet(c.consumed).AddSet(c.converted)
	if c.destroyed != nil && next.Contains(*c.destroyed) {
		return s, c.destroyed.refused("Persistent volume %s cannot be removed due to additional shared copies", c.destroyed)
	}
	return next, nil
}

func (o Operation) reserves(Set) ([]conversion, error) {
	for _, r := range o.Reserve.Resources {
		if err := r.validateDynamic(); err != nil {
			return nil, err
		}
	}
	converted := SetOf(o.Reserve.Resources...)
	if len(o.Reserve.Source) > 0 {
		return []conversion{{consumed: SetOf(o.Reserve.Source...), converted: converted}}, o.Reserve.validateSource()
	}
	var consumed Set
	for _, r := range o.Reserve.Resources {
		popped, _ := r.PopReservation() // it has one, as was checked
		consumed = consumed.Add(popped)
	}
	return []conversion{{consumed: consumed, converted: converted}}, nil
}

// validateSource says whether the resources are the source with another reservation.
func (b *Reserve) validateSource() error {
	for _, list := range [][]Resource{b.Source, b.Resources} {
		for _, r := range list {
			if r.IsVolume() {
				return r.refusedVolume()
			}
			if !EqualStacks(r.Reservations, list[0].Reservations) {
				return r.refused("Mixed reservations are not supported: %s beside %s", r, list[0])
			}
		}
	}
	if source, target := SetOf(b.Source...).Flatten(), SetOf(b.Resources...).Flatten(); !source.Equal(target) {
		return invalidf("Source and target resources should refer to identical resource quantities: %s is not %s", source, target)
	}
	return nil
}

// validateDynamic says whether the last reservation of r can be made and given up.
func (r Resource) validateDynamic() error {
	if !r.IsDynamicallyReserved() {
		return r.refused("Resource %s is not dynamically reserved", r)
	}
	if r.IsVolume() {
		return r.refusedVolume()
	}
	return nil
}

func (r Resource) refusedVolume() error {
	return r.refused("A dynamically reserved persistent volume %s cannot be reserved or unreserved directly. "+
		"Please destroy the persistent volume first then unreserve the resource", r)
}

func (o Operation) unreserves(Set) ([]conversion, error) {
	var list []conversion
	for _, r := range o.Unreserve.Resources {
		if err := r.validateDynamic(); err != nil {
			return nil, err
		}
		popped, _ := r.PopReservation() // it has one, as was checked
		list = append(list, conversion{consumed: SetOf(r), converted: SetOf(popped)})
	}
	return list, nil
}

// creates refuses an id twice: of a shared volume it would only add a copy, and the disk
// would be gone.
func (o Operation) creates(s Set) ([]conversion, error) {
	known := map[[2]string]bool{}
	for r := range s.PersistentVolumes().All() {
		known[r.volumeName()] = true
	}
	var list []conversion
	for _, r := range o.Create.Volumes {
		if err := r.validateVolume(); err != nil {
			return nil, err
		}
		if known[r.volumeName()] {
			return nil, r.refused("Persistence ID '%s' is not unique", r.Disk.Persistence.ID)
		}
		known[r.volumeName()] = true
		list = append(list, conversion{consumed: SetOf(r.StripVolume()), converted: SetOf(r)})
	}
	return list, nil
}

// volumeName is what no two volumes of an agent may have in common (spec.md 1.5).
func (r Resource) volumeName() [2]string { return [2]string{r.Role(), r.Disk.Persistence.ID} }

func (r Resource) validateVolume() error {
	if !r.IsVolume() {
		return r.refused("Not a persistent volume: %s", r)
	}
	return nil
}

func (o Operation) destroys(Set) ([]conversion, error) {
	var list []conversion
	for _, r := range o.Destroy.Volumes {
		if err := r.validateVolume(); err != nil {
			return nil, err
		}
		list = append(list, conversion{consumed: SetOf(r), converted: SetOf(r.StripVolume()), destroyed: &r})
	}
	return list, nil
}
