package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
)

// Entry is one record and where it is.
type Entry struct {
	File     string   // path of the log or snapshot
	Offset   int64    // of the frame that holds it, in bytes
	Position Position // its transaction; in a snapshot the last one that it covers
	Record   Record   // valid during the call only
}

// scan reads a journal in the order of its history and judges where it ends. It
// changes nothing on disk.
type scan struct {
	fs    FS
	dir   string
	visit func(Entry) error

	listing       listing
	next          Position // the transaction expected next
	proven        Position // some frame or header says that this one was once synced
	stop          stop     // why the log does not go on, so far
	found         []found  // of each segment in the listing
	snapshotBytes int64
	transactions  int
	records       int
	buf           bytes.Buffer
}

// found is what a scan found in one segment.
type found struct {
	generation uint64
	good       int64 // bytes up to the end of the last valid frame; 0: not part of the history
	size       int64 // bytes of the file
	zero       bool  // nothing but zeros: never begun
	first      Position
	last       Position // less than first: no transaction
}

// unused tells that the segment holds no transaction of the history.
func (l found) unused() bool { return l.last < l.first }

// stop is a place at which the log breaks off. It is nothing but the end unless
// something shows that it once went on.
type stop struct {
	file      string
	offset    int64
	reason    string
	torn      int64 // bytes here and in later files that cannot be used
	successor bool  // the next generation must exist, in full size
	stunted   bool  // the file is smaller than any segment that was begun
	gap       bool  // something is missing, for certain
}

// readJournal visits all records. A *DamageError or ErrVersion may come after
// some were visited.
func readJournal(fs FS, dir string, visit func(Entry) error) (*scan, error) {
	l, err := list(fs, dir)
	if err != nil {
		return nil, err
	}
	s := &scan{fs: fs, dir: dir, visit: visit, listing: l, next: 1}
	if err := s.readSnapshot(); err != nil {
		return nil, err
	}
	if err := s.readSegments(); err != nil {
		return nil, err
	}
	return s, s.verdict()
}

// readSegments visits the records of all segments after the snapshot.
func (s *scan) readSegments() error {
	expected := max(s.listing.snapshot, 1)
	s.stop = s.missing(expected)
	s.stop.successor = s.listing.snapshot != 0
	for _, generation := range s.listing.segments {
		if generation != expected && !s.stop.gap {
			torn := s.stop.torn
			s.stop = s.missing(expected)
			s.stop.gap, s.stop.torn = true, torn
		}
		// No generation is made before the one below it is begun.
		s.stop.gap = s.stop.gap || s.stop.stunted
		if err := s.readSegment(generation); err != nil {
			return err
		}
		expected = generation + 1
	}
	return nil
}

// missing is the stop before a file that is not there.
func (s *scan) missing(generation uint64) stop {
	return stop{file: filepath.Join(s.dir, segmentName(generation)), reason: "the file is missing"}
}

// readSegment visits the records of a segment if it goes on where the log stopped, and
// otherwise looks in it for proof that the log once did.
func (s *scan) readSegment(generation uint64) error {
	path := filepath.Join(s.dir, segmentName(generation))
	b, err := s.readFile(path)
	if err != nil {
		return err
	}
	return s.judge(path, b, generation)
}

// judge does the work of readSegment on the bytes of the file.
func (s *scan) judge(path string, b []byte, generation uint64) error {
	l := found{generation: generation, size: int64(len(b)), zero: used(b) == 0, first: s.next, last: s.next - 1}
	h, err := decodeHeader(b, segmentMagic, generation)
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err == nil {
		s.proven = max(s.proven, h.synced)
		if h.first != s.next {
			err = fmt.Errorf("the segment starts at position %d instead of %d", h.first, s.next)
		}
	}
	if err != nil {
		s.skip(path, b, generation, err)
		s.found = append(s.found, l)
		return nil
	}
	l.good, err = s.frames(path, b, h)
	l.last = s.next - 1
	s.found = append(s.found, l)
	return err
}

