package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"tenon/agent/client"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// problemError is an error that is told as programs read it.
type problemError struct{ error }

// Unwrap gives the error itself.
func (e problemError) Unwrap() error { return e.error }

// tellError writes an error: for people as a sentence with what to do, for programs as the
// API would tell it. One without a text is not told.
func tellError(w io.Writer, err error) {
	switch asked := (problemError{}); {
	case err.Error() == "":
	case errors.As(err, &asked):
		_ = writeJSON(w, problemOf(asked.error)) // there is nobody else to be told
	default:
		fmt.Fprintln(w, "tenon: "+err.Error())
	}
}

// problemOf is an error as the API tells it; what the agent has told stays as it is.
func problemOf(err error) wire.Problem {
	if advised := (advice{}); errors.As(err, &advised) {
		err = advised.error
	}
	if told := (*client.Error)(nil); errors.As(err, &told) {
		return told.Problem
	}
	if usage := (usageError{}); errors.As(err, &usage) {
		return wire.NewProblem(volume.ErrInvalid, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return wire.ProblemOf(err)
}
