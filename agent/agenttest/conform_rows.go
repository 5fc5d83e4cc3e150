package agenttest

import (
	"errors"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func conformDisk(c *conformity) {
	c.formatted()
	is := volume.Seen{Disk: volume.SeenDisk{Pool: thePool}}
	c.sees("formatted", volume.DiskUnit, is)
	c.does(volume.Format)
	c.sees("formatted twice", volume.DiskUnit, is)
	c.again()
	c.sees("another agent", volume.DiskUnit, is)
	d, _ := c.s.Disk("")
	other := *d
	other.Pool = "3b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
	c.put(volume.Change{Disk: &other})
	c.again()
	c.sees("another pool than there should be", volume.DiskUnit, is)
	if err := c.step(volume.Format); err == nil {
		c.t.Error("a disk that holds another pool was formatted")
	}
	if err := c.step(volume.Make); err == nil {
		c.t.Error("a volume was made on a disk that holds another pool")
	}
}

func conformVolume(c *conformity) {
	c.formatted()
	none, incoming := volume.SeenVolume{}, volume.SeenVolume{Incoming: true}
	live := volume.SeenVolume{Live: true, Data: true, Durable: true}
	c.seesVolume("at first", none)
	c.fails("of nothing", volume.Publish, nil)
	c.does(volume.Discard, volume.Trash, volume.Purge) // of nothing
	c.does(volume.Make)
	c.seesVolume("made", incoming)
	c.does(volume.Make)
	c.seesVolume("made twice", incoming)
	c.does(volume.Discard, volume.Discard)
	c.seesVolume("discarded", none)
	c.does(volume.Make, volume.Publish)
	c.seesVolume("published", live)
	c.does(volume.Publish, volume.Make, volume.Discard)
	c.seesVolume("published twice, made again, and discarded", live)
	c.does(volume.Trash)
	c.seesVolume("in the trash", volume.SeenVolume{Trash: true, Durable: true})
	c.does(volume.Trash)
	c.seesVolume("in the trash twice", volume.SeenVolume{Trash: true, Durable: true})
	c.does(volume.Purge, volume.Purge)
	c.seesVolume("purged", volume.SeenVolume{Durable: true})
}

func conformFound(c *conformity) {
	c.live()
	c.again()
	c.seesVolume("before its disk was looked at", volume.SeenVolume{Unavailable: why})
	c.measures("before its disk was looked at", volume.ErrUnavailable)
	c.sees("another agent", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
	c.seesVolume("another agent", volume.SeenVolume{Live: true, Data: true})
	back := c.Hide(theVolume)
	c.seesVolume("lost", volume.SeenVolume{})
	c.fails("a lost volume", volume.DoAttach, volume.ErrLost)
	c.measures("a lost volume", volume.ErrLost)
	back()
	c.seesVolume("found again", volume.SeenVolume{Live: true, Data: true})
	c.measures("found again", nil)
}

// measures holds what is in the volume, and how much room is on its disk, to be known or not.
func (c *conformity) measures(when string, want error) {
	c.t.Helper()
	if _, err := c.Measure(c.t.Context(), c.s, theVolume); !errors.Is(err, want) {
		c.t.Errorf("%s, it is measured: %v, want %v", when, err, want)
	}
	if used, err := c.Usage(c.t.Context(), c.s, theVolume); len(used) > 0 || err != nil {
		c.t.Errorf("%s, the usage of what has no project is %+v, %v", when, used, err)
	}
	if room, there := c.Rooms(c.t.Context(), c.s)[""]; there != (want != volume.ErrUnavailable) || room.Free > room.Size {
		c.t.Errorf("%s, the room of its disk is %+v", when, room)
	}
}

func conformTask(c *conformity) {
	c.task(func(t *volume.Task) { t.Lease.Cgroup = c.Group(theTask) })
	c.seesTask("at first", volume.SeenTask{})
	c.does(volume.RemoveSandbox, volume.RemoveCgroup) // of nothing
	c.does(volume.MakeSandbox)
	c.seesTask("with a sandbox", volume.SeenTask{Sandbox: true})
	c.does(volume.MakeSandbox)
	c.seesTask("with a sandbox, twice", volume.SeenTask{Sandbox: true})
	c.does(volume.MakeCgroup, volume.MakeCgroup)
	c.seesTask("with a cgroup", volume.SeenTask{Sandbox: true, Cgroup: true})
	c.again()
	c.seesTask("another agent", volume.SeenTask{Sandbox: true, Cgroup: true})
	c.does(volume.RemoveCgroup, volume.RemoveCgroup)
	c.seesTask("without its cgroup", volume.SeenTask{Sandbox: true})
	c.does(volume.RemoveSandbox, volume.RemoveSandbox)
	c.seesTask("without its sandbox", volume.SeenTask{})
}

func conformHolders(c *conformity) {
	c.task(func(t *volume.Task) { t.Lease.Cgroup = c.Group(theTask) })
	c.does(volume.MakeCgroup)
	_, leave := c.Bear(c.Group(theTask))
	c.seesTask("a process is inside", volume.SeenTask{Cgroup: true, Inside: true})
	c.does(volume.MakeCgroup)
	c.seesTask("made again", volume.SeenTask{Cgroup: true, Inside: true})
	c.fails("while a process is inside", volume.RemoveCgroup, nil)
	leave()
	c.seesTask("it has ended", volume.SeenTask{Cgroup: true})
	c.Bear(c.Group(theTask))
	c.does(volume.DoKill)
	c.seesTask("killed", volume.SeenTask{})
	c.does(volume.DoKill)

	pid, end := c.Bear("")
	c.claimed(pid)
	c.seesTask("its claimant lives", volume.SeenTask{Claimant: true})
	c.task(func(t *volume.Task) { t.Lease.Start++ })
	c.seesTask("another process has its number", volume.SeenTask{})
	c.claimed(pid)
	end()
	c.seesTask("its claimant has ended", volume.SeenTask{})
	pid, _ = c.Bear("")
	c.claimed(pid)
	c.does(volume.DoKill)
	c.seesTask("its claimant was killed", volume.SeenTask{})
	c.does(volume.DoKill)
}

// claimed gives the task the lease of a process alone.
func (c *conformity) claimed(pid int) {
	c.t.Helper()
	op, err := c.Prepare(c.t.Context(), c.s, volume.Claim{Task: theTask, Lease: volume.Lease{PID: pid}})
	claim, ok := op.(volume.Claim)
	if err != nil || !ok || claim.Lease.Start == 0 {
		c.t.Fatalf("a claim of process %d is completed to %+v, %v", pid, op, err)
	}
	c.task(func(t *volume.Task) { t.Lease = claim.Lease })
}

func conformSquat(c *conformity) {
	end := c.Squat(c.Roots + "/" + theTask)
	c.seesTask("a user's directory", volume.SeenTask{})
	c.fails("where a user has a directory", volume.MakeSandbox, volume.ErrExists)
	c.fails("of a user's directory", volume.RemoveSandbox, nil)
	end()
	c.does(volume.MakeSandbox)
	c.seesTask("the user has gone", volume.SeenTask{Sandbox: true})
}

func conformAttachment(c *conformity) {
	c.live()
	mounted := volume.SeenAttachment{Mounted: true}
	c.seesAttachment("at first", volume.SeenAttachment{})
	c.does(volume.Clear) // of nothing
	c.fails("nothing is mounted", volume.Flip, nil)
	c.does(volume.DoDetach) // of nothing
	c.does(volume.DoAttach)
	c.seesAttachment("attached", mounted)
	c.fails("attached already", volume.DoAttach, volume.ErrExists)
	c.seesAttachment("attached twice", mounted)
	c.again()
	c.sees("another agent", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
	c.seesAttachment("another agent", mounted)
	c.attachment(func(a *volume.Attachment) { a.Mode = resource.RO })
	c.does(volume.Flip, volume.Flip)
	c.seesAttachment("read-only", volume.SeenAttachment{Mounted: true, ReadOnly: true})
	c.attachment(func(a *volume.Attachment) { a.Mode = resource.RW })
	c.does(volume.Flip)
	c.seesAttachment("writable", mounted)
	c.attachment(func(a *volume.Attachment) { a.Gone = true })
	c.seesAttachment("to be detached", mounted)
	c.does(volume.DoDetach)
	c.seesAttachment("detached", volume.SeenAttachment{Point: true})
	c.does(volume.Clear)
	c.seesAttachment("cleared", volume.SeenAttachment{})
	c.does(volume.Clear)
	c.attachment(func(a *volume.Attachment) { a.Gone, a.Mode = false, resource.RO })
	c.does(volume.DoAttach)
	c.seesAttachment("attached read-only", volume.SeenAttachment{Mounted: true, ReadOnly: true})
	c.does(volume.DoDetach)
	c.seesAttachment("detached, and not for good", volume.SeenAttachment{})
}

func conformBusy(c *conformity) {
	c.live()
	c.does(volume.DoAttach)
	end := c.Hold(c.target(), true)
	c.attachment(func(a *volume.Attachment) { a.Mode = resource.RO })
	c.fails("open for writing", volume.Flip, volume.ErrBusy)
	c.seesAttachment("open for writing", volume.SeenAttachment{Mounted: true})
	c.attachment(func(a *volume.Attachment) { a.Gone = true })
	c.fails("in use", volume.DoDetach, volume.ErrBusy)
	c.seesAttachment("in use", volume.SeenAttachment{Mounted: true})
	end()
	c.does(volume.DoDetach)
	c.seesAttachment("no longer in use", volume.SeenAttachment{Point: true})
	c.attachment(func(a *volume.Attachment) { a.Gone, a.Mode = false, resource.RW })
	c.does(volume.DoAttach)
	c.Hold(c.target(), false)
	c.attachment(func(a *volume.Attachment) { a.Gone, a.Lazy = true, true })
	c.does(volume.DoDetach)
	c.seesAttachment("let go of although it is used", volume.SeenAttachment{Point: true})
}

func conformForeign(c *conformity) {
	c.live()
	end := c.Cover(c.target())
	c.seesAttachment("something else is there", volume.SeenAttachment{Foreign: true})
	c.fails("something else is there", volume.DoAttach, volume.ErrExists)
	end()
	c.does(volume.DoAttach)
	c.seesAttachment("it has gone", volume.SeenAttachment{Mounted: true})
	c.attachment(func(a *volume.Attachment) { a.Gone = true })
	c.does(volume.DoDetach, volume.Clear)
}

func conformMissing(c *conformity) {
	c.formatted()
	c.does(volume.Make, volume.Publish)
	c.seesAttachment("without a sandbox", volume.SeenAttachment{})
	c.fails("without a sandbox", volume.DoAttach, volume.ErrNotFound)
	c.does(volume.Clear)
	c.does(volume.MakeSandbox, volume.Trash)
	c.fails("of what is in the trash", volume.DoAttach, volume.ErrLost)
	for _, u := range []volume.Step{
		{Kind: volume.Make, Unit: volume.UnitOfVolume("9b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")},
		{Kind: volume.MakeSandbox, Unit: volume.UnitOfTask("nobody")},
		{Kind: volume.DoAttach, Unit: volume.Unit{Kind: volume.AttachmentUnit, Volume: theVolume, Task: "nobody", Path: "x"}},
		{Kind: volume.Format, Unit: volume.UnitOfDisk("PATH:/nowhere")},
		{Kind: volume.Purge, Unit: volume.UnitOfTask(theTask)},
	} {
		if err := c.Do(c.t.Context(), c.s, u); err == nil {
			c.t.Errorf("%s of %s was done", u.Kind, u.Unit)
		}
		if seen, err := c.Observe(c.t.Context(), volume.Empty(), u.Unit); err != nil || seen.Volume != (volume.SeenVolume{}) || seen.Task != (volume.SeenTask{}) || seen.Attachment != (volume.SeenAttachment{}) {
			c.t.Errorf("of %s, of which nothing is known, %+v is seen, %v", u.Unit, seen, err)
		}
	}
}

func conformLeftovers(c *conformity) {
	c.formatted()
	c.does(volume.MakeSandbox)
	c.s = c.s.With(volume.Change{Drop: &volume.Drop{Volume: theVolume, Task: theTask, Path: "data"}}, volume.Change{Drop: &volume.Drop{Task: theTask}})
	c.again()
	c.sees("one of this boot is none", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
	c.put(volume.Change{Boot: "boot-2"})
	c.again()
	left := volume.Leftover{Task: theTask, Sandbox: c.Roots + "/" + theTask}
	c.sees("of an earlier boot", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool, Leftover: []volume.Leftover{left}}})
	c.put(volume.Change{Task: &volume.Task{ID: theTask, Sandbox: left.Sandbox, Own: true}})
	c.sees("its task is known", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
	c.does(volume.RemoveSandbox)
	c.s = c.s.With(volume.Change{Drop: &volume.Drop{Task: theTask}})
	c.sees("it is removed", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Pool: thePool}})
}

func conformPrepare(c *conformity) {
	c.live()
	pid, end := c.Bear("")
	ask := func(op volume.Operation) volume.Operation {
		c.t.Helper()
		done, err := c.Prepare(c.t.Context(), c.s, op)
		if err != nil {
			c.t.Fatalf("%s: %v", op.Name(), err)
		}
		return done
	}
	own := c.Roots + "/new"
	claim, _ := ask(volume.Claim{Task: "new", Cgroup: true, Lease: volume.Lease{PID: pid}}).(volume.Claim)
	if !claim.Own || claim.Sandbox != own || claim.Lease.Cgroup != c.Group("new") || claim.Lease.Start == 0 || claim.At == 0 {
		c.t.Errorf("a claim is completed to %+v", claim)
	}
	if attach, _ := ask(volume.Attach{Task: "new", Via: volume.ByPath}).(volume.Attach); !attach.Own || attach.Sandbox != own || attach.At == 0 {
		c.t.Errorf("an attach is completed to %+v", attach)
	}
	if launch, _ := ask(volume.Launch{Task: "new"}).(volume.Launch); !launch.Own || launch.Sandbox != own {
		c.t.Errorf("a launch is completed to %+v", launch)
	}
	if renew, _ := ask(volume.Renew{Task: theTask}).(volume.Renew); renew.At == 0 {
		c.t.Errorf("a renewal is completed to %+v", renew)
	}
	c.claimed(pid)
	if release, _ := ask(volume.Release{Task: theTask}).(volume.Release); release.Ended {
		c.t.Errorf("the release of a held task is completed to %+v", release)
	}
	if release, _ := ask(volume.Release{Task: theTask, By: pid}).(volume.Release); !release.Ended {
		c.t.Errorf("the release by the claimant is completed to %+v", release)
	}
	end()
	if release, _ := ask(volume.Release{Task: theTask}).(volume.Release); !release.Ended {
		c.t.Errorf("the release of a task that has ended is completed to %+v", release)
	}
	if _, err := c.Prepare(c.t.Context(), c.s, volume.Claim{Task: "new", Lease: volume.Lease{PID: pid}}); !errors.Is(err, volume.ErrInvalid) {
		c.t.Errorf("a claim of a process that has ended: %v", err)
	}
	a, _ := c.s.Attachment(c.unit(volume.AttachmentUnit))
	f, err := c.Hand(c.t.Context(), c.s, a)
	if err != nil {
		c.t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		c.t.Errorf("what is handed over is %+v, %v", info, err)
	}
	_ = f.Close()
	c.Hide(theVolume)
	if _, err := c.Hand(c.t.Context(), c.s, a); !errors.Is(err, volume.ErrLost) {
		c.t.Errorf("a lost volume is handed over: %v", err)
	}
}