// skip accounts for a segment that does not continue the log.
func (s *scan) skip(path string, b []byte, generation uint64, reason error) {
	torn := used(b)
	stunted := len(b) < smallestSegment
	if s.stop.successor && !s.stop.gap && (torn > 0 || stunted) {
		s.stop.file, s.stop.offset, s.stop.reason = path, 0, reason.Error()
		s.stop.gap = stunted
	}
	s.stop.torn += torn
	s.stop.stunted, s.stop.successor = stunted, false
	s.prove(b, salt(segmentMagic, generation))
}

// frames visits the records of a segment that continues the log, up to the first
// frame which does not, and returns the offset of that.
func (s *scan) frames(path string, b []byte, h header) (int64, error) {
	salt := salt(segmentMagic, h.generation)
	offset, ended := int64(headerSize), false
	for !ended {
		f, n, err := decodeFrame(b[offset:], salt)
		if err == nil {
			err = s.follows(f)
		}
		if err != nil {
			s.stop = stop{file: path, offset: offset, reason: err.Error(), torn: used(b[offset:])}
			break
		}
		if err := s.frame(path, offset, f); err != nil {
			return 0, err
		}
		offset, ended = offset+n, f.kind == kindEnd
	}
	short := h.size - int64(len(b))
	switch {
	case ended:
		s.stop = stop{file: path, offset: offset, reason: "the segment that follows it is missing", successor: true}
	case short > 0:
		// It was truncated after its successor was durable.
		s.stop.reason = fmt.Sprintf("the file is %d bytes too short, or the segment that follows it is missing", short)
		s.stop.gap = true
	}
	s.prove(b[offset:], salt)
	return offset, nil
}

// follows tells why a valid frame cannot be the next one.
func (s *scan) follows(f frame) error {
	want := s.next
	switch f.kind {
	case kindTransaction:
	case kindMark, kindEnd:
		want--
	default:
		return errNoFrame
	}
	if f.seq != want {
		return fmt.Errorf("the frame has position %d instead of %d", f.seq, want)
	}
	_, err := f.records()
	return err
}

// frame visits the records of a frame that continues the log.
func (s *scan) frame(path string, offset int64, f frame) error {
	s.proven = max(s.proven, f.synced)
	if f.kind != kindTransaction {
		return nil
	}
	s.next++
	s.transactions++
	return s.each(path, offset, f)
}

// each visits the records of a frame.
func (s *scan) each(path string, offset int64, f frame) error {
	records, err := f.records()
	if err != nil {
		return &DamageError{File: path, Offset: offset, Reason: err.Error()}
	}
	s.records += len(records)
	for _, r := range records {
		if err := s.visit(Entry{File: path, Offset: offset, Position: f.seq, Record: r}); err != nil {
			return err
		}
	}
	return nil
}

// prove looks for valid frames anywhere in b, which the log does not reach, and
// notes how far they say that it was once synced.
func (s *scan) prove(b []byte, salt uint32) {
	for offset, end := int64(0), used(b); offset < end; {
		f, n, err := decodeFrame(b[offset:], salt)
		if err != nil {
			offset += alignment
			continue
		}
		s.proven = max(s.proven, f.synced)
		offset += n
	}
}

// nextGeneration returns the generation of the segment that comes next, after the last
// one which was begun, and the size of a file of that name, if there is one.
func (s *scan) nextGeneration() (next uint64, size int64) {
	next = max(s.listing.snapshot, 1)
	for _, l := range s.found {
		if !l.zero {
			next, size = l.generation+1, 0
		}
		if l.generation == next {
			size = l.size
		}
	}
	return next, size
}

// verdict tells a torn tail, which may be cut, from damage.
func (s *scan) verdict() error {
	reason := s.stop.reason
	switch {
	case s.stop.gap, s.stop.successor:
	case s.proven >= s.next:
		reason += fmt.Sprintf("; what stood here (position %d) had been synced", s.next)
	default:
		return nil
	}
	return &DamageError{File: s.stop.file, Offset: s.stop.offset, Reason: reason}
}

// readFile returns the bytes of a file, valid until the next call.
func (s *scan) readFile(path string) ([]byte, error) {
	f, err := s.fs.Open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	s.buf.Reset()
	_, err = s.buf.ReadFrom(io.NewSectionReader(f, 0, math.MaxInt64))
	return s.buf.Bytes(), errors.Join(err, f.Close())
}
