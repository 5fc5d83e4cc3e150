package agenttest

import (
	"errors"
	"os"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Spaces is what a Bench does in mount namespaces of processes.
type Spaces struct {
	// Dir is where nothing is mounted at first, in whatever namespace.
	Dir string
	// Bear starts a process, in a cgroup if one is named: in a mount namespace of its own or, where
	// that of a process is named, in that one.
	Bear func(cgroup string, in int) (pid int, end func())
	// Hold, and Cover, are those of Bench, in the namespace of a process.
	Hold  func(pid int, path string, write bool) (end func())
	Cover func(pid int, path string) (end func())
	// Place mounts what was handed over.
	Place func(pid int, mount *os.File, path string)
}

// inside has the volume attached in the namespace of a process, as the kernel completes that.
func (c *conformity) inside(pid int, path string) {
	c.t.Helper()
	attach, err := c.attaches(volume.Attach{Use: volume.Use{Path: path}, In: volume.Process{PID: pid}})
	if err != nil || attach.Via != volume.ByNamespace || attach.In.PID != pid || attach.In.Start == 0 {
		c.t.Fatalf("an attach to process %d is completed to %+v, %v", pid, attach, err)
	}
	c.path = path
	c.attachment(func(a *volume.Attachment) { a.Via, a.Process = attach.Via, attach.In })
}

// attaches completes an attach of the volume to the task.
func (c *conformity) attaches(o volume.Attach) (volume.Attach, error) {
	o.Task, o.Volume = theTask, string(theVolume)
	op, err := c.Prepare(c.t.Context(), c.s, o)
	done, _ := op.(volume.Attach)
	return done, err
}

func conformInside(c *conformity) {
	c.live()
	pid, _ := c.Spaces.Bear("", 0)
	c.inside(pid, c.Spaces.Dir+"/deep/x")
	mounted, none := volume.SeenAttachment{Mounted: true}, volume.SeenAttachment{}
	c.seesAttachment("at first", none)
	c.does(volume.DoDetach) // of nothing
	c.fails("nothing is mounted", volume.Flip, volume.ErrExists)
	c.fails("there is no such step", volume.Clear, nil)
	c.does(volume.DoAttach)
	c.seesAttachment("attached", mounted)
	c.fails("attached already", volume.DoAttach, volume.ErrExists)
	c.again()
	c.formattedBefore()
	c.seesAttachment("another agent", mounted)
	c.attachment(func(a *volume.Attachment) { a.Mode = resource.RO })
	c.does(volume.Flip, volume.Flip)
	c.seesAttachment("read-only", volume.SeenAttachment{Mounted: true, ReadOnly: true})
	c.attachment(func(a *volume.Attachment) { a.Mode = resource.RW })
	c.does(volume.Flip)
	end := c.Spaces.Hold(pid, c.path, true)
	c.attachment(func(a *volume.Attachment) { a.Mode = resource.RO })
	c.fails("open for writing", volume.Flip, volume.ErrBusy)
	c.attachment(func(a *volume.Attachment) { a.Gone = true })
	c.fails("in use", volume.DoDetach, volume.ErrBusy)
	c.seesAttachment("in use", mounted)
	end()
	c.does(volume.DoDetach)
	c.seesAttachment("detached", none)
	c.does(volume.DoDetach)
	c.attachment(func(a *volume.Attachment) { a.Gone = false })
	c.does(volume.DoAttach)
	c.seesAttachment("attached read-only", volume.SeenAttachment{Mounted: true, ReadOnly: true})
	c.Spaces.Hold(pid, c.path, false)
	c.attachment(func(a *volume.Attachment) { a.Gone, a.Lazy = true, true })
	c.does(volume.DoDetach)
	c.seesAttachment("let go of although it is used", none)
}

func conformInsideForeign(c *conformity) {
	c.live()
	pid, stop := c.Spaces.Bear("", 0)
	c.inside(pid, c.Spaces.Dir+"/x")
	end := c.Spaces.Cover(pid, c.path)
	c.seesAttachment("something else is there", volume.SeenAttachment{Foreign: true})
	c.fails("something else is there", volume.DoAttach, volume.ErrExists)
	c.fails("something else is there", volume.Flip, volume.ErrExists)
	c.fails("something else is there", volume.DoDetach, volume.ErrExists)
	end()
	back := c.Hide(theVolume)
	c.fails("a lost volume", volume.DoAttach, volume.ErrLost)
	back()
	c.does(volume.DoAttach)
	c.seesAttachment("attached", volume.SeenAttachment{Mounted: true})
	stop()
	c.seesAttachment("its process has ended", volume.SeenAttachment{Ended: true})
	c.fails("its process has ended", volume.DoAttach, volume.ErrNotFound)
	c.fails("its process has ended", volume.Flip, volume.ErrNotFound)
	c.does(volume.DoDetach)
	other, _ := c.Spaces.Bear("", 0)
	c.inside(other, c.path)
	c.attachment(func(a *volume.Attachment) { a.Start++ })
	c.seesAttachment("another process has its number", volume.SeenAttachment{Ended: true})
	c.fails("another process has its number", volume.DoAttach, volume.ErrNotFound)
}

// conformInsiders is of a task with several processes in one namespace.
func conformInsiders(c *conformity) {
	c.live()
	c.task(func(t *volume.Task) { t.Lease.Cgroup = c.Group(theTask) })
	c.does(volume.MakeCgroup)
	if o, err := c.attaches(volume.Attach{}); err != nil || o.Via != volume.Claimed && o.Via != volume.ByPath {
		c.t.Errorf("an attach to a task of no process is completed to %+v, %v", o, err)
	}
	first, end := c.Spaces.Bear(c.Group(theTask), 0)
	second, leave := c.Spaces.Bear(c.Group(theTask), first)
	c.inside(first, c.Spaces.Dir+"/x")
	c.s = c.s.With(volume.Change{Drop: &volume.Drop{Volume: theVolume, Task: theTask, Path: "data"}})
	for _, path := range []string{c.path, c.Spaces.Dir + "/y", "z"} {
		if o, err := c.attaches(volume.Attach{Use: volume.Use{Path: path}}); err != nil || o.In.PID != first || o.Via != volume.ByNamespace {
			c.t.Errorf("an attach at %s is completed to %+v, %v", path, o, err)
		}
	}
	c.does(volume.DoAttach)
	end()
	seen, err := c.Observe(c.t.Context(), c.s, c.unit(volume.AttachmentUnit))
	if by := seen.Attachment.Living; err != nil || !seen.Attachment.Mounted || by.PID != second || by.Start == 0 {
		c.t.Errorf("the first process has ended: %+v, %v", seen.Attachment, err)
	}
	c.attachment(func(a *volume.Attachment) { a.Process = seen.Attachment.Living })
	c.seesAttachment("through the second", volume.SeenAttachment{Mounted: true})
	leave()
	c.seesAttachment("the second has ended", volume.SeenAttachment{Ended: true})
	c.seesTask("the second has ended", volume.SeenTask{Sandbox: true, Cgroup: true})
}

// conformNamed is of attaches that are refused before anything is done.
func conformNamed(c *conformity) {
	c.live()
	common, _ := c.Bear("")
	gone, end := c.Spaces.Bear("", 0)
	end()
	own, _ := c.Spaces.Bear("", 0)
	for when, row := range map[string]struct {
		attach volume.Attach
		want   error
	}{
		"a process that has ended":             {volume.Attach{In: volume.Process{PID: gone}}, volume.ErrInvalid},
		"a process in everybody's namespace":   {volume.Attach{In: volume.Process{PID: common}}, volume.ErrInvalid},
		"somebody else's process":              {volume.Attach{In: volume.Process{PID: own}, UID: 65534}, volume.ErrForbidden},
		"the root of a process, by a user":     {volume.Attach{Use: volume.Use{Path: "/x"}, In: volume.Process{PID: own}, UID: 65534}, volume.ErrForbidden},
		"an absolute path, without a process":  {volume.Attach{Use: volume.Use{Path: "/x"}}, volume.ErrInvalid},
		"a process of the one who asks's root": {volume.Attach{Use: volume.Use{Path: "/x"}, In: volume.Process{PID: own}}, nil},
	} {
		if _, err := c.attaches(row.attach); volume.Kind(err) != row.want || (err == nil) != (row.want == nil) {
			c.t.Errorf("%s: %v, want %v", when, err, row.want)
		}
	}
}

// conformHanded is of mounts that are handed over, which the task places itself.
func conformHanded(c *conformity) {
	c.live()
	pid, _ := c.Spaces.Bear("", 0)
	c.claimed(pid)
	c.attachment(func(a *volume.Attachment) { a.Via = volume.ByDescriptor })
	c.seesAttachment("handed over", volume.SeenAttachment{})
	found := func(when string, want int) {
		c.t.Helper()
		for _, path := range []string{"", "data"} {
			off, err := c.Prepare(c.t.Context(), c.s, volume.Detach{Task: theTask, Volume: string(theVolume), Path: path})
			flip, ferr := c.Prepare(c.t.Context(), c.s, volume.SetMode{Task: theTask, Volume: string(theVolume), Path: path})
			d, _ := off.(volume.Detach)
			m, _ := flip.(volume.SetMode)
			if err := errors.Join(err, ferr); err != nil || d.In != m.In || d.In.PID != want {
				c.t.Errorf("%s, it is found in %+v and %+v, %v, want %d", when, d.In, m.In, err, want)
			}
		}
	}
	found("not yet placed", 0)
	a, _ := c.s.Attachment(c.unit(volume.AttachmentUnit))
	f, err := c.Hand(c.t.Context(), c.s, a)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	c.Spaces.Place(pid, f, c.target())
	found("placed", pid)
	c.seesAttachment("placed", volume.SeenAttachment{})
}

// loses holds a task to be the next that is told of.
func (c *conformity) loses(when, task string) {
	c.t.Helper()
	select {
	case got := <-c.Lost():
		if got != task {
			c.t.Errorf("%s: task %q is told of, want %q", when, got, task)
		}
	case <-time.After(time.Minute):
		c.t.Fatalf("%s: nobody is told", when)
	}
}

// held starts a process, and gives the lease that it is.
func (c *conformity) held() (l volume.Lease, end func()) {
	c.t.Helper()
	pid, end := c.Bear("")
	c.claimed(pid)
	t, _ := c.s.Task(theTask)
	return t.Lease, end
}

// holds looks at a task by another lease.
func (c *conformity) holds(when, task string, lease volume.Lease) volume.SeenTask {
	c.t.Helper()
	t := volume.Task{ID: task}
	if was, ok := c.s.Task(task); ok {
		t = *was
	}
	t.Lease = lease
	c.put(volume.Change{Task: &t})
	seen, err := c.Observe(c.t.Context(), c.s, volume.UnitOfTask(task))
	if err != nil {
		c.t.Fatalf("%s: %v", when, err)
	}
	return seen.Task
}

func conformLost(c *conformity) {
	c.live()
	held, end := c.held()
	c.holds("a process", theTask, held)
	end()
	c.loses("its process has ended", theTask)
	c.holds("a process that has ended", theTask, held) // which was seen, and is not told
	held, end = c.held()
	c.holds("another task's process", "other", held)
	end()
	c.loses("another task's process has ended", "other")

	c.task(func(t *volume.Task) { t.Lease = volume.Lease{Cgroup: c.Group(theTask)} })
	c.does(volume.MakeCgroup)
	_, leave := c.Bear(c.Group(theTask))
	held, end = c.held()
	held.Cgroup = c.Group(theTask)
	c.holds("a process and a cgroup", theTask, held)
	end()
	leave()
	c.loses("its process has ended, and its cgroup is empty", theTask)

	now := c.holds("nothing", theTask, volume.Lease{}).At
	c.holds("a time", theTask, volume.Lease{Until: now + 20*time.Millisecond})
	c.Pass(20 * time.Millisecond)
	c.loses("its time has passed", theTask)

	held, end = c.held()
	pid, stop := c.Spaces.Bear("", 0)
	c.inside(pid, c.Spaces.Dir+"/x")
	c.holds("a process besides that of a mount", theTask, held)
	c.seesAttachment("in a namespace", volume.SeenAttachment{})
	stop()
	c.loses("the process of a mount has ended", theTask)
	c.again()
	c.holds("a process, seen by another agent", theTask, held)
	end()
	c.loses("another agent", theTask)
}
