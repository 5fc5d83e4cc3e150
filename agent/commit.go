package agent

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"tenon/agent/volume"
	"tenon/checkpoint"
)

// commit is the one place where state changes: decide on the newest version, append
// what is worth keeping to the journal, make the result the newest version. Readers
// see it once await has been called. Nothing has changed when it returns an error.
//
// Crash: before the append nothing has happened; after it, a killed process finds the
// record again, and a power cut may or may not have taken it: nobody was told yet.
func (a *Agent) commit(decide func(*volume.State) (volume.Outcome, error)) (version, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil {
		return version{}, a.failed
	}
	out, err := decide(a.head)
	if err != nil || len(out.Changes) == 0 {
		return version{state: a.head, needs: a.needs}, err
	}
	records, durable, err := encode(out.Changes)
	if err != nil {
		return version{}, err
	}
	if len(records) > 0 {
		a.crash("append")
		p, err := a.journal.Append(records...)
		if err != nil {
			return version{}, a.notAppended(err)
		}
		if durable {
			a.needs = p
		}
	}
	a.head = out.Next
	a.pending = append(a.pending, version{a.head, a.needs, out.Changes})
	a.compact()
	return version{state: a.head, needs: a.needs}, nil
}

// encode gives the records of the changes that are stored.
func encode(changes []volume.Change) (records []checkpoint.Record, durable bool, err error) {
	for _, c := range changes {
		if !c.Stored() {
			continue
		}
		r, err := c.Encode()
		if err != nil {
			return nil, false, err
		}
		records = append(records, r)
		durable = durable || c.Durable()
	}
	return records, durable, nil
}

// await makes a version durable, as far as it must be, and shows it to readers. Calls
// at the same time share one flush of the disk.
func (a *Agent) await(v version) error {
	start := a.now()
	err := a.journal.Sync(context.Background(), v.needs)
	a.meter.Sync(err, a.now().Sub(start))
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		return a.journalFailed(err)
	}
	a.publish(v.needs)
	return nil
}

// publish shows the newest version that needs nothing beyond p.
//
// Preconditions: a.mu is held.
func (a *Agent) publish(p checkpoint.Position) {
	n := 0
	for n < len(a.pending) && a.pending[n].needs <= p {
		n++
	}
	if n == 0 {
		return
	}
	for _, v := range a.pending[:n] {
		a.history.add(Event{v.state.Version, v.changes})
	}
	a.current.Store(a.pending[n-1].state)
	a.pending = append(a.pending[:0:0], a.pending[n:]...)
	close(a.changed)
	a.changed = make(chan struct{})
}

// journalFailed notes that the journal takes nothing more. Whether what was appended
// last survives is unknown, so nothing is acknowledged until the journal is opened
// again, which takes a restart.
//
// Preconditions: a.mu is held.
func (a *Agent) journalFailed(cause error) error {
	if a.failed == nil {
		a.failed = &volume.Error{Kind: volume.ErrJournal, Cause: cause,
			Message: fmt.Sprintf("the journal has failed and nothing is changed any more; restart the agent: %v", cause)}
		a.log.Error("journal failed", "err", cause)
	}
	return a.failed
}

// notAppended is the error of an append that changed nothing: the disk may have room again
// next time, but a journal that has failed is not tried again.
//
// Preconditions: a.mu is held.
func (a *Agent) notAppended(cause error) error {
	if errors.Is(cause, checkpoint.ErrFailed) {
		return a.journalFailed(cause)
	}
	a.log.Error("journal not written", "err", cause)
	return &volume.Error{Kind: volume.ErrInsufficient, Cause: cause,
		Message: fmt.Sprintf("the journal has no room, so nothing was changed; make some on its disk and ask again: %v", cause)}
}

// compact starts a snapshot in the background when the journal has grown enough.
//
// Preconditions: a.mu is held.
func (a *Agent) compact() {
	if a.cutting || !a.journal.Grown() {
		return
	}
	cut, err := a.journal.Cut()
	if err != nil {
		a.log.Warn("journal not compacted", "err", err)
		return
	}
	a.cutting = true
	s := a.head
	a.work.Go(func() {
		if err := cut.Write(snapshot(s)); err != nil {
			a.log.Warn("journal not compacted", "err", err)
		}
		a.mu.Lock()
		a.cutting = false
		a.mu.Unlock()
	})
}

// snapshot yields the records that make a state.
func snapshot(s *volume.State) iter.Seq[checkpoint.Record] {
	return func(yield func(checkpoint.Record) bool) {
		for c := range s.Snapshot() {
			r, err := c.Encode()
			if err != nil {
				panic(err) // cannot happen: these are plain structs
			}
			if !yield(r) {
				return
			}
		}
	}
}
