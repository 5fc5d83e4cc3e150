package agenttest

import (
	"errors"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Rates is what a Bench can do about what a task reads and writes.
type Rates struct {
	// Limits says whether there can be limits for the disk.
	Limits bool
	// Change gives a cgroup another limit for the disk; it is nil where the host knows no limits.
	Change func(cgroup string, to volume.Rate)
}

func conformIO(c *conformity) {
	if c.Rates.Change == nil {
		return
	}
	c.formatted()
	limit := func(disk string, to volume.Rate) {
		c.task(func(t *volume.Task) { t.IO = []volume.DiskLimit{{Disk: disk, Rate: to}} })
	}
	rate := volume.Rate{Write: 5 * resource.MiB, ReadOps: 100}
	c.task(func(t *volume.Task) { t.Own, t.Lease.Cgroup = false, c.Group(theTask) })
	limit("", rate)
	c.seesTask("at first", volume.SeenTask{})
	c.fails("without a cgroup", volume.LimitIO, c.unlimitable())
	c.seesTask("without a cgroup", volume.SeenTask{})
	c.does(volume.MakeCgroup)
	bound, unbound := volume.SeenTask{Cgroup: true}, volume.SeenTask{Cgroup: true, Unlimited: c.Rates.Limits}
	c.seesTask("without limits", unbound)
	c.claimsLimits(rate)
	limit("PATH:/nowhere", rate)
	c.fails("of a disk that is not there", volume.LimitIO, volume.ErrUnavailable)
	c.seesTask("limited on a disk that is not there", bound)
	limit("", rate)
	if !c.Rates.Limits {
		c.fails("of a disk that has none", volume.LimitIO, volume.ErrInvalid)
		return
	}
	c.does(volume.LimitIO, volume.LimitIO)
	c.seesTask("limited", bound)
	for _, other := range []volume.Rate{{Write: resource.MiB, ReadOps: 100}, {Write: 5 * resource.MiB, ReadOps: 100, WriteOps: 7}} {
		c.Rates.Change(c.Group(theTask), other)
		c.seesTask("somebody has changed the limits", unbound)
		c.again()
		c.formattedBefore()
		c.does(volume.LimitIO)
		c.seesTask("limited again", bound)
	}
	c.task(func(t *volume.Task) { t.Releasing = true })
	c.Rates.Change(c.Group(theTask), volume.Rate{Write: resource.MiB})
	c.seesTask("released, with other limits", bound)
	c.does(volume.RemoveCgroup)
	c.seesTask("without its cgroup", volume.SeenTask{})
	c.task(func(t *volume.Task) { t.Releasing = false })
	c.does(volume.MakeCgroup)
	c.seesTask("in a cgroup of the same name", unbound)
	c.does(volume.LimitIO, volume.DoKill)
	c.seesTask("killed", volume.SeenTask{})
}

// unlimitable is the kind of the error of limits on the disk.
func (c *conformity) unlimitable() error {
	if c.Rates.Limits {
		return nil
	}
	return volume.ErrInvalid
}

// claimsLimits holds a claim with limits to be refused where there can be none.
func (c *conformity) claimsLimits(rate volume.Rate) {
	c.t.Helper()
	claim := volume.Claim{Task: "new", Cgroup: true, Uses: []volume.Use{{Volume: string(theVolume)}}, IO: []volume.Throttle{{Rate: rate}}}
	if _, err := c.Prepare(c.t.Context(), c.s, claim); (err == nil) != c.Rates.Limits || err != nil && !errors.Is(err, volume.ErrInvalid) {
		c.t.Errorf("a claim with limits is completed: %v", err)
	}
	claim.Uses[0].Volume = "web/nobody's"
	if _, err := c.Prepare(c.t.Context(), c.s, claim); !errors.Is(err, volume.ErrNotFound) {
		c.t.Errorf("a claim with limits of a volume that is not there: %v", err)
	}
}
