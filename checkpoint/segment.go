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

// newSegment makes an unused segment of the given size, zeros only. If a file of keep bytes is
// there already, all zeros, it takes that over and never makes it shorter or removes
// it: a segment sealed before relies on it. On an error other files are removed again.
func newSegment(fs FS, dir string, generation uint64, size, keep int64) (*segment, error) {
	path := filepath.Join(dir, segmentName(generation))
	f, err := fs.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	s := &segment{file: f, path: path, generation: generation, salt: salt(segmentMagic, generation)}
	err = s.extend(size, keep)
	if err == nil {
		// Crash: the name may be missing or name any number of zeros; a start takes the
		// file for one that was never begun, and takes it over or removes it.
		err = fs.SyncDir(dir)
	}
	if err == nil {
		return s, nil
	}
	err = errors.Join(err, f.Close())
	if keep == 0 {
		err = errors.Join(err, fs.Remove(path))
	}
	return nil, err
}

// newSegmentFor makes a segment of the wanted size or, where the disk is too full
// for that, one which holds at least the needed bytes.
func newSegmentFor(fs FS, dir string, generation uint64, need, wanted, keep int64) (*segment, error) {
	s, err := newSegment(fs, dir, generation, max(need, wanted), keep)
	if tight := max(need, tightSegment); errors.Is(err, syscall.ENOSPC) && tight < wanted {
		return newSegment(fs, dir, generation, tight, keep)
	}
	return s, err
}

// extend writes zeros up to size and makes them durable, so that later an
// fdatasync of this range changes no metadata. On an error the segment is as before, and
// its file not shorter than keep.
func (s *segment) extend(size, keep int64) error {
	zeros := make([]byte, min(zeroChunk, max(size-s.size, 0)))
	for off := s.size; off < size; off += int64(len(zeros)) {
		if _, err := s.file.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return errors.Join(err, s.file.Truncate(max(s.size, keep)))
		}
	}
	// Crash: still no header, so still nothing in it.
	if err := s.file.Sync(); err != nil {
		return errors.Join(err, s.file.Truncate(max(s.size, keep)))
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
