package volume

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"tenon/agent/resource"
)

// world is a host in memory: what survives an agent, and what its steps act on. It ends
// the test when a step does what no step may do.
type world struct {
	fatal     func(format string, args ...any)
	pools     map[string]*poolDir
	mounts    map[string]mounted // by sandbox joined with the path in it
	busy      map[string]bool    // targets that a process uses
	sandboxes map[string]bool    // directories
	cgroups   map[string]bool    // the value says whether processes are inside
	alive     map[int]bool       // processes
	published map[UUID]bool      // ever, for good
	known     map[UUID]bool      // to the agent that runs: published for good
	births    int
	journal   journal
	boot      int
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

type mounted struct {
	volume UUID // none if it is a foreign mount
	ro     bool
}

// journal is what was appended, and how much of it would survive a power cut.
type journal struct {
	transactions [][][]byte
	synced       int
	tombstones   map[UUID]bool // volumes with a mark that would survive
}

type crash struct{} // panics through an agent that ends

func newWorld(fatal func(string, ...any)) *world {
	w := &world{fatal: fatal, pools: map[string]*poolDir{}, sandboxes: map[string]bool{}, published: map[UUID]bool{}, crashIn: -1, failIn: -1}
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
	w.reboot()
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
		w.sandboxes[dir] = true
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
	return !slices.ContainsFunc(foreignDirs, func(dir string) bool { return !w.sandboxes[dir] })
}

// observe looks at a unit.
func (w *world) observe(s *State, u Unit) (seen Seen) {
	switch u.Kind {
	case DiskUnit:
		p := w.pools[u.Disk]
		seen.Disk = SeenDisk{Pool: p.uuid, Empty: p.uuid == "" && len(p.live) == 0}
		if p.away {
			seen.Disk = SeenDisk{Missing: "it is away"}
		}
	case VolumeUnit:
		if v, ok := s.Volume(u.Volume); ok {
			seen.Volume = w.observeVolume(s, v)
		}
	case TaskUnit:
		if t, ok := s.Task(u.Task); ok {
			inside, cgroup := w.cgroups[t.Lease.Cgroup]
			seen.Task = SeenTask{Sandbox: w.sandboxes[t.Sandbox], Cgroup: cgroup, Inside: inside, Claimant: w.alive[t.Lease.PID]}
		}
	case AttachmentUnit:
		if a, ok := s.Attachment(u); ok {
			m, there := w.mounts[w.target(s, a)]
			seen.Attachment = SeenAttachment{Point: there, Mounted: there && m.volume == a.Volume, Foreign: there && m.volume != a.Volume, ReadOnly: m.ro}
		}
	}
	return seen
}

func (w *world) observeVolume(s *State, v *Volume) SeenVolume {
	p := w.pools[v.Disk]
	if d, ok := s.Disk(v.Disk); !ok || p.away || p.uuid != d.Pool {
		return SeenVolume{Unavailable: "its disk is away"}
	}
	live := p.live[v.UUID] != nil
	return SeenVolume{Incoming: p.incoming[v.UUID] != nil, Live: live, Data: live, Durable: w.known[v.UUID], Trash: p.trash[v.UUID] != nil}
}

func (w *world) target(s *State, a *Attachment) string {
	t, ok := s.Task(a.Task)
	if !ok {
		w.fatal("%s has no task", a.Unit())
	}
	return path.Join(t.Sandbox, a.Path)
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
		return w.doAttachment(s, a, step.Kind)
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
		w.sandboxes[t.Sandbox] = true
	case MakeCgroup:
		w.cgroups[t.Lease.Cgroup] = false
	case RemoveCgroup:
		delete(w.cgroups, t.Lease.Cgroup)
	case RemoveSandbox:
		if !t.Own {
			w.fatal("foreign sandbox %s is removed", t.Sandbox)
		}
		delete(w.sandboxes, t.Sandbox)
	}
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
		w.mounts[target] = mounted{volume: a.Volume, ro: a.Mode == resource.RO}
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

// node is an agent on a world: it does what agent.Agent does, one thing after another.
type node struct {
	*world
	s     *State
	queue []Unit // of what depends on what was settled
}

func (w *world) env() Env {
	return Env{Now: second, NewUUID: func() UUID { w.ids++; return UUID(fmt.Sprintf("u%03d", w.ids)) }}
}

// start makes an agent of what the journal has.
func (w *world) start() *node {
	var changes []Change
	for _, tx := range w.journal.transactions {
		for _, record := range tx {
			c, err := Decode(record)
			if err != nil {
				w.fatal("the journal does not read back: %v", err)
			}
			changes = append(changes, c)
		}
	}
	w.known = map[UUID]bool{}
	n := &node{world: w, s: Empty().With(changes...)}
	disks := []Disk{{Total: 100 * resource.One}, {Key: dataDisk, Source: dataSource(), Total: 40 * resource.One}}
	changes, err := Configure(n.s, w.env(), fmt.Sprint("boot-", w.boot), disks)
	if err != nil {
		w.fatal("the journal does not fit the configuration: %v", err)
	}
	n.commit(changes)
	n.sweep()
	return n
}

// commit appends what is stored of the changes, makes it durable if it must be, and
// makes the next version.
func (n *node) commit(changes []Change) {
	var tx [][]byte
	durable := false
	for _, c := range changes {
		if !c.Stored() {
			continue
		}
		data, err := c.Encode()
		if err != nil {
			n.fatal("%+v is not encoded: %v", c, err)
		}
		tx = append(tx, data)
		durable = durable || c.Durable()
	}
	j := &n.journal
	if len(tx) > 0 {
		n.effect()
		j.transactions = append(j.transactions, tx)
		n.effect()
	}
	n.s = n.s.With(changes...)
	if durable {
		j.synced = len(j.transactions)
		for v := range n.s.Tombstones() {
			j.tombstones[v.UUID] = true
		}
	}
}

// compact replaces the journal by a snapshot.
func (n *node) compact() {
	var tx [][]byte
	for c := range n.s.Snapshot() {
		data, err := c.Encode()
		if err != nil {
			n.fatal("%+v is not encoded: %v", c, err)
		}
		tx = append(tx, data)
	}
	n.journal.transactions, n.journal.synced = [][][]byte{tx}, 1
}

// errRefused marks what changed nothing, unlike what failed and was taken back.
var errRefused = errors.New("refused")

// do applies a batch as Agent.Do does.
func (n *node) do(ops ...Operation) error {
	before := n.s
	out, err := Apply(n.s, n.env(), ops...)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	n.commit(out.Changes)
	err = n.converge(out.Touched)
	if err != nil {
		n.commit(Undo(before, n.s, out.Touched))
		_ = n.converge(out.Touched) // what is left is tried again
	}
	n.drain()
	return err
}

// converge reconciles units: sandboxes before what is mounted in them, mounts before
// the sandboxes of tasks that end.
func (n *node) converge(units []Unit) error {
	stage := func(u Unit) int {
		if t, ok := n.s.Task(u.Task); u.Kind == AttachmentUnit {
			return 1
		} else if ok && t.Releasing {
			return 2
		}
		return 0
	}
	sorted := slices.Clone(units)
	slices.SortStableFunc(sorted, func(a, b Unit) int { return stage(a) - stage(b) })
	var first error
	for _, u := range sorted {
		if err := n.reconcile(u); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (n *node) drain() {
	for len(n.queue) > 0 {
		u := n.queue[0]
		n.queue = n.queue[1:]
		_ = n.reconcile(u) // a fault by now, or tried again
	}
}

// reconcile observes, plans, does and settles until there is nothing to do.
func (n *node) reconcile(u Unit) error {
	for range 6 {
		acted := false
		for _, step := range Plan(n.s, u, n.observe(n.s, u)) {
			if err := n.step(n.s, step); err != nil {
				kind := ErrFailed
				if k := Kind(err); k != nil {
					kind = k
				}
				n.commit(n.s.Faulty(u, kind, err.Error(), second))
				return err
			}
			acted = true
		}
		changes := Settle(n.s, u, n.observe(n.s, u), second)
		n.commit(changes)
		n.follow(changes)
		if !acted && len(changes) == 0 {
			return n.leftOver(u)
		}
	}
	n.fatal("%s does not converge", u)
	return nil
}

// follow queues what depends on what was settled, as Agent.follow does.
func (n *node) follow(changes []Change) {
	for _, c := range changes {
		switch {
		case c.Attachment != nil:
			n.queue = append(n.queue, c.Attachment.Unit())
		case c.Drop != nil && c.Drop.Path != "":
			n.queue = append(n.queue, UnitOfTask(c.Drop.Task))
		case c.Fault != nil && c.Fault.Unit.Kind == DiskUnit:
			n.s.volumes.Scan(func(v *Volume) bool { n.queue = append(n.queue, UnitOfVolume(v.UUID)); return true })
		}
	}
}

func (n *node) leftOver(u Unit) error {
	if f, bad := n.s.Fault(u); bad && f.Kind != ErrLost {
		return &Error{Kind: f.Kind, Message: u.String() + ": " + f.Reason}
	}
	return nil
}

// units are all units, sorted so that a history can be told again.
func (n *node) units() []Unit {
	all := slices.Collect(n.s.Units())
	slices.SortFunc(all, compareUnits)
	return all
}

// sweep reconciles everything, as a start does.
func (n *node) sweep() {
	for _, u := range n.units() {
		_ = n.reconcile(u)
	}
	n.drain()
}

// unquiet names a unit that has something to do although nothing keeps it from doing it.
func (n *node) unquiet() string {
	for _, u := range n.units() {
		seen := n.observe(n.s, u)
		steps, changes := Plan(n.s, u, seen), Settle(n.s, u, seen, second)
		if a, ok := n.s.Attachment(u); ok && a.Gone && n.busy[n.target(n.s, a)] && !a.Lazy {
			continue
		}
		if len(steps)+len(changes) > 0 {
			return fmt.Sprintf("%s: still to do %v, to settle %d changes", u, steps, len(changes))
		}
	}
	return ""
}

// text shows a world in a failure message.
func (w *world) text() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(w.pools)) {
		p := w.pools[key]
		fmt.Fprintf(&b, "pool %q %s away=%v incoming %v live %v trash %v\n", key, p.uuid, p.away, keysOf(p.incoming), keysOf(p.live), keysOf(p.trash))
	}
	fmt.Fprintf(&b, "mounts %v busy %v sandboxes %v cgroups %v alive %v\n", w.mounts, w.busy, keysOf(w.sandboxes), w.cgroups, w.alive)
	return b.String()
}

func keysOf[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
