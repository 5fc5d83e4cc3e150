package volume

import (
	"strings"
	"time"

	"tenon/agent/resource"
)

func (o oracle) holders(name Name) map[string]bool {
	hs := map[string]bool{}
	for u := range o.uses {
		if u.volume == name {
			hs[u.task] = true
		}
	}
	return hs
}

func (o *oracle) destroy(w *world, ref string) error {
	name, _ := ParseName(ref)
	v, ok := o.volumes[name]
	switch {
	case !ok:
		return ErrNotFound
	case len(o.holders(name)) > 0:
		return ErrInUse
	case w.pools[v.disk].away:
		return ErrUnavailable
	}
	delete(o.volumes, name)
	v.fresh = true
	o.tombs = append(o.tombs, v)
	return nil
}

func (o oracle) addTask(id string, t otask, at time.Duration) error {
	if t.lease.TTL != 0 {
		t.lease.Until = at + t.lease.TTL
	}
	if old, ok := o.tasks[id]; ok {
		asked := old.lease
		asked.Until = t.lease.Until
		switch {
		case old.releasing, old.killing:
			return ErrPending
		case old.sandbox != t.sandbox || old.own != t.own || asked != t.lease:
			return ErrExists
		}
		o.tasks[id] = t
		return nil
	}
	for _, other := range o.tasks {
		if other.sandbox == t.sandbox && t.sandbox != "" {
			return ErrExists
		}
	}
	o.tasks[id] = t
	return nil
}

func (o oracle) claim(w *world, op Claim) error {
	if err := o.addTask(op.Task, otask{sandbox: op.Sandbox, own: op.Own, lease: op.Lease}, op.At); err != nil {
		return err
	}
	for _, u := range op.Uses {
		if err := o.use(w, op.Task, u, Claimed, 0); err != nil {
			return err
		}
	}
	return nil
}

func (o oracle) attach(w *world, op Attach) error {
	t, ok := o.tasks[op.Task]
	switch {
	case !ok:
		t = otask{sandbox: op.Sandbox, own: op.Own, lease: Lease{PID: op.In.PID, Start: op.In.Start, TTL: op.TTL}}
	case op.Sandbox != "" && op.Sandbox != t.sandbox, op.TTL != 0 && op.TTL != t.lease.TTL:
		return ErrExists
	}
	if !ok || op.TTL != 0 {
		if err := o.addTask(op.Task, t, op.At); err != nil {
			return err
		}
	}
	return o.use(w, op.Task, op.Use, op.Via, op.In.PID)
}

func (o oracle) use(w *world, task string, u Use, via Via, pid int) error {
	name, _ := ParseName(u.Volume)
	v, ok := o.volumes[name]
	switch {
	case o.tasks[task].releasing, o.tasks[task].killing:
		return ErrPending
	case !ok:
		return ErrNotFound
	case w.pools[v.disk].away:
		return ErrUnavailable
	case o.lost(w, v):
		return ErrLost
	case via == ByDescriptor && u.Mode != resource.RO && v.over:
		return ErrInsufficient
	}
	key := ouse{task, u.Path, name}
	if key.path == "" {
		key.path = v.path
	}
	if o.tasks[task].sandbox == "" && (pid == 0 || key.path[0] != '/') {
		return ErrInvalid
	}
	old, there := o.uses[key]
	switch {
	case there && old.gone:
		return ErrPending
	case there && (old.mode != u.Mode || old.noExec != u.NoExec || old.as != asText(u.As)):
		return ErrExists
	case there && (old.via == via || via == Claimed):
		return nil
	case there && old.via != Claimed:
		return ErrExists
	case !there:
		for other, way := range o.uses {
			if other.task == task && way.via == ByDescriptor && via == ByPath {
				return ErrInvalid
			}
		}
		if err := o.fits(key, v.shared); err != nil {
			return err
		}
	}
	o.uses[key] = oway{mode: u.Mode, noExec: u.NoExec, as: asText(u.As), via: via, pid: pid}
	return nil
}

// fits says whether a use collides with others of its task, or of the volume.
func (o oracle) fits(key ouse, shared bool) error {
	collides, pending := false, true
	for other, way := range o.uses {
		a, b := other.path+"/", key.path+"/"
		if other.task == key.task && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
			collides, pending = true, pending && way.gone
		}
	}
	hs := o.holders(key.volume)
	delete(hs, key.task)
	switch {
	case collides && pending:
		return ErrPending
	case collides:
		return ErrExists
	case !shared && len(hs) > 0:
		return ErrInUse
	}
	return nil
}

func (o oracle) detach(op Detach) error {
	name, _ := ParseName(op.Volume)
	task, known := o.tasks[op.Task]
	_, there := o.volumes[name]
	found, left := false, false
	for u, way := range o.uses {
		switch {
		case u.task == op.Task && u.volume == name && (op.Path == "" || op.Path == u.path):
			if found = true; way.via == ByDescriptor {
				return ErrInUse
			}
			o.end(u, op.Lazy)
		case u.task == op.Task && !way.gone:
			left = true
		}
	}
	if !known || !there || !found {
		return ErrNotFound
	}
	if !left && (task.lease.PID == 0 || task.sandbox == "") {
		task.releasing = true
		o.tasks[op.Task] = task
	}
	return nil
}

func (o oracle) end(u ouse, lazy bool) {
	way := o.uses[u]
	way.gone, way.lazy = true, way.lazy || lazy
	o.uses[u] = way
}

func (o oracle) release(op Release) error {
	t, ok := o.tasks[op.Task]
	if !ok {
		return ErrNotFound
	}
	if t.lease.PID != 0 && !op.Ended && !t.releasing {
		return ErrInUse
	}
	o.endTask(op.Task, op.Lazy)
	return nil
}

func (o oracle) kill(op Kill) error {
	t, ok := o.tasks[op.Task]
	switch {
	case !ok:
		return ErrNotFound
	case t.lease.PID == 0 && !t.releasing:
		return ErrInvalid
	case !t.releasing:
		t.killing = true
	}
	o.tasks[op.Task] = t
	return nil
}

func (o oracle) renew(op Renew) error {
	t, ok := o.tasks[op.Task]
	if op.TTL != 0 {
		t.lease.TTL = op.TTL
	}
	switch {
	case !ok:
		return ErrNotFound
	case t.releasing, t.killing:
		return ErrPending
	case t.lease.TTL < MinTTL:
		return ErrInvalid
	}
	t.lease.Until = op.At + t.lease.TTL
	o.tasks[op.Task] = t
	return nil
}

func (o oracle) endTask(id string, lazy bool) {
	for u := range o.uses {
		if u.task == id {
			o.end(u, lazy)
		}
	}
	t := o.tasks[id]
	t.releasing = true
	o.tasks[id] = t
}

// lost says whether a volume that was published is not there.
func (o oracle) lost(w *world, v ovolume) bool {
	if v.birth == 0 {
		return false
	}
	for _, d := range w.pools[v.disk].live {
		if d.birth == v.birth {
			return false
		}
	}
	return true
}
