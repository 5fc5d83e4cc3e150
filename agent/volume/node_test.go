package volume

import (
	"errors"
	"fmt"
	"slices"

	"tenon/agent/resource"
)

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
	disks := []Disk{{Total: 100 * resource.One, OnExceed: MakeReadOnly},
		{Key: dataDisk, Source: dataSource(), Total: 40 * resource.One, OnExceed: MakeReadOnly}}
	changes, err := Configure(n.s, w.env(), fmt.Sprint("boot-", w.boot), disks)
	if err != nil {
		w.fatal("the journal does not fit the configuration: %v", err)
	}
	n.commit(append(changes, Change{Host: &HostInfo{Groups: manyGIDs()}}))
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

// withProjects gives each volume that is to be made the lowest project that is free on its
// disk, so that those of destroyed volumes are soon used again.
func (n *node) withProjects(ops []Operation, taken map[uint32]bool) []Operation {
	ops = slices.Clone(ops)
	for i, op := range ops {
		switch o := op.(type) {
		case Identified:
			o.Operations = n.withProjects(o.Operations, taken)
			ops[i] = o
		case Create:
			disk, project := pileOf(o.Volume).disk, uint32(1)
			if disk != "" {
				project = 1001
			}
			for n.s.ProjectUsed(disk, project) || taken[project] {
				project++
			}
			o.Project, taken[project] = project, true
			ops[i] = o
		}
	}
	return ops
}

// do applies a batch as Agent.Do does.
func (n *node) do(ops ...Operation) error {
	before := n.s
	ops = n.withProjects(ops, map[uint32]bool{})
	out, err := Apply(n.s, n.env(), ops...)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	n.commit(out.Changes)
	err = n.converge(out.Touched)
	if err != nil {
		n.commit(takingBack(before, n.s, ops, out.Touched, err))
		_ = n.converge(out.Touched) // what is left is tried again
	}
	n.drain()
	return err
}

// converge reconciles units: sandboxes before what is mounted in them, mounts before
// the sandboxes of tasks that end.
func (n *node) converge(units []Unit) error {
	stage := func(u Unit) int {
		t, ok := n.s.Task(u.Task)
		v, known := n.s.Volume(u.Volume)
		switch {
		case u.Kind == AttachmentUnit:
			return 1
		case ok && t.Releasing, known && v.Phase == Destroying:
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
		case c.Task != nil:
			n.queue = append(n.queue, UnitOfTask(c.Task.ID))
		case c.Drop != nil && c.Drop.Path != "":
			n.queue = append(n.queue, UnitOfTask(c.Drop.Task), UnitOfVolume(c.Drop.Volume))
		case c.Volume != nil && c.Volume.Phase == Ready:
			for a := range n.s.AttachmentsOf(c.Volume.UUID) {
				n.queue = append(n.queue, a.Unit())
			}
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
	n.weigh()
}

// weigh measures all volumes, as Agent.measureDisk does.
func (n *node) weigh() {
	for v := range n.s.Volumes(Name{}) {
		used := resource.Bytes(0)
		if n.over[v.UUID] {
			used = 2 * v.Size.Bytes()
		}
		changes := Weigh(n.s, v.UUID, used, second)
		n.commit(changes)
		if len(changes) == 0 {
			continue
		}
		for a := range n.s.AttachmentsOf(v.UUID) {
			n.queue = append(n.queue, a.Unit())
		}
	}
	n.drain()
}

// unquiet names a unit that has something to do although nothing keeps it from doing it.
func (n *node) unquiet() string {
	for _, u := range n.units() {
		seen := n.observe(n.s, u)
		steps, changes := Plan(n.s, u, seen), Settle(n.s, u, seen, second)
		if a, ok := n.s.Attachment(u); ok && n.busy[n.target(n.s, a)] && (a.Gone && !a.Lazy || n.s.InForce(a) != a) {
			continue
		}
		if len(steps)+len(changes) > 0 {
			return fmt.Sprintf("%s: still to do %v, to settle %d changes", u, steps, len(changes))
		}
	}
	return ""
}
