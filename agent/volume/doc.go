// Package volume is the pure core of Tenon: what should be, which operations may
// change it, and what has to be done so that the kernel agrees.
//
// State is one immutable version of everything the agent knows. Apply validates an
// operation against a State and answers with Changes; State.With makes the next
// version of them, which shares all that did not change. Changes that are worth
// keeping are written to the journal as JSON, one object each; folding them over an
// empty State gives the State back, so there is no replay of commands.
//
// Plan compares one unit of a State (a disk, a volume, a task or an attachment) with
// what was observed of it and answers with the Steps that are missing, in order.
// Settle turns an observation into Changes: a volume whose directory is published
// becomes ready, a tombstone with nothing left behind disappears. Undo takes back what
// an operation recorded when its steps fail.
//
// Everything here is deterministic: time, identifiers and observations come in as
// arguments. The package imports nothing of Tenon but agent/resource, makes no
// system call and starts no goroutine. The laws that it keeps are those of the
// architecture document, agent/ARCHITECTURE.md; spec.md sections 1 to 3 say how
// Mesos words and orders the checks of resources.
package volume
