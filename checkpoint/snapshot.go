package checkpoint

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
)

const (
	stateFrame = 256 << 10 // bytes of records after which a snapshot begins another frame
	readAhead  = 64 << 10
)

// Write makes records, the caller's whole state at the cut, the journal's snapshot, and
// then removes the segments and snapshots that it replaces. It may take its time; Append and Sync go on
// meanwhile. When it returns nil the snapshot survives a power cut. When it fails the journal
// is as it was and goes on; the next Grown is due when the log has grown again.
// If a later cut was written already, Write does nothing.
func (c *Cut) Write(records iter.Seq[Record]) error {
	j := c.journal
	j.snapshot.Lock()
	defer j.snapshot.Unlock()
	j.mu.Lock()
	err, covered := j.ready(), j.covered
	j.mu.Unlock()
	if err != nil || c.generation <= covered {
		return err
	}
	n, err := c.write(records)
	if err != nil {
		return fmt.Errorf("write snapshot %s: %w", filepath.Join(j.dir, snapshotName(c.generation)), err)
	}
	j.replaced(c.generation, n)
	if err := sweep(j.fs, j.dir); err != nil {
		j.log.Warn("old journal files not removed", "path", j.dir, "err", err)
	}
	return nil
}

// write makes the snapshot durable under its name and returns its size.
func (c *Cut) write(records iter.Seq[Record]) (int64, error) {
	j := c.journal
	path := filepath.Join(j.dir, snapshotName(c.generation))
	// Crash: up to the rename there is a temporary file, which the next start removes.
	n, err := c.writeFile(path+tempSuffix, records)
	if err != nil {
		return 0, err
	}
	// Crash: the start finds this snapshot or the one before; the segments after
	// either are all there.
	if err := j.fs.Rename(path+tempSuffix, path); err != nil {
		return 0, errors.Join(err, j.fs.Remove(path+tempSuffix))
	}
	return n, j.fs.SyncDir(j.dir)
}

// writeFile writes and syncs a new file. On an error it removes it again.
func (c *Cut) writeFile(path string, records iter.Seq[Record]) (n int64, err error) {
	fs := c.journal.fs
	f, err := fs.Open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return 0, err
	}
	w := snapshotWriter{file: f, cut: c, salt: salt(snapshotMagic, c.generation)}
	err = w.all(records)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		err = errors.Join(err, fs.Remove(path))
	}
	return w.offset, err
}

// replaced notes that the snapshot of a generation has taken the place of older files.
func (j *Journal) replaced(generation uint64, bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.covered, j.snapBytes = generation, bytes
	kept := j.older[:0]
	for _, s := range j.older {
		if s.generation >= generation {
			kept = append(kept, s)
		}
	}
	j.older = kept
}

// snapshotWriter writes a snapshot from start to end.
type snapshotWriter struct {
	file   File
	cut    *Cut
	salt   uint32
	offset int64
	batch  []Record
	bytes  int64 // of the batch
	count  uint64
	buf    []byte
}

