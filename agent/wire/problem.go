package wire

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is how a refusal or failure is told (RFC 9457). It tells a program what to
// do by Kind, a person by Detail.
type Problem struct {
	Type    string   `json:"type"`              // "urn:tenon:problem:" and the kind
	Title   string   `json:"title"`             // what the kind means
	Status  int      `json:"status"`            // of HTTP
	Detail  string   `json:"detail"`            // one sentence with the object and the reason
	Kind    string   `json:"kind"`              // one of the kinds of package volume, in snake case
	Holders []Holder `json:"holders,omitempty"` // of the volume, where they are the reason
}

// kinds is the one table that says what each kind of volume.Kinds is called and which
// HTTP status it has.
var kinds = []struct {
	kind   error
	name   string
	status int
	title  string
}{
	{volume.ErrInvalid, "invalid", http.StatusBadRequest, "The request is not valid"},
	{volume.ErrForbidden, "forbidden", http.StatusForbidden, "Not allowed"},
	{volume.ErrNotFound, "not_found", http.StatusNotFound, "Not found"},
	{volume.ErrExists, "exists", http.StatusConflict, "Exists already"},
	{volume.ErrInUse, "in_use", http.StatusConflict, "In use"},
	{volume.ErrInsufficient, "insufficient", http.StatusConflict, "Not enough space"},
	{volume.ErrPending, "pending", http.StatusConflict, "Not finished yet"},
	{volume.ErrBusy, "busy", http.StatusConflict, "Busy"},
	{volume.ErrLost, "lost", http.StatusGone, "The volume's data is gone"},
	{volume.ErrUnavailable, "unavailable", http.StatusServiceUnavailable, "The disk is not there"},
	{volume.ErrFailed, "failed", http.StatusInternalServerError, "Failed"},
	{volume.ErrStopped, "stopping", http.StatusServiceUnavailable, "The agent is stopping"},
	{volume.ErrJournal, "journal", http.StatusServiceUnavailable, "The journal has failed"},
}

// KindName is what a kind is called here; of anything else, "failed".
func KindName(kind error) string {
	for _, k := range kinds {
		if k.kind == kind {
			return k.name
		}
	}
	return KindName(volume.ErrFailed)
}

// KindNamed is the kind of that name, or nil.
func KindNamed(name string) error {
	for _, k := range kinds {
		if k.name == name {
			return k.kind
		}
	}
	return nil
}

// KindNames lists what all kinds are called.
func KindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// ProblemOf tells an error. One without a kind counts as failed, except that of a
// context: at its deadline the work goes on, which is pending with status 504, and a
// cancelled one is the agent's stopping.
func ProblemOf(err error) Problem {
	kind := volume.Kind(err)
	switch {
	case kind != nil:
	case errors.Is(err, context.DeadlineExceeded):
		p := NewProblem(volume.ErrPending, "it is not finished in the time that a request has; "+
			"what was recorded goes on, and the same request waits for it")
		p.Status = http.StatusGatewayTimeout
		return p
	case errors.Is(err, context.Canceled):
		return NewProblem(volume.ErrStopped, "the agent is stopping; what was recorded goes on when it starts again")
	default:
		kind = volume.ErrFailed
	}
	p := NewProblem(kind, strings.ReplaceAll(err.Error(), "\n", "; "))
	if e := (*volume.Error)(nil); errors.As(err, &e) && len(e.Holders) > 0 {
		p.Holders = holdersOf(e.Holders)
	}
	return p
}

// NewProblem makes a Problem of a kind; detail is one sentence.
func NewProblem(kind error, detail string) Problem {
	for _, k := range kinds {
		if k.kind == kind {
			return Problem{Type: "urn:tenon:problem:" + k.name, Title: k.title, Status: k.status, Detail: detail, Kind: k.name}
		}
	}
	return NewProblem(volume.ErrFailed, detail)
}

// Holder is a task that holds a volume.
type Holder struct {
	Task    string        `json:"task"`
	PID     int           `json:"pid,omitempty"`     // of the process that claimed, where one is known
	Mode    resource.Mode `json:"mode"`              // RW where any of its uses is
	NoExec  bool          `json:"no_exec,omitempty"` // in none of its uses anything can be run
	As      []volume.ID   `json:"as,omitempty"`      // as whose it sees the owner's files, in those uses that are mapped
	Via     volume.Via    `json:"via"`               // claim, path, descriptor or namespace
	Since   time.Time     `json:"since"`
	Targets []string      `json:"targets"` // paths in its sandbox
}

func holdersOf(hs []volume.Holder) []Holder {
	list := make([]Holder, len(hs))
	for i, h := range hs {
		list[i] = Holder(h)
	}
	return list
}

// Fault is what keeps something from being what it should be.
type Fault struct {
	Kind   string    `json:"kind"` // lost, unavailable, busy or failed
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

func faultOf(s *volume.State, u volume.Unit) *Fault {
	f, bad := s.Fault(u)
	if !bad {
		return nil
	}
	return &Fault{Kind: KindName(f.Kind), Reason: f.Reason, Since: f.Since}
}
