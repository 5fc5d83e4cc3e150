// Package agenttest is a kernel in memory, for tests of the agent and of what is built
// on it: disks, directories, mounts, cgroups and processes that obey the same rules as
// those that agent/host acts on. It survives the agents that are started on it, as a
// kernel does, and it can be rebooted.
//
// It refuses what the real one refuses (to trash a mounted volume, to mount what is not
// there) and what no agent may do (to make a volume over another).
package agenttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Dir is a volume's directory. Birth tells one life of a directory from another.
type Dir struct {
	Birth int
	Owner volume.Owner
	Loose bool // it was renamed to where it is, which a power cut may take back; see PowerCut

	Project uint32 // by which what is in it is limited; 0 is none
}

// Pool is one disk.
type Pool struct {
	Missing               bool   // not to be found by an agent that starts; one that has it keeps it
	UUID                  string // in the marker
	Incoming, Live, Trash map[volume.UUID]Dir
	Limits                map[uint32]resource.Scalar // by project, where they are enforced
	Kept                  map[uint32]bool            // projects of which a removed file is still open

	Full       bool // there is no room for anything new
	Deviceless bool // there can be no limits of input and output for it

	// Enforcement is what the disk does about sizes, and Room its file system.
	Enforcement volume.Enforcement
	Room        volume.Room

	open   bool                 // by the agent that runs, which has seen it: it stays as it is until the disk is looked at again
	synced map[volume.UUID]bool // those of Live that were published by the agent that runs
}

// Mount is something mounted at a target.
type Mount struct {
	Volume   volume.UUID
	ReadOnly bool
	NoExec   bool
	Busy     bool // a process uses it
}

// Kernel is a kernel in memory. Its fields may be changed by tests while no agent runs,
// or between Lock and Unlock.
type Kernel struct {
	sync.Mutex
	Pools     map[string]*Pool // by key of the disk
	dirs      []string
	Mounts    map[string]Mount              // by sandbox path joined with the container path; see Inside
	Sandboxes map[string]string             // directories, with the boot in which an agent made it; "" is somebody else's
	Cgroups   map[string]bool               // the value says whether processes are inside
	Processes map[int]uint64                // start times by pid
	Members   map[int]string                // cgroups of processes that are in one
	Spaces    map[int]int                   // processes in the mount namespace of another; see Space
	Common    map[int]bool                  // processes in the mount namespace of everybody
	Births    int                           // directories ever made
	Rates     map[string][]volume.DiskLimit // of input and output, by cgroup
	Uptime    time.Duration                 // since the boot, by which leases expire; see Pass

	Configured []volume.Disk                  // in place of what NewKernel was told; see Configure
	Used       map[volume.UUID]resource.Bytes // what is in volumes

	// Fail, if set, is asked before each step; its error is the step's.
	Fail func(volume.Step) error
	// FailAfter, if set, is asked after each step that was done; its error is the step's.
	FailAfter func(volume.Step) error
	// Between, if set, is called between the rename and the sync of each step that has both. The
	// kernel is not locked meanwhile.
	Between func(volume.Step)
	// Acting, if set, is called before each step, and may hang: nothing else waits for it.
	Acting func(volume.Step)
	// Unknown counts looks at units that the state does not know.
	Unknown int
	// Measuring, if set, is called whenever an operation has what is in a volume measured, and
	// may ask the agent for something meanwhile.
	Measuring func()
	// Walked, if set, is called whenever a walk finds out what is in a volume.
	Walked func(volume.UUID)
	// FailHand, if set, is the error of every Hand.
	FailHand error

	// Projects is how many there are to limit volumes by; 0 is any number.
	Projects uint32

	dead    bool
	cursor  uint32                  // the project given out last
	points  map[string]bool         // directories that were made to be mounted upon
	removed map[string]string       // sandboxes that a power cut may bring back, with their boots
	watched map[string]volume.Lease // by task, or by task and process; see watch
	lost    chan string
}

// errDead is the error of everything that is asked of a kernel after Kill.
var errDead = errors.New("the agent is dead")

// Kill lets nothing more of what an agent does take effect, as if its process had ended
// here. Revive lets another agent work.
func (k *Kernel) Kill() { k.setDead(true) }

