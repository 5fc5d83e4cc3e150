package volume

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"tenon/agent/resource"
)

// world is a host in memory: what survives an agent, and what its steps act on. It ends
// the test when a step does what no step may do.
type world struct {
	fatal     func(format string, args ...any)
	pools     map[string]*poolDir
	mounts    map[string]mounted // by sandbox joined with the path in it
	busy      map[string]bool    // targets that a process uses
	sandboxes map[string]int     // directories, with the boot in which an agent made it; 0 is somebody else
	removed   map[string]int     // sandboxes that a power cut may bring back
	squats    map[string]bool    // directories that users have made where agents make sandboxes
	cgroups   map[string]bool    // the value says whether processes are inside
	alive     map[int]bool       // processes
	published map[UUID]bool      // ever, for good
	limits    map[uint32]limit   // by project, which are unique over all disks here
	over      map[UUID]bool      // volumes with more in them than their sizes
	known     map[UUID]bool      // to the agent that runs: published for good
	births    int
	journal   journal
	boot      int
	uptime    time.Duration // by which leases expire
	ids       int

	crashIn   int  // effects until a crash, none if negative
	failIn    int  // steps until one fails, none if negative
	failAfter bool // it fails after it was done
	effects   int  // done so far
}

// poolDir is one disk.
type poolDir struct {
	uuid                  string
	away                  bool
	incoming, live, trash map[UUID]*directory
}

// directory is a volume's data: which one it is, how often it was written to, and
// whether where it lies would survive a power cut.
type directory struct {
	birth, writes int
	durable       bool
}

// limit is what the file system holds a project to.
type limit struct {
	volume UUID
	size   resource.Scalar
}

type mounted struct {
	volume     UUID // none if it is a foreign mount
	ro, noExec bool
	as         string
}

// journal is what was appended, and how much of it would survive a power cut.
type journal struct {
	transactions [][][]byte
	synced       int
	tombstones   map[UUID]bool // volumes with a mark that would survive
}

type crash struct{} // panics through an agent that ends

func newWorld(fatal func(string, ...any)) *world {
	w := &world{fatal: fatal, pools: map[string]*poolDir{}, sandboxes: map[string]int{}, removed: map[string]int{}, squats: map[string]bool{}, published: map[UUID]bool{}, limits: map[uint32]limit{}, over: map[UUID]bool{}, crashIn: -1, failIn: -1}
	for _, key := range []string{"", dataDisk} {
		w.pools[key] = &poolDir{incoming: map[UUID]*directory{}, live: map[UUID]*directory{}, trash: map[UUID]*directory{}}
	}
	w.journal.tombstones = map[UUID]bool{}
	w.reboot()
	return w
}

// cut ends the power: what was not synced may be where it was before, or gone.
func (w *world) cut(survive int) {
	j := &w.journal
	j.transactions = j.transactions[:j.synced+survive%(len(j.transactions)-j.synced+1)]
	for _, p := range w.pools {
		for id, d := range p.live {
			if !d.durable && survive%2 > 0 && id != "stranger" {
				p.incoming[id] = d
				delete(p.live, id)
			}
		}
		maps.DeleteFunc(p.incoming, func(id UUID, _ *directory) bool { return survive%3 > 0 && id != "stranger" })
	}
	w.cutSandboxes(survive)
	if survive%7 == 1 { // the limits of what was made lately were not on the disk yet
		clear(w.limits)
	}
	w.reboot()
}

// cutSandboxes loses those of this boot, or brings removed ones back: nothing of them is
// ever synced.
func (w *world) cutSandboxes(survive int) {
	if survive%5 == 1 {
		maps.DeleteFunc(w.sandboxes, func(_ string, boot int) bool { return boot == w.boot })
	}
	for dir, boot := range w.removed {
		if _, there := w.sandboxes[dir]; !there && survive%3 == 1 {
			w.sandboxes[dir] = boot
		}
	}
	clear(w.removed)
}

// squat lets a user make a directory where an agent would make one, or remove it again.
func (w *world) squat(dir string) {
	if _, there := w.sandboxes[dir]; !there {
		w.sandboxes[dir], w.squats[dir] = 0, true
	} else {
		w.leave(dir)
	}
}

