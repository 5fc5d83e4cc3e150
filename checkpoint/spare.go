package checkpoint

import (
	"context"
	"errors"
)

// preparation is a segment being made in the background.
type preparation struct {
	done    chan struct{} // closed when segment and err are set
	segment *segment
	err     error
}

// prepareSpare starts making the next segment, unless that was done for this
// active segment. The same goroutine makes the sealed segments durable, so that
// they do not pile up where nobody calls Sync. Preconditions: mu is held.
func (j *Journal) prepareSpare() {
	if j.spare != nil {
		return
	}
	p := &preparation{done: make(chan struct{})}
	j.spare = p
	generation, before := j.active.generation+1, j.active.begun
	j.background.Go(func() {
		p.segment, p.err = newSegment(j.fs, j.dir, generation, j.segmentSize, 0)
		close(p.done)
		if p.err != nil {
			j.log.Warn("spare segment not prepared", "path", j.dir, "generation", generation, "err", p.err)
		}
		// A failure is kept in the journal and told to the next caller.
		_ = j.Sync(context.Background(), before)
	})
}

// takeSpare returns a segment of at least need bytes: the spare, after waiting for
// it, or else one made now. Preconditions: mu is held.
func (j *Journal) takeSpare(need int64) (*segment, error) {
	s := j.awaitSpare()
	j.spare = nil
	if s == nil {
		return newSegmentFor(j.fs, j.dir, j.active.generation+1, need, j.segmentSize, 0)
	}
	if err := s.extend(need, 0); err != nil {
		j.spare = &preparation{done: make(chan struct{}), segment: s}
		close(j.spare.done)
		return nil, err
	}
	return s, nil
}

// awaitSpare returns the spare, or nil if there is none. Preconditions: mu is held; the
// goroutine that prepares it does not need mu for that.
func (j *Journal) awaitSpare() *segment {
	if j.spare == nil {
		return nil
	}
	<-j.spare.done
	return j.spare.segment
}

// dropSpare removes the spare. Preconditions: mu is held.
func (j *Journal) dropSpare() error {
	s := j.awaitSpare()
	j.spare = nil
	if s == nil {
		return nil
	}
	// Crash: the name may come back; the next start removes it.
	return errors.Join(s.file.Close(), j.fs.Remove(s.path))
}
