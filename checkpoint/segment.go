package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

const (
	defaultSegmentSize = 4 << 20
	smallestSegment    = 4 << 10 // for Options.SegmentSize
	tightSegment       = 64 << 10
	zeroChunk          = 256 << 10
)

// segment is a log file open for writing. Its fields are guarded by the
// journal's lock once it is the active one.
type segment struct {
	file       File
	path       string
	generation uint64
	salt       uint32
	size       int64    // bytes written with zeros beforehand
	used       int64    // bytes of header and frames; the next frame goes here
	last       Position // the last transaction in it, or the one before its first
	begun      Position // the last transaction before it
}

// newSegment makes an unused segment of the given size, zeros only. What it leaves
// behind on an error is a file without a header.
func newSegment(fs FS, dir string, generation uint64, size int64) (*segment, error) {
	path := filepath.Join(dir, segmentName(generation))
	f, err := fs.Open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	s := &segment{file: f, path: path, generation: generation, salt: salt(segmentMagic, generation)}
	if err := s.extend(size); err != nil {
		return nil, errors.Join(err, f.Close(), fs.Remove(path))
	}
	// Crash: the name may be missing or name any number of zeros; a start takes the
	// file for an unused spare and removes it.
	if err := fs.SyncDir(dir); err != nil {
		return nil, errors.Join(err, f.Close(), fs.Remove(path))
	}
	return s, nil
}

// newSegmentFor makes a segment of the wanted size or, where the disk is too full
// for that, one which holds at least the needed bytes.
func newSegmentFor(fs FS, dir string, generation uint64, need, wanted int64) (*segment, error) {
	s, err := newSegment(fs, dir, generation, max(need, wanted))
	if errors.Is(err, syscall.ENOSPC) && max(need, tightSegment) < wanted {
		return newSegment(fs, dir, generation, max(need, tightSegment))
	}
	return s, err
}

// extend writes zeros up to size and makes them durable, so that later an
// fdatasync of this range changes no metadata. On an error the segment is as before.
func (s *segment) extend(size int64) error {
	zeros := make([]byte, min(zeroChunk, max(size-s.size, 0)))
	for off := s.size; off < size; off += int64(len(zeros)) {
		if _, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return errors.Join(err, s.file.Truncate(s.size))
		}
	}
	// Crash: still no header, so still nothing in it.
	if err := s.file.Sync(); err != nil {
		return errors.Join(err, s.file.Truncate(s.size))
	}
	s.size = max(s.size, size)
	return nil
}

// begin writes the header: from now on the segment continues the log after last.
func (s *segment) begin(last, synced Position) error {
	s.last, s.begun = last, last
	h := header{magic: segmentMagic, generation: s.generation, first: last + 1, synced: synced, size: s.size}
	// Crash: without the header the log ends before this segment, of which nothing
	// was acknowledged yet; a torn header is the same.
	return s.write(h.encode())
}

// write puts b behind what is there.
func (s *segment) write(b []byte) error {
	if _, err := s.file.WriteAt(b, s.used); err != nil {
		return err
	}
	s.used += int64(len(b))
	return nil
}

// fits tells whether a frame of n bytes can be written and an end frame after it.
func (s *segment) fits(n int64) bool { return s.used+n+frameSize(0) <= s.size }

// control writes a frame without records.
func (s *segment) control(k kind, synced Position) error {
	return s.write(appendFrame(nil, s.salt, frame{kind: k, seq: s.last, synced: synced}))
}
