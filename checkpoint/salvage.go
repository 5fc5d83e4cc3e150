package checkpoint

import (
	"errors"
	"path/filepath"
)

// Hole is a row of transactions that are missing, both ends included.
type Hole struct {
	From, To Position
}

// Salvaged is what Salvage found.
type Salvaged struct {
	Damage   *DamageError // why Load refuses the journal; nil where it is sound
	Records  int          // that are intact
	Snapshot bool         // there is a snapshot, and part of it is lost
	Holes    []Hole       // between transactions that are intact; what is lost at the end leaves none
}

// Salvage calls fn with every record of the journal in dir that is intact, in order: those
// behind damage too, which Load never sees, since without the ones before them they are no
// state. It is for a person who has no copy of the journal. It only reads, and needs no lock;
// the errors of fn end it, and so does a journal that a newer version wrote (ErrVersion).
func Salvage(dir string, fn func(Entry) error) (Salvaged, error) { return salvage(osFS{}, dir, fn) }

func salvage(fs FS, dir string, fn func(Entry) error) (out Salvaged, err error) {
	_, err = readJournal(fs, dir, func(Entry) error { return nil })
	if err != nil && !errors.As(err, &out.Damage) {
		return out, err
	}
	l, err := list(fs, dir)
	if err != nil {
		return out, err
	}
	w := &salvager{scan: scan{fs: fs, dir: dir, visit: fn, listing: l}, out: &out, next: 1}
	if err := w.snapshot(); err != nil {
		return out, err
	}
	limits, err := w.limits()
	for i, generation := range l.segments {
		if err == nil {
			err = w.segment(generation, limits[i])
		}
	}
	return out, err
}

// salvager reads files frame by frame, wherever in them the frames are.
type salvager struct {
	scan
	out  *Salvaged
	next Position // after the last transaction that was found
}

// snapshot visits what is intact of the snapshot.
func (w *salvager) snapshot() error {
	generation := w.listing.snapshot
	if generation == 0 {
		return nil
	}
	path := filepath.Join(w.dir, snapshotName(generation))
	b, err := w.readFile(path)
	if err != nil {
		return err
	}
	_, err = decodeHeader(b, snapshotMagic, generation)
	w.out.Snapshot = err != nil
	before, whole := w.out.Records, false
	err = w.frames(path, b, salt(snapshotMagic, generation), func(f frame, e Entry) error {
		w.next, e.Position = f.seq+1, f.seq
		if f.kind == kindTrailer {
			whole = f.counts(uint64(w.out.Records - before))
			return nil
		}
		return w.records(f, e)
	})
	w.out.Snapshot = w.out.Snapshot || !whole
	return err
}

// limits are, for each segment, the first position that the next one has: what an older one
// has from there on was torn when a later run began, and is void.
func (w *salvager) limits() ([]Position, error) {
	limits := make([]Position, len(w.listing.segments))
	limit := Position(1<<63 - 1)
	for i := len(limits) - 1; i >= 0; i-- {
		limits[i] = limit
		b, err := w.readFile(filepath.Join(w.dir, segmentName(w.listing.segments[i])))
		if err != nil {
			return nil, err
		}
		if h, err := decodeHeader(b, segmentMagic, w.listing.segments[i]); err == nil {
			limit = min(limit, h.first)
		}
	}
	return limits, nil
}

// segment visits the transactions of a segment that come next, and notes which are missing.
func (w *salvager) segment(generation uint64, limit Position) error {
	path := filepath.Join(w.dir, segmentName(generation))
	b, err := w.readFile(path)
	if err != nil {
		return err
	}
	return w.frames(path, b, salt(segmentMagic, generation), func(f frame, e Entry) error {
		if f.kind != kindTransaction || f.seq < w.next || f.seq >= limit {
			return nil
		}
		if f.seq > w.next {
			w.out.Holes = append(w.out.Holes, Hole{w.next, f.seq - 1})
		}
		w.next, e.Position = f.seq+1, f.seq
		return w.records(f, e)
	})
}

// frames calls visit with every valid frame of a file.
func (w *salvager) frames(path string, b []byte, salt uint32, visit func(frame, Entry) error) error {
	for offset, end := int64(headerSize), used(b); offset < end; {
		f, n, err := decodeFrame(b[offset:], salt)
		if err != nil {
			offset += alignment
			continue
		}
		if err := visit(f, Entry{File: path, Offset: offset}); err != nil {
			return err
		}
		offset += n
	}
	return nil
}

// records visits those of a frame.
func (w *salvager) records(f frame, e Entry) error {
	all, err := f.records()
	if err != nil {
		return nil // its checksum holds, so this cannot happen; it is nothing that could be read
	}
	for _, r := range all {
		e.Record = r
		w.out.Records++
		if err := w.visit(e); err != nil {
			return err
		}
	}
	return nil
}
