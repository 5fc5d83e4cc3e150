package checkpoint

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// FS is what the journal needs of a file system. Names are paths. All methods
// may be called at the same time.
type FS interface {
	// Open opens a file with the flags of os.OpenFile. A file it creates has mode
	// 0600, and its name survives a power cut only after SyncDir.
	Open(name string, flag int) (File, error)
	// Rename replaces the name to, at once; durable after SyncDir.
	Rename(from, to string) error
	// Remove removes a file; durable after SyncDir. An open File goes on working.
	Remove(name string) error
	// List returns the base names of the files in dir.
	List(dir string) ([]string, error)
	// SyncDir makes all earlier changes of names in dir survive a power cut.
	SyncDir(dir string) error
	// Lock makes dir if it is missing and takes it for this caller alone, until the
	// result is closed or the process ends. ErrLocked if somebody has it.
	Lock(dir string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate sets the file's size.
	Truncate(size int64) error
	// Sync makes the file's bytes and size survive a power cut (fdatasync(2)).
	Sync() error
}

// osFS is the real file system.
type osFS struct{}

type osFile struct{ *os.File }

func (osFS) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Lock holds a flock(2) on the directory itself, so that there is no lock file to
// be left behind.
func (fs osFS) Lock(dir string) (io.Closer, error) {
	if err := fs.makeDir(dir); err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = ignoringEINTR(func() error { return syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
	if err == nil {
		return d, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(&os.PathError{Op: "lock", Path: dir, Err: err}, d.Close())
}

func (fs osFS) makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) && filepath.Dir(dir) != dir {
		if err = fs.makeDir(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err != nil {
		return err
	}
	// Crash: there is no directory, and the next start begins an empty journal.
	return fs.SyncDir(filepath.Dir(dir))
}

// Sync is fdatasync(2): without the times, with the size.
func (f osFile) Sync() error {
	err := ignoringEINTR(func() error { return syscall.Fdatasync(int(f.Fd())) })
	runtime.KeepAlive(f.File)
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
