package volume

import "slices"

// Enforcement is what the file system of a disk does about the sizes of volumes. It is
// observed and never stored; the zero value is that of a disk that was not seen yet.
type Enforcement struct {
	Mode     EnforcementMode
	By       EnforcementBy // empty where nothing is enforced
	Why      string        // one sentence: why nothing is enforced, or what should be known where it is
	Commands []string      // switch it on, as root, one after the other; none where it is on or can't be
	Escapes  []string      // how a task may get around it
}

// EnforcementMode says what becomes of a write beyond the size of a volume.
type EnforcementMode string

// The modes: the write fails; it goes through, but what is in the volume is measured from time
// to time, and what follows is the volume's OnExceed; or nothing stops it or tells.
const (
	EnforcedHard EnforcementMode = "hard"
	EnforcedSoft EnforcementMode = "soft"
	EnforcedNone EnforcementMode = "none"
)

// EnforcementBy says what a file system holds volumes to their sizes by.
type EnforcementBy string

// The ways: the quota of a project (XFS, ext4) or of a subvolume (btrfs), or the end of the file
// system itself, which is one volume's as a whole.
const (
	ByProject    EnforcementBy = "project"
	BySubvolume  EnforcementBy = "subvolume"
	ByFileSystem EnforcementBy = "filesystem"
)

func (e Enforcement) equal(o Enforcement) bool {
	return e.Mode == o.Mode && e.By == o.By && e.Why == o.Why && slices.Equal(e.Commands, o.Commands) && slices.Equal(e.Escapes, o.Escapes)
}

// EnforcementOf says whether a volume is held to its size: where its disk does so, unless it
// was made without a project. A MOUNT disk ends where its volume does. It is empty while the
// disk was not seen.
func (s *State) EnforcementOf(v *Volume) EnforcementMode {
	d, ok := s.Disk(v.Disk)
	switch {
	case !ok:
		return ""
	case d.Enforcement.Mode == EnforcedHard && v.Project == 0 && !d.indivisible():
		return d.otherwise()
	}
	return d.Mode()
}

// Mode says what becomes of volumes of the disk that are larger than their size: what the file
// system does, or what measuring does where that does nothing. It is empty while the disk was
// not seen.
func (d *Disk) Mode() EnforcementMode {
	if d.Enforcement.Mode == EnforcedNone {
		return d.otherwise()
	}
	return d.Enforcement.Mode
}

// otherwise is what is done where the file system does nothing.
func (d *Disk) otherwise() EnforcementMode {
	if d.OnExceed != "" {
		return EnforcedSoft
	}
	return EnforcedNone
}

// settleEnforcement notes what a disk's file system does about sizes.
func settleEnforcement(d *Disk, seen Enforcement) []Change {
	if d.Enforcement.equal(seen) {
		return nil
	}
	now := *d
	now.Enforcement = seen
	return []Change{{Disk: &now, Passing: true}}
}
