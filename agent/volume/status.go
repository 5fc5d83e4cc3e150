package volume

import (
	"cmp"
	"strings"
	"time"

	"tenon/agent/resource"
)

// OperationState is how far an operation with an id has come (spec.md 3.13).
type OperationState string

// The states of operations that are kept. One that is refused changes nothing, is told to
// whoever asked, and is not kept.
const (
	OperationPending  OperationState = "OPERATION_PENDING"
	OperationFinished OperationState = "OPERATION_FINISHED"
	OperationFailed   OperationState = "OPERATION_FAILED" // nothing that it did is left: it was taken back, or its task or a mount of it went before it was there
)

// OperationStatus is what is kept of an operation that had an id: enough to do it only once
// and to tell what became of it. It is recorded in one transaction with what the operation
// changes. The last MaxOperations are kept.
type OperationStatus struct {
	ID           string         `json:"id"`
	Type         string         `json:"type"`              // "CREATE"
	Digest       string         `json:"digest"`            // of all that it asked for
	Principal    string         `json:"principal"`         // of whoever asked; empty is unknown
	State        OperationState `json:"state"`             //
	Message      string         `json:"message,omitempty"` // why it failed
	Since        time.Time      `json:"since"`
	Acknowledged bool           `json:"acknowledged,omitempty"`

	// With names the first of the operations that end together, where this is another one.
	With string `json:"with,omitempty"`

	// What has to come about before any of them is finished: on the first, whatever does not
	// fail an operation alone, which is over when it went as well as when it came about.
	Making   []UUID   `json:"making,omitempty"`
	Removing []UUID   `json:"removing,omitempty"`
	Settling []Target `json:"settling,omitempty"` // volumes whose limits follow their sizes; what operations without ids attach

	// Attaching is on each operation its task and the mounts that it asks for, without which it
	// has failed. What has come about stays until the operation ends.
	Attaching []Target `json:"attaching,omitempty"`
}

// Target names an attachment; without a path a task; with nothing else a volume.
type Target struct {
	Volume UUID   `json:"volume,omitempty"`
	Task   string `json:"task,omitempty"`
	Path   string `json:"path,omitempty"`
	There  bool   `json:"there,omitempty"` // before the operation: if that fails, it stays
	Done   bool   `json:"-"`               // it has come about, which the next start sees again
}

// Unit is what it names.
func (t Target) Unit() Unit {
	switch {
	case t.Path != "":
		return Unit{Kind: AttachmentUnit, Volume: t.Volume, Task: t.Task, Path: t.Path}
	case t.Task != "":
		return UnitOfTask(t.Task)
	}
	return UnitOfVolume(t.Volume)
}

// MaxOperations is how many operations with ids are kept; the oldest that are not at work
// make room for new ones.
const MaxOperations = 1000

// Identified is a group of operations that are done once under one id: asked for again by the
// same principal, who must still be allowed to, it changes nothing, and waits for what it
// waited for. Refused with ErrExists where the id was used by somebody else, who is told
// nothing more, or for something else, with ErrFailed where it has failed, or as its
// operations are.
type Identified struct {
	ID         string
	Type       string // Mesos' type of operation
	Digest     string // equal for equal operations only
	Principal  string // of whoever asks
	Operations []Operation
}

// Acknowledge says that whoever asked has noted how an operation ended; it is told no more.
// Refused with ErrNotFound, or ErrPending while it is at work.
type Acknowledge struct{ ID string }

// Name is the verb of what it groups, which is all of one kind.
func (o Identified) Name() string {
	if len(o.Operations) > 0 {
		return o.Operations[0].Name()
	}
	return strings.ToLower(o.Type)
}

// Name is "acknowledge".
func (Acknowledge) Name() string { return "acknowledge" }

func (o Identified) apply(d *draft) error {
	if err := resource.CheckID(o.ID); err != nil {
		return invalid(err, "operation id")
	}
	if old, known := d.Operation(o.ID); known {
		return o.again(d, old)
	}
	for _, other := range d.identified {
		if other.ID == o.ID {
			return refuse(ErrInvalid, "operation id %q occurs twice in the batch", o.ID)
		}
	}
	touched, seen := d.touched, d.seen
	d.touched, d.seen = nil, map[Unit]bool{}
	for _, op := range o.Operations {
		if _, group := op.(Identified); group {
			return refuse(ErrInvalid, "operation id %q is for a group that has another group with an id in it", o.ID)
		}
		if err := d.do(op); err != nil {
			return err
		}
	}
	own := d.touched
	d.touched, d.seen = touched, seen
	for _, u := range own {
		d.touch(u)
	}
	d.identified = append(d.identified, recorded{own, &OperationStatus{ID: o.ID, Type: o.Type, Digest: o.Digest, Principal: o.Principal,
		State: OperationPending, Since: d.notBefore(d.env.Now)}})
	return nil
}

// again meets an operation that was recorded before.
func (o Identified) again(d *draft, old *OperationStatus) error {
	switch {
	case old.Principal != o.Principal:
		return refuse(ErrExists, "operation id %q was used by somebody else; use another one", o.ID)
	case old.Digest != o.Digest:
		return refuse(ErrExists, "operation id %q was used at %s for another %s", o.ID, old.Since.Format(time.RFC3339), old.Type)
	}
	for _, op := range o.Operations {
		if err := d.allow(op); err != nil {
			return err
		}
	}
	if old.State == OperationFailed {
		return refuse(ErrFailed, "operation %q has failed: %s", o.ID, old.Message)
	}
	for _, m := range d.batchOf(old) {
		d.recalled = append(d.recalled, m.unfinished()...)
	}
	return nil
}

// recorded is an operation with an id that a batch records, and what it touches.
type recorded struct {
	own []Unit
	*OperationStatus
}

