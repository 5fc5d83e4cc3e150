package checkpoint

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// segmentBytes returns a segment as the journal writes it.
func segmentBytes(generation uint64, tx ...[]Record) []byte {
	sum := salt(segmentMagic, generation)
	b := header{magic: segmentMagic, generation: generation, first: 1, size: 4096}.encode()
	for i, t := range tx {
		b = appendFrame(b, sum, frame{kind: kindTransaction, seq: Position(i + 1)}, t...)
	}
	b = appendFrame(b, sum, frame{kind: kindMark, seq: Position(len(tx)), synced: Position(len(tx))})
	return append(b, make([]byte, max(4096-len(b), 0))...)
}

// judged reads the bytes of a lone segment.
func judged(b []byte, generation uint64) (records []string, s *scan, err error) {
	s = &scan{dir: "d", next: 1, visit: func(e Entry) error {
		records = append(records, string(e.Record))
		return nil
	}}
	s.stop = s.missing(generation)
	if err := s.judge("d/segment", b, generation); err != nil {
		return nil, s, err
	}
	return records, s, s.verdict()
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 4096))
	f.Add(segmentBytes(7))
	f.Add(segmentBytes(7, []Record{[]byte("one"), nil}, []Record{[]byte(`{"two":2}`)}))
	f.Add(segmentBytes(7, []Record{segmentBytes(7, []Record{[]byte("within")})}))
	f.Add(segmentBytes(8, []Record{[]byte("of another generation")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		_, s, err := judged(b, 7)
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Errorf("the error is of no kind: %v", err)
		}
		if !bytes.Equal(b, before) {
			t.Error("the bytes were changed")
		}
		for _, l := range s.found {
			if l.good > l.size {
				t.Errorf("%d good bytes of %d", l.good, l.size)
			}
		}
	})
}

// FuzzFrame lets the fuzzer make the payload and the length of a frame whose
// checksum is right, which FuzzSegment hardly ever finds.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x03\x00\x00\x00abc\x00\x00\x00\x00"), uint32(2), byte(1))
	f.Add([]byte{}, uint32(0), byte(3))
	f.Add([]byte("\xff\xff\xff\xff"), uint32(1), byte(5))
	f.Fuzz(func(t *testing.T, payload []byte, count uint32, k byte) {
		b := appendFrame(nil, 1, frame{kind: kind(k), seq: 1, synced: 1}, payload)
		got, n, err := decodeFrame(b, 1)
		if wellKnown := kind(k) >= kindTransaction && kind(k) <= kindTrailer; err == nil != wellKnown {
			t.Fatalf("kind %d: %v", k, err)
		}
		if err != nil {
			return
		}
		if records, err := got.records(); err != nil || n != int64(len(b)) || len(records) != 1 || !bytes.Equal(records[0], payload) {
			t.Fatalf("got %d bytes, %q, %v", n, records, err)
		}
		records, err := frame{count: count, payload: payload}.records()
		if err == nil && payloadSize(records) > int64(len(payload)) {
			t.Errorf("%d bytes of records in a payload of %d", payloadSize(records), len(payload))
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	b := header{magic: snapshotMagic, generation: 7, first: 5, synced: 5}.encode()
	sum := salt(snapshotMagic, 7)
	b = appendFrame(b, sum, frame{kind: kindState, seq: 5}, []byte("a"), []byte("b"))
	b = appendFrame(b, sum, frame{kind: kindTrailer, seq: 5}, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	if n, err := readSnapshotBytes(b); n != 2 || err != nil {
		f.Fatalf("%d records, %v", n, err)
	}
	f.Add(b)
	f.Add(b[:len(b)-8])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := readSnapshotBytes(b); err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Errorf("the error is of no kind: %v", err)
		}
	})
}

func readSnapshotBytes(b []byte) (int, error) {
	s := &scan{listing: listing{snapshot: 7}, visit: func(Entry) error { return nil }}
	r := snapshotReader{scan: s, path: "d/snapshot", salt: salt(snapshotMagic, 7), in: bufio.NewReader(bytes.NewReader(b))}
	err := r.all()
	return s.records, err
}

func TestDecodingGivesWhatWasEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tx := rapid.SliceOfN(rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 4), 0, 5).Draw(t, "transactions")
		var frames [][]Record
		var want []string
		for _, records := range tx {
			var f []Record
			for _, r := range records {
				f, want = append(f, r), append(want, string(r))
			}
			frames = append(frames, f)
		}
		got, s, err := judged(segmentBytes(7, frames...), 7)
		if err != nil || !slices.Equal(got, want) || int(s.proven) != len(tx) || s.stop.torn != 0 {
			t.Fatalf("got %q, want %q: %v, %+v", got, want, err, s.stop)
		}
	})
}

func TestHeadersSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := header{magic: segmentMagic, generation: 7, first: 3, synced: 2, size: 4096}
	if got, err := decodeHeader(good.encode(), segmentMagic, 7); err != nil || got != good {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, b := range map[string][]byte{
		"too short":          good.encode()[:headerSize-1],
		"zeros":              make([]byte, headerSize),
		"of a snapshot":      header{magic: snapshotMagic, generation: 7}.encode(),
		"another generation": header{magic: segmentMagic, generation: 8}.encode(),
	} {
		if _, err := decodeHeader(b, segmentMagic, 7); err == nil {
			t.Errorf("a header that is %s was accepted", name)
		}
	}
}

func TestAFrameWithAWrongPositionEndsTheLog(t *testing.T) {
	t.Parallel()
	sum := salt(segmentMagic, 7)
	for name, wrong := range map[string]frame{
		"a transaction left out": {kind: kindTransaction, seq: 2},
		"a mark of the future":   {kind: kindMark, seq: 1},
		"a frame of a snapshot":  {kind: kindTrailer, seq: 1},
	} {
		b := header{magic: segmentMagic, generation: 7, first: 1}.encode()
		b = appendFrame(b, sum, wrong, []byte("wrong"))
		records, s, err := judged(b, 7)
		if err != nil || len(records) != 0 || s.next != 1 || s.stop.offset != headerSize {
			t.Errorf("%s: %q, next %d, %+v, %v", name, records, s.next, s.stop, err)
		}
		wrong.synced = 1
		b = appendFrame(b[:headerSize], sum, wrong, []byte("wrong"))
		if _, _, err := judged(b, 7); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s, which proves that something is gone: %v", name, err)
		}
	}
}

func TestASnapshotMustBeWhole(t *testing.T) {
	t.Parallel()
	sum := salt(snapshotMagic, 7)
	start := header{magic: snapshotMagic, generation: 7, first: 5, synced: 5}.encode()
	state := appendFrame(nil, sum, frame{kind: kindState, seq: 5}, []byte("a"))
	trailer := func(n byte) []byte {
		return appendFrame(nil, sum, frame{kind: kindTrailer, seq: 5}, []byte{n, 0, 0, 0, 0, 0, 0, 0})
	}
	other := appendFrame(nil, sum, frame{kind: kindState, seq: 4}, []byte("a"))
	for name, b := range map[string][]byte{
		"no trailer":             slices.Concat(start, state),
		"a frame too few":        slices.Concat(start, trailer(1)),
		"a frame too many":       slices.Concat(start, state, state, trailer(1)),
		"bytes after the end":    slices.Concat(start, state, trailer(1), []byte{0}),
		"a frame of another one": slices.Concat(start, other, trailer(1)),
		"a frame of a segment":   slices.Concat(start, appendFrame(nil, sum, frame{kind: kindMark, seq: 5}), trailer(0)),
	} {
		if _, err := readSnapshotBytes(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := readSnapshotBytes(slices.Concat(start, state, trailer(1))); n != 1 || err != nil {
		t.Errorf("a whole one: %d records, %v", n, err)
	}
}
