package checkpoint

import (
	"errors"
	"io/fs"
)

// looks is how often a journal is read that seems damaged, since a running agent
// may have changed it meanwhile.
const looks = 3

// Show calls fn with every record of the journal in dir, in order. It only reads, needs no
// lock and works while an agent runs; then it shows the journal as of about now. A torn tail ends it
// without an error; damage is a *DamageError. Errors of fn end it too.
func Show(dir string, fn func(Entry) error) error {
	_, err := readJournal(osFS{}, dir, fn)
	if err != nil && changing(err) {
		_, err = Verify(dir)
	}
	return err
}

// Report is what Verify found.
type Report struct {
	Snapshot      uint64   // generation of the snapshot; 0: none
	SnapshotBytes int64    //
	Segments      int      // log files that are part of the history
	LogBytes      int64    // in them, without preallocated room
	Transactions  int      // in the segments
	Records       int      // in snapshot and segments
	Last          Position // last transaction
	Proven        Position // the journal itself shows that this one was synced
	TornFile      string   // where the log breaks off, if TornBytes is not 0
	TornBytes     int64    // behind the last good frame; never acknowledged, cut by the next start
}

// Verify reads the journal in dir whole and checks every checksum and that no
// transaction is missing. It only reads, and needs no lock. Damage is a *DamageError.
func Verify(dir string) (Report, error) { return verify(osFS{}, dir) }

func verify(fs FS, dir string) (r Report, err error) {
	for range looks {
		var s *scan
		s, err = readJournal(fs, dir, func(Entry) error { return nil })
		if err == nil {
			return s.report(), nil
		}
		if !changing(err) {
			break
		}
	}
	return Report{}, err
}

// changing tells whether an error may come from reading while an agent writes.
func changing(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist)
}

func (s *scan) report() Report {
	r := Report{
		Snapshot:      s.listing.snapshot,
		SnapshotBytes: s.snapshotBytes,
		Transactions:  s.transactions,
		Records:       s.records,
		Last:          s.next - 1,
		Proven:        s.proven,
		TornBytes:     s.stop.torn,
	}
	for _, l := range s.found {
		if l.good > 0 {
			r.Segments++
			r.LogBytes += l.good
		}
	}
	if r.TornBytes > 0 {
		r.TornFile = s.stop.file
	}
	return r
}
