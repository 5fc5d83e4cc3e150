package checkpoint_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// acknowledged returns a journal of several segments, with or without a snapshot, of which
// all was acknowledged, as a killed program leaves it.
func acknowledged(t *testing.T, snapshot bool) history {
	t.Helper()
	h := history{fs: crashfs.New()}
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		h.append()
	}
	if snapshot {
		h.write(h.cut())
	}
	for range 9 {
		h.append()
	}
	h.sync(len(h.tx))
	h.fs.ReleaseLocks()
	if len(h.errs) > 0 {
		t.Fatal(errors.Join(h.errs...))
	}
	return h
}

func names(t *testing.T, fs *crashfs.FS) []string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// survives opens what a test has changed. It fails unless all is loaded or the
// damage is told.
func survives(t *testing.T, what string, h history, fs *crashfs.FS) (damaged bool) {
	t.Helper()
	h = h.on(fs)
	want := len(h.tx)
	err := h.open()
	if err == nil && (h.j == nil || len(h.tx) != want) {
		t.Fatalf("%s: %d of %d transactions loaded: %v", what, len(h.tx), want, errors.Join(h.errs...))
	}
	var damage *checkpoint.DamageError
	if err != nil && !errors.As(err, &damage) {
		t.Fatalf("%s: %v", what, err)
	}
	if damage != nil && (filepath.Dir(damage.File) != dir || damage.Reason == "") {
		t.Fatalf("%s: the error does not tell where: %v", what, err)
	}
	return damage != nil
}

func TestAFlippedBitInWhatWasAcknowledgedIsNeverLost(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{false, true} {
		h := acknowledged(t, snapshot)
		for _, name := range names(t, h.fs) {
			path := filepath.Join(dir, name)
			flips, found := 0, 0
			image := h.fs.Kill()
			for offset := range h.fs.Bytes(path) {
				image.Flip(path, int64(offset), uint(offset)%8)
				flips++
				if survives(t, fmt.Sprintf("%s at %d", name, offset), h, image) {
					found++
					image.Flip(path, int64(offset), uint(offset)%8) // nothing else was changed
				} else {
					image = h.fs.Kill()
				}
			}
			t.Logf("%s: %d bytes flipped, %d times the journal refused", name, flips, found)
		}
	}
}

func TestAFileThatIsMissingOrTooShortIsNoticed(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{false, true} {
		h := acknowledged(t, snapshot)
		all := names(t, h.fs)
		spare := all[len(all)-1]
		if snapshot {
			spare = all[len(all)-2]
		}
		for _, name := range all {
			path := filepath.Join(dir, name)
			gone := h.fs.Kill()
			if err := gone.Remove(path); err != nil {
				t.Fatal(err)
			}
			// Without the spare nothing is lost.
			if got := survives(t, "without "+name, h, gone); got == (name == spare) {
				t.Errorf("without %s (the spare is %s): refused is %t", name, spare, got)
			}
			for size := int64(0); size < 4096; size += 8 {
				short := h.fs.Kill()
				truncate(t, short, path, size)
				survives(t, fmt.Sprintf("%s cut to %d bytes", name, size), h, short)
			}
		}
	}
}

func truncate(t *testing.T, fs *crashfs.FS, path string, size int64) {
	t.Helper()
	f, err := fs.Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(fs.Bytes(path))) <= size {
		return
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

func TestATornTailIsCutOnceAndNothingElse(t *testing.T) {
	t.Parallel()
	h := acknowledged(t, false)
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	h.append()
	s := h.j.Stats()
	path := filepath.Join(dir, fmt.Sprintf("log-%012d", s.Generation))
	h.fs.ReleaseLocks()
	h.fs.Flip(path, 64+40, 3) // in the payload of the first frame of this run
	r, err := checkpoint.VerifyOn(h.fs, dir)
	if err != nil || r.TornFile != path || r.TornBytes == 0 {
		t.Fatalf("verify: %+v, %v", r, err)
	}
	h.tx, h.maybe = h.tx[:len(h.tx)-1], nil
	if survives(t, "torn", h, h.fs) {
		t.Fatal("a torn tail is no damage")
	}
	if r, err = checkpoint.VerifyOn(h.fs, dir); err != nil || r.TornBytes != 0 {
		t.Errorf("verify after the cut: %+v, %v", r, err)
	}
}

func TestTheEndOfTheLogCannotGoMissing(t *testing.T) {
	t.Parallel()
	h := acknowledged(t, false)
	all := names(t, h.fs)
	spare, last := filepath.Join(dir, all[len(all)-1]), filepath.Join(dir, all[len(all)-2])
	for what, remove := range map[string]func(fs *crashfs.FS) error{
		"without the last segment and the spare": func(fs *crashfs.FS) error { return errors.Join(fs.Remove(last), fs.Remove(spare)) },
		"with an empty last segment and no spare": func(fs *crashfs.FS) error {
			truncate(t, fs, last, 0)
			return fs.Remove(spare)
		},
		"with an empty last segment": func(fs *crashfs.FS) error {
			truncate(t, fs, last, 0)
			return nil
		},
	} {
		image := h.fs.Kill()
		if err := remove(image); err != nil {
			t.Fatal(err)
		}
		if !survives(t, what, h, image) {
			t.Errorf("%s the journal was not refused", what)
		}
	}
}

func TestAnEmptyFirstSegmentIsNoticedByItsSpare(t *testing.T) {
	t.Parallel()
	h := history{fs: crashfs.New()}
	if err := h.open(); err != nil {
		t.Fatal(err)
	}
	h.append()
	h.sync(1)
	h.fs.ReleaseLocks()
	truncate(t, h.fs, filepath.Join(dir, "log-000000000001"), 0)
	if !survives(t, "an empty first segment", h, h.fs) {
		t.Error("the journal was not refused")
	}
}

func TestSealedSegmentsGiveBackTheirRoom(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	j := on(t, fs, 1<<20)
	appendAll(t, j, "one")
	if _, err := j.Cut(); err != nil {
		t.Fatal(err)
	}
	j.Idle()
	if n := len(fs.Bytes(filepath.Join(dir, "log-000000000001"))); n != 64+40+32 {
		t.Errorf("the sealed segment has %d bytes", n)
	}
}
