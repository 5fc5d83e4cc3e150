package crashfs

import (
	"io"
	"os"
	"syscall"
)

// file is an open file.
type file struct {
	fs    *FS
	name  string
	inode *inode
}

// ReadAt implements checkpoint.File.
func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.operation(); err != nil {
		return 0, f.failed("read", err)
	}
	if offset >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.inode.data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements checkpoint.File.
func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.operation()
	if err == nil && offset+int64(len(b)) > int64(len(f.inode.data)) {
		err = f.fs.space()
	}
	n := len(b)
	switch err {
	case nil:
	case ErrStopped, syscall.ENOSPC:
		n = 0
	default:
		n /= 2
	}
	f.inode.write(b[:n], offset)
	return n, f.failed("write", err)
}

// Truncate implements checkpoint.File.
func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.operation(); err != nil {
		return f.failed("truncate", err)
	}
	f.inode.resize(size)
	return nil
}

// Sync implements checkpoint.File.
func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.operation()
	if err == ErrStopped {
		return f.failed("fdatasync", err)
	}
	if err == nil {
		f.inode.synced = f.inode.with(all)
	}
	f.inode.dirty = nil
	return f.failed("fdatasync", err)
}

// Close implements checkpoint.File.
func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.failed("close", f.fs.operation())
}

func (f *file) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: f.name, Err: err}
}

// write changes bytes, and the size if they lie beyond it.
func (n *inode) write(b []byte, offset int64) {
	if len(b) == 0 {
		return
	}
	e := edit{offset: offset, bytes: append([]byte(nil), b...), size: max(int64(len(n.data)), offset+int64(len(b)))}
	n.data = e.apply(n.data)
	n.dirty = append(n.dirty, e)
}

// resize changes the size; bytes that are cut off come back as zeros.
func (n *inode) resize(size int64) {
	e := edit{offset: size, size: size}
	if gone := int64(len(n.data)) - size; gone > 0 {
		e.bytes = make([]byte, gone)
	}
	n.data = e.apply(n.data)
	n.dirty = append(n.dirty, e)
}

// apply returns the content after the edit.
func (e edit) apply(b []byte) []byte {
	b = sized(b, max(e.size, e.offset+int64(len(e.bytes)), int64(len(b))))
	copy(b[e.offset:], e.bytes)
	return b[:e.size]
}

// sized returns b cut or filled with zeros.
func sized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b[:len(b):len(b)], make([]byte, size-int64(len(b)))...)
}
