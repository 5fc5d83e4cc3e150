package volume

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tenon/agent/resource"
)

// oracle says what an agent should come to, in plain maps and without steps: the second
// opinion that histories are held against.
type oracle struct {
	reserved map[pile]resource.Scalar // volumes and tombstones included
	volumes  map[Name]ovolume
	tombs    []ovolume // destroyed, their space not back yet
	tasks    map[string]otask
	uses     map[ouse]oway
	asked    map[string]oasked // operations with ids that were done, by id
}

// oasked is what was asked for under an id, and how far the agent is with it.
type oasked struct {
	digest string
	state  OperationState
}

// pile is the space of a disk that is reserved in one way.
type pile struct{ disk, stack string }

type ovolume struct {
	pile
	size   resource.Scalar
	shared bool
	path   string
	birth  int // of its directory, 0 until it is seen
	writes int
	over   bool // there is more in it than its size
	fresh  bool // of a tombstone: of the batch that is being applied
}

type otask struct {
	sandbox   string
	own       bool
	lease     Lease
	killing   bool
	releasing bool
}

type ouse struct {
	task, path string
	volume     Name
}

type oway struct {
	mode       resource.Mode
	noExec     bool
	as         string
	via        Via
	pid        int
	gone, lazy bool
}

// diskSizes are what newWorld has.
var diskSizes = map[string]resource.Scalar{"": 100 * resource.One, dataDisk: 40 * resource.One}

func newOracle() oracle {
	return oracle{map[pile]resource.Scalar{}, map[Name]ovolume{}, nil, map[string]otask{}, map[ouse]oway{}, map[string]oasked{}}
}

func (o oracle) clone() oracle {
	return oracle{maps.Clone(o.reserved), maps.Clone(o.volumes), slices.Clone(o.tombs), maps.Clone(o.tasks), maps.Clone(o.uses), maps.Clone(o.asked)}
}

func (o oracle) free(p pile) resource.Scalar {
	if p.stack == "" {
		left := diskSizes[p.disk]
		for q, n := range o.reserved {
			if q.disk == p.disk {
				left -= n
			}
		}
		for _, v := range o.tombs {
			if v.pile == p {
				left -= v.size
			}
		}
		return left
	}
	left := o.reserved[p]
	for _, v := range o.volumes {
		if v.pile == p {
			left -= v.size
		}
	}
	for _, v := range o.tombs {
		if v.pile == p {
			left -= v.size
		}
	}
	return left
}

func pileOf(r resource.Resource) pile {
	p := pile{stack: resource.StackKey(r.Reservations)}
	if r.Disk != nil {
		p.disk = r.Disk.Source.Key()
	}
	return p
}

// apply does an operation, or says of what kind its refusal is.
func (o oracle) apply(w *world, op Operation) (oracle, error) {
	n := o.clone()
	var kind error
	switch op := op.(type) {
	case Reserve, Unreserve:
		kind = n.reserve(op)
	case Grow, Shrink, Resize:
		kind = n.resize(w, op)
	case Launch:
		kind = n.launch(w, op)
	case Identified:
		return o.identified(w, op)
	case Acknowledge:
		kind = n.acknowledge(op)
	case Create:
		kind = n.create(w, op.Volume)
	case Destroy:
		kind = n.destroy(w, op.Ref)
	case Claim:
		kind = n.claim(w, op)
	case Attach:
		kind = n.attach(w, op)
	case Detach:
		kind = n.detach(op)
	case Release:
		kind = n.release(op)
	case Kill:
		kind = n.kill(op)
	case Renew:
		kind = n.renew(op)
	}
	if kind != nil {
		return o, kind
	}
	return n, nil
}

func (o *oracle) reserve(op Operation) error {
	switch op := op.(type) {
	case Reserve:
		r := op.Resources[0]
		if len(op.Source) > 0 {
			return o.move(pileOf(op.Source[0]), pileOf(r), r.Scalar)
		}
		lower, _ := r.PopReservation()
		return o.move(pileOf(lower), pileOf(r), r.Scalar)
	case Unreserve:
		lower, _ := op.Resources[0].PopReservation()
		return o.move(pileOf(op.Resources[0]), pileOf(lower), op.Resources[0].Scalar)
	}
	return nil
}

// move moves n from pile to pile, or what comes back to the one of the batch's own tombstones.
func (o *oracle) move(from, to pile, n resource.Scalar) error {
	coming := max(0, n-o.free(from))
	var tombs []ovolume
	for _, v := range o.tombs {
		if some := min(coming, v.size); v.fresh && v.pile == from && some > 0 {
			tombs = append(tombs, ovolume{pile: to, size: some, fresh: true})
			v.size -= some
			coming -= some
		}
		if v.size > 0 {
			tombs = append(tombs, v)
		}
	}
	if coming > 0 {
		return ErrInsufficient
	}
	for p, n := range map[pile]resource.Scalar{from: -n, to: n} {
		if p.stack != "" {
			o.reserved[p] += n
		}
	}
	o.tombs = tombs
	return nil
}

