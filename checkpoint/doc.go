// Package checkpoint is the journal in which Tenon keeps its intent: an
// append-only log of opaque records with group commit and snapshots. It knows
// nothing of volumes, and is not a database: no keys, no queries, one writer.
//
// # Files
//
// A journal is a directory, locked by flock(2) on the directory itself:
//
//	log-000000000007       a segment: header, frames, zeros to its preallocated size
//	log-000000000008       the spare: zeros only, becomes the next segment
//	snapshot-000000000007  all that was appended before log-000000000007
//	snapshot-….tmp         a snapshot being written; worthless until renamed
//
// The number is the generation of a segment. Every file starts with a header of
// 64 bytes (magic, format version, generation, first sequence, size, CRC-32C); magic,
// version and CRC keep their places in all versions to come. A frame is one
// transaction: CRC, payload length, sequence, the sequence known synced when the
// frame was written, number of records, kind; then each record after its
// length, and zeros up to a multiple of eight. Integers are little endian. The
// CRC starts from the generation, so a frame of another file is not valid.
// Besides transactions there are marks (after a sync, this says how far
// it reached) and ends (the segment is sealed).
//
// # Why a crash does no harm
//
//   - A spare is written with zeros, synced, and its name is synced, before its
//     header is written. So an fdatasync of a segment needs no metadata, and a file
//     without a header holds nothing.
//   - A transaction counts if its frame and all before it are whole. Sync
//     acknowledges after fdatasync of all sealed segments and then of the active one.
//   - A start reads up to the first frame that is not whole. If a later frame or
//     header proves, by its synced field, that the place had once been synced, the disk
//     has lost something: DamageError. Else it is a torn tail, which nobody was
//     told to be durable, and is cut.
//   - A start never appends to an old segment. It makes what it read durable, then
//     begins a new segment that names the next sequence, and only then truncates the
//     old one and removes what is unused. A segment that starts at the sequence at which
//     an earlier one broke off therefore settles the matter for ever.
//   - A segment sealed with an end frame, or shorter than its header says, has a
//     successor whose name was synced before; if there is none, a file is missing.
//   - A snapshot is written aside, synced, renamed, its name synced; then only do the
//     segments and snapshots go that it replaces.
//
// Assumed: a sector of 512 bytes is written whole or not at all, and an fdatasync or fsync
// that returns nil has done its work.
package checkpoint
