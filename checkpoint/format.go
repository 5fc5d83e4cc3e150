package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	formatVersion  = 1
	headerSize     = 64
	frameOverhead  = 32
	alignment      = 8
	maxTransaction = 64 << 20 // bytes of a frame's payload

	segmentMagic  = "TENONLOG"
	snapshotMagic = "TENONSNP"
)

// kind says what a frame is.
type kind uint8

const (
	kindTransaction kind = 1 + iota // of a segment: records that count together
	kindMark                        // of a segment: only the synced field matters
	kindEnd                         // of a segment: nothing follows in this file
	kindState                       // of a snapshot: some records
	kindTrailer                     // of a snapshot: complete; the payload is the number of records
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the start of a segment or a snapshot.
type header struct {
	magic      string
	generation uint64
	first      Position // segment: its first transaction; snapshot: the last one it covers
	synced     Position // known durable when the header was written
	size       int64    // segment: bytes preallocated; snapshot: 0
}

// encode returns headerSize bytes.
func (h header) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, h.magic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], h.generation)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.first))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.synced))
	binary.LittleEndian.PutUint64(b[40:], uint64(h.size))
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// decodeHeader reads the header of a file of the given magic and generation. The
// error is ErrVersion or says what is wrong with the bytes.
func decodeHeader(b []byte, magic string, generation uint64) (header, error) {
	if len(b) < headerSize {
		return header{}, errors.New("the file is too short for a header")
	}
	if crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return header{}, errors.New("the header's checksum does not match")
	}
	if string(b[:8]) != magic {
		return header{}, errors.New("the file is of another kind")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return header{}, fmt.Errorf("%w: version %d, this program reads up to version %d", ErrVersion, v, formatVersion)
	}
	if binary.LittleEndian.Uint64(b[16:]) != generation {
		return header{}, errors.New("the header names another generation than the file's name")
	}
	return header{
		magic:      magic,
		generation: generation,
		first:      Position(binary.LittleEndian.Uint64(b[24:])),
		synced:     Position(binary.LittleEndian.Uint64(b[32:])),
		size:       int64(binary.LittleEndian.Uint64(b[40:])),
	}, nil
}

// salt is where the checksums of the frames of one file start.
func salt(magic string, generation uint64) uint32 {
	b := binary.LittleEndian.AppendUint64([]byte(magic), generation)
	return crc32.Checksum(b, castagnoli)
}

// frame is a decoded frame. The payload aliases the buffer it came from.
type frame struct {
	kind    kind
	seq     Position
	synced  Position
	count   uint32
	payload []byte
}

// payloadSize returns the bytes that the records need inside a frame.
func payloadSize(tx []Record) int64 {
	n := int64(0)
	for _, r := range tx {
		n += 4 + int64(len(r))
	}
	return n
}

// frameSize returns the bytes of a frame with such a payload.
func frameSize(payload int64) int64 {
	return (frameOverhead + payload + alignment - 1) / alignment * alignment
}

// appendFrame appends the frame of tx to b; of f it uses kind, seq and synced.
func appendFrame(b []byte, salt uint32, f frame, tx ...Record) []byte {
	start := len(b)
	n := payloadSize(tx)
	b = binary.LittleEndian.AppendUint32(b, 0) // the checksum, when all else is known
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.seq))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.synced))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(tx)))
	b = append(b, byte(f.kind), 0, 0, 0)
	for _, r := range tx {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r)))
		b = append(b, r...)
	}
	b = append(b, make([]byte, frameSize(n)-frameOverhead-n)...)
	binary.LittleEndian.PutUint32(b[start:], crc32.Update(salt, castagnoli, b[start+4:]))
	return b
}

var (
	errNoFrame    = errors.New("there is no frame")
	errChecksum   = errors.New("the frame's checksum does not match")
	errIncomplete = errors.New("the frame goes beyond the end of the file")
)

// decodeFrame reads the frame at the start of b and returns its size in bytes.
func decodeFrame(b []byte, salt uint32) (frame, int64, error) {
	if len(b) < frameOverhead {
		return frame{}, 0, errNoFrame
	}
	f := frame{
		kind:   kind(b[28]),
		seq:    Position(binary.LittleEndian.Uint64(b[8:])),
		synced: Position(binary.LittleEndian.Uint64(b[16:])),
		count:  binary.LittleEndian.Uint32(b[24:]),
	}
	if f.kind < kindTransaction || f.kind > kindTrailer || b[29]|b[30]|b[31] != 0 {
		return frame{}, 0, errNoFrame
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	size := frameSize(n)
	if n > maxTransaction || size > int64(len(b)) {
		return frame{}, 0, errIncomplete
	}
	if crc32.Update(salt, castagnoli, b[4:size]) != binary.LittleEndian.Uint32(b) {
		return frame{}, 0, errChecksum
	}
	f.payload = b[frameOverhead : frameOverhead+n]
	return f, size, nil
}

// records splits the payload. The records alias it.
func (f frame) records() ([]Record, error) {
	if int64(f.count)*4 > int64(len(f.payload)) {
		return nil, errIncomplete
	}
	records := make([]Record, 0, f.count)
	rest := f.payload
	for range f.count {
		if len(rest) < 4 {
			return nil, errIncomplete
		}
		n := uint64(binary.LittleEndian.Uint32(rest))
		if n > uint64(len(rest)-4) {
			return nil, errIncomplete
		}
		records = append(records, Record(rest[4:4+n:4+n]))
		rest = rest[4+n:]
	}
	return records, nil
}

// used returns how many bytes of b lie before the zeros at its end.
func used(b []byte) int64 { return int64(len(bytes.TrimRight(b, "\x00"))) }
