package volume

import (
	"cmp"
	"slices"
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
	OperationFailed   OperationState = "OPERATION_FAILED" // it was taken back, or what it was to make or mount went before it was there
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

	// With names the operation of the same batch whose end is also this one's.
	With string `json:"with,omitempty"`

	// What has to come about before the batch is finished.
	Making    []UUID   `json:"making,omitempty"`
	Removing  []UUID   `json:"removing,omitempty"`
	Attaching []Target `json:"attaching,omitempty"`
}

// Target names an attachment.
type Target struct {
	Volume UUID   `json:"volume"`
	Task   string `json:"task"`
	Path   string `json:"path"`
}

// Unit is the attachment's.
func (t Target) Unit() Unit {
	return Unit{Kind: AttachmentUnit, Volume: t.Volume, Task: t.Task, Path: t.Path}
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
	for _, op := range o.Operations {
		if _, group := op.(Identified); group {
			return refuse(ErrInvalid, "operation id %q is for a group that has another group with an id in it", o.ID)
		}
		if err := d.do(op); err != nil {
			return err
		}
	}
	d.identified = append(d.identified, &OperationStatus{ID: o.ID, Type: o.Type, Digest: o.Digest, Principal: o.Principal,
		State: OperationPending, Since: d.notBefore(d.env.Now)})
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
	if first, ok := d.Operation(old.With); ok {
		old = first
	}
	for _, id := range slices.Concat(old.Making, old.Removing) {
		d.recalled = append(d.recalled, UnitOfVolume(id))
	}
	for _, t := range old.Attaching {
		d.recalled = append(d.recalled, t.Unit())
	}
	return nil
}

// record keeps the batch's operations that have ids. They end together, since the batch is
// all or nothing: the first one waits for all that has to come about, the others for it.
func (d *draft) record() error {
	if len(d.identified) == 0 {
		return nil
	}
	if err := d.makeRoom(len(d.identified)); err != nil {
		return err
	}
	first := d.identified[0]
	first.await(d)
	for _, o := range d.identified {
		if first.done() {
			o.State = OperationFinished
		} else if o != first {
			o.With = first.ID
		}
		d.put(Change{Operation: o})
	}
	return nil
}

// await notes what has to come about of what the batch touches for it to be finished.
func (o *OperationStatus) await(d *draft) {
	for _, u := range d.touched {
		switch u.Kind {
		case VolumeUnit:
			switch v, ok := d.Volume(u.Volume); {
			case ok && v.Phase == Creating:
				o.Making = append(o.Making, v.UUID)
			case ok && v.Phase == Destroying:
				o.Removing = append(o.Removing, v.UUID)
			}
		case AttachmentUnit:
			if a, ok := d.Attachment(u); ok && (a.Via == ByPath || a.Via == ByNamespace) && !a.Gone {
				o.Attaching = append(o.Attaching, Target{Volume: a.Volume, Task: a.Task, Path: a.Path})
			}
		}
	}
}

// done says whether nothing is left to come about.
func (o *OperationStatus) done() bool { return len(o.Making)+len(o.Removing)+len(o.Attaching) == 0 }

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
