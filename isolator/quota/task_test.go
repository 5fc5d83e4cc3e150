package quota

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// asTask runs f on a thread without any capability, as a task of the same user would
// run. The thread ends with it.
func asTask(t testing.TB, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// fill writes to a new file, as a task, until it may not or has written most bytes, and
// says how many it has written.
func fill(t testing.TB, path string, most uint64) (written uint64, err error) {
	t.Helper()
	err = asTask(t, func() error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		written, err = grow(f, most)
		return errors.Join(err, f.Close())
	})
	return written, err
}

// grow appends blocks to a file. What it writes is on the disk when it returns.
func grow(f *os.File, most uint64) (written uint64, err error) {
	block := make([]byte, 4096)
	for i := range block {
		block[i] = byte(i*7 + 1) // nothing that could be left out
	}
	for written < most && err == nil {
		var n int
		n, err = f.Write(block)
		written += uint64(n)
	}
	return written, errors.Join(err, f.Sync())
}

// until asks again until the answer is yes: what was removed goes in the background on
// some filesystems. Each time it commits what is pending and has it gone on with.
func until(t testing.TB, q *Quota, yes func() bool) {
	t.Helper()
	for !yes() {
		var st unix.Statfs_t
		must(t, unix.Fstatfs(int(q.dir.Fd()), &st)) // XFS
		must(t, unix.Syncfs(int(q.dir.Fd())))
		runtime.Gosched()
	}
}