// leave lets the user who has squatted there go.
func (w *world) leave(dir string) {
	if w.squats[dir] {
		delete(w.squats, dir)
		delete(w.sandboxes, dir)
	}
}

func (w *world) reboot() {
	w.boot++
	w.mounts, w.busy, w.cgroups, w.alive = map[string]mounted{}, map[string]bool{}, map[string]bool{}, map[int]bool{}
}

// effect is a moment at which an agent may end.
func (w *world) effect() {
	w.effects++
	if w.crashIn == 0 {
		panic(crash{})
	}
	w.crashIn--
}

// addStrangers puts things there that no journal names; leftAlone says whether all of
// them are there still.
func (w *world) addStrangers() {
	for _, p := range w.pools {
		for _, dirs := range []map[UUID]*directory{p.incoming, p.live, p.trash} {
			dirs["stranger"] = &directory{writes: 7}
		}
	}
	for _, dir := range foreignDirs {
		w.sandboxes[dir] = 0
	}
}

// foreignDirs are sandboxes that no agent made.
var foreignDirs = []string{"/s/stranger", "/foreign/t0", "/foreign/t1", "/foreign/t2"}

func (w *world) leftAlone() bool {
	for _, p := range w.pools {
		for _, dirs := range []map[UUID]*directory{p.incoming, p.live, p.trash} {
			if d := dirs["stranger"]; d == nil || *d != (directory{writes: 7}) {
				return false
			}
		}
	}
	for _, dir := range slices.AppendSeq(slices.Clone(foreignDirs), maps.Keys(w.squats)) {
		if boot, there := w.sandboxes[dir]; !there || boot != 0 {
			return false
		}
	}
	return true
}

// observe looks at a unit.
func (w *world) observe(s *State, u Unit) (seen Seen) {
	switch u.Kind {
	case DiskUnit:
		p := w.pools[u.Disk]
		seen.Disk = SeenDisk{Pool: p.uuid, Empty: p.uuid == "" && len(p.live) == 0, Enforcement: Enforcement{Mode: EnforcedNone}}
		if p.away {
			seen.Disk = SeenDisk{Missing: "it is away"}
		}
		if u.Disk == "" {
			seen.Disk.Leftover = w.leftovers(s)
		}
	case VolumeUnit:
		if v, ok := s.Volume(u.Volume); ok {
			seen.Volume = w.observeVolume(s, v)
		}
	case TaskUnit:
		if t, ok := s.Task(u.Task); ok {
			inside, cgroup := w.cgroups[t.Lease.Cgroup]
			seen.Task = SeenTask{Sandbox: w.sandboxes[t.Sandbox] > 0, Cgroup: cgroup, Inside: inside, Claimant: w.alive[t.Lease.PID], At: w.uptime}
		}
	case AttachmentUnit:
		if a, ok := s.Attachment(u); ok {
			m, there := w.mounts[w.target(s, a)]
			seen.Attachment = SeenAttachment{Point: there, Mounted: there && m.volume == a.Volume, Foreign: there && m.volume != a.Volume, ReadOnly: m.ro,
				Ended: a.PID != 0 && !w.alive[a.PID]}
		}
	}
	return seen
}

// leftovers are the sandboxes of an earlier boot that no task has.
func (w *world) leftovers(s *State) (left []Leftover) {
	for _, dir := range slices.Sorted(maps.Keys(w.sandboxes)) {
		if _, known := s.Task(path.Base(dir)); !known && w.sandboxes[dir] > 0 && w.sandboxes[dir] < w.boot {
			left = append(left, Leftover{path.Base(dir), dir})
		}
	}
	return left
}

func (w *world) observeVolume(s *State, v *Volume) SeenVolume {
	p := w.pools[v.Disk]
	if d, ok := s.Disk(v.Disk); !ok || p.away || p.uuid != d.Pool {
		return SeenVolume{Unavailable: "its disk is away"}
	}
	live := p.live[v.UUID] != nil
	l, limited := w.limits[v.Project]
	return SeenVolume{Incoming: p.incoming[v.UUID] != nil, Live: live, Data: live, Durable: w.known[v.UUID], Trash: p.trash[v.UUID] != nil,
		Limited: limited, Unlimited: v.Project != 0 && l != limit{v.UUID, v.Size}}
}

