package checkpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// open opens and loads a journal and closes it when the test ends, after which
// it must verify. It returns what was loaded.
func open(t *testing.T, dir string, o checkpoint.Options) (*checkpoint.Journal, []string) {
	t.Helper()
	j, err := checkpoint.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	records, err := load(j)
	if err != nil {
		t.Fatal(err)
	}
	return j, records
}

func load(j *checkpoint.Journal) (records []string, err error) {
	err = j.Load(func(r checkpoint.Record) error {
		records = append(records, string(r))
		return nil
	})
	return records, err
}

func appendAll(t *testing.T, j *checkpoint.Journal, tx ...string) checkpoint.Position {
	t.Helper()
	records := make([]checkpoint.Record, 0, len(tx))
	for _, r := range tx {
		records = append(records, checkpoint.Record(r))
	}
	p, err := j.Append(records...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func closeNow(t *testing.T, j *checkpoint.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func strings(n int) []string {
	s := make([]string, 0, n)
	for i := range n {
		s = append(s, fmt.Sprintf("record %d", i))
	}
	return s
}

func TestWhatWasAppendedIsLoadedInOrderAcrossManySegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/a/b"
	o := checkpoint.Options{SegmentSize: 4096}
	j, got := open(t, dir, o)
	if len(got) != 0 {
		t.Fatalf("a new journal holds %q", got)
	}
	want := strings(1000)
	for i, r := range want {
		if p := appendAll(t, j, r); p != checkpoint.Position(i+1) {
			t.Fatalf("position of transaction %d is %d", i, p)
		}
		if i%100 == 50 {
			if err := j.Sync(t.Context(), checkpoint.Position(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeNow(t, j)
	_, got = open(t, dir, o)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASnapshotReplacesTheLogBeforeTheCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := open(t, dir, checkpoint.Options{SegmentSize: 4096})
	for _, r := range strings(300) {
		appendAll(t, j, r)
	}
	cut, err := j.Cut()
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, "after", "the cut")
	if err := cut.Write(slices.Values([]checkpoint.Record{[]byte("state"), nil, []byte("more state")})); err != nil {
		t.Fatal(err)
	}
	if n := j.Stats().Segments; n != 1 {
		t.Errorf("%d segments after the snapshot, want 1", n)
	}
	closeNow(t, j)
	j, got := open(t, dir, checkpoint.Options{})
	if diff := cmp.Diff([]string{"state", "", "more state", "after", "the cut"}, got); diff != "" {
		t.Error(diff)
	}
	if p := j.Appended(); p != 301 {
		t.Errorf("last position is %d, want 301", p)
	}
}

func TestASecondOpenerIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, checkpoint.Options{})
	_, err := checkpoint.Open(dir, checkpoint.Options{})
	if !errors.Is(err, checkpoint.ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	t.Log(err)
}

func TestASnapshotOfAnOlderCutIsNotWrittenOverANewerOne(t *testing.T) {
	t.Parallel()
	j := on(t, crashfs.New(), 4096)
	var cuts []*checkpoint.Cut
	for _, r := range []string{"one", "two"} {
		appendAll(t, j, r)
		cut, err := j.Cut()
		if err != nil {
			t.Fatal(err)
		}
		cuts = append(cuts, cut)
	}
	if err := cuts[1].Write(slices.Values(raw([]string{"one", "two"}))); err != nil {
		t.Fatal(err)
	}
	err := cuts[0].Write(func(func(checkpoint.Record) bool) { t.Error("an older state is written") })
	if err != nil {
		t.Error(err)
	}
}
