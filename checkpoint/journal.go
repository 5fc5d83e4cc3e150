package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
)

// Record is opaque to the journal; Tenon writes one JSON object per record.
type Record []byte

// Position is the sequence number of a transaction. The first one is 1, and there are
// no gaps, whatever the files. Only numbers that a power cut took, which Sync never
// acknowledged, are used again.
type Position uint64

// Options are the settings of Open. The zero value is fine.
type Options struct {
	FS          FS           // nil: the real one
	Logger      *slog.Logger // nil: silence
	SegmentSize int          // bytes of a log file; 0: 4 MiB; at least 4 KiB
}

// Journal is an open journal. All methods may be called at the same time; order
// among appends is the order in which Append got the lock, so callers whose records depend on
// each other append under a lock of their own.
type Journal struct {
	fs          FS
	dir         string
	log         *slog.Logger
	segmentSize int64
	lock        io.Closer
	background  sync.WaitGroup // the one goroutine that prepares the spare

	// snapshot is held while a snapshot is written; it is taken before mu.
	snapshot sync.Mutex

	// mu guards everything below.
	mu         sync.Mutex
	state      state
	failed     error         // set once; wraps ErrFailed
	active     *segment      // where Append writes
	sealed     []*segment    // full, but not synced; oldest first
	older      []storedLog   // all segments before the active one that a start would read
	spare      *preparation  // of the segment after the active one; nil: none asked for
	synced     Position      // everything up to here is durable
	flushing   chan struct{} // closed when the fdatasync that is under way is over; nil: none
	cut        uint64        // generation at the last Cut or, at a start, of the snapshot
	covered    uint64        // generation of the newest snapshot
	snapBytes  int64
	frameBytes []byte // reused by Append
}

// storedLog is a segment that is not written any more.
type storedLog struct {
	generation uint64
	bytes      int64
}

// state says what may be called.
type state int

const (
	stateOpened state = iota // Load has not been called
	stateLoaded
	stateBroken // Load failed
	stateClosed
)

// Open takes the journal in dir, which it makes if it is missing, for this process
// alone: ErrLocked, at once, if another has it. It reads nothing; call Load next.
func Open(dir string, o Options) (*Journal, error) {
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegmentSize
	}
	lock, err := o.FS.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &Journal{
		fs:          o.FS,
		dir:         dir,
		log:         o.Logger,
		segmentSize: max(int64(o.SegmentSize), smallestSegment),
		lock:        lock,
	}, nil
}

// Close makes what was appended durable, waits for the work in the background and gives
// up the lock. A second Close does nothing. After ErrFailed nothing is synced, and
// Close returns that failure.
func (j *Journal) Close() error {
	j.mu.Lock()
	before := j.state
	j.state = stateClosed
	j.mu.Unlock()
	if before == stateClosed {
		return nil
	}
	var err error
	if before == stateLoaded {
		err = j.Sync(context.Background(), j.Appended())
	}
	j.background.Wait()
	j.awaitFlush()
	return errors.Join(err, j.release())
}

// awaitFlush returns when no flush is under way.
func (j *Journal) awaitFlush() {
	for {
		j.mu.Lock()
		running := j.flushing
		j.mu.Unlock()
		if running == nil {
			return
		}
		<-running
	}
}

// release closes every descriptor, removes the spare and gives up the lock.
func (j *Journal) release() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	errs := []error{j.dropSpare()}
	for _, s := range j.sealed {
		errs = append(errs, s.file.Close())
	}
	if j.active != nil {
		errs = append(errs, j.active.file.Close())
	}
	errs = append(errs, j.lock.Close())
	j.lock, j.sealed = nil, nil
	return errors.Join(errs...)
}

// Appended returns the position of the last transaction.
func (j *Journal) Appended() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last()
}

// Synced returns the position up to which everything survives a power cut.
func (j *Journal) Synced() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.synced
}

// last is Appended. Preconditions: mu is held.
func (j *Journal) last() Position {
	if j.active == nil {
		return 0
	}
	return j.active.last
}

// ready says why the journal cannot be written. Preconditions: mu is held.
func (j *Journal) ready() error {
	switch {
	case j.failed != nil:
		return j.failed
	case j.state == stateOpened:
		return fmt.Errorf("journal %s: not loaded yet", j.dir)
	case j.state == stateBroken:
		return fmt.Errorf("journal %s: could not be loaded", j.dir)
	case j.state == stateClosed:
		return fmt.Errorf("journal %s: %w", j.dir, os.ErrClosed)
	}
	return nil
}

// fail makes the journal refuse everything from now on. Preconditions: mu is held.
func (j *Journal) fail(cause error) error {
	if j.failed == nil {
		j.failed = fmt.Errorf("%w: %w", ErrFailed, cause)
	}
	return j.failed
}

// Stats describe a journal for people.
type Stats struct {
	Generation    uint64   // of the segment being written
	Segments      int      // log files a start would read
	LogBytes      int64    // in them, without preallocated room
	SnapshotBytes int64    // 0: no snapshot yet
	Appended      Position // last transaction
	Synced        Position // last durable transaction
	Failed        error    // not nil: everything is refused
}

// Stats returns the journal's state at this moment.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Stats{SnapshotBytes: j.snapBytes, Synced: j.synced, Failed: j.failed}
	if j.active == nil {
		return s
	}
	s.Generation, s.Appended = j.active.generation, j.active.last
	s.Segments = len(j.older) + 1
	s.LogBytes = j.logBytes(0)
	return s
}

// logBytes returns the bytes logged in the given generation and later ones.
// Preconditions: mu is held, the journal is loaded.
func (j *Journal) logBytes(from uint64) int64 {
	n := j.active.used
	for _, s := range j.older {
		if s.generation >= from {
			n += s.bytes
		}
	}
	return n
}
