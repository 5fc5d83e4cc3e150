package agenttest

import (
	"errors"
	"fmt"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// hard says whether a write beyond a limit has to fail. Where it need not, there are no limits, and
// the steps about them do nothing.
func (c *conformity) hard() bool { return c.Enforcement.Mode == volume.EnforcedHard }

// limited makes the disk, and gives the volume the project that the kernel finds for it.
func (c *conformity) limited() {
	c.t.Helper()
	c.formatted()
	project, err := c.project()
	if err != nil || project == 0 {
		c.t.Fatalf("a volume is to be limited by project %d, %v", project, err)
	}
	c.volume(func(v *volume.Volume) { v.Project, v.Owner.Mode = project, 0o1777 })
}

// project is what the kernel finds for another volume.
func (c *conformity) project() (uint32, error) {
	op, err := c.Prepare(c.t.Context(), c.s, volume.Create{})
	create, _ := op.(volume.Create)
	return create.Project, err
}

// volume records it with a change.
func (c *conformity) volume(change func(*volume.Volume)) {
	was, _ := c.s.Volume(theVolume)
	next := *was
	change(&next)
	c.put(volume.Change{Volume: &next})
}

func (c *conformity) size(n resource.Scalar) {
	c.volume(func(v *volume.Volume) { v.Size = n * resource.One })
}

// writes has a task write so many MiB, which has to fit, or not where sizes are enforced.
func (c *conformity) writes(when string, mib resource.Bytes, fits bool) {
	c.t.Helper()
	if err := c.Write(theVolume, mib*resource.MiB); (err == nil) != (fits || !c.hard()) {
		c.t.Errorf("%s, %d MiB more are written: %v", when, mib, err)
	}
}

// takes holds what the volume is said to take to how much it is where limits are enforced and where not. A
// file system may have set as much aside again for files that grow.
func (c *conformity) takes(when string, limited, otherwise resource.Bytes, astray bool) {
	c.t.Helper()
	want := otherwise * resource.MiB
	if c.hard() {
		want = limited * resource.MiB
	}
	near := func(what string, got resource.Bytes, err error) {
		c.t.Helper()
		if err != nil || got < want-resource.MiB || got > 2*want {
			c.t.Errorf("%s, %s is %s, %v, want about %s", when, what, got, err, want)
		}
	}
	op, err := c.Prepare(c.t.Context(), c.s, volume.Resize{Ref: string(theVolume), Size: resource.One})
	smaller, _ := op.(volume.Resize)
	near("what has to fit", smaller.Used, err)
	walked, err := c.Measure(c.t.Context(), c.s, theVolume)
	near("what is found by a walk", walked.Bytes, err)
	for _, ids := range [][]volume.UUID{nil, {theVolume}, {theVolume, "nobody's"}} {
		used, err := c.Usage(c.t.Context(), c.s, ids...)
		u, counted := used[theVolume]
		if err != nil || counted != c.hard() || len(used) > 1 || u.Astray != (astray && c.hard()) {
			c.t.Errorf("%s, the usage of %q is %+v, %v", when, ids, used, err)
		}
		if counted {
			near("what is counted", u.Bytes, nil)
		}
	}
}

func conformLimit(c *conformity) {
	c.limited()
	hard := c.hard()
	c.seesVolume("at first", volume.SeenVolume{Unlimited: hard})
	c.does(volume.Unlimit) // of nothing
	if err := c.step(volume.Limit); (err != nil) != hard {
		c.t.Errorf("the limit of a volume that was not made: %v", err)
	}
	c.does(volume.Make)
	c.seesVolume("made", volume.SeenVolume{Incoming: true, Unlimited: hard})
	c.does(volume.Limit, volume.Limit)
	c.seesVolume("limited", volume.SeenVolume{Incoming: true, Limited: hard})
	c.does(volume.Publish)
	c.seesVolume("published", volume.SeenVolume{Live: true, Data: true, Durable: true, Limited: hard})
	c.volume(func(v *volume.Volume) { v.Phase = volume.Ready })
	c.writes("within its size", 6, true)
	c.writes("beyond its size", 4, false)
	c.takes("full", 8, 10, false)
	c.size(16)
	c.seesVolume("larger", volume.SeenVolume{Live: true, Data: true, Limited: hard, Unlimited: hard})
	c.takes("larger", 8, 10, true)
	c.does(volume.Limit)
	c.again()
	c.formattedBefore()
	c.seesVolume("limited anew", volume.SeenVolume{Live: true, Data: true, Limited: hard})
	c.writes("within the larger size", 4, true)
	c.writes("beyond the larger size", 6, false)
	c.size(4)
	c.does(volume.Limit)
	c.seesVolume("smaller than what is in it", volume.SeenVolume{Live: true, Data: true, Limited: hard})
	c.writes("smaller than what is in it", 1, false)
}

// formattedBefore looks at the disk, as another agent does first.
func (c *conformity) formattedBefore() {
	c.t.Helper()
	c.sees("another agent", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
}

func conformAstray(c *conformity) {
	c.limited()
	c.does(volume.Make, volume.Limit, volume.Publish)
	c.volume(func(v *volume.Volume) { v.Phase = volume.Ready })
	v, _ := c.s.Volume(theVolume)
	sound, astray := volume.SeenVolume{Live: true, Data: true, Limited: true}, volume.SeenVolume{Live: true, Data: true, Limited: true, Unlimited: true}
	if !c.hard() {
		return // there is nothing to be changed
	}
	c.Relimit(v.Project, 64*resource.One)
	c.seesVolume("limited to more", astray)
	c.does(volume.Limit)
	c.seesVolume("limited again", sound)
	c.Relabel(theVolume, 4000)
	c.seesVolume("in another project", astray)
	c.does(volume.Limit)
	c.seesVolume("in its own again", sound)
	c.writes("beyond its size", 9, false)
}

func conformSwitch(c *conformity) {
	if c.Switch == nil {
		return
	}
	c.limited()
	c.does(volume.Make, volume.Limit, volume.Publish)
	c.volume(func(v *volume.Volume) { v.Phase = volume.Ready })
	on, was := c.Switch(), c.Enforcement
	c.Enforcement = volume.Enforcement{Mode: volume.EnforcedNone}
	c.sees("switched off", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
	c.seesVolume("switched off", volume.SeenVolume{Live: true, Data: true})
	c.does(volume.Limit, volume.Unlimit)
	c.writes("beyond its size", 9, false)
	on()
	c.Enforcement = was
	c.sees("switched on", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
	c.does(volume.Limit)
	c.seesVolume("switched on", volume.SeenVolume{Live: true, Data: true, Limited: true})
	c.writes("beyond its size", 9, false)
}

func conformUnlimit(c *conformity) {
	c.limited()
	hard := c.hard()
	busy := func(when string) {
		c.t.Helper()
		if err := c.step(volume.Unlimit); hard && !errors.Is(err, volume.ErrBusy) || !hard && err != nil {
			c.t.Errorf("%s its project is given back: %v", when, err)
		}
	}
	c.does(volume.Make, volume.Limit, volume.Discard)
	c.volume(func(v *volume.Volume) { v.Phase = volume.Destroying })
	c.seesVolume("discarded", volume.SeenVolume{Limited: hard})
	c.does(volume.Unlimit, volume.Unlimit)
	c.seesVolume("discarded, and given back", volume.SeenVolume{Unlimited: hard})

	c.volume(func(v *volume.Volume) { v.Phase = volume.Creating })
	c.does(volume.Make, volume.Limit, volume.Publish)
	c.writes("within its size", 2, true)
	end := c.Keep(theVolume)
	c.volume(func(v *volume.Volume) { v.Phase = volume.Destroying })
	c.does(volume.Trash)
	c.seesVolume("in the trash", volume.SeenVolume{Trash: true, Limited: hard})
	busy("while it is in the trash")
	c.does(volume.Purge)
	c.seesVolume("purged", volume.SeenVolume{Limited: hard})
	busy("while a removed file is open")
	end()
	for range 10 { // a file system may take its time
		if err := c.step(volume.Unlimit); !errors.Is(err, volume.ErrBusy) {
			break
		}
	}
	c.does(volume.Unlimit)
	c.seesVolume("given back", volume.SeenVolume{Unlimited: hard})
}

// conformProjects has volumes made until no project is left.
func conformProjects(c *conformity) {
	c.limited()
	v, _ := c.s.Volume(theVolume)
	all := map[uint32]bool{v.Project: true}
	stranger := uint32(0)
	for n := range 100 {
		project, err := c.project()
		if err != nil || project == 0 {
			if c.hard() != errors.Is(err, volume.ErrInsufficient) {
				c.t.Errorf("without a project that is left: %v", err)
			}
			return
		}
		if all[project] || project == stranger {
			c.t.Errorf("project %d is given out, which is another's", project)
		}
		if c.hard() && stranger == 0 {
			stranger = project
			c.Relimit(stranger, resource.One)
			continue
		}
		all[project] = true
		c.put(volume.Change{Volume: &volume.Volume{UUID: volume.UUID(fmt.Sprintf("%08d-bbfd-4b2d-9b5d-ab8dfbbd4bed", n)), Project: project,
			Size: resource.One, Name: volume.Name{Role: "web", ID: fmt.Sprint(n)}, Phase: volume.Creating}})
	}
	c.t.Error("projects have no end")
}

func conformFull(c *conformity) {
	c.formatted()
	c.does(volume.Make, volume.Publish)
	if c.Brim == nil {
		return
	}
	other := c.s
	c.put(volume.Change{Volume: &volume.Volume{UUID: "9b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", Name: volume.Name{Role: "web", ID: "w"}, Size: resource.One, Phase: volume.Creating}})
	makes := volume.Step{Kind: volume.Make, Unit: volume.UnitOfVolume("9b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")}
	end := c.Brim()
	if err := c.Do(c.t.Context(), c.s, makes); !errors.Is(err, volume.ErrInsufficient) {
		c.t.Errorf("a volume is made without room: %v", err)
	}
	end()
	if err := c.Do(c.t.Context(), c.s, makes); err != nil {
		c.t.Errorf("a volume is made with room again: %v", err)
	}
	end = c.Brim()
	defer end()
	c.s = other
	c.does(volume.Trash, volume.Purge)
	c.seesVolume("purged without room", volume.SeenVolume{Durable: true})
}
