package agent

import (
	"time"

	"tenon/agent/volume"
)

// Meter is told what the agent does and how long it took, for metrics. Its methods are
// called at the same time, with and without locks held, and must not wait.
type Meter interface {
	// Operation is one of a batch that has ended; err is nil, a refusal or a failure.
	Operation(name string, err error, took time.Duration)
	// Step is one effect on the kernel or a disk.
	Step(kind volume.StepKind, err error, took time.Duration)
	// Sync is one wait for the journal to be durable; what was durable already counts too.
	Sync(err error, took time.Duration)
}

// unmetered is the Meter of an agent that has none.
type unmetered struct{}

// Operation does nothing.
func (unmetered) Operation(string, error, time.Duration) {}

// Step does nothing.
func (unmetered) Step(volume.StepKind, error, time.Duration) {}

// Sync does nothing.
func (unmetered) Sync(error, time.Duration) {}
