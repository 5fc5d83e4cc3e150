// Package sys holds the system calls of package mount, one thin function each.
//
// Every function works on descriptors, sets close-on-exec, repeats a call that
// a signal interrupted, keeps the files it borrows alive until the kernel has
// answered, and returns an *fs.PathError (or *os.LinkError, for two files)
// that carries the call's name and the whole path. Files are named after the
// path by which they were reached, for messages alone.
//
// It is not for policy: which flags are right is decided by package mount.
// The oldest kernel it works on is Linux 5.12.
package sys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxRetries bounds how often a call is repeated that lost a race inside the
// kernel (EAGAIN of openat2). Losing this often in a row is no accident.
const maxRetries = 128

// Retry repeats call until no signal interrupts it.
func Retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openFD repeats an opening call until no signal interrupts it.
func openFD(call func() (int, error)) (int, error) {
	for {
		fd, err := call()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// pathError names what failed: the call, the path beneath dir, the cause.
func pathError(call string, dir *os.File, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: call, Path: Join(dir, path), Err: err}
}

// Join is the name for messages of path beneath dir.
func Join(dir *os.File, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir.Name(), path)
}

// Open is open(2) of a trusted path.
func Open(path string, flags int) (*os.File, error) {
	fd, err := openFD(func() (int, error) {
		return unix.Open(path, flags|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Openat is openat(2) of a path that follows links like any other program: for /proc.
func Openat(dir *os.File, path string, flags int) (*os.File, error) {
	fd, err := openFD(func() (int, error) { return unix.Openat(int(dir.Fd()), path, flags|unix.O_CLOEXEC, 0) })
	runtime.KeepAlive(dir)
	if err != nil {
		return nil, pathError("openat", dir, path, err)
	}
	return os.NewFile(uintptr(fd), Join(dir, path)), nil
}

// Openat2 is openat2(2), Linux 5.6. EAGAIN, the kernel's answer when a rename
// or mount elsewhere disturbed the resolution, is retried a bounded number of
// times.
func Openat2(dir *os.File, path string, flags int, resolve uint64) (*os.File, error) {
	fd, err := Openat2FD(dir, path, flags, resolve)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), Join(dir, path)), nil
}

// Openat2FD is Openat2 without an *os.File, for a descriptor that lives for a
// few lines. The caller closes it.
func Openat2FD(dir *os.File, path string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: resolve}
	var fd int
	var err error
	for range maxRetries {
		fd, err = openFD(func() (int, error) { return unix.Openat2(int(dir.Fd()), path, &how) })
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	runtime.KeepAlive(dir)
	return fd, pathError("openat2", dir, path, err)
}

// Mkdirat is mkdirat(2); perm is subject to the umask.
func Mkdirat(dir *os.File, name string, perm fs.FileMode) error {
	err := Retry(func() error { return unix.Mkdirat(int(dir.Fd()), name, uint32(perm.Perm())) })
	runtime.KeepAlive(dir)
	return pathError("mkdirat", dir, name, err)
}

// Unlinkat is unlinkat(2); flags are 0 or AT_REMOVEDIR.
func Unlinkat(dir *os.File, name string, flags int) error {
	err := Retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, flags) })
	runtime.KeepAlive(dir)
	return pathError("unlinkat", dir, name, err)
}

// Fstatat is fstatat(2) that follows no symlink and starts no automount.
func Fstatat(dir *os.File, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := Retry(func() error {
		return unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	})
	runtime.KeepAlive(dir)
	return st, pathError("fstatat", dir, name, err)
}

// Fstat is fstat(2).
func Fstat(f *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := Retry(func() error { return unix.Fstat(int(f.Fd()), &st) })
	runtime.KeepAlive(f)
	return st, pathError("fstat", f, "", err)
}

// Dup is a second descriptor of the same open file, with the same name.
func Dup(f *os.File) (*os.File, error) {
	fd, err := openFD(func() (int, error) {
		return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	})
	runtime.KeepAlive(f)
	if err != nil {
		return nil, pathError("dup", f, "", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
