package agent_test

import (
	"path"

	"tenon/agent/agenttest"
	"tenon/agent/volume"
)

// meet puts into the way what an event meets; leave takes it away again.
func (w *world) meet(e event) (leave func()) {
	w.k.Lock()
	defer w.k.Unlock()
	p, s := w.k.Pools[""], w.agent.State()
	w.last = s // if no agent is left in the end
	undo := func() {}
	switch v, _ := s.Find(e.ref()); {
	case e.gone == 1:
		p.Missing = true
		undo = func() { p.Missing = false }
	case e.gone == 2:
		id := p.UUID
		p.UUID = "another"
		undo = func() { p.UUID = id }
	case e.gone == 3 && v != nil && w.readyForGood(v.UUID):
		undo = w.hide(p, v.UUID)
	}
	dir := path.Join(agenttest.Root, e.who())
	if _, known := s.Task(e.who()); e.squat && !known {
		w.k.Sandboxes[dir], w.users[dir] = "", true
	}
	target := path.Join(dir, e.id())
	if _, mounted := w.k.Mounts[target]; e.foreign && !mounted {
		w.k.Mounts[target] = agenttest.Mount{Volume: "foreign"}
	}
	w.makeBusy(e.busy)
	return func() { w.part(undo) }
}

// readyForGood says whether a power cut leaves it known that a volume is ready: until then one
// whose directory is gone is made again, as ARCHITECTURE.md says.
func (w *world) readyForGood(id volume.UUID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.durable().Volume(id)
	return ok && v.Phase == volume.Ready
}

// hide takes the directory of a volume away, by somebody else's hand.
func (w *world) hide(p *agenttest.Pool, id volume.UUID) (back func()) {
	dir, live := p.Live[id]
	delete(p.Live, id)
	return func() {
		if v, ok := w.last.Volume(id); live && ok && v.Phase != volume.Destroying {
			p.Live[id] = dir
		}
	}
}

func (w *world) makeBusy(busy bool) {
	for target, m := range w.k.Mounts {
		m.Busy = busy
		w.k.Mounts[target] = m
	}
}

// part ends what meet has begun.
func (w *world) part(undo func()) {
	if w.agent != nil {
		w.last = w.agent.State()
	}
	w.k.Lock()
	defer w.k.Unlock()
	undo()
	w.makeBusy(false)
	for target, m := range w.k.Mounts {
		if m.Volume == "foreign" {
			delete(w.k.Mounts, target)
		}
	}
	for dir := range w.users {
		if boot, there := w.k.Sandboxes[dir]; !there || boot != "" {
			w.violate("directory %s of a user was taken", dir)
		}
		delete(w.k.Sandboxes, dir)
	}
	clear(w.users)
}
