package checkpoint_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	stdstrings "strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/checkpoint"
)

var update = flag.Bool("update", false, "make the fixture of the present format version, if there is none")

const (
	fixtures       = "../testdata/checkpoint"
	presentVersion = "v1"
)

// shown lists a journal as lines of file, offset, position and record.
func shown(t *testing.T, path string) string {
	t.Helper()
	var b stdstrings.Builder
	err := checkpoint.Show(path, func(e checkpoint.Entry) error {
		fmt.Fprintf(&b, "%s %d %d %s\n", filepath.Base(e.File), e.Offset, e.Position, e.Record)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestShowAndVerifyWorkWhileAnAgentRuns(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	j, _ := open(t, path, checkpoint.Options{SegmentSize: 4096})
	appendAll(t, j, "old")
	cut, err := j.Cut()
	if err != nil {
		t.Fatal(err)
	}
	if err := cut.Write(slices.Values([]checkpoint.Record{[]byte("state")})); err != nil {
		t.Fatal(err)
	}
	j.Idle() // it has made the first segment durable and marked that at offset 64
	appendAll(t, j, "a", "b")
	p := appendAll(t, j, "c")
	if err := j.Sync(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	want := `snapshot-000000000002 64 1 state
log-000000000002 96 2 a
log-000000000002 96 2 b
log-000000000002 144 3 c
`
	if diff := cmp.Diff(want, shown(t, path)); diff != "" {
		t.Error(diff)
	}
	r, err := checkpoint.Verify(path)
	if err != nil {
		t.Fatal(err)
	}
	wantReport := checkpoint.Report{Snapshot: 2, SnapshotBytes: 64 + 48 + 48, Segments: 1, LogBytes: 64 + 32 + 48 + 40 + 32,
		Transactions: 2, Records: 4, Last: 3, Proven: 3}
	if diff := cmp.Diff(wantReport, r); diff != "" {
		t.Error(diff)
	}
}

// While segments appear and go, a reader without the lock must never take a change for damage.
func TestShowNeverTakesARunningAgentForDamage(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	j, _ := open(t, path, checkpoint.Options{SegmentSize: 4096})
	done := make(chan error, 1)
	go func() { done <- busy(j) }()
	for reads := 0; ; reads++ {
		if err := checkpoint.Show(path, func(checkpoint.Entry) error { return nil }); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

// busy appends, syncs and takes snapshots.
func busy(j *checkpoint.Journal) error {
	for i := range 400 {
		p, err := j.Append(fmt.Appendf(nil, "%d %0*d", i, i, i))
		if err != nil {
			return err
		}
		if i%7 == 0 {
			cut, err := j.Cut()
			if err == nil {
				err = cut.Write(slices.Values([]checkpoint.Record{[]byte("state")}))
			}
			if err != nil {
				return err
			}
		}
		if i%3 == 0 {
			if err := j.Sync(context.Background(), p); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestShowEndsWithTheErrorOfItsFunction(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	j, _ := open(t, path, checkpoint.Options{})
	appendAll(t, j, "a", "b")
	enough, calls := errors.New("enough"), 0
	err := checkpoint.Show(path, func(checkpoint.Entry) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
	if err := checkpoint.Show(filepath.Join(path, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a journal that is not there: %v", err)
	}
}

func TestVerifyNamesTheDamagedPlace(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	j, _ := open(t, path, checkpoint.Options{})
	appendAll(t, j, "first")
	appendAll(t, j, "second")
	closeNow(t, j)
	file := filepath.Join(path, "log-000000000001")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[64+48+40] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = checkpoint.Verify(path)
	var damage *checkpoint.DamageError
	if !errors.As(err, &damage) || !errors.Is(err, checkpoint.ErrDamaged) || damage.File != file || damage.Offset != 64+48 {
		t.Fatalf("got %v", err)
	}
	if !stdstrings.Contains(err.Error(), "tenon checkpoint verify "+path) {
		t.Errorf("the command is missing in %q", err)
	}
	b[64+48+40] ^= 1 // so that the clean-up finds it whole
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestJournalsOfAllVersionsLoad reads what earlier versions wrote. Such a
// fixture is never changed.
func TestJournalsOfAllVersionsLoad(t *testing.T) {
	t.Parallel()
	if *update {
		makeFixture(t, filepath.Join(fixtures, presentVersion))
	}
	versions, err := filepath.Glob(filepath.Join(fixtures, "v*"))
	if err != nil || !slices.Contains(versions, filepath.Join(fixtures, presentVersion)) {
		t.Fatalf("fixtures are %v, without %s: %v", versions, presentVersion, err)
	}
	for _, version := range versions {
		want, err := os.ReadFile(filepath.Join(version, "records.txt"))
		if err != nil {
			t.Fatal(err)
		}
		path := t.TempDir()
		if err := os.CopyFS(path, os.DirFS(filepath.Join(version, "journal"))); err != nil {
			t.Fatal(err)
		}
		if _, err := checkpoint.Verify(path); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		_, got := open(t, path, checkpoint.Options{})
		if diff := cmp.Diff(string(want), stdstrings.Join(got, "\n")+"\n"); diff != "" {
			t.Errorf("%s: %s", version, diff)
		}
	}
}

// makeFixture writes a journal with all that the format has: a snapshot, a
// segment of an earlier run, a sealed one, marks, and a torn tail.
func makeFixture(t *testing.T, version string) {
	t.Helper()
	if _, err := os.Stat(version); err == nil {
		t.Fatalf("%s is there already, and journals like it are in use: raise the format version instead", version)
	}
	path := filepath.Join(version, "journal")
	j, _ := open(t, path, checkpoint.Options{SegmentSize: 4096})
	appendAll(t, j, `{"replaced":"by the snapshot"}`)
	cut, err := j.Cut()
	if err != nil {
		t.Fatal(err)
	}
	state := []string{`{"state":1}`, `{"state":2,"text":"grüße"}`, ``}
	if err := cut.Write(slices.Values(raw(state))); err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, `{"run":1}`, `{"run":1,"same transaction":true}`)
	closeNow(t, j)
	j, _ = open(t, path, checkpoint.Options{SegmentSize: 4096})
	if _, err := j.Cut(); err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, `{"run":2}`)
	if _, err := j.Cut(); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(context.Background(), appendAll(t, j, `{"run":2,"last":true}`)); err != nil {
		t.Fatal(err)
	}
	closeNow(t, j)
	all := append(state, `{"run":1}`, `{"run":1,"same transaction":true}`, `{"run":2}`, `{"run":2,"last":true}`)
	if err := os.WriteFile(filepath.Join(version, "records.txt"), []byte(stdstrings.Join(all, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tear(t, path)
}

// tear puts half a frame behind the end of the newest segment.
func tear(t *testing.T, path string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(path, "log-*"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(slices.Max(logs), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("torn"), 1024); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
