package cgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier tells when one of many groups of v2 may have emptied or vanished, through one
// inotify(7) descriptor for all of them. A group costs one inotify watch, and so does
// each distinct parent of the groups; a user's limit is fs.inotify.max_user_watches.
//
// A parent is watched because a group's own notification can be lost: the kernel tells
// of a change at most once in 10 ms, late if need be, and not at all if the group is
// removed meanwhile. Of the removal itself it tells the parent alone.
//
// Wait may be called by one goroutine at a time, the other methods by any number.
type Notifier struct {
	file   *os.File // the inotify descriptor
	buffer []byte   // of Wait alone

	mu      sync.Mutex
	groups  map[string]watches     // group path → its watches; guarded by mu
	events  map[int][]string       // watch of a cgroup.events → group paths; guarded by mu
	parents map[int]map[string]int // watch of a directory → its paths → groups added in it; guarded by mu
}

// watches are the two inotify watches of a group.
type watches struct{ events, parent int }

// NewNotifier returns a notifier without groups. The caller closes it.
func NewNotifier() (*Notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch cgroups (limit: fs.inotify.max_user_instances): %w",
			os.NewSyscallError("inotify_init1", err))
	}
	return &Notifier{
		file:    os.NewFile(uintptr(fd), "inotify"),
		buffer:  make([]byte, 64<<10),
		groups:  make(map[string]watches),
		events:  make(map[int][]string),
		parents: make(map[int]map[string]int),
	}, nil
}

// Close makes Wait return os.ErrClosed and gives all watches back. The second call
// returns os.ErrClosed and does nothing.
func (n *Notifier) Close() error { return n.file.Close() }

// SetDeadline makes Wait return os.ErrDeadlineExceeded from that time on; the zero time
// takes the deadline away.
func (n *Notifier) SetDeadline(t time.Time) error { return n.file.SetReadDeadline(t) }

// Add watches the group at path, a full path; a group that is watched already stays so.
// What happens from then on is told by Wait, so the caller looks at the group after Add,
// not before. It returns ErrUnsupported for a group of v1 and an error that wraps
// fs.ErrNotExist for a missing one.
func (n *Notifier) Add(path string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.groups[path]; ok {
		return nil
	}
	parent, err := n.addParent(filepath.Dir(path))
	if err != nil {
		return err
	}
	events, err := n.watch(eventsFile(path), unix.IN_MODIFY)
	if err != nil {
		n.removeParent(parent, filepath.Dir(path))
		return silent(path, err)
	}
	n.groups[path] = watches{events: events, parent: parent}
	n.events[events] = append(n.events[events], path)
	return nil
}

// silent turns "no such file" into ErrUnsupported if it is only the file that is missing.
func silent(path string, err error) error {
	if _, serr := os.Stat(path); serr == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("watch cgroup %s: %w: it tells nothing when it empties", path, ErrUnsupported)
	}
	return err
}

// Remove ends the watch of a group; one that is not watched is no error. Wait may still
// return the path once if it was about to.
func (n *Notifier) Remove(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(path)
}

// Wait blocks until something happened to at least one group and returns the paths to
// look at again, without duplicates. It may return one to which nothing happened, never
// miss one. A group that was removed is watched no longer when its path is returned, nor
// is any after more happened than the kernel could queue: the caller that still finds
// it populated, because a new group has taken its place, must Add it again, and look.
//
// Errors are os.ErrDeadlineExceeded, os.ErrClosed, or those of read(2).
func (n *Notifier) Wait() ([]string, error) {
	for {
		length, err := n.file.Read(n.buffer)
		if err != nil {
			return nil, err
		}
		if paths := n.take(n.buffer[:length]); len(paths) > 0 {
			return paths, nil
		}
	}
}

