package volume

import (
	"iter"

	"tenon/agent/resource"
)

// Total yields all that the agent has, as masters are told of it: what the host has besides
// disk, space that is not carved, by disk and reservation, and each volume once, by name.
// The space of a tombstone counts as space that is reserved as it will be. Without shared,
// shared volumes are left out. It walks all volumes.
func (s *State) Total(shared bool) iter.Seq[resource.Resource] {
	return func(yield func(resource.Resource) bool) {
		for _, r := range s.Host.Resources {
			if !yield(r) {
				return
			}
		}
		for _, a := range s.uncarved() {
			if !yield(s.Describe(a)) {
				return
			}
		}
		for v := range s.Volumes(Name{}) {
			if (shared || !v.Shared) && !yield(s.Resource(v)) {
				return
			}
		}
	}
}

// uncarved is the space that no volume is made of, with that of the volumes that end.
func (s *State) uncarved() (list []Account) {
	places := map[string]int{}
	add := func(a Account) {
		key := accountKey(a.Disk, a.Reservations)
		if at, known := places[key]; known {
			list[at].Free += a.Free
		} else if a.Free > 0 {
			places[key] = len(list)
			list = append(list, a)
		}
	}
	for a := range s.Accounts() {
		add(a)
	}
	for v := range s.Tombstones() {
		for _, p := range v.back() {
			add(Account{Disk: v.Disk, Reservations: p.Reservations, Free: p.Size})
		}
	}
	return list
}

// Allocated yields the volumes that tasks hold, each with the number of its holders, by
// UUID. Without shared, shared volumes are left out. It walks all attachments.
func (s *State) Allocated(shared bool) iter.Seq2[resource.Resource, int] {
	return func(yield func(resource.Resource, int) bool) {
		var last *Attachment
		holders := 0
		tell := func() bool {
			v, ok := s.Volume(last.Volume)
			return !ok || v.Shared && !shared || yield(s.Resource(v), holders)
		}
		more := true
		s.byVolume.Scan(func(a *Attachment) bool {
			switch {
			case last != nil && a.Volume != last.Volume:
				more = tell()
				holders = 1
			case last == nil || a.Task != last.Task:
				holders++
			}
			last = a
			return more
		})
		if more && last != nil {
			tell()
		}
	}
}

// Offerable yields what may be given to tasks of a role now: what is unreserved, or reserved
// to that role or to one above it; the empty role stands for all. It is what Total has, less
// volumes that are exclusive and held, and less all that could not be used: space of
// tombstones, volumes that are not ready or lost, and whatever is on a disk that is not
// there. A shared volume is always offerable, however many hold it (spec.md 10.2). Of what
// the host has besides disk it is all, since the agent does not know who uses it.
func (s *State) Offerable(role string, shared bool) iter.Seq[resource.Resource] {
	return func(yield func(resource.Resource) bool) {
		offer := func(r resource.Resource) bool {
			return role != "" && !r.AllocatableTo(role) || yield(r)
		}
		for _, r := range s.Host.Resources {
			if !offer(r) {
				return
			}
		}
		for a := range s.Accounts() {
			if a.Free > 0 && s.present(a.Disk) && !offer(s.Describe(a)) {
				return
			}
		}
		for v := range s.Volumes(Name{}) {
			if s.available(v) && (shared || !v.Shared) && !offer(s.Resource(v)) {
				return
			}
		}
	}
}

// present says whether a disk can be used.
func (s *State) present(disk string) bool {
	d, known := s.Disk(disk)
	_, bad := s.Fault(UnitOfDisk(disk))
	return known && !d.Absent && !bad
}

// available says whether another task could have a volume now.
func (s *State) available(v *Volume) bool {
	f, bad := s.Fault(UnitOfVolume(v.UUID))
	return v.Phase == Ready && s.present(v.Disk) && !(bad && (f.Kind == ErrLost || f.Kind == ErrUnavailable)) &&
		(v.Shared || !s.held(v))
}
