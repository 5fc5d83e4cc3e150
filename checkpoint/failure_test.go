package checkpoint_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	stdstrings "strings"
	"syscall"
	"testing"

	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

func on(t *testing.T, fs *crashfs.FS, segmentSize int) *checkpoint.Journal {
	t.Helper()
	j, err := checkpoint.Open(dir, checkpoint.Options{FS: fs, SegmentSize: segmentSize})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(j); err != nil {
		t.Fatal(err)
	}
	j.Idle()
	return j
}

func TestAfterAFailedSyncEverythingIsRefused(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	j := on(t, fs, 4096)
	durable := appendAll(t, j, "durable")
	if err := j.Sync(t.Context(), durable); err != nil {
		t.Fatal(err)
	}
	lost := appendAll(t, j, "lost")
	fs.FailAt(1, syscall.EIO)
	err := j.Sync(t.Context(), lost)
	if !errors.Is(err, checkpoint.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want ErrFailed because of EIO", err)
	}
	if err := j.Sync(t.Context(), lost); !errors.Is(err, checkpoint.ErrFailed) {
		t.Errorf("second sync: %v, want ErrFailed", err)
	}
	if err := j.Sync(t.Context(), durable); err != nil {
		t.Errorf("sync of what was durable before: %v", err)
	}
	if _, err := j.Append([]byte("more")); !errors.Is(err, checkpoint.ErrFailed) {
		t.Errorf("append: %v, want ErrFailed", err)
	}
	if _, err := j.Cut(); !errors.Is(err, checkpoint.ErrFailed) {
		t.Errorf("cut: %v, want ErrFailed", err)
	}
	if err := j.Close(); !errors.Is(err, checkpoint.ErrFailed) {
		t.Errorf("close: %v, want ErrFailed", err)
	}
}

