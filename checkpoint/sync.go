package checkpoint

import (
	"context"
	"fmt"
	"runtime"
)

// Sync returns nil when the transaction at p and all before it survive a power
// cut. Callers at the same time share one fdatasync: the first one does it for all that was
// appended so far, the others wait for it or for the next. When ctx ends first, Sync returns its error and
// says nothing about p. After a failed fdatasync every call returns ErrFailed, except for
// positions that were durable before.
func (j *Journal) Sync(ctx context.Context, p Position) error {
	for {
		j.mu.Lock()
		if done, err := j.settled(p); done || err != nil {
			j.mu.Unlock()
			return err
		}
		running := j.flushing
		if running == nil {
			err := ctx.Err()
			if err == nil {
				j.flushing = make(chan struct{})
			}
			j.mu.Unlock()
			if err != nil {
				return err
			}
			j.flush()
			continue
		}
		j.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settled tells whether nothing is left to wait for. Preconditions: mu is held.
func (j *Journal) settled(p Position) (bool, error) {
	switch {
	case p <= j.synced:
		return true, nil
	case j.failed != nil:
		return false, j.failed
	case p > j.last():
		return false, fmt.Errorf("sync journal %s: position %d was never appended", j.dir, p)
	case j.lock == nil:
		return false, j.ready()
	}
	return false, nil
}

// flush makes everything appended so far durable and wakes those who wait.
// Preconditions: the caller has set flushing, and mu is not held.
func (j *Journal) flush() {
	// Those who were woken by the flush before are about to append. Let them run
	// first, so that they need not wait for a flush of their own.
	runtime.Gosched()
	j.mu.Lock()
	target, active := j.active.last, j.active
	sealed := j.sealed[:len(j.sealed):len(j.sealed)]
	j.mu.Unlock()

	err := syncAll(append(sealed, active))
	if err == nil {
		j.retire(sealed)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		_ = j.fail(err) // told by settled
	} else {
		j.synced = max(j.synced, target)
		j.sealed = j.sealed[len(sealed):]
		j.mark()
	}
	close(j.flushing)
	j.flushing = nil
}

// syncAll syncs the segments in their order, and none after one that failed.
func syncAll(segments []*segment) error {
	for _, s := range segments {
		// Crash: what was appended since the last sync may be torn; nobody was told yet.
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// retire closes sealed segments and gives back their unused room. The segment after
// them is durable, so a short file is no riddle.
func (j *Journal) retire(sealed []*segment) {
	for _, s := range sealed {
		// Crash: the zeros at the end are there or not.
		if err := s.file.Truncate(s.used); err != nil {
			j.log.Warn("sealed segment not truncated", "path", s.path, "err", err)
		}
		// Everything in it is durable, so that a failure to close it loses nothing.
		_ = s.file.Close()
	}
}

// mark writes how far the last sync reached: what was appended meanwhile does not say it, and
// nothing may follow for long. Damage to what was acknowledged can then be told from a torn
// tail. Preconditions: mu is held.
func (j *Journal) mark() {
	if j.failed != nil || !j.active.fits(frameSize(0)) {
		return
	}
	// Crash: without the mark the start takes damage here for a torn tail, as it
	// would without marks at all; nothing else depends on it.
	if err := j.active.control(kindMark, j.synced); err != nil {
		_ = j.fail(err) // told by the next call; this sync has done its work
	}
}
