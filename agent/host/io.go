package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/mount"
)

// prepareIO refuses limits that this host could not hold a task to, before anything is made,
// and says in which cgroup they will be, if not in that of the task's lease.
func (h *Host) prepareIO(s *volume.State, o volume.Claim) (string, error) {
	if len(o.IO) == 0 {
		return "", nil
	}
	if h.groups == nil {
		return "", &volume.Error{Kind: volume.ErrInvalid, Message: "task " + o.Task + ": limits of input and output need cgroups, which the agent cannot use here (see its log)"}
	}
	if err := h.groups.LimitsIO(); err != nil {
		return "", &volume.Error{Kind: volume.ErrInvalid, Message: "task " + o.Task + ": " + err.Error(), Cause: err}
	}
	limits, err := s.DiskLimits(o)
	if err != nil {
		return "", err
	}
	if _, err := h.ioLimits(limits); err != nil || o.Lease.Cgroup == "" {
		return "", err
	}
	g, err := h.groups.Load(o.Lease.Cgroup)
	if err != nil || g.IOPath() == g.Path() {
		return "", err
	}
	return g.IOPath(), nil
}

// ioLimits are the limits of disks as the kernel has them, by device. Disks on one device add up.
func (h *Host) ioLimits(disks []volume.DiskLimit) (limits []cgroup.IOLimit, err error) {
	for _, d := range disks {
		device, err := h.deviceOf(d.Disk)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(limits, func(l cgroup.IOLimit) bool { return l.Device == device })
		if at < 0 {
			at, limits = len(limits), append(limits, cgroup.IOLimit{Device: device})
		}
		l := &limits[at]
		l.Read += uint64(d.Read)
		l.Write += uint64(d.Write)
		l.ReadOps += d.ReadOps
		l.WriteOps += d.WriteOps
	}
	return limits, nil
}

// deviceOf is the device that a disk's pool is on.
func (h *Host) deviceOf(key string) (cgroup.Device, error) {
	d, ok := h.disks[key]
	if !ok {
		return cgroup.Device{}, &volume.Error{Kind: volume.ErrUnavailable, Message: "disk " + volume.DiskName(key) + " is not configured"}
	}
	device, err := ask(context.Background(), d, func() (cgroup.Device, error) {
		dir, err := mount.OpenDir(d.dir)
		if err != nil {
			return cgroup.Device{}, fmt.Errorf("device of disk %s: %w", volume.DiskName(key), err)
		}
		defer dir.Close()
		return cgroup.DeviceOf(dir)
	})
	if errors.Is(err, cgroup.ErrUnsupported) {
		return device, &volume.Error{Kind: volume.ErrInvalid, Cause: err,
			Message: fmt.Sprintf("disk %s can have no limits of input and output: %v", volume.DiskName(key), err)}
	}
	return device, err
}

// limitIO bounds what a task's cgroup reads and writes.
func (h *Host) limitIO(t *volume.Task) error {
	limits, err := h.ioLimits(t.IO)
	if err != nil {
		return err
	}
	if h.groups == nil {
		return errNoCgroups()
	}
	g, err := h.groups.Load(t.Lease.Cgroup)
	if err != nil {
		return err
	}
	return g.LimitIO(limits...)
}

// unlimited says whether the kernel has other limits for a task's cgroup than it should. Where
// a disk is away, that is not known, and none of its limits is missed.
func (h *Host) unlimited(t *volume.Task) (bool, error) {
	want, err := h.ioLimits(t.IO)
	if err != nil || h.groups == nil {
		return false, nil
	}
	g, err := h.groups.Load(t.Lease.Cgroup)
	if err != nil {
		return false, err
	}
	have, err := g.IOLimits()
	for _, l := range want {
		if !slices.Contains(have, l) {
			return true, err
		}
	}
	return false, err
}