// Revive undoes Kill, and is what the start of an agent does to the kernel: it has opened no disk
// yet, and seen nothing synced.
func (k *Kernel) Revive() {
	for _, p := range k.Pools {
		clear(p.synced)
		p.open = false
	}
	clear(k.watched)
	k.setDead(false)
}

func (k *Kernel) setDead(dead bool) {
	k.Lock()
	defer k.Unlock()
	k.dead = dead
}

// Root is the directory of the sandboxes that the agent makes itself.
const Root = "/sandboxes"

// NewKernel is a kernel with an empty root disk and empty disks at these directories.
func NewKernel(dirs ...string) *Kernel {
	k := &Kernel{Pools: map[string]*Pool{}, Used: map[volume.UUID]resource.Bytes{}, dirs: dirs, lost: make(chan string, 1000)}
	keys := []string{""}
	for _, dir := range dirs {
		keys = append(keys, source(dir).Key())
	}
	for _, key := range keys {
		k.Pools[key] = newPool()
	}
	k.Reboot()
	return k
}

func newPool() *Pool {
	return &Pool{synced: map[volume.UUID]bool{}, Incoming: map[volume.UUID]Dir{}, Live: map[volume.UUID]Dir{}, Trash: map[volume.UUID]Dir{}, Limits: map[uint32]resource.Scalar{}, Kept: map[uint32]bool{},
		Enforcement: volume.Enforcement{Mode: volume.EnforcedNone, Why: "a kernel in memory limits what it is told to"}}
}

// Reboot ends every process and every mount. Directories stay.
func (k *Kernel) Reboot() {
	k.Lock()
	defer k.Unlock()
	k.Mounts, k.Cgroups, k.Processes = map[string]Mount{}, map[string]bool{}, map[int]uint64{}
	k.Members, k.Spaces, k.Common, k.watched = map[int]string{}, map[int]int{}, map[int]bool{}, map[string]volume.Lease{}
	k.Rates = map[string][]volume.DiskLimit{}
	k.removed, k.points = map[string]string{}, map[string]bool{}
	if k.Sandboxes == nil {
		k.Sandboxes = map[string]string{}
	}
}

// Observe looks at a unit.
func (k *Kernel) Observe(_ context.Context, s *volume.State, u volume.Unit) (seen volume.Seen, err error) {
	k.Lock()
	defer k.Unlock()
	if k.dead {
		return seen, errDead
	}
	if !s.Has(u) {
		k.Unknown++
	}
	switch u.Kind {
	case volume.DiskUnit:
		seen.Disk = k.seeDisk(s, u.Disk)
		if u.Disk == "" {
			seen.Disk.Leftover = k.leftovers(s)
		}
	case volume.VolumeUnit:
		if v, ok := s.Volume(u.Volume); ok {
			seen.Volume = k.seeVolume(s, v)
		}
	case volume.TaskUnit:
		if t, ok := s.Task(u.Task); ok {
			seen.Task = k.seeTask(t)
			k.watch(s, t, seen.Task)
		}
	case volume.AttachmentUnit:
		if a, ok := s.Attachment(u); ok {
			seen.Attachment = k.seeAttachment(s, a)
		}
	}
	return seen, nil
}

// seeDisk opens the pool if it is the one that should be there. From then on the agent has it,
// whatever becomes of the place where it was found.
func (k *Kernel) seeDisk(s *volume.State, key string) volume.SeenDisk {
	p := k.Pools[key]
	d, known := s.Disk(key)
	switch {
	case p == nil || !known:
		return volume.SeenDisk{Missing: "it is not configured"}
	case p.open:
		return volume.SeenDisk{Pool: d.Pool, Enforcement: p.Enforcement, Size: p.size()}
	case p.Missing:
		return volume.SeenDisk{Missing: "the disk is not there"}
	}
	if p.open = p.UUID == d.Pool; p.open {
		return volume.SeenDisk{Pool: p.UUID, Enforcement: p.Enforcement, Size: p.size()}
	}
	empty := p.UUID == "" && len(p.Incoming)+len(p.Live)+len(p.Trash) == 0
	return volume.SeenDisk{Empty: empty, Pool: p.UUID, Size: p.size()}
}

