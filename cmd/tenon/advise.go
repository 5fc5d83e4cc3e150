package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"tenon/agent/client"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// advice is an error with what to do about it, on lines of their own.
type advice struct {
	error
	lines []string
}

// Error is the sentence, then the advice.
func (a advice) Error() string {
	return strings.Join(append([]string{a.error.Error()}, a.lines...), "\n")
}

// Unwrap gives the error itself.
func (a advice) Unwrap() error { return a.error }

// nextSteps say what to do about a kind of error, where that is known whatever the
// command.
var nextSteps = map[error]string{
	volume.ErrInsufficient: "see what there is: tenon status",
	volume.ErrPending:      "it goes on, and the same command again waits for it; what keeps it: tenon status",
	volume.ErrUnavailable:  "see what is missing: tenon status",
	volume.ErrJournal:      "see the agent's log; it must be started again",
	volume.ErrStopped:      "the same command again, when the agent is back",
}

// advise adds what to do next, unless somebody who knew more has done so.
func advise(err error) error {
	if known := (advice{}); err == nil || errors.As(err, &known) {
		return err
	}
	if next := nextSteps[volume.Kind(err)]; next != "" {
		return advice{err, []string{next}}
	}
	return err
}

// adviseOn advises on an error about a volume.
func adviseOn(err error, ref string) error {
	switch kind := volume.Kind(err); {
	case err == nil:
		return nil
	case errors.Is(kind, volume.ErrInUse), errors.Is(kind, volume.ErrLost), errors.Is(kind, volume.ErrUnavailable):
		return advice{err, append(holderLines(err), "see: tenon explain "+ref)}
	case errors.Is(kind, volume.ErrNotFound):
		return advice{err, []string{"see what there is: tenon volume ls"}}
	}
	return advise(err)
}

// holderLines lists the holders that an error names, or the first of many.
func holderLines(err error) (lines []string) {
	const most = 10
	told := (*client.Error)(nil)
	if !errors.As(err, &told) {
		return nil
	}
	for i, h := range told.Holders {
		if i == most {
			return append(lines, fmt.Sprintf("   and %d more", len(told.Holders)-most))
		}
		lines = append(lines, "   "+holderLine(h))
	}
	return lines
}

func holderLine(h wire.Holder) string {
	text := fmt.Sprintf("task %s holds it %s", clean(h.Task), holderOptions(h))
	if len(h.Targets) > 0 {
		text += " at " + clean(strings.Join(h.Targets, ", "))
	}
	return text + fmt.Sprintf(", since %s", age(time.Since(h.Since)))
}

// adviseOnEnd advises on an error of what takes a volume away from a task, which a process
// that uses the mount only puts off.
func adviseOnEnd(err error) error {
	if errors.Is(volume.Kind(err), volume.ErrBusy) {
		return advice{err, []string{
			"it is recorded, and happens as soon as they let go; it need not be asked for again",
			"to let go at once, whatever uses it: the same command with --lazy"}}
	}
	return adviseOnTask(err)
}

// adviseOnTask advises on an error about a task.
func adviseOnTask(err error) error {
	if errors.Is(volume.Kind(err), volume.ErrNotFound) {
		return advice{err, []string{"see what there is: tenon task ls"}}
	}
	return advise(err)
}

// adviseOnClaim advises on an error of a claim, which finds all but its volumes or makes it.
func adviseOnClaim(err error) error {
	if errors.Is(volume.Kind(err), volume.ErrNotFound) {
		return advice{err, []string{"see what there is: tenon volume ls"}}
	}
	return advise(err)
}

// adviseOnOperation advises on an error about an operation with an id.
func adviseOnOperation(err error) error {
	switch kind := volume.Kind(err); {
	case errors.Is(kind, volume.ErrNotFound):
		return advice{err, []string{"see what there is: tenon op ls --all"}}
	case errors.Is(kind, volume.ErrPending):
		return advice{err, []string{"see how far it is: tenon op ls"}}
	}
	return advise(err)
}