// record keeps the batch's operations that have ids. They end together, since the batch is
// all or nothing.
func (d *draft) record() error {
	if len(d.identified) == 0 {
		return nil
	}
	if err := d.makeRoom(len(d.identified)); err != nil {
		return err
	}
	var b batch
	owned := map[Unit]bool{}
	for _, o := range d.identified {
		for _, u := range o.own {
			if t, is := d.target(u); is && u.Kind != VolumeUnit {
				t.There = d.before.Has(u) || owned[u]
				o.Attaching, owned[u] = append(o.Attaching, t), true
			}
		}
		b = append(b, o.OperationStatus)
	}
	b[0].await(d, owned)
	d.put(d.regroup(nil, b)...)
	return nil
}

// target is a unit that has to come about, as the batch leaves it; none is one that is to go.
func (s *State) target(u Unit) (Target, bool) {
	t := Target{Volume: u.Volume, Task: u.Task, Path: u.Path}
	switch u.Kind {
	case VolumeUnit:
		v, ok := s.Volume(u.Volume)
		return t, ok && v.Phase == Ready
	case TaskUnit:
		task, ok := s.Task(u.Task)
		return t, ok && !task.Releasing && !task.Killing
	case AttachmentUnit:
		a, ok := s.Attachment(u)
		return t, ok && a.mounts()
	}
	return t, false
}

// mounts says whether an attachment is to be mounted by the agent.
func (a *Attachment) mounts() bool { return !a.Gone && (a.Via == ByPath || a.Via == ByNamespace) }

// await notes what has to come about of what the batch touches, but for what its operations
// with ids have noted as their own.
func (o *OperationStatus) await(d *draft, owned map[Unit]bool) {
	for _, u := range d.touched {
		t, settles := d.target(u)
		switch v, ok := d.Volume(u.Volume); {
		case settles && !owned[u]:
			o.Settling = append(o.Settling, t)
		case u.Kind == VolumeUnit && ok && v.Phase == Creating:
			o.Making = append(o.Making, v.UUID)
		case u.Kind == VolumeUnit && ok && v.Phase == Destroying:
			o.Removing = append(o.Removing, v.UUID)
		}
	}
}

// makeRoom forgets the oldest operations that are not at work, so that n more may be kept.
func (d *draft) makeRoom(n int) error {
	if n > MaxOperations {
		return refuse(ErrInvalid, "the batch has %d operations with ids, of which %d are kept; divide it", n, MaxOperations)
	}
	for d.operations.Len()+n > MaxOperations {
		oldest, found := d.oldestDone()
		if !found {
			return refuse(ErrPending, "%d operations with ids are at work, of %d that there may be; ask again later",
				d.operations.Len(), MaxOperations)
		}
		d.put(Change{Drop: &Drop{Operation: oldest.ID}})
	}
	return nil
}

func (o Acknowledge) apply(d *draft) error {
	old, ok := d.Operation(o.ID)
	switch {
	case !ok:
		return refuse(ErrNotFound, "there is no operation %q", o.ID)
	case old.State == OperationPending:
		return refuse(ErrPending, "operation %q is at work", o.ID)
	case old.Acknowledged:
		return nil
	}
	told := *old
	told.Acknowledged = true
	d.put(Change{Operation: &told, Relaxed: true})
	return nil
}

// endOfTime is after every time of an operation.
var endOfTime = time.Unix(1<<55, 0)

// notBefore is now, or just after the newest operation where the clock was set back since then:
// which operation is the oldest, and forgotten first, must not depend on who sets the clock.
func (s *State) notBefore(now time.Time) time.Time {
	for _, last := range []*OperationStatus{
		{State: OperationPending, Since: endOfTime},
		{State: OperationFinished, Acknowledged: true, Since: endOfTime},
		{State: OperationFinished, Since: endOfTime},
	} {
		s.byAge.Descend(last, func(o *OperationStatus) bool {
			if !o.Since.Before(now) {
				now = o.Since.Add(time.Nanosecond)
			}
			return false
		})
	}
	return now
}

// compareAge puts operations at work before others, those that whoever asked knows the end
// of next, and older ones first.
func compareAge(a, b *OperationStatus) int {
	rank := func(o *OperationStatus) int {
		switch {
		case o.State == OperationPending:
			return 0
		case o.Acknowledged:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
}

// Operation finds what is kept of the operation with an id.
func (s *State) Operation(id string) (*OperationStatus, bool) {
	return s.operations.Get(&OperationStatus{ID: id})
}

// Operations yields all that are kept, those at work first, then by age.
func (s *State) Operations() func(yield func(*OperationStatus) bool) {
	return func(yield func(*OperationStatus) bool) { s.byAge.Scan(yield) }
}

// atWork gives the operations that are pending.
func (s *State) atWork() (all []*OperationStatus) {
	for o := range s.Operations() {
		if o.State != OperationPending {
			break
		}
		all = append(all, o)
	}
	return all
}

func (s *State) oldestDone() (found *OperationStatus, ok bool) {
	s.byAge.Ascend(&OperationStatus{State: OperationFinished, Acknowledged: true}, func(o *OperationStatus) bool {
		found, ok = o, true
		return false
	})
	return found, ok
}

func (w *writer) copyOperations() {
	if !w.ownOperations {
		w.operations, w.byAge, w.ownOperations = w.operations.Copy(), w.byAge.Copy(), true
	}
}

func (w *writer) putOperation(o *OperationStatus) {
	w.dropOperation(o.ID)
	w.copyOperations()
	w.operations.Set(o)
	w.byAge.Set(o)
}

func (w *writer) dropOperation(id string) {
	if old, ok := w.Operation(id); ok {
		w.copyOperations()
		w.operations.Delete(old)
		w.byAge.Delete(old)
	}
}
