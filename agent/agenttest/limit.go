package agenttest

import (
	"fmt"
	"math"
	"syscall"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// enforces says whether a write beyond a limit fails. Where none does, nothing is limited, and
// nobody knows what was.
func (p *Pool) enforces() bool { return p.Enforcement.Mode == volume.EnforcedHard }

// limit puts the directory of a volume that is live, or still incoming, into its project.
func (p *Pool) limit(v *volume.Volume) error {
	if !p.enforces() {
		return nil
	}
	for _, place := range []map[volume.UUID]Dir{p.Live, p.Incoming} {
		if dir, there := place[v.UUID]; there {
			dir.Project = v.Project
			place[v.UUID], p.Limits[v.Project] = dir, v.Size
			return nil
		}
	}
	return fmt.Errorf("limit of volume %s, which was not made", v.UUID)
}

// unlimit gives a project back that nothing is in any more.
func (p *Pool) unlimit(v *volume.Volume) error {
	switch {
	case !p.enforces():
		return nil
	case p.Kept[v.Project] || p.carried(v.Project):
		return &volume.Error{Kind: volume.ErrBusy, Message: fmt.Sprintf("project %d is in use", v.Project)}
	}
	delete(p.Limits, v.Project)
	return nil
}

// carried says whether a directory is in a project.
func (p *Pool) carried(project uint32) bool {
	for _, place := range []map[volume.UUID]Dir{p.Incoming, p.Live, p.Trash} {
		for _, dir := range place {
			if dir.Project == project {
				return true
			}
		}
	}
	return false
}

// seeLimit looks how a volume is limited.
func (p *Pool) seeLimit(v *volume.Volume, seen *volume.SeenVolume) {
	if v.Project == 0 || !p.enforces() {
		return
	}
	size, limited := p.Limits[v.Project]
	seen.Limited = limited || p.Kept[v.Project]
	seen.Unlimited = size != v.Size || seen.Live && p.Live[v.UUID].Project != v.Project
}

// Write is what a task does that writes n bytes more into a live volume: it is told when that is
// more than the limit allows, of which the rest is full then.
func (k *Kernel) Write(id volume.UUID, n resource.Bytes) error {
	k.Lock()
	defer k.Unlock()
	for _, p := range k.Pools {
		dir, live := p.Live[id]
		limit, limited := p.Limits[dir.Project]
		switch {
		case !live:
		case p.enforces() && limited && k.Used[id]+n > limit.Bytes():
			k.Used[id] = max(k.Used[id], limit.Bytes())
			return syscall.EDQUOT
		default:
			k.Used[id] += n
			return nil
		}
	}
	return syscall.ENOENT
}

// prepareCreate finds the next project that is no volume's, and that nobody else uses. Where nothing is
// limited nobody knows of others, and a volume may do without.
//
// Preconditions: k is locked.
func (k *Kernel) prepareCreate(s *volume.State, o volume.Create) (volume.Operation, error) {
	key := ""
	if o.Volume.Disk != nil {
		key = o.Volume.Disk.Source.Key()
	}
	p := k.Pools[key]
	if p == nil || !p.open {
		return o, nil
	}
	n := k.Projects
	if n == 0 {
		n = math.MaxUint32
	}
	for range n {
		k.cursor = k.cursor%n + 1
		if !p.taken(k.cursor) && !s.ProjectUsed(key, k.cursor) {
			o.Project = k.cursor
			return o, nil
		}
	}
	if !p.enforces() {
		return o, nil
	}
	return nil, &volume.Error{Kind: volume.ErrInsufficient, Message: "no project is left"}
}

// taken says whether a project has a limit, or anything in it.
func (p *Pool) taken(project uint32) bool {
	_, limited := p.Limits[project]
	return p.enforces() && (limited || p.Kept[project] || p.carried(project))
}