// The pages of a failed fdatasync stay readable and are not written again, so a start
// must not believe them without writing them itself.
func TestWhatIsLoadedAfterAFailedSyncSurvivesAPowerCut(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	j := on(t, fs, 4096)
	p := appendAll(t, j, "not synced")
	fs.FailAt(1, syscall.EIO)
	if err := j.Sync(t.Context(), p); err == nil {
		t.Fatal("the sync did not fail")
	}
	_ = j.Close()
	on(t, fs, 4096)
	again, err := checkpoint.Open(dir, checkpoint.Options{FS: fs.Crash(crashfs.None, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := load(again); err != nil || !slices.Equal(got, []string{"not synced"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAFullDiskRefusesAppendsOnlyWhileItIsFull(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	j := on(t, fs, 4096)
	fs.SetFull(true)
	var want []string
	refused := 0
	for i := range 200 {
		r := fmt.Sprintf("record %d %0*d", i, i%97, 0)
		fs.SetFull(i < 100)
		_, err := j.Append([]byte(r))
		j.Idle()
		switch {
		case err == nil:
			want = append(want, r)
		case errors.Is(err, syscall.ENOSPC) && !errors.Is(err, checkpoint.ErrFailed):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 || len(want) < 130 {
		t.Errorf("%d refused, %d appended", refused, len(want))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, err := checkpoint.Open(dir, checkpoint.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := load(j); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d records, want %d: %v", len(got), len(want), err)
	}
}

// However a segment comes to be filled, sealing it needs no room that it does not have.
func TestAFullDiskNeverEndsTheJournal(t *testing.T) {
	t.Parallel()
	const segment, header, frame = 4096, 64, 32 + 4 // of a frame with one record
	for n := segment - header - 3*frame; n < segment-header; n += 4 {
		fs := crashfs.New()
		j := on(t, fs, segment)
		fs.SetFull(true) // the spare is there already
		refused := false
		for i := range 6 { // large and small in turns
			_, err := j.Append(make([]byte, n*(1-i%2)))
			j.Idle()
			if err != nil && (!errors.Is(err, syscall.ENOSPC) || errors.Is(err, checkpoint.ErrFailed)) {
				t.Fatalf("records of %d bytes: %v", n, err)
			}
			refused = refused || err != nil
		}
		if !refused {
			t.Fatalf("records of %d bytes: all were appended to a full disk", n)
		}
		fs.SetFull(false)
		appendAll(t, j, "goes on")
	}
}

// tightFS has room for small files only.
type tightFS struct {
	*crashfs.FS
	room int64
}

type tightFile struct {
	checkpoint.File
	room int64
}

func (fs tightFS) Open(name string, flag int) (checkpoint.File, error) {
	f, err := fs.FS.Open(name, flag)
	return tightFile{f, fs.room}, err
}

func (f tightFile) WriteAt(b []byte, offset int64) (int, error) {
	if offset+int64(len(b)) > f.room {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(b, offset)
}

func TestANearlyFullDiskGetsSmallSegments(t *testing.T) {
	t.Parallel()
	fs := tightFS{crashfs.New(), 64 << 10}
	j, _ := open(t, dir, checkpoint.Options{FS: fs})
	for range 20 {
		appendAll(t, j, stdstrings.Repeat("x", 10_000))
	}
	if s := j.Stats(); s.Appended != 20 || s.Generation < 3 {
		t.Errorf("%+v", s)
	}
	if _, err := j.Append(make([]byte, 64<<10)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	appendAll(t, j, "goes on")
}

func TestATransactionMayBeLargerThanASegmentButNotWithoutLimit(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	j, _ := open(t, path, checkpoint.Options{SegmentSize: 4096})
	big := stdstrings.Repeat("0123456789abcdef", 1<<12)
	appendAll(t, j, "small")
	appendAll(t, j, big, "", big)
	appendAll(t, j, "small again")
	if _, err := j.Append(make([]byte, 64<<20)); !errors.Is(err, checkpoint.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	closeNow(t, j)
	_, got := open(t, path, checkpoint.Options{SegmentSize: 4096})
	if !slices.Equal(got, []string{"small", big, "", big, "small again"}) {
		t.Errorf("%d records loaded", len(got))
	}
}

func TestAFailedSnapshotLeavesTheJournalWorking(t *testing.T) {
	t.Parallel()
	for k := 1; ; k++ {
		fs := crashfs.New()
		j := on(t, fs, 4096)
		appendAll(t, j, "one")
		cut, err := j.Cut()
		if err != nil {
			t.Fatal(err)
		}
		j.Idle()
		fs.FailAt(k, syscall.EIO)
		err = cut.Write(slices.Values([]checkpoint.Record{[]byte("one")}))
		if err == nil && fs.Operations() < k {
			return
		}
		p := appendAll(t, j, "two")
		if err := j.Sync(t.Context(), p); err != nil {
			t.Fatalf("failure of operation %d: %v", k, err)
		}
		again, err := checkpoint.Open(dir, checkpoint.Options{FS: fs.Crash(crashfs.None, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := load(again); err != nil || !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("failure of operation %d: got %q, %v", k, got, err)
		}
	}
}

func TestStartsWithoutAnEndPileUpNoFiles(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	for i := range 50 {
		j := on(t, fs, 64<<10)
		if i%10 == 0 {
			appendAll(t, j, "a record")
		}
		fs.ReleaseLocks()
	}
	on(t, fs, 64<<10)
	size := 0
	for _, name := range names(t, fs) {
		size += len(fs.Bytes(filepath.Join(dir, name)))
	}
	if n := len(names(t, fs)); n != 5+2 || size > 2*(64<<10)+1024 {
		t.Errorf("%d files of %d bytes after 50 starts: %v", n, size, names(t, fs))
	}
}

func TestOnlyTheJournalsOwnLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	j, _ := open(t, path, checkpoint.Options{})
	appendAll(t, j, "one")
	closeNow(t, j)
	strange := []string{"snapshot-1", "log-00000000000x", "snapshot-000000000009.bak", "log-000000000001.tmp", "notes"}
	for _, name := range append(strange, "snapshot-000000000009.tmp", "log-000000000002") {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, got := open(t, path, checkpoint.Options{})
	if !slices.Equal(got, []string{"one"}) {
		t.Errorf("loaded %q", got)
	}
	closeNow(t, j)
	for _, name := range strange {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(path, "snapshot-000000000009.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file: %v", err)
	}
}

func TestANewerFormatIsRefusedAndNotTouched(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"log-000000000002", "snapshot-000000000002"} {
		path := t.TempDir()
		j, _ := open(t, path, checkpoint.Options{SegmentSize: 4096})
		appendAll(t, j, "one")
		cut, err := j.Cut()
		if err != nil {
			t.Fatal(err)
		}
		if err := cut.Write(slices.Values([]checkpoint.Record{[]byte("one")})); err != nil {
			t.Fatal(err)
		}
		closeNow(t, j)
		file := filepath.Join(path, name)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(b[8:], 7)
		binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		refusesVersion(t, path)
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, b) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
}

func refusesVersion(t *testing.T, path string) {
	t.Helper()
	j, err := checkpoint.Open(path, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	_, err = load(j)
	if !errors.Is(err, checkpoint.ErrVersion) || !stdstrings.Contains(err.Error(), "version 7") ||
		!stdstrings.Contains(err.Error(), "version 1") {
		t.Errorf("got %v, want ErrVersion with both numbers", err)
	}
	if _, err := j.Append([]byte("x")); err == nil {
		t.Error("append after a failed load did not fail")
	}
}

func TestTheCutOfATornTailIsLoggedWithItsBytes(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	j := on(t, fs, 4096)
	appendAll(t, j, "torn")
	fs.ReleaseLocks()
	fs.Flip(filepath.Join(dir, "log-000000000001"), 64+36, 0)
	var out bytes.Buffer
	j, err := checkpoint.Open(dir, checkpoint.Options{FS: fs, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(j); err != nil {
		t.Fatal(err)
	}
	j.Idle()
	for _, want := range []string{"level=WARN", "bytes=40", "offset=64", "log-000000000001"} {
		if !stdstrings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %s", want, out.String())
		}
	}
}

func TestGrownTellsWhenASnapshotIsWorthWhile(t *testing.T) {
	t.Parallel()
	j := on(t, crashfs.New(), 1<<20)
	r := stdstrings.Repeat("x", 1<<20)
	for i := range 5 {
		if got, want := j.Grown(), i >= 4; got != want {
			t.Errorf("after %d MiB: %t", i, got)
		}
		appendAll(t, j, r)
	}
	cut, err := j.Cut()
	if err != nil || j.Grown() {
		t.Fatalf("grown right after a cut, or %v", err)
	}
	if err := cut.Write(slices.Values([]checkpoint.Record{make([]byte, 3<<20)})); err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		if got, want := j.Grown(), i >= 6; got != want {
			t.Errorf("%d MiB after a snapshot of 3 MiB: %t", i, got)
		}
		appendAll(t, j, r)
	}
}

func TestAfterAFailedWriteEverythingIsRefusedUntilReopened(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	j := on(t, fs, 4096)
	appendAll(t, j, "one")
	fs.FailAt(1, syscall.EIO)
	for range 2 {
		if _, err := j.Append([]byte("two")); !errors.Is(err, checkpoint.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Errorf("append: %v, want ErrFailed because of EIO", err)
		}
	}
	if err := j.Stats().Failed; !errors.Is(err, checkpoint.ErrFailed) {
		t.Errorf("the state says %v", err)
	}
	_ = j.Close() // says the same
	j, got := open(t, dir, checkpoint.Options{FS: fs})
	if !slices.Equal(got, []string{"one"}) {
		t.Errorf("loaded %q", got)
	}
	appendAll(t, j, "two")
}
