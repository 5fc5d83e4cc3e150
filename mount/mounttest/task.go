package mounttest

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// AsTask runs f on a thread without any capability, as a task of the same user would
// run. The thread ends with it.
func AsTask(t testing.TB, f func() error) error {
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

// Fill writes to a file, as a task, until it may not or has written most bytes, and says
// how many it has written. The file is made if it is not there, and appended to if it is.
func Fill(t testing.TB, path string, most uint64) (written uint64, err error) {
	t.Helper()
	err = AsTask(t, func() error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		written, err = Grow(f, most)
		return errors.Join(err, f.Close())
	})
	return written, err
}

// Grow appends blocks to a file. What it writes is on the disk when it returns.
func Grow(f *os.File, most uint64) (written uint64, err error) {
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
