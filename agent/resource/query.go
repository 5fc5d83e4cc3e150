package resource

// IsVolume reports whether r is a persistent volume.
func (r Resource) IsVolume() bool { return r.Disk != nil && r.Disk.Persistence != nil }

// IsReserved reports whether r is reserved, whoever to.
func (r Resource) IsReserved() bool { return len(r.Reservations) > 0 }

// IsDynamicallyReserved reports whether the most refined reservation was made at run time.
func (r Resource) IsDynamicallyReserved() bool {
	return r.IsReserved() && r.Reservations[len(r.Reservations)-1].Type == Dynamic
}

// Role is the role that r is reserved to, the most refined one; "*" when unreserved.
func (r Resource) Role() string {
	if !r.IsReserved() {
		return "*"
	}
	return r.Reservations[len(r.Reservations)-1].Role
}

// AllocatableTo reports whether r may be given to a role: it is unreserved, or reserved
// to that role or to one above it (spec.md 1.3).
func (r Resource) AllocatableTo(role string) bool {
	return !r.IsReserved() || r.Role() == role || IsStrictSubRole(role, r.Role())
}

// IsEmpty reports whether r amounts to nothing.
func (r Resource) IsEmpty() bool {
	switch r.Type {
	case TypeRanges:
		return len(r.Ranges) == 0
	case TypeSet:
		return len(r.Set) == 0
	}
	return r.Scalar == 0
}
