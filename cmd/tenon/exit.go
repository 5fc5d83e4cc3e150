package main

import (
	"errors"

	"tenon/agent/volume"
)

// The exit codes of every command but run, which exits as its command does and keeps
// 125 to 127 for itself.
const (
	exitOK      = 0
	exitFailed  = 1 // anything that has no code of its own
	exitUsage   = 2 // a command line or a request that can never be right
	exitRunSelf = 125
	exitRunExec = 126 // the command can't be run
	exitRunNone = 127 // the command is not found
)

// exitCodes is the one table of kinds and their exit codes.
var exitCodes = map[error]int{
	volume.ErrInvalid:      exitUsage,
	volume.ErrNotFound:     3,
	volume.ErrExists:       4,
	volume.ErrInUse:        5,
	volume.ErrBusy:         6,
	volume.ErrInsufficient: 7,
	volume.ErrPending:      8,
	volume.ErrForbidden:    9,
	volume.ErrUnavailable:  10,
	volume.ErrLost:         11,
	volume.ErrFailed:       exitFailed,
	volume.ErrStopped:      12,
	volume.ErrJournal:      13,
}

// usageError is a command line that can't be right.
type usageError struct{ error }

// codeError ends the program with a code of its own, quietly where its text is empty.
type codeError struct {
	code int
	text string
}

func (e codeError) Error() string { return e.text }

// exitCode is the code for an error of a command.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if own := (codeError{}); errors.As(err, &own) {
		return own.code
	}
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	if code, ok := exitCodes[volume.Kind(err)]; ok {
		return code
	}
	return exitFailed
}
