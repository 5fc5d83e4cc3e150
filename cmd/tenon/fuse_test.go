package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// fuse is a file system that hangs when it is told to: it shows the directory behind, as far as
// a pool needs it, and is served by the test (fuse(4)).
type fuse struct {
	t   *testing.T
	dir string // where it is mounted
	dev *os.File

	mu    sync.Mutex
	mute  bool       // nothing is answered; guarded by mu
	deaf  bool       // and nothing is read; guarded by mu
	kept  [][]byte   // what was asked meanwhile; guarded by mu
	hears *sync.Cond // deaf has changed
	asked *sync.Cond // kept has changed

	nodes map[uint64]int    // O_PATH descriptors by node; 1 is the root
	files map[int]bool      // descriptors that are open
	known map[[2]uint64]int // nodes by device and inode
	ended chan struct{}
}

// mountFuse mounts one until the test ends. Its end has to come before that of the processes that
// use it, which cannot be killed while a request of theirs was read and not answered: defer abort.
func mountFuse(t *testing.T) *fuse {
	t.Helper()
	mounttest.RequireMounts(t)
	f := &fuse{t: t, dir: filepath.Join(t.TempDir(), "fuse"), nodes: map[uint64]int{}, files: map[int]bool{}, known: map[[2]uint64]int{}}
	f.hears, f.asked = sync.NewCond(&f.mu), sync.NewCond(&f.mu)
	behind := filepath.Join(t.TempDir(), "behind")
	root, err := -1, errors.Join(os.Mkdir(f.dir, 0o755), os.Mkdir(behind, 0o755))
	if err == nil {
		root, err = unix.Open(behind, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.nodes[1] = root
	f.mount()
	t.Cleanup(func() {
		f.unmount()
		for fd := range f.files { // nobody was there to close them
			unix.Close(fd)
		}
		for _, fd := range f.nodes {
			unix.Close(fd)
		}
	})
	return f
}

// mount begins a connection.
func (f *fuse) mount() {
	f.t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		mounttest.Skip(f.t, "fuse", err.Error())
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd)
	if err := unix.Mount("tenon-test", f.dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		f.t.Fatal(errors.Join(os.NewSyscallError("mount", err), unix.Close(fd)))
	}
	f.dev = os.NewFile(uintptr(fd), "/dev/fuse") // which the poller cannot wait for before
	f.mute, f.deaf, f.kept, f.ended = false, false, nil, make(chan struct{})
	go f.serve(f.dev)
}

// unmount ends the connection, and mount may begin another to what is behind.
func (f *fuse) unmount() {
	f.t.Helper()
	f.abort()
	if err := unix.Unmount(f.dir, unix.MNT_DETACH); err != nil {
		f.t.Error(err)
	}
}

// abort ends the connection: who waits gets an error, and so does everybody afterwards.
func (f *fuse) abort() {
	f.mu.Lock()
	f.deaf = false
	f.hears.Broadcast()
	f.mu.Unlock()
	_ = f.dev.Close() // again, perhaps
	<-f.ended
}

// hang has nothing answered any more. Where requests are not read either, those who ask can be
// killed.
func (f *fuse) hang(read bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute, f.deaf = true, !read
	if f.deaf {
		_ = f.dev.SetReadDeadline(time.Unix(1, 0)) // has whoever reads come back
	}
}

// answer has all answered again, what was asked meanwhile first.
func (f *fuse) answer() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.dev.SetReadDeadline(time.Time{})
	for _, request := range f.kept {
		f.handle(request)
	}
	f.kept, f.mute, f.deaf = nil, false, false
	f.hears.Broadcast()
}

// awaitAsked returns when requests are left unanswered.
func (f *fuse) awaitAsked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.kept) == 0 {
		f.asked.Wait()
	}
}

// serve reads requests until the connection ends.
func (f *fuse) serve(dev *os.File) {
	defer close(f.ended)
	buffer := make([]byte, 1<<20)
	for {
		f.mu.Lock()
		for f.deaf {
			f.hears.Wait()
		}
		f.mu.Unlock()
		n, err := dev.Read(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENOENT): // the asker has been killed
			continue
		case err != nil:
			return
		}
		f.take(bytes.Clone(buffer[:n]))
	}
}

