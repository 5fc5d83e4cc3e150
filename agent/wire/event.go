package wire

import (
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Event is one thing that has changed, as the event stream tells it: a type and what the
// thing is by now. What has gone meanwhile is passed over, since its end is told too.
type Event struct {
	Type string
	Data any
}

// The types of events, each with what its data is.
const (
	EventVolume         = "volume"          // Volume
	EventVolumeGone     = "volume_gone"     // Gone, with the UUID
	EventTask           = "task"            // Task
	EventTaskGone       = "task_gone"       // Gone, with the task's id
	EventAttachment     = "attachment"      // Attachment
	EventAttachmentGone = "attachment_gone" // Gone, with UUID, task and path
	EventDisk           = "disk"            // Disk
	EventReservation    = "reservation"     // Reservation; Free is 0 when nothing of it is left
	EventOperation      = "operation"       // OperationStatus
	EventFault          = "fault"           // UnitFault
	EventSound          = "sound"           // Gone, with the unit that has no fault any more
	EventExceeded       = "exceeded"        // Notice: a volume was found to hold more than its size
	EventWithin         = "within"          // Notice: it is within its size again
	EventGap            = "gap"             // Gap
)

// Gone names what is no more.
type Gone struct {
	UUID volume.UUID `json:"uuid,omitempty"` // of a volume
	Task string      `json:"task,omitempty"`
	Path string      `json:"path,omitempty"` // in the sandbox
	Unit string      `json:"unit,omitempty"`
}

// Notice tells of a volume that holds more than its size, or no longer.
type Notice struct {
	UUID volume.UUID    `json:"uuid"`
	Name string         `json:"name"` // role/id
	Used resource.Bytes `json:"used"`
	Size resource.Bytes `json:"size"`
	At   time.Time      `json:"at"`

	Killed []string `json:"killed,omitempty"` // tasks that are killed for it
}

// Gap says that events are missing between the one before and the one after it: whoever
// follows has to read the lists anew.
type Gap struct {
	Index uint64 `json:"index"` // version of the state from which it goes on
}

// Follower tells one client changes, but for what it may not see. The zero Follower sees
// everything. A Follower is not for several goroutines.
//
// What is gone has no role any more, so a Follower with a View remembers of volumes that are
// being destroyed whether they may be seen: no more of them than maxEnding.
type Follower struct {
	view   View
	asked  Asked
	ending map[volume.UUID]bool
}

// maxEnding bounds what a Follower remembers.
const maxEnding = 1000

// NewFollower makes a Follower that is told all that changes after s.
func NewFollower(s *volume.State, view View, asked Asked) *Follower {
	f := &Follower{view: view, asked: asked}
	if view != nil {
		f.ending = map[volume.UUID]bool{}
		for v := range s.Tombstones() {
			f.remember(v)
		}
	}
	return f
}

func (f *Follower) remember(v *volume.Volume) {
	if len(f.ending) < maxEnding {
		f.ending[v.UUID] = f.view.Volume(v)
	}
}

// Expect looks at changes that are to be told as they are in s: what is gone by then has its
// role in them alone.
func (f *Follower) Expect(s *volume.State, changes []volume.Change) {
	if f.view == nil {
		return
	}
	for _, c := range changes {
		if c.Volume == nil {
			continue
		}
		if v, there := s.Volume(c.Volume.UUID); !there || v.Phase == volume.Destroying {
			f.remember(c.Volume)
		}
	}
}

// Events tells changes as they are in s, which has them. unknown says that something of
// them is gone of which nobody knows whether it may be seen: its end is left out, and whoever
// follows has to be told that there is a gap.
func (f *Follower) Events(s *volume.State, changes []volume.Change) (events []Event, unknown bool) {
	for _, c := range changes {
		if c.Drop != nil {
			e, told, known := f.goneOf(s, *c.Drop)
			if unknown = unknown || !known; told {
				events = append(events, e)
			}
		} else if e, told := f.eventOf(s, c); told {
			events = append(events, e)
		}
	}
	return events, unknown
}

func (f *Follower) eventOf(s *volume.State, c volume.Change) (e Event, told bool) {
	switch {
	case c.Volume != nil:
		v, there := s.Volume(c.Volume.UUID)
		if there && f.view.Volume(v) {
			return Event{EventVolume, VolumeOf(s, v)}, true
		}
	case c.Task != nil:
		if t, there := s.Task(c.Task.ID); there {
			return Event{EventTask, TaskOf(s, t, f.view)}, true
		}
	case c.Attachment != nil:
		a, there := s.Attachment(c.Attachment.Unit())
		if there && f.view.unit(s, a.Unit()) {
			return Event{EventAttachment, AttachmentOf(s, a)}, true
		}
	case c.Disk != nil:
		for _, d := range disksOf(s) {
			if d.Key == c.Disk.Key {
				return Event{EventDisk, d}, true
			}
		}
	case c.Account != nil && len(c.Account.Reservations) > 0 && f.view.Reserved(c.Account.Reservations):
		return Event{EventReservation, reservationOf(s, *c.Account)}, true
	case c.Operation != nil:
		if o, kept := s.Operation(c.Operation.ID); kept && f.asked.sees(o) {
			return Event{EventOperation, OperationOf(s, o)}, true
		}
	case c.Notice != nil:
		if v, there := s.Volume(c.Notice.Volume); there && f.view.Volume(v) {
			return noticeEvent(v, *c.Notice), true
		}
	case c.Fault != nil && f.sees(s, c.Fault.Unit):
		return faultEvent(s, *c.Fault), true
	}
	return e, false
}

// sees says whether a fault of a unit may be told; of a volume that is gone nothing is told
// where there is a view.
func (f *Follower) sees(s *volume.State, u volume.Unit) bool {
	if _, there := s.Volume(u.Volume); f.view != nil && u.Volume != "" && !there {
		return false
	}
	return f.view.unit(s, u)
}

// goneOf tells what is no more. known says whether it is known who may see it.
func (f *Follower) goneOf(s *volume.State, d volume.Drop) (e Event, told, known bool) {
	told, known = true, true
	if d.Volume != "" {
		told, known = f.saw(s, d.Volume)
	}
	switch {
	case d.Path != "":
		return Event{EventAttachmentGone, Gone{UUID: d.Volume, Task: d.Task, Path: d.Path}}, told, known
	case d.Task != "":
		return Event{EventTaskGone, Gone{Task: d.Task}}, told, known
	case d.Volume != "":
		delete(f.ending, d.Volume)
		return Event{EventVolumeGone, Gone{UUID: d.Volume}}, told, known
	}
	return e, false, true // an operation that made room for newer ones
}

// saw says whether a volume may be seen that may be gone, as far as that is known.
func (f *Follower) saw(s *volume.State, id volume.UUID) (told, known bool) {
	if f.view == nil {
		return true, true
	}
	if v, there := s.Volume(id); there {
		return f.view.Volume(v), true
	}
	told, known = f.ending[id]
	return told, known
}

func faultEvent(s *volume.State, f volume.FaultOf) Event {
	name := unitName(s, f.Unit)
	if f.Kind == nil {
		return Event{EventSound, Gone{Unit: name}}
	}
	return Event{EventFault, UnitFault{Unit: name, Fault: Fault{Kind: KindName(f.Kind), Reason: f.Reason, Since: f.Since}}}
}

func noticeEvent(v *volume.Volume, n volume.Notice) Event {
	kind := EventWithin
	if n.Over {
		kind = EventExceeded
	}
	return Event{kind, Notice{UUID: v.UUID, Name: v.Name.String(), Used: n.Used, Size: n.Size, At: n.At, Killed: n.Killed}}
}
