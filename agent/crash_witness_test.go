package agent_test

import (
	"context"
	"iter"
	"path"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"
	"tenon/checkpoint"
)

// promise is a version that survives a power cut once the journal is synced up to a position.
type promise struct {
	at    checkpoint.Position
	state *volume.State
}

// durable is what would survive a power cut, for all that the agent was told.
//
// Preconditions: w.mu is held.
func (w *world) durable() *volume.State {
	return w.synced[0].state
}

// witness is a journal that looks at what is recorded.
type witness struct {
	agent.Journal
	w *world
}

func (j witness) Load(each func(checkpoint.Record) error) error {
	var changes []volume.Change
	err := j.Journal.Load(func(r checkpoint.Record) error {
		if c, err := volume.Decode(r); err == nil {
			changes = append(changes, c)
		}
		return each(r)
	})
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	j.w.recorded = volume.Empty().With(changes...)
	j.w.synced = []promise{{0, j.w.recorded}}
	return err
}

func (j witness) Append(tx ...checkpoint.Record) (checkpoint.Position, error) {
	var changes []volume.Change
	for _, r := range tx {
		c, err := volume.Decode(r)
		if err != nil {
			j.w.violate("a record that can't be read: %v", err)
		}
		changes = append(changes, c)
	}
	j.w.mu.Lock()
	before := j.w.recorded
	j.w.mu.Unlock()
	next := before.With(changes...)
	j.w.judge(before, next, changes)
	p, err := j.Journal.Append(tx...)
	if err == nil {
		j.w.mu.Lock()
		defer j.w.mu.Unlock()
		j.w.recorded = next
		j.w.synced = append(j.w.synced, promise{p, next})
	}
	return p, err
}

// snapshots is after how many transactions the journal has grown enough for a snapshot: few, so that
// each history has some, of which the next start knows all that went before.
const snapshots = 7

func (j witness) Grown() bool {
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	j.w.appended++
	return j.w.appended%snapshots == 0
}

func (j witness) Cut() (*checkpoint.Cut, error) {
	j.w.y.snapshots.Add(1)
	return j.Journal.Cut()
}

func (j witness) Sync(ctx context.Context, p checkpoint.Position) error {
	err := j.Journal.Sync(ctx, p)
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	for err == nil && len(j.w.synced) > 1 && j.w.synced[1].at <= p {
		j.w.synced = j.w.synced[1:]
	}
	return err
}

// judge holds a transaction against the kernel before it is written: what it says of the
// kernel is so.
func (w *world) judge(before, next *volume.State, changes []volume.Change) {
	w.k.Lock()
	defer w.k.Unlock()
	p := w.k.Pools[""]
	for _, c := range changes {
		switch {
		case c.Operation != nil:
			w.judgeOperation(before, next, c.Operation, changes)
		case c.Volume != nil:
			w.judgeVolume(before, next, c.Volume, p)
		case c.Drop != nil && c.Drop.Path != "":
			t, _ := before.Task(c.Drop.Task)
			if m := w.k.Mounts[path.Join(t.Sandbox, c.Drop.Path)]; m.Volume == c.Drop.Volume {
				w.violate("%+v while it is mounted", *c.Drop)
			}
		case c.Drop != nil && c.Drop.Volume != "":
			v, _ := before.Volume(c.Drop.Volume)
			_, incoming := p.Incoming[v.UUID]
			_, live := p.Live[v.UUID]
			_, trash := p.Trash[v.UUID]
			if _, limited := p.Limits[v.Project]; incoming || live || trash || limited {
				w.violate("volume %s is dropped while something of it is there: %+v", v.UUID, p)
			}
		case c.Drop != nil && c.Drop.Task != "":
			t, _ := before.Task(c.Drop.Task)
			if w.k.Sandboxes[t.Sandbox] != "" && t.Own {
				w.violate("task %s is dropped while its sandbox is there", t.ID)
			}
		}
	}
}

// judgeOperation: what has ended stays as it is, and of what fails nothing is left that it has
// made itself, but for a volume that somebody else has come to hold.
func (w *world) judgeOperation(before, next *volume.State, o *volume.OperationStatus, changes []volume.Change) {
	was, known := before.Operation(o.ID)
	if !known && o.Type == "CREATE" {
		for _, c := range changes {
			if c.Volume != nil && c.Volume.Phase == volume.Creating {
				w.mu.Lock()
				w.makes[o.ID] = c.Volume.UUID
				w.mu.Unlock()
			}
		}
	}
	if known && was.State != volume.OperationPending && was.State != o.State {
		w.violate("operation %s was %s, and is recorded as %s", o.ID, was.State, o.State)
	}
	if !known || o.State != volume.OperationFailed {
		return
	}
	for _, t := range was.Attaching {
		task, _ := next.Task(t.Task)
		a, attached := next.Attachment(t.Unit())
		if !t.There && (attached && !a.Gone || t.Path == "" && task != nil && !task.Releasing) {
			w.violate("operation %s has failed, and of it is left %s", o.ID, t.Unit())
		}
	}
	w.mu.Lock()
	id := w.makes[o.ID]
	w.mu.Unlock()
	if v, ok := next.Volume(id); ok && v.Phase != volume.Destroying {
		w.violate("operation %s has failed, and its volume %s is left", o.ID, id)
	}
}

func (w *world) judgeVolume(before, next *volume.State, v *volume.Volume, p *agenttest.Pool) {
	was, known := before.Volume(v.UUID)
	dir, live := p.Live[v.UUID]
	switch {
	case v.Phase == volume.Ready && (!known || was.Phase != volume.Ready) && (!live || dir.Loose):
		w.violate("volume %s is ready, and its directory is %+v", v.UUID, dir)
	case v.Phase == volume.Destroying && len(next.Holders(v.UUID)) > 0:
		for a := range next.AttachmentsOf(v.UUID) {
			if !a.Gone {
				w.violate("volume %s is destroyed under %s", v.UUID, a.Unit())
			}
		}
	}
	for other := range all(next) {
		if other.UUID != v.UUID && (other.Project == v.Project && v.Project != 0 || other.Group == v.Group && v.Group != 0) {
			w.violate("volumes %s and %s have project %d, %d and group %d, %d", v.UUID, other.UUID, v.Project, other.Project, v.Group, other.Group)
		}
	}
}

// all yields every volume, tombstones included.
func all(s *volume.State) iter.Seq[*volume.Volume] {
	return func(yield func(*volume.Volume) bool) {
		for v := range s.Volumes(volume.Name{}) {
			if !yield(v) {
				return
			}
		}
		for v := range s.Tombstones() {
			if !yield(v) {
				return
			}
		}
	}
}
