package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// ErrMounted is the cause when a mount lies where none may: on the way to a
// target, or in a tree that is to be removed.
var ErrMounted = errors.New("a mount lies there")

const (
	// openPath is how directories are held: a place, without the right to read.
	openPath = unix.O_PATH | unix.O_DIRECTORY
	// resolveOver forbids leaving the directory and every kind of link, the last
	// component included.
	resolveOver = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS
	// resolveBeneath forbids stepping onto another mount as well.
	resolveBeneath = resolveOver | unix.RESOLVE_NO_XDEV
)

// OpenDir opens the directory at a trusted path, following symlinks and mounts
// like any other program. The descriptor is a place to work from (O_PATH), not
// readable itself. Use it for what the operator configured, and OpenBeneath for
// everything a task could have touched.
func OpenDir(path string) (*os.File, error) {
	return sys.Open(path, unix.O_PATH|unix.O_DIRECTORY)
}

// OpenBeneath opens the directory at path beneath root (O_PATH). It fails with
// ELOOP on any symlink or magic link, with EXDEV on a path that is absolute or
// climbs out, with ENOTDIR on what is no directory, and with ErrMounted where
// the way or the end lies on another mount than root. A race with renames is
// retried a bounded number of times and ends in EAGAIN.
func OpenBeneath(root *os.File, path string) (*os.File, error) {
	f, err := sys.Openat2(root, path, openPath, resolveBeneath)
	return f, mounted(err, path)
}

// OpenOver opens the directory name in parent (O_PATH) and, when something is
// mounted on it, steps onto the topmost mount. It follows no symlink.
func OpenOver(parent *os.File, name string) (*os.File, error) {
	if err := checkName("open", parent, name); err != nil {
		return nil, err
	}
	return sys.Openat2(parent, name, openPath, resolveOver)
}

// Retry repeats a system call until no signal interrupts it (EINTR, signal(7)), for those
// who make calls of their own on the descriptors of this package.
func Retry(call func() error) error { return sys.Retry(call) }

// mounted turns the EXDEV of a path that cannot leave its root into ErrMounted:
// only a mount on the way is left as its reason.
func mounted(err error, path string) error {
	if !errors.Is(err, unix.EXDEV) || !fs.ValidPath(path) {
		return err
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: pe.Path, Err: ErrMounted}
	}
	return err
}

// checkName refuses what is not one component of a path.
func checkName(op string, parent *os.File, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return &fs.PathError{
			Op: op, Path: parent.Name(),
			Err: fmt.Errorf("%q is not the name of a directory entry: %w", name, unix.EINVAL),
		}
	}
	return nil
}

// Identity tells one directory or file from all others that exist in this boot.
// It is comparable and the same through every mount of the directory.
type Identity struct {
	Dev uint64 // device number of the filesystem, as in stat(2)
	Ino uint64 // inode number
}

// Identify returns the identity of an open file or directory.
func Identify(f *os.File) (Identity, error) {
	st, err := sys.Fstat(f)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Dev: st.Dev, Ino: st.Ino}, nil
}
