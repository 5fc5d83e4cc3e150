package checkpoint

import (
	"fmt"
)

const (
	grownBytes    = 4 << 20
	grownSegments = 64
)

// Append writes one transaction to the page cache and returns its position. After a crash
// all of its records are there or none. A killed process loses nothing of what
// Append returned; a power cut may, until Sync. It costs one pwrite of a few microseconds, now
// and then (a segment is full) some more, and keeps no reference to tx. Without
// records it returns the last position.
//
// ErrTooLarge, and ENOSPC when there is no room for another segment, leave the journal as it
// was; later calls may succeed. Other errors wrap ErrFailed.
func (j *Journal) Append(tx ...Record) (Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.ready(); err != nil {
		return 0, err
	}
	if len(tx) == 0 {
		return j.last(), nil
	}
	n := payloadSize(tx)
	if n > maxTransaction {
		return 0, fmt.Errorf("append %d bytes to the journal: %w (at most %d)", n, ErrTooLarge, maxTransaction)
	}
	if err := j.makeRoom(frameSize(n)); err != nil {
		return 0, err
	}
	return j.put(tx)
}

// makeRoom rotates if a frame of n bytes does not fit. Preconditions: mu is held.
func (j *Journal) makeRoom(n int64) error {
	if j.active.fits(n) {
		return nil
	}
	return j.rotate(n)
}

// put writes a transaction for which there is room. Preconditions: mu is held.
func (j *Journal) put(tx []Record) (Position, error) {
	s := j.active
	f := frame{kind: kindTransaction, seq: s.last + 1, synced: j.synced}
	j.frameBytes = appendFrame(j.frameBytes[:0], s.salt, f, tx...)
	// Crash: power off before the next Sync leaves all, some or none of the frame; only
	// a whole one counts.
	if err := s.write(j.frameBytes); err != nil {
		return 0, j.fail(err)
	}
	if cap(j.frameBytes) > zeroChunk {
		j.frameBytes = nil
	}
	s.last++
	j.prepareSpare()
	return s.last, nil
}

// rotate seals the active segment and begins the next one, with room for a frame of
// n bytes. If there is none to be had, nothing changed. Preconditions: mu is held.
func (j *Journal) rotate(n int64) error {
	next, err := j.takeSpare(headerSize + n + frameSize(0))
	if err != nil {
		return fmt.Errorf("begin another segment of the journal: %w", err)
	}
	old := j.active
	if err := next.begin(old.last, j.synced); err != nil {
		j.sealed = append(j.sealed, next) // to be closed
		return j.fail(err)
	}
	j.active, j.sealed = next, append(j.sealed, old)
	// Crash: without the end frame the next header still says where the log goes on;
	// without both, the log ends here.
	if err := old.control(kindEnd, j.synced); err != nil {
		return j.fail(err)
	}
	j.older = append(j.older, storedLog{old.generation, old.used})
	return nil
}

// Grown tells that a snapshot is worth while: since the last Cut the log has
// outgrown 4 MiB and twice the snapshot, or has very many files (of many starts).
func (j *Journal) Grown() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ready() != nil {
		return false
	}
	return j.logBytes(j.cut) > max(grownBytes, 2*j.snapBytes) || len(j.older) > grownSegments && j.cut < j.active.generation
}

// Cut is a place between two transactions; a snapshot of the state there can be
// written at leisure.
type Cut struct {
	journal    *Journal
	generation uint64   // of the first segment after the cut
	last       Position // the last transaction before it
}

// Cut seals the segment. The caller holds the lock under which it appends, so that its
// state right now is just what all transactions so far make. Errors are those of
// Append. A cut that is never written does no harm.
func (j *Journal) Cut() (*Cut, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.ready(); err != nil {
		return nil, err
	}
	if j.active.last != j.active.begun {
		if err := j.rotate(0); err != nil {
			return nil, err
		}
	}
	j.cut = j.active.generation
	j.prepareSpare()
	return &Cut{journal: j, generation: j.active.generation, last: j.active.last}, nil
}

// Position returns the last transaction before the cut.
func (c *Cut) Position() Position { return c.last }
