package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// Audit is a file to which each call that may change something adds a line, or several. The
// file may be moved or removed at any time, as logrotate(8) does: the next line goes to
// a new file at the path. Any number of goroutines may write.
//
// Lines are not waited for: what the kernel has not written yet is lost with the power,
// though not with the agent.
type Audit struct {
	path string

	mu     sync.Mutex
	file   *os.File    // guarded by mu; nil after Close
	opened fs.FileInfo // guarded by mu: of file, whose inode is not used again while it is open
	torn   bool        // guarded by mu: the last line has no end
}

// OpenAudit opens the file at path, or creates it for its owner alone to read and write.
// A symbolic link, and anything else that is no regular file, is refused. Close it.
func OpenAudit(path string) (*Audit, error) {
	a := &Audit{path: path}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("open audit file: %w", err)
	}
	return a, nil
}

// Write adds an entry, by one write(2) of all its lines. After an error the next entry is
// written all the same: to a line of its own, and to whatever file is at the path then.
// Where a new file cannot be opened, the entry goes to the one that was moved away, and
// the error says so.
func (a *Audit) Write(e Entry) error {
	lines, err := e.lines()
	if err != nil {
		return fmt.Errorf("audit %s: %w", a.path, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return fmt.Errorf("audit %s: %w", a.path, fs.ErrClosed)
	}
	if err := errors.Join(a.follow(), a.append(lines)); err != nil {
		return fmt.Errorf("audit %s: %w", a.path, err)
	}
	return nil
}

// Close closes the file. A second call does nothing.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	file := a.file
	a.file = nil
	return file.Close()
}

// follow opens the path anew when another file is there, or none.
//
// Preconditions: a.mu is held.
func (a *Audit) follow() error {
	now, err := os.Lstat(a.path)
	if err == nil && os.SameFile(a.opened, now) {
		return nil
	}
	moved := a.file
	if err := a.open(); err != nil {
		return fmt.Errorf("the file was moved, and entries still go there: %w", err)
	}
	return moved.Close()
}

// open takes the file at the path for the one to write to, and leaves a as it is if it
// cannot.
//
// Preconditions: a.mu is held, or nobody else has a.
func (a *Audit) open() (err error) {
	// To write and read, so that a pipe nobody reads is not waited for (fifo(7)), and the
	// end can be looked at. os.OpenFile adds O_CLOEXEC.
	const flags = os.O_RDWR | os.O_APPEND | os.O_CREATE | syscall.O_NOFOLLOW
	file, err := os.OpenFile(a.path, flags, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = file.Close() // err says more
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", a.path)
	}
	torn, err := isTorn(file, info.Size())
	if err != nil {
		return err
	}
	a.file, a.opened, a.torn = file, info, torn
	return nil
}

// isTorn says whether a file of this size ends within a line.
func isTorn(file *os.File, size int64) (bool, error) {
	if size == 0 {
		return false, nil
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, size-1); err != nil {
		return false, err
	}
	return last[0] != '\n', nil
}

// append writes lines, the last of which ends in a newline, behind the end of a torn one.
//
// Preconditions: a.mu is held.
func (a *Audit) append(lines []byte) error {
	if a.torn {
		lines = append([]byte{'\n'}, lines...)
	}
	// Crash: the lines are there, some of them are, or one of them is torn; the next start
	// ends a torn line before it adds one.
	n, err := a.file.Write(lines)
	if n > 0 {
		a.torn = lines[n-1] != '\n'
	}
	return err
}
