package sys

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Feature is something that a newer kernel can do and that package mount can do
// without.
type Feature struct {
	Name  string
	Since string // the kernel release that has it, e.g. "6.8"

	// probe tries it by the cheapest call; sure is false when the answer may
	// be another one next time.
	probe func() (has, sure bool)
	known atomic.Int32 // 0 not known, otherwise absent or present
	off   atomic.Bool  // switched off by a test
}

const (
	absent = iota + 1
	present
)

// Available reports whether the running kernel has the feature. The answer is
// kept as soon as it is certain.
func (f *Feature) Available() bool {
	if f.off.Load() {
		return false
	}
	switch f.known.Load() {
	case absent:
		return false
	case present:
		return true
	}
	has, sure := f.probe()
	switch {
	case sure && has:
		f.known.Store(present)
	case sure:
		f.known.Store(absent)
	}
	return has
}

// SwitchOff makes Available report false until the returned function is called.
// It is for tests that run alone.
func (f *Feature) SwitchOff() (restore func()) {
	before := f.off.Swap(true)
	return func() { f.off.Store(before) }
}

// HasStatmount is statmount(2), listmount(2) and the unique mount ID of
// statx(2), all of Linux 6.8. One probe serves the three, since IDs of one kind
// are of no use to calls of the other. ENOSYS is an older kernel; EPERM is a
// seccomp filter that does not know the call. Both stay as they are.
var HasStatmount = &Feature{Name: "statmount", Since: "6.8", probe: func() (has, sure bool) {
	st, err := statx(unix.AT_FDCWD, "/", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID_UNIQUE)
	if err != nil {
		return false, false
	}
	var buf []byte
	_, err = Statmount(st.MountID, &buf)
	return err == nil, err == nil || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM)
}}

// HasCloneDetached is open_tree(2) with OPEN_TREE_CLONE of a tree that is
// detached itself, Linux 6.15; before, EINVAL. EPERM says that the process may
// not mount, which tells nothing.
var HasCloneDetached = &Feature{Name: "clone of a detached tree", Since: "6.15", probe: func() (has, sure bool) {
	dir, err := Open("/proc/self", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false, false
	}
	defer dir.Close()
	tree, err := OpenTree(dir)
	if err != nil {
		return false, false
	}
	defer tree.Close()
	clone, err := OpenTree(tree)
	if err != nil {
		return false, errors.Is(err, unix.EINVAL)
	}
	clone.Close()
	return true, true
}}
