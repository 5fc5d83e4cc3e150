package resource

import (
	"errors"
	"fmt"
)

// ErrInvalid is matched by every error of this package: what was given is not a
// resource, or not one that may exist.
var ErrInvalid = errors.New("invalid resource")

// Error says why something was refused. Where Mesos has words for it, they are its
// words, because clients look for them.
type Error struct {
	Resource string // printed form of the resource refused; "" when there is none
	Reason   string // what is wrong with it
	named    bool   // whether the message names the resource
}

// Error is the message.
func (e *Error) Error() string {
	if e.named {
		return fmt.Sprintf("Resource '%s' is invalid: %s", e.Resource, e.Reason)
	}
	return e.Reason
}

// Unwrap makes every Error match ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

// invalidf is an error about something that is not, or not yet, a resource.
func invalidf(format string, args ...any) error {
	return &Error{Reason: fmt.Sprintf(format, args...)}
}

// invalid is an error that names the resource in Mesos' way.
func (r Resource) invalid(format string, args ...any) error {
	return &Error{Resource: r.String(), Reason: fmt.Sprintf(format, args...), named: true}
}

// refused is an error about r whose message its caller completes.
func (r Resource) refused(format string, args ...any) error {
	return &Error{Resource: r.String(), Reason: fmt.Sprintf(format, args...)}
}