func (o oracle) create(w *world, r resource.Resource) error {
	name := Name{r.Role(), r.Disk.Persistence.ID}
	v := ovolume{pile: pileOf(r), size: r.Scalar, shared: r.Shared, path: r.Disk.Volume.ContainerPath}
	if _, taken := o.volumes[name]; taken {
		return ErrExists
	}
	if o.free(v.pile) < v.size {
		return ErrInsufficient
	}
	if w.pools[v.disk].away {
		return ErrUnavailable
	}
	o.volumes[name] = v
	return nil
}

// undone says whether a failure takes an operation back, or leaves it to be done later.
func undone(op Operation) bool {
	switch op.(type) {
	case Reserve, Unreserve, Create, Claim, Attach, Grow, Shrink, Resize, Launch:
		return true
	}
	return false
}

// settled is what the agent comes to in a world that keeps still.
func (o oracle) settled(w *world) oracle {
	n := o.clone()
	n.tombs = slices.DeleteFunc(n.tombs, func(v ovolume) bool { return !w.pools[v.disk].away })
	for id, t := range n.tasks {
		if t.lease != (Lease{}) && !t.releasing && !w.held(t) {
			n.endTask(id, false)
		}
	}
	busyTasks := map[string]bool{}
	for u, way := range n.uses {
		target := targetOf(n.tasks[u.task].sandbox, u.path, way.pid)
		switch {
		case way.pid != 0 && !w.alive[way.pid]:
			delete(n.uses, u)
		case way.gone && (!w.busy[target] || way.lazy || way.via != ByPath):
			delete(n.uses, u)
		default:
			busyTasks[u.task] = true
		}
	}
	maps.DeleteFunc(n.tasks, func(id string, t otask) bool { return t.releasing && !busyTasks[id] })
	return n
}

// held says whether anything that is to stay alive proves a task alive.
func (w *world) held(t otask) bool {
	claimant, inside := w.alive[t.lease.PID], w.cgroups[t.lease.Cgroup] || t.lease.Until > w.uptime
	if t.killing {
		return claimant && t.lease.Cgroup != ""
	}
	return claimant || inside
}

// rebooted is what outlives the kernel.
func (o oracle) rebooted() oracle {
	n := o.clone()
	n.tasks, n.uses = map[string]otask{}, map[ouse]oway{}
	return n
}

// text describes an oracle, one sorted line an object.
func (o oracle) text() string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for p, n := range o.reserved {
		if n != 0 {
			add("reserved %s %s %s", p.disk, p.stack, n)
		}
	}
	for name, v := range o.volumes {
		add("volume %s %s %s %s shared=%v", name, v.disk, v.stack, v.size, v.shared)
	}
	for _, v := range o.tombs {
		add("tombstone %s %s %s", v.disk, v.stack, v.size)
	}
	for id, asked := range o.asked {
		add("operation %s %s", id, asked.digest)
	}
	for id, t := range o.tasks {
		add("task %s %+v", id, t)
	}
	for u, way := range o.uses {
		add("use %s %s %s %+v", u.task, u.path, u.volume, way)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// view describes a state as an oracle's text does.
func view(s *State) oracle {
	o := newOracle()
	for a := range s.Accounts() {
		if len(a.Reservations) > 0 {
			o.reserved[pile{a.Disk, resource.StackKey(a.Reservations)}] += a.Free
		}
	}
	names := map[UUID]Name{}
	s.volumes.Scan(func(v *Volume) bool {
		names[v.UUID] = v.Name
		for _, part := range v.back() {
			p := pile{v.Disk, resource.StackKey(part.Reservations)}
			if p.stack != "" {
				o.reserved[p] += part.Size
			}
			if v.Phase == Destroying {
				o.tombs = append(o.tombs, ovolume{pile: p, size: part.Size})
			} else {
				o.volumes[v.Name] = ovolume{pile: p, size: v.Size, shared: v.Shared}
			}
		}
		return true
	})
	for asked := range s.Operations() {
		o.asked[asked.ID] = oasked{asked.Digest, asked.State}
	}
	for t := range s.Tasks("") {
		o.tasks[t.ID] = otask{t.Sandbox, t.Own, t.Lease, t.Killing, t.Releasing}
	}
	s.byVolume.Scan(func(a *Attachment) bool {
		o.uses[ouse{a.Task, a.Path, names[a.Volume]}] = oway{a.Mode, a.NoExec, asText(a.As), a.Via, a.PID, a.Gone, a.Lazy}
		return true
	})
	return o
}