func (w *snapshotWriter) all(records iter.Seq[Record]) error {
	h := header{magic: snapshotMagic, generation: w.cut.generation, first: w.cut.last, synced: w.cut.last}
	if err := w.write(h.encode()); err != nil {
		return err
	}
	for r := range records {
		if err := w.record(r); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	trailer := Record(binary.LittleEndian.AppendUint64(nil, w.count))
	return w.frame(kindTrailer, trailer)
}

// record adds a record to the batch, or writes the batch first.
func (w *snapshotWriter) record(r Record) error {
	n := payloadSize([]Record{r})
	if n > maxTransaction {
		return fmt.Errorf("a record of %d bytes: %w", len(r), ErrTooLarge)
	}
	if w.bytes+n > stateFrame {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.batch, w.bytes, w.count = append(w.batch, r), w.bytes+n, w.count+1
	return nil
}

func (w *snapshotWriter) flush() error {
	if len(w.batch) == 0 {
		return nil
	}
	err := w.frame(kindState, w.batch...)
	w.batch, w.bytes = w.batch[:0], 0
	return err
}

func (w *snapshotWriter) frame(k kind, records ...Record) error {
	w.buf = appendFrame(w.buf[:0], w.salt, frame{kind: k, seq: w.cut.last, synced: w.cut.last}, records...)
	return w.write(w.buf)
}

func (w *snapshotWriter) write(b []byte) error {
	_, err := w.file.WriteAt(b, w.offset)
	w.offset += int64(len(b))
	return err
}

// readSnapshot visits the records of the newest snapshot, if there is one. Nothing in it
// may be wrong: it had been synced before it got its name.
func (s *scan) readSnapshot() error {
	if s.listing.snapshot == 0 {
		return nil
	}
	path := filepath.Join(s.dir, snapshotName(s.listing.snapshot))
	f, err := s.fs.Open(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	r := snapshotReader{scan: s, path: path, salt: salt(snapshotMagic, s.listing.snapshot)}
	r.in = bufio.NewReaderSize(io.NewSectionReader(f, 0, math.MaxInt64), readAhead)
	err = errors.Join(r.all(), f.Close())
	s.snapshotBytes = r.offset
	return err
}

// snapshotReader reads a snapshot from start to end, a frame at a time.
type snapshotReader struct {
	scan   *scan
	path   string
	salt   uint32
	in     *bufio.Reader
	offset int64
	count  uint64
}

func (r *snapshotReader) all() error {
	b, err := r.read(nil, headerSize)
	if err != nil {
		return err
	}
	h, err := decodeHeader(b, snapshotMagic, r.scan.listing.snapshot)
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	if err != nil {
		return r.damage(err.Error())
	}
	r.offset = headerSize
	for done := false; !done; {
		if done, err = r.frame(h); err != nil {
			return err
		}
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return r.damage("there are bytes after the end")
	}
	r.scan.next, r.scan.proven = h.first+1, h.first
	return nil
}

// frame reads one frame and tells whether it was the trailer.
func (r *snapshotReader) frame(h header) (bool, error) {
	b, err := r.read(nil, frameOverhead)
	if err != nil {
		return false, err
	}
	rest := frameSize(int64(binary.LittleEndian.Uint32(b[4:]))) - frameOverhead
	if rest > maxTransaction+alignment {
		return false, r.damage(errIncomplete.Error())
	}
	if b, err = r.read(b, rest); err != nil {
		return false, err
	}
	f, n, err := decodeFrame(b, r.salt)
	if err != nil {
		return false, r.damage(err.Error())
	}
	return r.use(h, f, n)
}

// use visits the records of a frame, or checks their number if it is the trailer.
func (r *snapshotReader) use(h header, f frame, n int64) (bool, error) {
	switch {
	case f.seq != h.first:
		return false, r.damage("the frame is of another snapshot")
	case f.kind == kindTrailer:
		if !f.counts(r.count) {
			return false, r.damage("the number of records is not that in the trailer")
		}
	case f.kind == kindState:
		if err := r.scan.each(r.path, r.offset, f); err != nil {
			return false, err
		}
		r.count += uint64(f.count)
	default:
		return false, r.damage(errNoFrame.Error())
	}
	r.offset += n
	return f.kind == kindTrailer, nil
}

// counts says whether a trailer has this number of records.
func (f frame) counts(n uint64) bool {
	records, err := f.records()
	return err == nil && len(records) == 1 && len(records[0]) == 8 && binary.LittleEndian.Uint64(records[0]) == n
}

// read appends the next n bytes of the file to b. Memory grows with what the file has,
// not with what a damaged length says.
func (r *snapshotReader) read(b []byte, n int64) ([]byte, error) {
	rest, err := io.ReadAll(io.LimitReader(r.in, n))
	if err != nil {
		return nil, err
	}
	if int64(len(rest)) < n {
		return nil, r.damage("the snapshot ends too early")
	}
	return append(b, rest...), nil
}

func (r *snapshotReader) damage(reason string) error {
	return &DamageError{File: r.path, Offset: r.offset, Reason: reason}
}
