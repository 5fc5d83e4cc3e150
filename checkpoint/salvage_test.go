package checkpoint_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	stdstrings "strings"
	"testing"

	"tenon/checkpoint"
)

// journalOf makes a journal with a snapshot and segments of two runs, of which the first was
// torn, and returns its files.
func journalOf(t *testing.T, path string) (files []string) {
	t.Helper()
	j, _ := open(t, path, checkpoint.Options{SegmentSize: 4096})
	appendAll(t, j, "replaced")
	cut, err := j.Cut()
	if err != nil {
		t.Fatal(err)
	}
	if err := cut.Write(slices.Values([]checkpoint.Record{[]byte("state 1"), []byte("state 2")})); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		p := appendAll(t, j, fmt.Sprintf("first run %d", i), "of the same transaction")
		if err := j.Sync(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	closeNow(t, j)
	j, _ = open(t, path, checkpoint.Options{SegmentSize: 4096})
	for i := range 9 {
		p := appendAll(t, j, fmt.Sprintf("second run %d", i))
		if err := j.Sync(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	closeNow(t, j)
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if stdstrings.HasPrefix(e.Name(), "log-") || stdstrings.HasPrefix(e.Name(), "snapshot-") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files
}

// salvaged is what Salvage finds, a line a record.
func salvaged(t *testing.T, path string) (checkpoint.Salvaged, []string) {
	t.Helper()
	var lines []string
	last := checkpoint.Position(0)
	out, err := checkpoint.Salvage(path, func(e checkpoint.Entry) error {
		if e.Position < last {
			t.Errorf("position %d after %d", e.Position, last)
		}
		last = e.Position
		lines = append(lines, fmt.Sprintf("%d %s", e.Position, e.Record))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if out.Records != len(lines) {
		t.Errorf("%d records counted, %d seen", out.Records, len(lines))
	}
	return out, lines
}

func TestSalvageOfASoundJournalIsWhatLoads(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	journalOf(t, path)
	out, lines := salvaged(t, path)
	if out.Damage != nil || out.Snapshot || out.Holes != nil {
		t.Errorf("found %+v", out)
	}
	var want []string
	if err := checkpoint.Show(path, func(e checkpoint.Entry) error {
		want = append(want, fmt.Sprintf("%d %s", e.Position, e.Record))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(lines, want) {
		t.Errorf("salvaged %q, loads %q", lines, want)
	}
}

func TestWhereverAByteIsLostAllButOneFrameIsSalvagedAndNothingElse(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	files := journalOf(t, path)
	_, all := salvaged(t, path)
	refused, lost := 0, 0
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for at := range len(stdstrings.TrimRight(string(whole), "\x00")) {
			whole[at] ^= 0x55
			if err := os.WriteFile(file, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			whole[at] ^= 0x55
			out, lines := salvaged(t, path)
			what := fmt.Sprintf("%s at %d", filepath.Base(file), at)
			if !isSubsequence(lines, all) {
				t.Fatalf("%s: salvaged what never was: %q", what, lines)
			}
			if missing := len(all) - len(lines); missing > 2 {
				t.Fatalf("%s: %d records are lost with one byte", what, missing)
			}
			_, err := checkpoint.Verify(path)
			if damage := (*checkpoint.DamageError)(nil); errors.As(err, &damage) != (out.Damage != nil) {
				t.Fatalf("%s: verify says %v, salvage %v", what, err, out.Damage)
			}
			if out.Damage != nil {
				refused++
			}
			lost += len(all) - len(lines)
			if len(lines) < len(all) && lines[len(lines)-1] == all[len(all)-1] && out.Holes == nil && !out.Snapshot {
				t.Fatalf("%s: %d of %d records, and no hole is told", what, len(lines), len(all))
			}
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 || lost == 0 {
		t.Errorf("refused %d times, %d records lost: nothing was damaged", refused, lost)
	}
	t.Logf("%d times the journal refused, %d records lost in all", refused, lost)
}

func isSubsequence(part, whole []string) bool {
	for _, line := range whole {
		if len(part) > 0 && part[0] == line {
			part = part[1:]
		}
	}
	return len(part) == 0
}

func TestAFileThatIsGoneLeavesAHole(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	files := journalOf(t, path)
	for _, file := range files {
		if filepath.Base(file) == "log-000000000002" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, lines := salvaged(t, path)
	if out.Damage == nil || len(out.Holes) != 1 || out.Holes[0] != (checkpoint.Hole{From: 2, To: 10}) || len(lines) != 2+9 {
		t.Errorf("found %+v and %q", out, lines)
	}
}

func TestSalvageEndsWithTheErrorOfItsFunction(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	journalOf(t, path)
	enough := errors.New("enough")
	if _, err := checkpoint.Salvage(path, func(checkpoint.Entry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
}
