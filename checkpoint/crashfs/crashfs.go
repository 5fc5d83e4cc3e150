// Package crashfs is a file system in memory for tests of crash safety. It keeps what
// was synced apart from what was only written, bytes and names alike, and from
// that makes the images that a power cut could leave. It can also stop all work at the
// k-th operation, fail that operation, or be full.
//
// It is harsher than a real disk where POSIX allows it: an unsynced name is lost
// though its file was synced, unsynced names survive independently of each other, every
// sector of 512 bytes keeps any state that it had since the last sync, and after a failed
// Sync the bytes stay readable but are never written (as Linux does). It is no model of
// directories: a directory exists when something in it does.
package crashfs

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"tenon/checkpoint"
)

// ErrStopped is the error of every operation from the one on that StopAt names.
var ErrStopped = errors.New("the machine has stopped")

// FS is a checkpoint.FS in memory. All methods may be called at the same time.
type FS struct {
	mu      sync.Mutex
	current map[string]*inode // as a running program sees the names
	durable map[string]*inode // as the last SyncDir left them
	changes []nameChange      // since then, in order
	locked  map[string]bool
	full    bool
	stopAt  int
	failAt  int
	failure error
	count   int
}

// inode is the content of a file, whatever its names.
type inode struct {
	data   []byte // as a running program reads it
	synced []byte // as the last Sync left it
	dirty  []edit // since then, in order
}

// edit is a write, or a change of size (then bytes are those which it zeroed).
type edit struct {
	offset int64
	bytes  []byte
	size   int64 // of the file after it
}

// nameChange sets or, without an inode, removes a name; a rename does both.
type nameChange struct {
	set     string
	inode   *inode
	removed string
}

// New returns an empty file system.
func New() *FS {
	return &FS{
		current: map[string]*inode{},
		durable: map[string]*inode{},
		locked:  map[string]bool{},
	}
}

// StopAt makes the k-th operation from now (the first is 1) and all after it fail
// with ErrStopped and change nothing. 0 never stops.
func (fs *FS) StopAt(k int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.count, fs.stopAt = 0, k
}

// FailAt makes the k-th operation from now (the first is 1), and only that, fail. A
// write that fails has written its first half. A Sync that fails has forgotten
// what there was to sync. A Close or Lock that fails closes, and locks nothing. 0 never fails.
func (fs *FS) FailAt(k int, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.count, fs.failAt, fs.failure = 0, k, err
}

// SetFull makes operations that need space fail with ENOSPC, or lets them work again.
func (fs *FS) SetFull(full bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.full = full
}

// Operations returns how many operations there were since New, StopAt or FailAt.
func (fs *FS) Operations() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.count
}

// operation counts one and tells whether it fails. Preconditions: mu is held.
func (fs *FS) operation() error {
	fs.count++
	switch {
	case fs.stopAt > 0 && fs.count >= fs.stopAt:
		return ErrStopped
	case fs.count == fs.failAt:
		return fs.failure
	}
	return nil
}

// space tells whether there is room for something new. Preconditions: mu is held.
func (fs *FS) space() error {
	if fs.full {
		return syscall.ENOSPC
	}
	return nil
}

// Open implements checkpoint.FS.
func (fs *FS) Open(name string, flag int) (checkpoint.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.operation(); err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	n, ok := fs.current[name]
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	case !ok:
		if err := fs.space(); err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		n = &inode{}
		fs.change(nameChange{set: name, inode: n})
	case flag&os.O_TRUNC != 0:
		n.resize(0)
	}
	return &file{fs: fs, name: name, inode: n}, nil
}

// change makes a change of names visible. Preconditions: mu is held.
func (fs *FS) change(c nameChange) {
	c.apply(fs.current)
	fs.changes = append(fs.changes, c)
}

func (c nameChange) apply(names map[string]*inode) {
	if c.removed != "" {
		delete(names, c.removed)
	}
	if c.set != "" {
		names[c.set] = c.inode
	}
}

func (c nameChange) dir() string {
	if c.set == "" {
		return filepath.Dir(c.removed)
	}
	return filepath.Dir(c.set)
}

// Rename implements checkpoint.FS. It knows names of one directory only.
func (fs *FS) Rename(from, to string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n, ok := fs.current[from]
	err := fs.operation()
	if err == nil && !ok {
		err = syscall.ENOENT
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	fs.change(nameChange{set: to, inode: n, removed: from})
	return nil
}

// Remove implements checkpoint.FS.
func (fs *FS) Remove(name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	err := fs.operation()
	if _, ok := fs.current[name]; err == nil && !ok {
		err = syscall.ENOENT
	}
	if err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	fs.change(nameChange{removed: name})
	return nil
}

// List implements checkpoint.FS.
func (fs *FS) List(dir string) ([]string, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.operation(); err != nil {
		return nil, &os.PathError{Op: "readdir", Path: dir, Err: err}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(fs.current)) {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

// SyncDir implements checkpoint.FS. A failure leaves the names to a later call.
func (fs *FS) SyncDir(dir string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := fs.operation(); err != nil {
		return &os.PathError{Op: "fsync", Path: dir, Err: err}
	}
	var others []nameChange
	for _, c := range fs.changes {
		if c.dir() == dir {
			c.apply(fs.durable)
		} else {
			others = append(others, c)
		}
	}
	fs.changes = others
	return nil
}

// Lock implements checkpoint.FS.
func (fs *FS) Lock(dir string) (io.Closer, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	err := fs.operation()
	if err == nil && fs.locked[dir] {
		err = checkpoint.ErrLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	fs.locked[dir] = true
	return unlocker{fs, dir}, nil
}

type unlocker struct {
	fs  *FS
	dir string
}

func (u unlocker) Close() error {
	u.fs.mu.Lock()
	defer u.fs.mu.Unlock()
	delete(u.fs.locked, u.dir)
	return u.fs.operation()
}
