package wire

import (
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
	EventGap            = "gap"             // Gap
)

// Gone names what is no more.
type Gone struct {
	UUID volume.UUID `json:"uuid,omitempty"` // of a volume
	Task string      `json:"task,omitempty"`
	Path string      `json:"path,omitempty"` // in the sandbox
	Unit string      `json:"unit,omitempty"`
}

// Gap says that events are missing between the one before and the one after it: whoever
// follows has to read the lists anew.
type Gap struct {
	Index uint64 `json:"index"` // version of the state from which it goes on
}

// EventsOf tells changes as they are in s, which has them, but for those that may not be seen.
func EventsOf(s *volume.State, changes []volume.Change, view View) []Event {
	var events []Event
	for _, c := range changes {
		if e, told := eventOf(s, c, view); told {
			events = append(events, e)
		}
	}
	return events
}

func eventOf(s *volume.State, c volume.Change, view View) (e Event, told bool) {
	switch {
	case c.Volume != nil:
		v, there := s.Volume(c.Volume.UUID)
		if there && view.Volume(v) {
			return Event{EventVolume, VolumeOf(s, v)}, true
		}
	case c.Task != nil:
		if t, there := s.Task(c.Task.ID); there {
			return Event{EventTask, TaskOf(s, t, view)}, true
		}
	case c.Attachment != nil:
		a, there := s.Attachment(c.Attachment.Unit())
		if there && view.unit(s, a.Unit()) {
			return Event{EventAttachment, AttachmentOf(s, a)}, true
		}
	case c.Drop != nil:
		return goneOf(*c.Drop)
	case c.Disk != nil:
		for _, d := range disksOf(s) {
			if d.Key == c.Disk.Key {
				return Event{EventDisk, d}, true
			}
		}
	case c.Account != nil && len(c.Account.Reservations) > 0 && view.Reserved(c.Account.Reservations):
		return Event{EventReservation, reservationOf(s, *c.Account)}, true
	case c.Operation != nil:
		if o, kept := s.Operation(c.Operation.ID); kept {
			return Event{EventOperation, OperationOf(s, o)}, true
		}
	case c.Fault != nil && view.unit(s, c.Fault.Unit):
		return faultEvent(s, *c.Fault), true
	}
	return e, false
}

func goneOf(d volume.Drop) (e Event, told bool) {
	switch {
	case d.Path != "":
		return Event{EventAttachmentGone, Gone{UUID: d.Volume, Task: d.Task, Path: d.Path}}, true
	case d.Task != "":
		return Event{EventTaskGone, Gone{Task: d.Task}}, true
	case d.Volume != "":
		return Event{EventVolumeGone, Gone{UUID: d.Volume}}, true
	}
	return e, false // an operation that made room for newer ones
}

func faultEvent(s *volume.State, f volume.FaultOf) Event {
	name := unitName(s, f.Unit)
	if f.Kind == nil {
		return Event{EventSound, Gone{Unit: name}}
	}
	return Event{EventFault, UnitFault{Unit: name, Fault: Fault{Kind: KindName(f.Kind), Reason: f.Reason, Since: f.Since}}}
}
