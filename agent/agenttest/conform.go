package agenttest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tenon/agent"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Bench is a kernel under Conform, on an empty root disk, with the hands of whoever else is on
// the host. What a hand does, it takes back when its result is called, or at the end of the test.
type Bench struct {
	Host
	// Again lets go of Host, as when an agent ends, and gives the one of the next agent.
	Again func() Host
	// Roots is where the agent makes sandboxes.
	Roots string
	// Hold uses what is mounted at a path: writing if write, otherwise by a descriptor alone.
	Hold func(path string, write bool) (end func())
	// Cover mounts something else at a path.
	Cover func(path string) (end func())
	// Squat makes a user's directory, with something in it.
	Squat func(path string) (end func())
	// Hide takes the directory of a live volume away.
	Hide func(id volume.UUID) (end func())
	// Bear starts a process, in a cgroup if one is named.
	Bear func(cgroup string) (pid int, end func())
	// Group is where the cgroup of a task is.
	Group func(task string) string

	Sizes
	Rates  Rates
	Spaces Spaces
	// Pass lets time pass, or waits for nothing where that passes by itself.
	Pass func(time.Duration)
}

// Sizes is what the disk of a Bench does about the sizes of volumes, and what others do to it.
type Sizes struct {
	// Enforcement is what has to be seen, less the words.
	Enforcement volume.Enforcement
	// Write has a task write that much more into a live volume.
	Write func(id volume.UUID, n resource.Bytes) error
	// Keep has a process hold a file of a live volume open.
	Keep func(id volume.UUID) (end func())
	// Relimit limits a project to something else.
	Relimit func(project uint32, size resource.Scalar)
	// Relabel puts the directory of a live volume into another project.
	Relabel func(id volume.UUID, project uint32)
	// Switch has nothing limited any more; on has it limited again. It is nil where that takes a remount.
	Switch func() (on func())
	// Brim leaves no room on the file system; it is nil where that does not keep directories from
	// being made.
	Brim func() (end func())
}

// Host is a kernel that can be asked what is used.
type Host interface {
	agent.Kernel
	agent.Gauge
}

// differs is in what kernels may differ: the time by which leases expire goes on on a real host.
var differs = []cmp.Option{cmpopts.IgnoreFields(volume.SeenTask{}, "At")}

// why is what is compared of why something can't be seen: the words are each kernel's own.
const why = "for a reason"

// someSize is what is compared of the size of a disk: that it is known.
const someSize = 1

func reduced(seen volume.Seen) volume.Seen {
	for _, said := range []*string{&seen.Disk.Missing, &seen.Volume.Unavailable, &seen.Attachment.Unreachable} {
		if *said != "" {
			*said = why
		}
	}
	seen.Disk.Enforcement = wordless(seen.Disk.Enforcement)
	if seen.Disk.Size = min(seen.Disk.Size, someSize); seen.Disk.Empty {
		seen.Disk.Size = 0 // its directory may not have been made yet
	}
	return seen
}

func wordless(e volume.Enforcement) volume.Enforcement {
	return volume.Enforcement{Mode: e.Mode, By: e.By}
}

// Conform holds a kernel to what Plan and Settle count on: what is seen before and after each
// step, that a step which is done twice is as one that is done once, and what is refused. The
// kernel in memory and the real one pass it, so what is shown on the one is true of the other.
// Not compared are the words of errors.
func Conform(t *testing.T, open func(t *testing.T) *Bench) {
	for name, run := range map[string]func(*conformity){
		"a disk":                            conformDisk,
		"a volume":                          conformVolume,
		"a volume that another agent finds": conformFound,
		"a task":                            conformTask,
		"what holds a task":                 conformHolders,
		"a user's directory":                conformSquat,
		"an attachment":                     conformAttachment,
		"a mount that is used":              conformBusy,
		"something else in its place":       conformForeign,
		"what is not there":                 conformMissing,
		"sandboxes that are left over":      conformLeftovers,
		"operations are completed":          conformPrepare,
		"a volume's limit":                  conformLimit,
		"a limit that others change":        conformAstray,
		"limits that are switched":          conformSwitch,
		"a project that is given back":      conformUnlimit,
		"projects are given out":            conformProjects,
		"a disk that is full":               conformFull,
		"what a task reads and writes":      conformIO,
		"in the namespace of a process":     conformInside,
		"something else in a namespace":     conformInsideForeign,
		"a task of several processes":       conformInsiders,
		"a process that is named":           conformNamed,
		"a mount that is handed over":       conformHanded,
		"who is told of":                    conformLost,
	} {
		t.Run(name, func(t *testing.T) { run(newConformity(t, open(t))) })
	}
}

// conformity is one kernel being held to it, with the state that it is shown.
type conformity struct {
	*Bench
	t    *testing.T
	s    *volume.State
	path string // of the attachment
}

// Of the state: one disk, volume, task and attachment.
const (
	thePool   = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
	theVolume = volume.UUID("2b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")
	theTask   = "task"
	theBoot   = "boot-1"
)