// take returns the paths that a batch of inotify events is about.
func (n *Notifier) take(batch []byte) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := make(map[string]struct{})
	for len(batch) >= unix.SizeofInotifyEvent {
		watch := int(int32(binary.NativeEndian.Uint32(batch)))
		mask := binary.NativeEndian.Uint32(batch[4:])
		end := unix.SizeofInotifyEvent + binary.NativeEndian.Uint32(batch[12:])
		name := string(bytes.TrimRight(batch[unix.SizeofInotifyEvent:end], "\x00"))
		for _, path := range n.happened(watch, mask, name) {
			told[path] = struct{}{}
		}
		batch = batch[end:]
	}
	return slices.Collect(maps.Keys(told))
}

// happened returns the paths that one event is about and forgets those of removed groups.
//
// Preconditions: n.mu is held.
func (n *Notifier) happened(watch int, mask uint32, name string) []string {
	var paths []string
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0: // removals may have been lost with the rest
		paths = slices.Collect(maps.Keys(n.groups))
	case mask&unix.IN_DELETE != 0:
		paths = n.removed(watch, name)
	case mask&unix.IN_IGNORED != 0: // by the kernel: unmounted, or (on some) removed
		paths = slices.Clone(n.events[watch])
	default:
		return n.events[watch]
	}
	for _, path := range paths {
		n.forget(path)
	}
	return paths
}

// removed returns the paths of the watched groups that name stands for in a directory.
//
// Preconditions: n.mu is held.
func (n *Notifier) removed(parent int, name string) []string {
	var paths []string
	for dir := range n.parents[parent] {
		path := filepath.Join(dir, name)
		if _, ok := n.groups[path]; ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// forget gives the watches of a group back.
//
// Preconditions: n.mu is held.
func (n *Notifier) forget(path string) {
	w, ok := n.groups[path]
	if !ok {
		return
	}
	delete(n.groups, path)
	n.events[w.events] = slices.DeleteFunc(n.events[w.events], func(p string) bool { return p == path })
	if len(n.events[w.events]) == 0 {
		delete(n.events, w.events)
		n.unwatch(w.events)
	}
	n.removeParent(w.parent, filepath.Dir(path))
}

// addParent watches a directory for groups that are removed, or counts one more in it.
//
// Preconditions: n.mu is held.
func (n *Notifier) addParent(dir string) (int, error) {
	watch, err := n.watch(dir, unix.IN_DELETE|unix.IN_ONLYDIR)
	if err != nil {
		return 0, err
	}
	if n.parents[watch] == nil {
		n.parents[watch] = make(map[string]int)
	}
	n.parents[watch][dir]++
	return watch, nil
}

// removeParent undoes one addParent.
//
// Preconditions: n.mu is held.
func (n *Notifier) removeParent(watch int, dir string) {
	dirs := n.parents[watch]
	if dirs[dir]--; dirs[dir] == 0 {
		delete(dirs, dir)
	}
	if len(dirs) == 0 {
		delete(n.parents, watch)
		n.unwatch(watch)
	}
}

// watch returns the inotify watch of a file, the same for the same inode.
func (n *Notifier) watch(path string, mask uint32) (watch int, err error) {
	cerr := n.control(func(fd int) { watch, err = unix.InotifyAddWatch(fd, path, mask) })
	if err = errors.Join(cerr, err); err == nil {
		return watch, nil
	}
	if errors.Is(err, unix.ENOSPC) {
		err = fmt.Errorf("no watch is left (limit: fs.inotify.max_user_watches): %w", err)
	}
	return 0, &fs.PathError{Op: "inotify_add_watch", Path: path, Err: err}
}

func (n *Notifier) unwatch(watch int) {
	// EINVAL: the kernel has dropped it already. A closed notifier has none.
	_ = n.control(func(fd int) { _, _ = unix.InotifyRmWatch(fd, uint32(watch)) })
}

// control lends the descriptor, which stays in Go's poller and open until f returns.
func (n *Notifier) control(f func(fd int)) error {
	conn, err := n.file.SyscallConn()
	if err != nil {
		return err
	}
	if conn.Control(func(fd uintptr) { f(int(fd)) }) != nil {
		return os.ErrClosed // its only error, which it does not wrap
	}
	return nil
}