func (f *fuse) take(request []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mute && binary.NativeEndian.Uint32(request[4:]) != 26 { // without INIT nobody can ask
		f.kept = append(f.kept, request)
		f.asked.Broadcast()
		return
	}
	f.handle(request)
}

// message is a request, or an answer.
type message []byte

func (w message) u32(at int) uint32 { return binary.NativeEndian.Uint32(w[at:]) }
func (w message) u64(at int) uint64 { return binary.NativeEndian.Uint64(w[at:]) }
func (w message) name(at, n int) string {
	return string(bytes.Split(w[at:], []byte{0})[n])
}

func (w message) put32(values ...uint32) message {
	for _, v := range values {
		w = binary.NativeEndian.AppendUint32(w, v)
	}
	return w
}

func (w message) put64(values ...uint64) message {
	for _, v := range values {
		w = binary.NativeEndian.AppendUint64(w, v)
	}
	return w
}

// handle answers a request.
//
// Preconditions: f.mu is held.
func (f *fuse) handle(request message) {
	opcode, unique, node := request.u32(4), request.u64(8), request.u64(16)
	var out message
	var err error
	switch body := request[40:]; opcode {
	case 2, 42, 36: // FORGET, BATCH_FORGET, INTERRUPT: not answered
		return
	case 26: // INIT
		out = message{}.put32(7, 31, 1<<16, 1<<5).put32(12|10<<16, 1<<17, 1) // BIG_WRITES
		out = append(out, make([]byte, 64-len(out))...)
	default:
		out, err = f.do(opcode, f.nodes[node], body)
	}
	errno := unix.Errno(0)
	if err != nil && !errors.As(err, &errno) {
		errno = unix.EIO
	}
	if errno != 0 {
		out = nil
	}
	reply := append(message{}.put32(uint32(16+len(out)), uint32(-int32(errno))).put64(unique), out...)
	_, _ = f.dev.Write(reply) // who asked may have been killed
}

// do does what is asked of the file with the descriptor at.
func (f *fuse) do(opcode uint32, at int, body message) (out message, err error) {
	switch opcode {
	case 1: // LOOKUP
		return f.entry(at, body.name(0, 0))
	case 3: // GETATTR
		return f.attributes(at)
	case 4: // SETATTR
		return f.change(at, body)
	case 9: // MKDIR
		if err = unix.Mkdirat(at, body.name(8, 0), body.u32(0)&^body.u32(4)); err == nil {
			out, err = f.entry(at, body.name(8, 0))
		}
		return out, err
	case 10: // UNLINK
		return nil, unix.Unlinkat(at, body.name(0, 0), 0)
	case 11: // RMDIR
		return nil, unix.Unlinkat(at, body.name(0, 0), unix.AT_REMOVEDIR)
	case 13: // LINK
		if err = unix.Linkat(unix.AT_FDCWD, opened(f.nodes[body.u64(0)]), at, body.name(8, 0), unix.AT_SYMLINK_FOLLOW); err == nil {
			out, err = f.entry(at, body.name(8, 0))
		}
		return out, err
	case 14, 27: // OPEN, OPENDIR
		return f.open(opened(at), body.u32(0))
	case 35, 51: // CREATE, TMPFILE
		return f.create(opcode == 51, at, body)
	case 12: // RENAME
		return nil, unix.Renameat2(at, body.name(8, 0), f.nodes[body.u64(0)], body.name(8, 1), 0)
	case 45: // RENAME2
		return nil, unix.Renameat2(at, body.name(16, 0), f.nodes[body.u64(0)], body.name(16, 1), uint(body.u32(8)))
	case 15: // READ
		out = make(message, body.u32(16))
		n, err := unix.Pread(int(body.u64(0)), out, int64(body.u64(8)))
		return out[:max(n, 0)], err
	case 16: // WRITE
		n, err := unix.Pwrite(int(body.u64(0)), body[40:], int64(body.u64(8)))
		return message{}.put32(uint32(max(n, 0)), 0), err
	case 17: // STATFS
		var st unix.Statfs_t
		err = unix.Fstatfs(f.nodes[1], &st)
		out = message{}.put64(st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree).put32(uint32(st.Bsize), 255, uint32(st.Frsize))
		return append(out, make([]byte, 80-len(out))...), err
	case 18, 29: // RELEASE, RELEASEDIR
		delete(f.files, int(body.u64(0)))
		return nil, unix.Close(int(body.u64(0)))
	case 20, 30: // FSYNC, FSYNCDIR
		return nil, unix.Fsync(int(body.u64(0)))
	case 28: // READDIR
		return list(int(body.u64(0)), body.u64(8))
	}
	return nil, unix.ENOSYS
}