func newConformity(t *testing.T, b *Bench) *conformity {
	c := &conformity{Bench: b, t: t, path: "data", s: volume.Empty().With(volume.Change{Boot: theBoot},
		volume.Change{Disk: &volume.Disk{Pool: thePool, Phase: volume.Creating, Total: 4096 * resource.One}})}
	c.put(volume.Change{Volume: &volume.Volume{UUID: theVolume, Name: volume.Name{Role: "web", ID: "v"}, Size: 8 * resource.One, Phase: volume.Creating,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}, Owner: volume.Owner{Mode: 0o755}, ContainerPath: "data"}})
	c.put(volume.Change{Task: &volume.Task{ID: theTask, Sandbox: c.Roots + "/" + theTask, Own: true}})
	c.attachment(func(*volume.Attachment) {})
	return c
}

func (c *conformity) put(changes ...volume.Change) { c.s = c.s.With(changes...) }

// attachment records it with a change.
func (c *conformity) attachment(change func(*volume.Attachment)) {
	a := volume.Attachment{Volume: theVolume, Task: theTask, Path: c.path, Mode: resource.RW, Via: volume.ByPath}
	if was, ok := c.s.Attachment(a.Unit()); ok {
		a = *was
	}
	change(&a)
	c.put(volume.Change{Attachment: &a})
}

// task records it with a change.
func (c *conformity) task(change func(*volume.Task)) {
	was, _ := c.s.Task(theTask)
	next := *was
	change(&next)
	c.put(volume.Change{Task: &next})
}

// again has another agent look.
func (c *conformity) again() { c.Host = c.Again() }

func (c *conformity) unit(kind volume.UnitKind) volume.Unit {
	switch kind {
	case volume.DiskUnit:
		return volume.UnitOfDisk("")
	case volume.VolumeUnit:
		return volume.UnitOfVolume(theVolume)
	case volume.TaskUnit:
		return volume.UnitOfTask(theTask)
	}
	return (&volume.Attachment{Volume: theVolume, Task: theTask, Path: c.path}).Unit()
}

// sees holds what is seen of a unit to what has to be; of a disk that is there, to having a size,
// and of the one that should be there, to what it does about those of volumes, too.
func (c *conformity) sees(when string, kind volume.UnitKind, want volume.Seen) {
	c.t.Helper()
	if d, _ := c.s.Disk(""); want.Disk.Pool == d.Pool {
		want.Disk.Enforcement = wordless(c.Enforcement)
	}
	if want.Disk.Pool != "" {
		want.Disk.Size = someSize
	}
	got, err := c.Observe(c.t.Context(), c.s, c.unit(kind))
	if err != nil {
		c.t.Fatalf("%s: look: %v", when, err)
	}
	if diff := cmp.Diff(want, reduced(got), differs...); diff != "" {
		c.t.Errorf("%s (-want +seen):\n%s", when, diff)
	}
}

func (c *conformity) seesVolume(when string, want volume.SeenVolume) {
	c.t.Helper()
	c.sees(when, volume.VolumeUnit, volume.Seen{Volume: want})
}

func (c *conformity) seesTask(when string, want volume.SeenTask) {
	c.t.Helper()
	c.sees(when, volume.TaskUnit, volume.Seen{Task: want})
}

func (c *conformity) seesAttachment(when string, want volume.SeenAttachment) {
	c.t.Helper()
	c.sees(when, volume.AttachmentUnit, volume.Seen{Attachment: want})
}

// does does steps that have to work.
func (c *conformity) does(steps ...volume.StepKind) {
	c.t.Helper()
	for _, kind := range steps {
		if err := c.step(kind); err != nil {
			c.t.Fatalf("%s: %v", kind, err)
		}
	}
}

// fails does a step that must not work: with an error of a kind, or of none.
func (c *conformity) fails(when string, kind volume.StepKind, want error) {
	c.t.Helper()
	if err := c.step(kind); err == nil || volume.Kind(err) != want {
		c.t.Errorf("%s, %s: %v, want an error that is %v", when, kind, err, want)
	}
}

func (c *conformity) step(kind volume.StepKind) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	return c.Do(ctx, c.s, volume.Step{Kind: kind, Unit: c.unit(unitOf(kind))})
}

func unitOf(kind volume.StepKind) volume.UnitKind {
	switch kind {
	case volume.Format:
		return volume.DiskUnit
	case volume.DoAttach, volume.DoDetach, volume.Flip, volume.Clear:
		return volume.AttachmentUnit
	case volume.MakeSandbox, volume.RemoveSandbox, volume.MakeCgroup, volume.RemoveCgroup, volume.LimitIO, volume.DoKill:
		return volume.TaskUnit
	}
	return volume.VolumeUnit
}

// formatted looks at the disk, as every agent does first, and formats it.
func (c *conformity) formatted() {
	c.t.Helper()
	c.sees("an empty disk", volume.DiskUnit, volume.Seen{Disk: volume.SeenDisk{Empty: true}})
	c.does(volume.Format)
	d, _ := c.s.Disk("")
	ready := *d
	ready.Phase = volume.Ready
	c.put(volume.Change{Disk: &ready})
}

// live makes the volume, and the task's sandbox.
func (c *conformity) live() {
	c.t.Helper()
	c.formatted()
	c.does(volume.Make, volume.Publish, volume.MakeSandbox)
	v, _ := c.s.Volume(theVolume)
	ready := *v
	ready.Phase = volume.Ready
	c.put(volume.Change{Volume: &ready})
}

// target is where the attachment is.
func (c *conformity) target() string { return c.Roots + "/" + theTask + "/data" }
