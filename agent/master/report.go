package master

import (
	"encoding/json"
	"io"

	"tenon/agent/volume"
	"tenon/agent/wire"
)

// Schema is the version of Report. Fields are added under the same version; a change that a
// reader must know of gets the next one.
const Schema = 1

// MaxItems bounds a report: volumes with their holders and tasks with their attachments count
// one each. What is beyond is left out and the report says so.
const MaxItems = 250_000

// Report is all that a master is told: the whole latest state, as far as its principal may
// see it. A report is newer than another of the same Started if its Sequence is greater, and
// of two runs of the agent that with the later Started is.
type Report struct {
	Schema    int           `json:"schema"`
	Agent     string        `json:"agent"`              // the agent's identity, for ever
	Boot      string        `json:"boot"`               // of the host
	Index     uint64        `json:"index"`              // version of the state; begins anew when the agent starts
	Sequence  uint64        `json:"sequence"`           // counts the reports to this master since Status.Started, over all connections
	Register  bool          `json:"register,omitempty"` // the first of a connection: what was not answered before is lost
	Status    wire.Status   `json:"status"`
	Results   []Result      `json:"results"` // of this master's orders that it has not acknowledged
	Volumes   []wire.Volume `json:"volumes"`
	Tasks     []wire.Task   `json:"tasks"`
	Truncated bool          `json:"truncated,omitempty"` // there are more volumes or tasks, as the counts in Status say
}

// head is a Report without its lists. Its fields are written before those.
type head struct {
	Schema   int         `json:"schema"`
	Agent    string      `json:"agent"`
	Boot     string      `json:"boot"`
	Index    uint64      `json:"index"`
	Sequence uint64      `json:"sequence"`
	Register bool        `json:"register,omitempty"`
	Status   wire.Status `json:"status"`
	Results  []Result    `json:"results"`
}

// StatusOf is the status that a master is told.
func (s *Session) StatusOf(st *volume.State) wire.Status {
	return wire.StatusOf(st, s.node.About().About)
}

// WriteReport writes the Report of st as JSON, one volume or task at a time, so that memory
// holds one of them. One caller at a time.
func (s *Session) WriteReport(w io.Writer, st *volume.State) error {
	start, err := json.Marshal(head{
		Schema: Schema, Agent: st.Agent, Boot: st.Boot, Index: st.Version, Sequence: s.node.About().Reports.Add(1),
		Register: !s.registered, Status: s.StatusOf(st), Results: s.Results(st),
	})
	s.registered = true
	if err != nil {
		return err
	}
	out := listWriter{w: w, room: MaxItems}
	out.raw(start[:len(start)-1])
	out.begin("volumes")
	for v := range s.Volumes(st) {
		out.item(1+len(v.Holders), v)
	}
	out.raw([]byte("]"))
	out.begin("tasks")
	for t := range s.Tasks(st) {
		out.item(1+len(t.Attachments), t)
	}
	out.raw([]byte("]"))
	if out.room < 0 {
		out.raw([]byte(`,"truncated":true`))
	}
	out.raw([]byte("}"))
	return out.err
}

// Volumes yields all volumes that the master may see, in the order of their names.
func (s *Session) Volumes(st *volume.State) func(yield func(wire.Volume) bool) {
	view := s.node.About().View
	return func(yield func(wire.Volume) bool) {
		for v := range st.Volumes(volume.Name{}) {
			if view.Volume(v) && !yield(wire.VolumeOf(st, v)) {
				return
			}
		}
	}
}

// Tasks yields all tasks, in the order of their ids, without uses of volumes that the master
// may not see.
func (s *Session) Tasks(st *volume.State) func(yield func(wire.Task) bool) {
	view := s.node.About().View
	return func(yield func(wire.Task) bool) {
		for t := range st.Tasks("") {
			if !yield(wire.TaskOf(st, t, view)) {
				return
			}
		}
	}
}

// listWriter writes lists of an object, until an error or until there is no room.
type listWriter struct {
	w     io.Writer
	room  int
	comma bool
	err   error
}

func (l *listWriter) raw(data []byte) {
	if l.err == nil {
		_, l.err = l.w.Write(data)
	}
}

func (l *listWriter) begin(name string) {
	l.raw([]byte(`,"` + name + `":[`))
	l.comma = false
}

func (l *listWriter) item(size int, v any) {
	if l.room -= size; l.room < 0 || l.err != nil {
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		l.err = err
		return
	}
	if l.comma {
		l.raw([]byte(","))
	}
	l.comma = true
	l.raw(data)
}
