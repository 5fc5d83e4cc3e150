package volume

// Groups are the numbers from which shared volumes are given groups of their own, so that tasks
// of different users can work on one (spec.md 6): owner.Ranges are some.
type Groups interface {
	// Contains says whether a number is one of them.
	Contains(gid uint32) bool
	// Next is the first that is not used, looking from a number on and then from the beginning.
	Next(from uint32, used func(gid uint32) bool) (gid uint32, found bool)
	// Len is how many there are.
	Len() uint64
	// String is how they are configured.
	String() string
}

// GroupUsed says whether a group is a volume's, or was one's of which something is left.
func (s *State) GroupUsed(gid uint32) bool {
	_, used := s.groups.Get(&Volume{Group: gid})
	return used
}

// CountGroups is how many groups volumes may be given, and how many of them are nobody's. It
// walks the volumes that have one.
func (s *State) CountGroups() (total, free uint64) {
	if s.Host.Groups == nil {
		return 0, 0
	}
	total = s.Host.Groups.Len()
	free = total - uint64(len(s.Host.Taken))
	s.groups.Scan(func(v *Volume) bool {
		if _, taken := s.Host.Taken[v.Group]; !taken && s.Host.Groups.Contains(v.Group) {
			free--
		}
		return true
	})
	return total, free
}

// The bits of a directory that a group shares: it may do all, and what is made there is the
// group's too; others may do nothing, for a group that everybody can do without keeps nobody out.
const (
	groupBits  = 0o2070
	othersBits = 0o0007
)

// giveGroup gives a shared volume that is to belong to root's group one of its own. A group is
// used until nothing is left of its volume, and then rests as long as there are others: processes
// of old keep their groups.
func (d *draft) giveGroup(v *Volume, ungrouped bool) error {
	groups := d.Host.Groups
	switch {
	case groups == nil:
		return nil
	case groups.Contains(uint32(v.Owner.GID)):
		return refuse(ErrInvalid, "create %s: group %d is one of volume_gid_range %s, from which shared volumes are given groups "+
			"of their own; name no group, or one that is none of these", v.Name, v.Owner.GID, groups)
	case ungrouped || !v.Shared || v.Owner.GID != 0:
		return nil
	}
	gid, found := groups.Next(d.lastGroup+1, func(gid uint32) bool {
		_, taken := d.Host.Taken[gid]
		return taken || d.GroupUsed(gid)
	})
	if !found {
		return refuse(ErrInsufficient, "create %s: no group is left of volume_gid_range %s for a shared volume; destroy one, "+
			"configure a larger range, or name the group that it is to belong to", v.Name, groups)
	}
	v.Group, v.Owner.GID, v.Owner.Mode = gid, int(gid), v.Owner.Mode&^othersBits|groupBits
	return nil
}
