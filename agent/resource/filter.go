package resource

// Filter returns the entries of s that keep says yes to, with their copies.
func (s Set) Filter(keep func(Resource) bool) Set {
	var kept []entry
	for _, e := range s.entries {
		if keep(e.resource) {
			kept = append(kept, e)
		}
	}
	return Set{entries: kept}
}

// PersistentVolumes returns the volumes in s.
func (s Set) PersistentVolumes() Set { return s.Filter(Resource.IsVolume) }

// Shared returns the shared volumes in s.
func (s Set) Shared() Set { return s.Filter(func(r Resource) bool { return r.Shared }) }

// NonShared returns all that Shared does not.
func (s Set) NonShared() Set { return s.Filter(func(r Resource) bool { return !r.Shared }) }

// Revocable returns the revocable resources in s.
func (s Set) Revocable() Set { return s.Filter(func(r Resource) bool { return r.Revocable }) }

// Unreserved returns the resources in s that are reserved to nobody.
func (s Set) Unreserved() Set { return s.Filter(func(r Resource) bool { return !r.IsReserved() }) }

// Reserved returns the resources in s whose most refined reservation is to role; to any
// role when that is "".
func (s Set) Reserved(role string) Set {
	return s.Filter(func(r Resource) bool {
		return r.IsReserved() && (role == "" || r.Role() == role)
	})
}

// AllocatableTo returns the resources in s that may be given to role.
func (s Set) AllocatableTo(role string) Set {
	return s.Filter(func(r Resource) bool { return r.AllocatableTo(role) })
}

// Allocate returns s with every entry marked as given to role.
func (s Set) Allocate(role string) Set {
	return s.remake(func(r Resource) Resource { r.Allocation = role; return r })
}

// Unallocate returns s with no entry marked as given to anyone. Entries that differed
// only in that become one.
func (s Set) Unallocate() Set { return s.Allocate("") }

// remake changes the identity of every entry and adds them up anew.
func (s Set) remake(change func(Resource) Resource) Set {
	sum := Set{}.sum()
	for _, e := range s.entries {
		sum.add(entryOf(change(e.resource), e.copies))
	}
	return sum.set()
}
