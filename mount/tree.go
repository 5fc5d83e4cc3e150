package mount

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// Attributes are those of a mount that somebody chooses. Set-user-ID programs
// and device files have no effect on any mount that this package makes.
type Attributes struct {
	ReadOnly bool // nothing can be written through this mount (EROFS)
	NoExec   bool // no program on it can be run

	// IDMap, if not nil, is a user namespace (see UserNamespace) that says as whose the
	// files appear, and as whose those are kept that are made. It stays the caller's.
	IDMap *os.File
}

// Tree is a detached mount: complete, but nowhere to be seen until it is
// attached. Use it from one goroutine at a time.
type Tree struct {
	file *os.File
}

// Clone makes a detached mount of the directory dir, without the mounts that lie
// beneath it, private, with nosuid, nodev and the attributes a. Attributes that
// dir's own mount has are kept, so a clone of something read-only is read-only
// whatever a says. With an IDMap it may fail with ErrNoIDMap.
//
// Its cost does not depend on what is mounted elsewhere, but grows with the
// number of mounts that are children of the one dir lies on: take dir from a
// Source. A dir on a detached tree needs Linux 6.15 and the mount namespace
// where that tree was made. Linux 5.12; open_tree(2), mount_setattr(2).
func Clone(dir *os.File, a Attributes) (*Tree, error) {
	f, err := sys.OpenTree(dir)
	if err != nil {
		return nil, err
	}
	err = sys.SetAttrTree(f, a.set())
	if a.IDMap != nil && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM)) {
		err = fmt.Errorf("%w: %w", ErrNoIDMap, err)
	}
	runtime.KeepAlive(a.IDMap)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Tree{file: f}, nil
}

// set is what is to be set of a new tree, all in one call.
func (a Attributes) set() unix.MountAttr {
	attr := unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
		Propagation: unix.MS_PRIVATE,
	}
	if a.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if a.NoExec {
		attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
	}
	if a.IDMap != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(a.IDMap.Fd())
	}
	return attr
}

// FromFile takes over a detached tree that was received over a socket. The tree
// closes f.
func FromFile(f *os.File) *Tree { return &Tree{file: f} }

// ErrMountMax is the cause when nothing more can be attached, since the namespace has as many
// mounts as the kernel allows (fs.mount-max, in Documentation/admin-guide/sysctl/fs.rst).
var ErrMountMax = sys.ErrMountMax

// Attach makes the tree visible on the directory at, on top of what may be
// mounted there already. A tree is in one place: attached again, it moves. After
// an error nothing has become visible; ErrMountMax is one.
//
// Where at lies on a shared mount, the new one becomes shared too and shows up,
// with its attributes, in every namespace that shares or follows it: see
// SelfMount for a place of one's own. The mount stays when the process ends.
func (t *Tree) Attach(at *os.File) error { return sys.MoveMount(t.file, at) }

// File is the root of the tree (O_PATH), to open things on it or to hand it to
// another process. It is the tree's own: do not close it.
func (t *Tree) File() *os.File { return t.file }

// Close lets go of the tree. One that was not attached is gone with its last
// descriptor; one that was is no longer kept busy by this process.
func (t *Tree) Close() error { return t.file.Close() }