// size is what the disk offers; of a file system that no test has made it is whatever.
func (p *Pool) size() resource.Bytes { return cmp.Or(p.Room.Size, 1024*resource.MiB) }

// has says whether the agent that runs has the pool of a disk.
func (k *Kernel) has(disk string) bool {
	p := k.Pools[disk]
	return p != nil && p.open
}

// leftovers are the sandboxes that an agent made in another boot for tasks that are not
// known.
func (k *Kernel) leftovers(s *volume.State) (left []volume.Leftover) {
	for dir, boot := range k.Sandboxes {
		if _, known := s.Task(path.Base(dir)); !known && boot != "" && boot != s.Boot {
			left = append(left, volume.Leftover{Task: path.Base(dir), Sandbox: dir})
		}
	}
	return left
}

func (k *Kernel) seeVolume(s *volume.State, v *volume.Volume) (seen volume.SeenVolume) {
	p := k.Pools[v.Disk]
	if !k.has(v.Disk) {
		seen.Unavailable = "its disk is not there"
		return seen
	}
	_, seen.Incoming = p.Incoming[v.UUID]
	_, seen.Live = p.Live[v.UUID]
	_, seen.Trash = p.Trash[v.UUID]
	if v.Phase != volume.Creating {
		delete(p.synced, v.UUID)
	}
	seen.Data, seen.Durable = seen.Live, p.synced[v.UUID]
	p.seeLimit(v, &seen)
	return seen
}

func (k *Kernel) seeTask(t *volume.Task) (seen volume.SeenTask) {
	seen.Sandbox = k.Sandboxes[t.Sandbox] != ""
	seen.Inside, seen.Cgroup = k.Cgroups[t.Lease.Cgroup]
	seen.Claimant = k.alive(volume.Process{PID: t.Lease.PID, Start: t.Lease.Start})
	seen.Unlimited = len(t.IO) > 0 && k.unlimited(t)
	seen.At = k.Uptime
	return seen
}

func (k *Kernel) seeAttachment(s *volume.State, a *volume.Attachment) (seen volume.SeenAttachment) {
	t, ok := s.Task(a.Task)
	if !ok {
		seen.Unreachable = "its task is not there"
		return seen
	}
	switch {
	case a.Via == volume.ByDescriptor && !a.Gone:
		return seen
	case a.PID != 0:
		return k.seeInside(t, a)
	}
	m, mounted := k.Mounts[t.Target(a)]
	seen.Mounted = mounted && m.Volume == a.Volume
	seen.Foreign = mounted && !seen.Mounted
	seen.ReadOnly = m.ReadOnly
	seen.Point = !mounted && a.Gone && k.points[t.Target(a)]
	return seen
}

// Do does a step.
func (k *Kernel) Do(_ context.Context, s *volume.State, step volume.Step) error {
	k.acting(step)
	k.Lock()
	defer k.Unlock()
	if k.dead {
		return errDead
	}
	if k.Fail != nil {
		if err := k.Fail(step); err != nil {
			return err
		}
	}
	if err := k.do(s, step); err != nil || k.FailAfter == nil {
		return err
	}
	return k.FailAfter(step)
}

// Preconditions: k is locked.
func (k *Kernel) do(s *volume.State, step volume.Step) error {
	if !s.Has(step.Unit) {
		return fmt.Errorf("step %s of %s, of which nothing is known", step.Kind, step.Unit)
	}
	switch step.Unit.Kind {
	case volume.DiskUnit:
		d, _ := s.Disk(step.Unit.Disk)
		return k.doDisk(d, step.Kind)
	case volume.VolumeUnit:
		v, _ := s.Volume(step.Unit.Volume)
		return k.doVolume(v, step)
	case volume.TaskUnit:
		t, _ := s.Task(step.Unit.Task)
		return k.doTask(s, t, step.Kind)
	}
	a, _ := s.Attachment(step.Unit)
	t, _ := s.Task(a.Task)
	if a = s.InForce(a); a.PID != 0 {
		return k.doInside(s, t, a, step.Kind)
	}
	return k.doAttachment(s, a, t.Target(a), step.Kind)
}

func (k *Kernel) acting(step volume.Step) {
	k.Lock()
	f := k.Acting
	k.Unlock()
	if f != nil {
		f(step)
	}
}
