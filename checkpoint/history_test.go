package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

const dir = "/var/lib/tenon"

var small = checkpoint.Options{SegmentSize: 4096}

// history is what a program did to a journal and what it was told. The state of
// the program is the list of all its records, so a snapshot holds just those.
type history struct {
	fs    *crashfs.FS
	j     *checkpoint.Journal
	tx    [][]string // transactions for which Append returned nil
	maybe []string   // the one that failed in the middle, if any
	acked int        // of them, acknowledged as durable
	made  int        // transactions tried; each is different
	errs  []error    // all that went wrong
}

// transaction makes the n-th transaction: one to three records of very different sizes.
func transaction(n int) (tx []string) {
	for i := range n%3 + 1 {
		tx = append(tx, fmt.Sprintf("%d/%d:%*d", n, i, (n*37+i*101)%600, n))
	}
	return tx
}

func raw(tx []string) (records []checkpoint.Record) {
	for _, r := range tx {
		records = append(records, checkpoint.Record(r))
	}
	return records
}

// note keeps an error and tells whether there is none.
func (h *history) note(err error) bool {
	if err != nil {
		h.errs = append(h.errs, err)
	}
	return err == nil
}

// open opens and loads; what is loaded must fit what went before.
func (h *history) open() error {
	o := small
	o.FS = h.fs
	j, err := checkpoint.Open(dir, o)
	if !h.note(err) {
		return nil
	}
	records, err := load(j)
	j.Idle()
	if !h.note(err) {
		h.note(j.Close())
		if errors.Is(err, checkpoint.ErrDamaged) {
			return err
		}
		return nil
	}
	h.j = j
	return h.check(records)
}

// check holds what was loaded to the history and goes on with that as the truth,
// all of which is durable.
func (h *history) check(records []string) error {
	n, err := prefix(records, append(slices.Clip(h.tx), h.maybe))
	if err != nil {
		return err
	}
	if n < h.acked {
		return fmt.Errorf("%d transactions loaded, but %d were acknowledged", n, h.acked)
	}
	if n > len(h.tx) && h.maybe != nil {
		h.tx = append(h.tx, h.maybe)
	}
	h.tx, h.acked, h.maybe = h.tx[:min(n, len(h.tx))], n, nil
	return nil
}

// prefix tells how many whole transactions the records are.
func prefix(records []string, tx [][]string) (int, error) {
	rest := records
	for n, t := range tx {
		if len(rest) == 0 {
			return n, nil
		}
		if len(rest) < len(t) || !slices.Equal(rest[:len(t)], t) {
			return 0, fmt.Errorf("transaction %d is not whole: got %.60q, want %.60q", n, rest[:min(len(t), len(rest))], t)
		}
		rest = rest[len(t):]
	}
	if len(rest) > 0 {
		return 0, fmt.Errorf("records that were never appended: %.60q", rest)
	}
	return len(tx), nil
}

func (h *history) append() {
	if h.j == nil {
		return
	}
	h.made++
	h.appendThis(transaction(h.made))
}

func (h *history) appendThis(tx []string) {
	_, err := h.j.Append(raw(tx)...)
	switch {
	case h.note(err):
		h.tx = append(h.tx, tx)
	case errors.Is(err, checkpoint.ErrFailed) && h.maybe == nil:
		h.maybe = tx
	}
	h.j.Idle()
}

func (h *history) sync(n int) {
	if h.j != nil && h.note(h.j.Sync(context.Background(), checkpoint.Position(n))) {
		h.acked = max(h.acked, n)
	}
}

func (h *history) cut() *checkpoint.Cut {
	if h.j == nil {
		return nil
	}
	cut, err := h.j.Cut()
	h.note(err)
	h.j.Idle()
	return cut
}

func (h *history) write(cut *checkpoint.Cut) {
	if cut == nil {
		return
	}
	if n := int(cut.Position()); h.note(cut.Write(h.records(n))) {
		h.acked = max(h.acked, n)
	}
}

func (h *history) records(n int) iter.Seq[checkpoint.Record] {
	return slices.Values(raw(slices.Concat(h.tx[:n]...)))
}

func (h *history) close() {
	if h.j == nil {
		return
	}
	if h.note(h.j.Close()) {
		h.acked = len(h.tx)
	}
	h.j = nil
}

// run is the history that the tests interrupt everywhere: create, append, sync, group commit,
// rotation, snapshot with appends during it, second and third open.
func (h *history) run() error {
	if err := h.open(); err != nil {
		return err
	}
	h.append()
	h.sync(1)
	for range 4 {
		h.append()
	}
	h.sync(5)
	h.sync(3)
	h.sync(4)
	for range 24 { // several rotations, nobody waits
		h.append()
	}
	cut := h.cut()
	h.append()
	h.write(cut)
	h.append()
	h.sync(len(h.tx))
	h.append()
	h.close()
	if err := h.open(); err != nil {
		return err
	}
	h.append()
	h.sync(len(h.tx))
	h.write(h.cut())
	for range 8 {
		h.append()
	}
	h.fs.ReleaseLocks() // the program is killed
	h.j = nil
	if err := h.open(); err != nil {
		return err
	}
	h.append()
	h.append()
	return nil
}

// at runs the history on a file system that arm has prepared.
func at(k int, arm func(*crashfs.FS, int)) (*history, error) {
	h := &history{fs: crashfs.New()}
	arm(h.fs, k)
	return h, h.run()
}

// operations returns how many operations the undisturbed history needs.
func operations(t *testing.T) int {
	t.Helper()
	h, err := at(0, (*crashfs.FS).StopAt)
	if err != nil || len(h.errs) > 0 {
		t.Fatal(err, errors.Join(h.errs...))
	}
	return h.fs.Operations()
}

// on returns a copy of the history that goes on with what is left on an image.
func (h history) on(image *crashfs.FS) history {
	h.fs, h.j, h.errs, h.tx = image, nil, nil, slices.Clone(h.tx)
	return h
}

// recovers demands that what is left of a history loads as it must and that the
// journal then works: the next acknowledged transaction survives as well.
func recovers(t *testing.T, what string, h history, image *crashfs.FS) int {
	t.Helper()
	h = h.on(image)
	if err := h.open(); err != nil || h.j == nil {
		t.Fatalf("%s: open: %v %v", what, err, errors.Join(h.errs...))
	}
	n := len(h.tx)
	h.append()
	h.sync(n + 1)
	h.fs, h.j = h.fs.Crash(crashfs.None, 0), nil
	if err := h.open(); err != nil || len(h.errs) > 0 || len(h.tx) != n+1 {
		t.Fatalf("%s: after one more: %d transactions, want %d: %v %v", what, len(h.tx), n+1, err, errors.Join(h.errs...))
	}
	if _, err := checkpoint.VerifyOn(h.fs, dir); err != nil {
		t.Fatalf("%s: verify: %v", what, err)
	}
	return n
}

// images returns what may be left of a file system, by name.
func images(fs *crashfs.FS) map[string]*crashfs.FS {
	m := map[string]*crashfs.FS{
		"nothing unsynced survives": fs.Crash(crashfs.None, 0),
		"all of it survives":        fs.Crash(crashfs.All, 0),
		"the program is killed":     fs.Kill(),
	}
	for seed := range uint64(4) {
		m[fmt.Sprintf("some of it survives by seed %d", seed)] = fs.Crash(crashfs.Some, seed)
	}
	return m
}
