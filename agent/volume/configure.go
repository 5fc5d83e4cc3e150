package volume

import (
	"fmt"

	"tenon/agent/resource"
)

// Configure makes the changes that fit a loaded state to the configuration and to the
// running boot: an identity for a new agent, the end of the last boot's tasks, disks
// with their sizes, and what is unreserved of each. env.NewUUID names new pools.
// Refused with ErrInsufficient where a disk is configured smaller than what is
// reserved on it already.
func Configure(s *State, env Env, boot string, disks []Disk) ([]Change, error) {
	var changes []Change
	if s.Agent == "" {
		changes = append(changes, Change{Agent: string(env.NewUUID())})
	}
	if s.Boot != boot {
		changes = append(changes, Change{Boot: boot})
	}
	taken := s.reserved()
	configured := map[string]bool{}
	for _, d := range disks {
		d = s.bind(d, taken[d.Key], env)
		configured[d.Key] = true
		if d.Total < taken[d.Key] {
			return nil, refuse(ErrInsufficient, "disk %s is configured with %s, but %s of it is reserved already; "+
				"configure at least that, or start with the old size and unreserve first",
				DiskName(d.Key), d.Total.Bytes(), taken[d.Key].Bytes())
		}
		free := Account{Disk: d.Key, Free: d.Total - taken[d.Key]}
		changes = append(changes, Change{Disk: &d}, Change{Account: &free})
	}
	for d := range s.Disks() {
		if !configured[d.Key] {
			absent := *d
			absent.Absent = true
			changes = append(changes, Change{Disk: &absent})
		}
	}
	return changes, nil
}

// bind joins a configured disk with what the journal knows of it.
func (s *State) bind(d Disk, taken resource.Scalar, env Env) Disk {
	known, ok := s.Disk(d.Key)
	if !ok {
		d.Pool, d.Phase = string(env.NewUUID()), Creating
		return d
	}
	d.Pool, d.Phase = known.Pool, known.Phase
	if d.Auto && (known.Phase == Ready || taken > 0) {
		d.Total = known.Total
	}
	return d
}

// reserved is how much of each disk is taken from its unreserved space: by dynamic
// reservations and by volumes, tombstones included.
func (s *State) reserved() map[string]resource.Scalar {
	taken := map[string]resource.Scalar{}
	for a := range s.Accounts() {
		if a.stored() {
			taken[a.Disk] += a.Free
		}
	}
	s.volumes.Scan(func(v *Volume) bool { taken[v.Disk] += v.Size; return true })
	return taken
}

// Check holds a state against its own laws and describes the first breach. It walks
// everything: for tests, start-up and `tenon check`, never for a request.
func (s *State) Check() error {
	for a := range s.Accounts() {
		if a.Free < 0 {
			return fmt.Errorf("account %s is overdrawn", s.Describe(a))
		}
	}
	taken := s.reserved()
	for d := range s.Disks() {
		if !d.Absent && taken[d.Key]+s.Free(d.Key, nil) != d.Total {
			return fmt.Errorf("disk %s: %s reserved and %s free do not make its %s",
				DiskName(d.Key), taken[d.Key], s.Free(d.Key, nil), d.Total)
		}
	}
	return s.checkAttachments()
}

func (s *State) checkAttachments() (err error) {
	if s.byVolume.Len() != s.byTask.Len() {
		return fmt.Errorf("%d attachments by volume, %d by task", s.byVolume.Len(), s.byTask.Len())
	}
	s.byVolume.Scan(func(a *Attachment) bool {
		v, ok := s.Volume(a.Volume)
		if !ok || v.Phase != Ready {
			err = fmt.Errorf("%s: its volume is not there or not ready", a.Unit())
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
