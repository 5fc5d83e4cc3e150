package volume

import (
	"fmt"
	"strings"

	"tenon/agent/resource"
)

// Configure makes the changes that fit a loaded state to the configuration and to the
// running boot: an identity for a new agent, the end of the last boot's tasks and of what was
// to launch them, disks with their sizes, and what of each is not taken. env.NewUUID names new pools.
//
// What is reserved at run time or carved into volumes must still have its place: refused
// with ErrInsufficient where a disk is gone, or is configured smaller than what is taken
// of it, or no longer reserves statically what volumes or refined reservations were made
// of (spec.md 2.8 and 8.3), or where more is configured than the file systems have. More of
// anything is welcome otherwise.
func Configure(s *State, env Env, boot string, disks []Disk) ([]Change, error) {
	var changes []Change
	if s.Agent == "" {
		changes = append(changes, Change{Agent: string(env.NewUUID())})
	}
	if s.Boot != boot {
		changes = append(changes, Change{Boot: boot})
	}
	taken := s.taken()
	if err := s.overcommitted(disks, taken); err != nil {
		return nil, err
	}
	configured := map[string]bool{}
	for _, d := range disks {
		d = s.bind(d, taken, env)
		configured[d.Key] = true
		changes = append(changes, Change{Disk: &d})
		for _, p := range d.parts() {
			key := partKey{d.Key, resource.StackKey(p.Reservations)}
			if p.Size < taken[key].size {
				return nil, s.incompatible(key, taken[key].size, p)
			}
			changes = append(changes, Change{Account: &Account{Disk: d.Key, Reservations: p.Reservations, Free: p.Size - taken[key].size}})
			delete(taken, key)
		}
	}
	for key, left := range taken {
		return nil, s.incompatible(key, left.size, Part{Reservations: left.Reservations})
	}
	for d := range s.Disks() {
		if !configured[d.Key] {
			absent := *d
			absent.Absent = true
			changes = append(changes, Change{Disk: &absent})
		}
	}
	return append(changes, s.With(changes...).resume(s.Boot != boot)...), nil
}

// bind joins a configured disk with what the journal knows of it.
func (s *State) bind(d Disk, taken map[partKey]share, env Env) Disk {
	known, ok := s.Disk(d.Key)
	switch {
	case !ok:
		d.Pool, d.Phase = string(env.NewUUID()), Creating
	case d.Auto && known.Total > 0 && (known.Phase == Ready || anyOf(taken, d.Key)):
		d.Pool, d.Phase, d.Total = known.Pool, known.Phase, known.Total
	default:
		d.Pool, d.Phase = known.Pool, known.Phase
	}
	if d.Auto && len(d.Parts) > 0 {
		d.Parts = []Part{{Reservations: d.Parts[0].Reservations, Size: d.Total}}
	}
	return d
}

func anyOf(taken map[partKey]share, disk string) bool {
	for key := range taken {
		if key.disk == disk {
			return true
		}
	}
	return false
}

// partKey names a Part of a disk: by the key of the disk and of a stack that is empty or one static reservation.
type partKey struct{ disk, stack string }

// share is what is taken of a part.
type share struct {
	Reservations []resource.Reservation
	size         resource.Scalar
}

// base is the part of a reservation stack that the configuration makes. Operations change
// only what is above it.
func base(stack []resource.Reservation) []resource.Reservation {
	if len(stack) > 0 && stack[0].Type == resource.Static {
		return stack[:1]
	}
	return nil
}

// taken is how much of each part operations have taken: by dynamic reservations and by
// volumes, tombstones included.
func (s *State) taken() map[partKey]share {
	taken := map[partKey]share{}
	add := func(disk string, stack []resource.Reservation, n resource.Scalar) {
		b := base(stack)
		key := partKey{disk, resource.StackKey(b)}
		taken[key] = share{b, taken[key].size + n}
	}
	for a := range s.Accounts() {
		if a.stored() {
			add(a.Disk, a.Reservations, a.Free)
		}
	}
	s.volumes.Scan(func(v *Volume) bool { add(v.Disk, v.Reservations, v.Size); return true })
	return taken
}

// incompatible says which resource of a configuration does not cover what is taken of it,
// by whom, and what to do.
func (s *State) incompatible(key partKey, taken resource.Scalar, p Part) error {
	return refuse(ErrInsufficient, "Incompatible agent resources: disk %s is configured with %s that are %s, which does not contain "+
		"the %s that are reserved or carved already (%s); configure at least that, or start with the old configuration and destroy "+
		"or unreserve first. A disk that is broken may stay configured: only what lies on it is unavailable then",
		DiskName(key.disk), p.Size.Bytes(), reservedFor(p.Reservations), taken.Bytes(), s.takers(key))
}

func reservedFor(stack []resource.Reservation) string {
	if len(stack) == 0 {
		return "unreserved"
	}
	return "statically reserved for role " + stack[0].Role
}

// takers names a few of the volumes and roles that have taken from a part.
func (s *State) takers(key partKey) string {
	const few = 3
	var names []string
	s.volumes.Scan(func(v *Volume) bool {
		if v.Disk == key.disk && resource.StackKey(base(v.Reservations)) == key.stack {
			names = append(names, "volume "+v.Name.String())
		}
		return len(names) < few
	})
	for a := range s.Accounts() {
		if a.stored() && a.Disk == key.disk && resource.StackKey(base(a.Reservations)) == key.stack && len(names) < 2*few {
			names = append(names, "a reservation for role "+a.Reservations[len(a.Reservations)-1].Role)
		}
	}
	return strings.Join(names, ", ")
}

// Check holds a state against its own laws and describes the first breach. It walks
// everything: for tests, start-up and `tenon check`, never for a request.
func (s *State) Check() error {
	for a := range s.Accounts() {
		if a.Free < 0 {
			return fmt.Errorf("account %s is overdrawn", s.Describe(a))
		}
	}
	taken := s.taken()
	for d := range s.Disks() {
		if d.Absent {
			continue
		}
		for _, p := range d.parts() {
			key := partKey{d.Key, resource.StackKey(p.Reservations)}
			if n := taken[key].size; n+s.Free(d.Key, p.Reservations) != p.Size {
				return fmt.Errorf("disk %s: %s taken and %s free do not make its %s that are %s",
					DiskName(d.Key), n, s.Free(d.Key, p.Reservations), p.Size, reservedFor(p.Reservations))
			}
			delete(taken, key)
		}
	}
	for key := range taken {
		return fmt.Errorf("disk %s: something is taken of what it does not have", DiskName(key.disk))
	}
	return s.checkAttachments()
}

func (s *State) checkAttachments() (err error) {
	if s.byVolume.Len() != s.byTask.Len() {
		return fmt.Errorf("%d attachments by volume, %d by task", s.byVolume.Len(), s.byTask.Len())
	}
	s.byVolume.Scan(func(a *Attachment) bool {
		v, ok := s.Volume(a.Volume)
		if !ok || v.Phase == Destroying && !a.Gone {
			err = fmt.Errorf("%s: its volume is not there or is being destroyed", a.Unit())
		}
		if _, ok := s.Task(a.Task); !ok {
			err = fmt.Errorf("%s: there is no such task", a.Unit())
		}
		if ok && !v.Shared && len(s.Holders(a.Volume)) > 1 {
			err = fmt.Errorf("exclusive volume %s has several holders", v.Name)
		}
		return err == nil
	})
	return err
}
