package checkpoint

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	segmentPrefix  = "log-"
	snapshotPrefix = "snapshot-"
	tempSuffix     = ".tmp"
	digits         = 12
)

func segmentName(generation uint64) string {
	return fmt.Sprintf("%s%0*d", segmentPrefix, digits, generation)
}

func snapshotName(generation uint64) string {
	return fmt.Sprintf("%s%0*d", snapshotPrefix, digits, generation)
}

// parseName returns the generation in a name that segmentName or snapshotName made.
func parseName(name, prefix string) (uint64, bool) {
	number, ok := strings.CutPrefix(name, prefix)
	if !ok || len(number) < digits {
		return 0, false
	}
	generation, err := strconv.ParseUint(number, 10, 64)
	return generation, err == nil && generation > 0 && fmt.Sprintf("%0*d", digits, generation) == number
}

// listing is what the names in a journal's directory say.
type listing struct {
	snapshot uint64   // generation of the newest snapshot; 0: none
	segments []uint64 // generations that follow it, ascending
	leftover []string // names of the journal that mean nothing any more
}

// list reads the names in dir. Names that the journal did not make are not touched.
func list(fs FS, dir string) (listing, error) {
	names, err := fs.List(dir)
	if err != nil {
		return listing{}, err
	}
	var l listing
	for _, name := range names {
		if generation, ok := parseName(name, snapshotPrefix); ok {
			l.snapshot = max(l.snapshot, generation)
		}
	}
	for _, name := range names {
		l.sort(name)
	}
	slices.Sort(l.segments)
	return l, nil
}

// sort puts a name where it belongs, once the newest snapshot is known.
func (l *listing) sort(name string) {
	if generation, ok := parseName(name, segmentPrefix); ok {
		if generation >= l.snapshot {
			l.segments = append(l.segments, generation)
		} else {
			l.leftover = append(l.leftover, name)
		}
		return
	}
	whole, temporary := strings.CutSuffix(name, tempSuffix)
	if generation, ok := parseName(whole, snapshotPrefix); ok && (temporary || generation < l.snapshot) {
		l.leftover = append(l.leftover, name)
	}
}

// sweep removes what the newest snapshot has replaced, and temporary files.
// Preconditions: the snapshot's name is durable, and nobody writes one.
func sweep(fs FS, dir string) error {
	l, err := list(fs, dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range l.leftover {
		// Crash: any of them may still be there, or come back; the next start ignores and removes them.
		errs = append(errs, fs.Remove(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}
