package wire

import (
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Task is a group of processes that uses volumes.
type Task struct {
	ID          string       `json:"id"`
	Sandbox     string       `json:"sandbox"`        // absolute path of its directory; empty where it lives by a process and needs none
	Own         bool         `json:"own"`            // the agent made the sandbox and removes it
	User        *volume.ID   `json:"user,omitempty"` // whose the sandbox is that the agent made; none is root
	Lease       Lease        `json:"lease"`
	Since       time.Time    `json:"since"`
	Killing     bool         `json:"killing,omitempty"` // its processes are being ended
	Releasing   bool         `json:"releasing"`         // it has ended and is being removed
	Attachments []Attachment `json:"attachments"`
	IO          []DiskLimit  `json:"io,omitempty"`        // what it may read and write, by disk
	IOCgroup    string       `json:"io_cgroup,omitempty"` // that has those limits, where that of its lease can't: to be joined as well
	Held        *Held        `json:"held,omitempty"`      // where it was asked for, and the task has a lease
	Fault       *Fault       `json:"fault,omitempty"`
}

// Attachment is one use of a volume by a task.
type Attachment struct {
	Volume    string        `json:"volume"` // role/id
	UUID      volume.UUID   `json:"uuid"`
	Task      string        `json:"task"`
	Path      string        `json:"path"` // relative to the sandbox; by namespace, also absolute
	Mode      resource.Mode `json:"mode"`
	NoExec    bool          `json:"no_exec,omitempty"` // no program on it can be run
	As        *volume.ID    `json:"as,omitempty"`      // as whose files of the volume's owner appear; none is as they are
	Via       volume.Via    `json:"via"`               // claim, path, descriptor or namespace
	PID       int           `json:"pid,omitempty"`     // by namespace: a process that is in it
	Group     uint32        `json:"group,omitempty"`   // the volume's own, which processes need to have that use it; none with as
	Since     time.Time     `json:"since"`
	Detaching bool          `json:"detaching"`
	Closed    bool          `json:"closed,omitempty"` // its mode is RW, and it is read-only until the volume is within its size again
	Fault     *Fault        `json:"fault,omitempty"`
}

// Tasks is one page of a list of tasks, in the order of ids.
type Tasks struct {
	Tasks []Task `json:"tasks"`
	Next  string `json:"next,omitempty"` // id to ask for what comes after; none at the end
}

// TasksOf makes the page of at most limit tasks that come after an id, each like TaskOf.
func TasksOf(s *volume.State, after string, limit int, view View) Tasks {
	page := Tasks{Tasks: []Task{}}
	for t := range s.Tasks(after) {
		if len(page.Tasks) == limit {
			page.Next = page.Tasks[limit-1].ID
			break
		}
		page.Tasks = append(page.Tasks, TaskOf(s, t, view))
	}
	return page
}

// TaskOf tells all about one task of s, but for its uses of volumes that may not be seen.
func TaskOf(s *volume.State, t *volume.Task, view View) Task {
	w := Task{
		ID: t.ID, Sandbox: t.Sandbox, Own: t.Own, User: t.User, Lease: leaseOf(t.Lease), Since: t.Since, Killing: t.Killing, Releasing: t.Releasing,
		IO: limitsOf(t.IO), IOCgroup: t.IOGroup,
		Attachments: []Attachment{}, Fault: faultOf(s, volume.UnitOfTask(t.ID)),
	}
	for a := range s.AttachmentsIn(t.ID) {
		if view.unit(s, a.Unit()) {
			w.Attachments = append(w.Attachments, AttachmentOf(s, a))
		}
	}
	return w
}

// AttachmentOf tells all about one attachment of s.
func AttachmentOf(s *volume.State, a *volume.Attachment) Attachment {
	w := Attachment{
		UUID: a.Volume, Task: a.Task, Path: a.Path, Mode: a.Mode, NoExec: a.NoExec, As: a.As, Via: a.Via, PID: a.PID, Since: a.Since,
		Detaching: a.Gone, Fault: faultOf(s, a.Unit()),
	}
	w.Closed = s.InForce(a).Mode != a.Mode && (a.Via == volume.ByPath || a.Via == volume.ByNamespace)
	if v, ok := s.Volume(a.Volume); ok {
		w.Volume = v.Name.String()
		if a.As == nil {
			w.Group = v.Group
		}
	}
	return w
}
