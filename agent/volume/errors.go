package volume

import (
	"errors"
	"time"

	"tenon/agent/resource"
)

// The kinds of refusals and failures. Callers decide on them with errors.Is; HTTP
// codes, gRPC codes and exit codes each come from one table over these.
var (
	ErrInvalid      = resource.ErrInvalid              // the request can never be right as it stands
	ErrForbidden    = errors.New("forbidden")          // whoever asks may not
	ErrNotFound     = errors.New("not found")          // no such volume, task, attachment or disk
	ErrExists       = errors.New("exists")             // the name is taken by something else
	ErrInUse        = errors.New("in use")             // tasks hold it
	ErrInsufficient = errors.New("insufficient space") // the reservation or the disk has less
	ErrPending      = errors.New("pending")            // it is being made or removed; ask again
	ErrBusy         = errors.New("busy")               // the kernel refuses while processes use the mount
	ErrLost         = errors.New("lost")               // its data is gone; it is never made anew
	ErrUnavailable  = errors.New("unavailable")        // its disk is not there
	ErrFailed       = errors.New("failed")             // the kernel or the disk refused; will be tried again
	ErrStopped      = errors.New("agent is stopping")  // nothing was changed
	ErrJournal      = errors.New("journal has failed") // nothing more is acknowledged until a restart
)

// Kinds lists every kind, for the tables and their tests.
func Kinds() []error {
	return []error{ErrInvalid, ErrForbidden, ErrNotFound, ErrExists, ErrInUse, ErrInsufficient, ErrPending,
		ErrBusy, ErrLost, ErrUnavailable, ErrFailed, ErrStopped, ErrJournal}
}

// Error is a refusal or failure with its kind. It matches the kind and its cause.
type Error struct {
	Kind    error
	Message string   // one sentence with the object and the reason
	Holders []Holder // of the volume, where they are the reason
	Cause   error    // may be nil
}

// Error gives the sentence.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Kind finds the kind of an error: one of Kinds, or nil when it has none.
func Kind(err error) error {
	for _, k := range Kinds() {
		if errors.Is(err, k) {
			return k
		}
	}
	return nil
}

// Holder is a task that holds a volume: one entry of the set whose size is the
// volume's reference count.
type Holder struct {
	Task    string
	PID     int // of the process that claimed, 0 if none is known
	Mode    resource.Mode
	NoExec  bool // in none of its uses anything can be run
	As      []ID // as whose it sees the owner's files, in those uses that are mapped
	Via     Via
	Since   time.Time
	Targets []string // container paths
}
