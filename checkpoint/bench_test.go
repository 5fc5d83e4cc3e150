package checkpoint_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"tenon/checkpoint"
)

// record is of the usual size.
var record = make(checkpoint.Record, 256-32-4)

func benchJournal(b *testing.B) *checkpoint.Journal {
	b.Helper()
	j, err := checkpoint.Open(b.TempDir(), checkpoint.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := load(j); err != nil {
		b.Fatal(err)
	}
	j.Idle()
	return j
}

// BenchmarkAppend does not wait for the disk.
func BenchmarkAppend(b *testing.B) {
	j := benchJournal(b)
	for b.Loop() {
		if _, err := j.Append(record); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDurableAppend1 compares with BenchmarkBareFdatasync.
func BenchmarkDurableAppend1(b *testing.B) {
	j := benchJournal(b)
	for b.Loop() {
		if err := durable(j); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDurableAppend64 compares with BenchmarkBareFdatasync64; one operation is
// one transaction of one of 64 callers.
func BenchmarkDurableAppend64(b *testing.B) {
	j := benchJournal(b)
	var wg sync.WaitGroup
	work := make(chan struct{}, callers)
	for range callers {
		wg.Go(func() {
			for range work {
				if err := durable(j); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
}

func durable(j *checkpoint.Journal) error {
	p, err := j.Append(record)
	if err != nil {
		return err
	}
	return j.Sync(context.Background(), p)
}

// BenchmarkBareFdatasync is what one durable record of 256 bytes costs by itself: overwrite in a
// file that has been written before, then fdatasync.
func BenchmarkBareFdatasync(b *testing.B) { bare(b, 1) }

// BenchmarkBareFdatasync64 has one fdatasync for 64 records; one operation is one record.
func BenchmarkBareFdatasync64(b *testing.B) { bare(b, callers) }

func bare(b *testing.B, batch int) {
	const size = 4 << 20
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	frame := make([]byte, 256)
	n := 0
	for b.Loop() {
		if _, err := f.WriteAt(frame, int64(n*256%size)); err != nil {
			b.Fatal(err)
		}
		if n++; n%batch == 0 {
			if err := syscall.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}
	}
}