func (w *world) target(s *State, a *Attachment) string {
	t, ok := s.Task(a.Task)
	if !ok {
		w.fatal("%s has no task", a.Unit())
	}
	return targetOf(t.Sandbox, a.Path, a.PID)
}

// targetOf is a target in the sandbox, or in the namespace that each process has to itself.
func targetOf(sandbox, at string, pid int) string {
	if !path.IsAbs(at) {
		at = sandbox + "/" + at
	}
	if pid != 0 {
		return fmt.Sprint("@", pid, at)
	}
	return at
}

// exit ends a process, and its namespace with it.
func (w *world) exit(pid int) {
	delete(w.alive, pid)
	maps.DeleteFunc(w.busy, func(target string, _ bool) bool { return strings.HasPrefix(target, fmt.Sprint("@", pid, "/")) })
	maps.DeleteFunc(w.mounts, func(target string, _ mounted) bool { return strings.HasPrefix(target, fmt.Sprint("@", pid, "/")) })
}

// step does a step, or fails as it is told to.
func (w *world) step(s *State, step Step) error {
	w.effect()
	fails := w.failIn == 0
	w.failIn--
	if fails && !w.failAfter {
		return errors.New("injected failure")
	}
	if err := w.do(s, step); err != nil {
		return err
	}
	w.effect()
	if fails {
		return errors.New("injected failure afterwards")
	}
	return nil
}

func (w *world) do(s *State, step Step) error {
	switch step.Unit.Kind {
	case DiskUnit:
		d, _ := s.Disk(step.Unit.Disk)
		p := w.pools[d.Key]
		if p.away || p.uuid != "" || len(p.live) > 0 {
			w.fatal("%s formatted with %+v on it", step.Unit, p)
		}
		p.uuid = d.Pool
	case VolumeUnit:
		v, _ := s.Volume(step.Unit.Volume)
		w.doVolume(s, v, step.Kind)
	case TaskUnit:
		t, _ := s.Task(step.Unit.Task)
		w.doTask(t, step.Kind)
	case AttachmentUnit:
		a, _ := s.Attachment(step.Unit)
		return w.doAttachment(s, s.InForce(a), step.Kind)
	}
	return nil
}

func (w *world) doVolume(s *State, v *Volume, kind StepKind) {
	p := w.pools[v.Disk]
	if d, _ := s.Disk(v.Disk); p.away || p.uuid != d.Pool {
		w.fatal("%s of %s on a disk that is away", kind, v.UUID)
	}
	if (kind == Discard || kind == Trash || kind == Purge) && !w.journal.tombstones[v.UUID] {
		w.fatal("%s of %s without a durable tombstone", kind, v.UUID)
	}
	switch kind {
	case Make:
		if w.published[v.UUID] {
			w.fatal("volume %s is made anew", v.UUID)
		}
		if p.incoming[v.UUID] == nil {
			w.births++
			p.incoming[v.UUID] = &directory{birth: w.births}
		}
	case Publish:
		if p.live[v.UUID] == nil && v.Project != 0 && w.limits[v.Project].volume != v.UUID {
			w.fatal("volume %s is published without its limit", v.UUID)
		}
		w.publish(p, v.UUID)
	case Discard:
		delete(p.incoming, v.UUID)
	case Trash:
		for target, m := range w.mounts {
			if m.volume == v.UUID {
				w.fatal("volume %s is trashed under its mount at %s", v.UUID, target)
			}
		}
		p.trash[v.UUID] = p.live[v.UUID]
		delete(p.live, v.UUID)
	case Purge:
		delete(p.trash, v.UUID)
	case Limit:
		if l, taken := w.limits[v.Project]; taken && l.volume != v.UUID {
			w.fatal("project %d of volume %s is volume %s's", v.Project, v.UUID, l.volume)
		}
		w.limits[v.Project] = limit{v.UUID, v.Size}
	case Unlimit:
		if p.incoming[v.UUID] != nil || p.live[v.UUID] != nil || p.trash[v.UUID] != nil {
			w.fatal("project %d is freed before volume %s is gone", v.Project, v.UUID)
		}
		delete(w.limits, v.Project)
	}
}

