package agenttest

import (
	"fmt"
	"slices"

	"tenon/agent/volume"
)

// deviceless says why there can be no limits of input and output for a disk.
func (k *Kernel) deviceless(disks []volume.DiskLimit) error {
	for _, d := range disks {
		switch p := k.Pools[d.Disk]; {
		case p == nil:
			return &volume.Error{Kind: volume.ErrUnavailable, Message: "disk " + volume.DiskName(d.Disk) + " is not configured"}
		case p.Deviceless:
			return &volume.Error{Kind: volume.ErrInvalid, Message: "disk " + volume.DiskName(d.Disk) + " is on no device"}
		}
	}
	return nil
}

// limitIO bounds what the cgroup of a task reads and writes.
func (k *Kernel) limitIO(t *volume.Task) error {
	if err := k.deviceless(t.IO); err != nil {
		return err
	}
	if _, there := k.Cgroups[t.Lease.Cgroup]; !there {
		return fmt.Errorf("limit of cgroup %s, which is not there", t.Lease.Cgroup)
	}
	k.Rates[t.Lease.Cgroup] = slices.Clone(t.IO)
	return nil
}

// unlimited says whether the cgroup of a task has other limits than it should, where that can be known.
func (k *Kernel) unlimited(t *volume.Task) bool {
	_, there := k.Cgroups[t.Lease.Cgroup]
	return there && !t.Releasing && !t.Killing && k.deviceless(t.IO) == nil && !slices.Equal(k.Rates[t.Lease.Cgroup], t.IO)
}

// removeCgroup takes the limits of a cgroup with it.
func (k *Kernel) removeCgroup(path string) {
	delete(k.Cgroups, path)
	delete(k.Rates, path)
}

// prepareIO refuses limits that a task could not be held to.
//
// Preconditions: k is locked.
func (k *Kernel) prepareIO(s *volume.State, o volume.Claim) error {
	disks, err := s.DiskLimits(o)
	if err != nil {
		return err
	}
	return k.deviceless(disks)
}
