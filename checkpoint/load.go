package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Load calls apply with every record in order: those of the newest snapshot, then
// those of the log, and makes the journal ready for Append. It must be called once, before the first
// Append. A record is valid during the call only; clone what is kept. All that
// was loaded is durable when Load returns nil. apply must not call the journal.
//
// A torn tail, which Sync never acknowledged, is cut with a warning. A *DamageError
// says that something acknowledged is gone, ErrVersion that a newer program wrote the
// journal, and an error of apply is returned as it is; then nothing was changed on
// disk, and what was applied is worthless. After an error only Close may be called.
func (j *Journal) Load(apply func(Record) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != stateOpened {
		return fmt.Errorf("load journal %s: it was loaded before", j.dir)
	}
	j.state = stateBroken
	s, err := readJournal(j.fs, j.dir, func(e Entry) error { return apply(e.Record) })
	if err != nil {
		return fmt.Errorf("load journal: %w", err)
	}
	if s.stop.torn > 0 {
		j.log.Warn("torn tail of the journal cut", "path", s.stop.file, "offset", s.stop.offset,
			"bytes", s.stop.torn, "reason", s.stop.reason)
	}
	if err := j.restart(s); err != nil {
		return fmt.Errorf("load journal: %w", err)
	}
	j.state = stateLoaded
	j.prepareSpare()
	return nil
}

// restart settles what the scan found and begins a segment of this run. It never writes
// to an old segment anything that is not there already. Preconditions: mu is held.
func (j *Journal) restart(s *scan) error {
	for _, l := range s.found {
		if !l.unused() && l.last > s.proven {
			if err := rewrite(j.fs, j.path(l), l.good); err != nil {
				return err
			}
		}
	}
	if err := j.beginRun(s); err != nil {
		return err
	}
	for _, l := range s.found {
		if l.generation == j.active.generation {
			continue
		}
		if err := j.tidy(l); err != nil {
			j.log.Warn("old segment not tidied", "path", j.path(l), "err", err)
		}
	}
	if err := sweep(j.fs, j.dir); err != nil {
		j.log.Warn("old journal files not removed", "path", j.dir, "err", err)
	}
	j.cut, j.covered, j.snapBytes = s.listing.snapshot, s.listing.snapshot, s.snapshotBytes
	return nil
}

// rewrite makes the first n bytes of a file durable by writing them once more. A
// plain fdatasync may do nothing: where one failed before, the page cache holds pages that it
// calls clean and that the disk does not have.
func rewrite(fs FS, path string, n int64) (err error) {
	f, err := fs.Open(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	// Crash: the same bytes are there, before and after.
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}

// beginRun makes the segment of this run and makes it durable. Preconditions: mu is held.
func (j *Journal) beginRun(s *scan) error {
	generation, keep := s.nextGeneration()
	last := s.next - 1
	// The directory is synced in it, and with it the name of a snapshot that the run
	// before had only just renamed.
	active, err := newSegmentFor(j.fs, j.dir, generation, headerSize, j.segmentSize, keep)
	if err != nil {
		return err
	}
	j.active = active
	if err := active.begin(last, last); err != nil {
		return err
	}
	// Crash: without this header the next start finds what this one found. With it, all
	// that the old segments hold behind the last good frame is void for ever.
	if err := active.file.Sync(); err != nil {
		return err
	}
	j.synced = last
	return nil
}

// tidy gives back what an old segment does not need. Preconditions: mu is held, and the
// segment of this run is durable.
func (j *Journal) tidy(l found) error {
	if l.unused() {
		// Crash: the file may come back; the next start finds nothing in it.
		return j.fs.Remove(j.path(l))
	}
	j.older = append(j.older, storedLog{l.generation, l.good})
	if l.size == l.good {
		return nil
	}
	f, err := j.fs.Open(j.path(l), os.O_RDWR)
	if err != nil {
		return err
	}
	// Crash: the torn tail is there or not; the segment of this run overrules it.
	return errors.Join(f.Truncate(l.good), f.Close())
}

// path returns where a segment is.
func (j *Journal) path(l found) string { return filepath.Join(j.dir, segmentName(l.generation)) }