// opened is a path of what a descriptor names.
func opened(fd int) string { return fmt.Sprint("/proc/self/fd/", fd) }

func (f *fuse) open(path string, flags uint32) (message, error) {
	fd, err := unix.Open(path, int(flags)&^unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f.files[fd] = true
	return message{}.put64(uint64(fd), 0), nil
}

// create makes a file that has a name, or none yet, and opens it.
func (f *fuse) create(nameless bool, at int, body message) (out message, err error) {
	flags, mode := int(body.u32(0))|unix.O_CREAT, body.u32(4)&^body.u32(8)
	path := filepath.Join(opened(at), body.name(16, 0))
	if nameless {
		path, flags = opened(at), int(body.u32(0))|unix.O_TMPFILE
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, err
	}
	if out, err = f.node(fd); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	f.files[fd] = true
	return out.put64(uint64(fd), 0), nil
}

// entry describes a file that has a name.
func (f *fuse) entry(at int, name string) (message, error) {
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return f.node(fd)
}

// node describes what is open, as one that is known from now on. None is forgotten.
func (f *fuse) node(fd int) (message, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	id, known := f.known[[2]uint64{st.Dev, st.Ino}]
	if !known {
		own, err := unix.Open(opened(fd), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		id = len(f.nodes) + 1
		f.known[[2]uint64{st.Dev, st.Ino}], f.nodes[uint64(id)] = id, own
	}
	return attributesOf(message{}.put64(uint64(id), 0, 0, 0, 0), st), nil // valid for no time: all is asked again
}

func (f *fuse) attributes(fd int) (message, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return attributesOf(message{}.put64(0, 0), st), err
}

func attributesOf(w message, st unix.Stat_t) message {
	return w.put64(st.Ino, uint64(st.Size), uint64(st.Blocks), uint64(st.Atim.Sec), uint64(st.Mtim.Sec), uint64(st.Ctim.Sec)).
		put32(uint32(st.Atim.Nsec), uint32(st.Mtim.Nsec), uint32(st.Ctim.Nsec), st.Mode, uint32(st.Nlink), st.Uid, st.Gid, uint32(st.Rdev), uint32(st.Blksize), 0)
}

// change sets mode, owner and size.
func (f *fuse) change(fd int, body message) (message, error) {
	valid, path := body.u32(0), opened(fd)
	var errs []error
	if valid&(1<<1|1<<2) != 0 {
		uid, gid := -1, -1
		if valid&(1<<1) != 0 {
			uid = int(body.u32(76))
		}
		if valid&(1<<2) != 0 {
			gid = int(body.u32(80))
		}
		errs = append(errs, os.Chown(path, uid, gid))
	}
	if valid&1 != 0 {
		errs = append(errs, unix.Chmod(path, body.u32(68)&0o7777))
	}
	if valid&(1<<3) != 0 {
		errs = append(errs, os.Truncate(path, int64(body.u64(16))))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f.attributes(fd)
}

// list lists a whole directory at once, which is read from its beginning or its end.
func list(fd int, from uint64) (out message, err error) {
	entries, err := os.ReadDir(opened(fd))
	if err != nil || from > 0 {
		return nil, err
	}
	for i, e := range entries {
		name := e.Name()
		out = append(out.put64(1, uint64(i+1)).put32(uint32(len(name)), 0), name...)
		out = append(out, make([]byte, (8-len(name)%8)%8)...)
	}
	return out, nil
}
