package resource

// NeedsCheckpoint reports whether an agent must remember r, since its configuration does
// not say it: what operations reserved dynamically or made a volume of (spec.md 2.7). What
// a resource provider has, the provider remembers.
func (r Resource) NeedsCheckpoint() bool {
	return r.Provider == "" && (r.IsDynamicallyReserved() || r.IsVolume())
}

// CheckpointedResources returns the resources in s that an agent must remember.
func (s Set) CheckpointedResources() Set { return s.Filter(Resource.NeedsCheckpoint) }

// ApplyCheckpointed returns total, what an agent is configured with, with what it
// remembers of operations put back in place (spec.md 2.8). Mesos' error says which part
// of it the configuration has no room for any more. A volume given twice is an error,
// since it would take its space twice.
func ApplyCheckpointed(total Set, checkpointed []Resource) (Set, error) {
	known := map[[2]string]bool{}
	for _, r := range checkpointed {
		if err := r.Validate(); err != nil {
			return Set{}, invalidf("Unexpected checkpointed resources %s: %s", r, err)
		}
		if !r.NeedsCheckpoint() {
			return Set{}, r.refused("Unexpected checkpointed resources %s", r)
		}
		if r.IsVolume() {
			if known[r.volumeName()] {
				return Set{}, r.refused("Unexpected checkpointed resources %s: Persistence ID '%s' is not unique", r, r.Disk.Persistence.ID)
			}
			known[r.volumeName()] = true
		}
		stripped := r.configured()
		if !total.Contains(stripped) {
			return Set{}, stripped.refused("Incompatible agent resources: %s does not contain %s", total, stripped)
		}
		total = total.Subtract(stripped).Add(r)
	}
	return total, nil
}

// configured is what of the configuration r was made of.
func (r Resource) configured() Resource {
	r = r.StripVolume()
	if !r.IsDynamicallyReserved() {
		return r
	}
	if r.Reservations[0].Type == Static {
		r.Reservations = r.Reservations[:1:1]
	} else {
		r.Reservations = nil
	}
	return r
}