// publish renames, and syncs then: an agent may end between the two.
func (w *world) publish(p *poolDir, id UUID) {
	if (p.incoming[id] == nil) == (p.live[id] == nil) {
		w.fatal("publish of %s, which is in incoming and live, or in neither: %+v", id, p)
	}
	if p.live[id] == nil {
		p.live[id] = p.incoming[id]
		delete(p.incoming, id)
		w.effect()
	}
	p.live[id].durable = true
	w.published[id], w.known[id] = true, true
}

func (w *world) doTask(t *Task, kind StepKind) {
	for target := range w.mounts {
		if (kind == RemoveSandbox || kind == RemoveCgroup) && within(target, t.Sandbox) && w.mounts[target].volume != "" {
			w.fatal("%s of task %s under its mount at %s", kind, t.ID, target)
		}
	}
	switch kind {
	case MakeSandbox:
		if w.squats[t.Sandbox] {
			w.fatal("a user's %s is taken over", t.Sandbox)
		}
		w.sandboxes[t.Sandbox] = w.boot
	case MakeCgroup:
		w.cgroups[t.Lease.Cgroup] = false
	case RemoveCgroup:
		delete(w.cgroups, t.Lease.Cgroup)
	case DoKill:
		w.kill(t)
	case RemoveSandbox:
		if !t.Own || w.sandboxes[t.Sandbox] == 0 {
			w.fatal("foreign sandbox %s is removed", t.Sandbox)
		}
		w.removed[t.Sandbox] = w.sandboxes[t.Sandbox]
		delete(w.sandboxes, t.Sandbox)
	}
}

// kill ends what the lease of a task names: of one with a cgroup never the claimant.
func (w *world) kill(t *Task) {
	if !t.Killing || t.Releasing {
		w.fatal("task %s is killed, and nobody asked for it", t.ID)
	}
	if t.Lease.Cgroup != "" {
		delete(w.cgroups, t.Lease.Cgroup)
		return
	}
	w.exit(t.Lease.PID)
}

func (w *world) doAttachment(s *State, a *Attachment, kind StepKind) error {
	target := w.target(s, a)
	m, there := w.mounts[target]
	switch kind {
	case DoAttach:
		v, _ := s.Volume(a.Volume)
		if there || w.pools[v.Disk].live[a.Volume] == nil {
			return fmt.Errorf("attach of %s at %s, where %v is", a.Volume, target, m)
		}
		w.mounts[target] = mounted{volume: a.Volume, ro: a.Mode == resource.RO, noExec: a.NoExec, as: asText(a.As)}
	case Flip:
		if a.Mode == resource.RO && w.busy[target] {
			return &Error{Kind: ErrBusy, Message: target + " is written to"}
		}
		m.ro = a.Mode == resource.RO
		w.mounts[target] = m
	case DoDetach:
		if m.volume != a.Volume {
			w.fatal("detach of %s at %s takes %+v away", a.Volume, target, m)
		}
		if w.busy[target] && !a.Lazy {
			return &Error{Kind: ErrBusy, Message: target + " is busy"}
		}
		delete(w.mounts, target)
		delete(w.busy, target)
	}
	return nil
}

// text shows a world in a failure message.
func (w *world) text() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(w.pools)) {
		p := w.pools[key]
		fmt.Fprintf(&b, "pool %q %s away=%v incoming %v live %v trash %v\n", key, p.uuid, p.away, keysOf(p.incoming), keysOf(p.live), keysOf(p.trash))
	}
	fmt.Fprintf(&b, "mounts %v busy %v sandboxes %v cgroups %v alive %v\n", w.mounts, w.busy, w.sandboxes, w.cgroups, w.alive)
	return b.String()
}

func keysOf[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
