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

// MkdirBeneath makes the directory path beneath root, and each one missing on
// the way, with the mode perm (less the umask). Directories that exist are left
// as they are. It returns the directory that holds the last name, for the
// caller to close, and that name.
//
// It refuses a path that is not clean and relative, and a symlink, a file or a
// mount (ErrMounted) on the way. At the end of the path a symlink and a file
// are refused too, but a mount may lie there: see At.
//
// Nothing is synced; mount points are void after a power cut anyway. After an
// error the directories made so far stay.
func MkdirBeneath(root *os.File, path string, perm fs.FileMode) (parent *os.File, name string, err error) {
	return mkdirAll(root, path, perm, OpenBeneath)
}

// mkdirAll is MkdirBeneath with what opens each directory on the way.
func mkdirAll(root *os.File, path string, perm fs.FileMode, open openDir) (parent *os.File, name string, err error) {
	if !fs.ValidPath(path) || path == "." {
		err := fmt.Errorf("%q is not a clean path beneath it: %w", path, unix.EINVAL)
		return nil, "", &fs.PathError{Op: "mkdir", Path: root.Name(), Err: err}
	}
	parent, err = sys.Dup(root)
	if err != nil {
		return nil, "", err
	}
	name = path
	for err == nil {
		first, rest, more := strings.Cut(name, "/")
		if !more {
			break
		}
		parent, err = descend(parent, first, perm, open)
		name = rest
	}
	if err == nil {
		err = mkdir(parent, name, perm)
	}
	if err != nil {
		parent.Close()
		return nil, "", err
	}
	return parent, name, nil
}

// openDir is OpenBeneath or OpenOver.
type openDir func(dir *os.File, name string) (*os.File, error)

// descend opens the directory name in dir, making it when it is missing, and
// closes dir. After an error it returns dir still open.
func descend(dir *os.File, name string, perm fs.FileMode, open openDir) (*os.File, error) {
	next, err := open(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = mkdir(dir, name, perm); err == nil {
			next, err = open(dir, name)
		}
	}
	if err != nil {
		return dir, err
	}
	dir.Close()
	return next, nil
}

// mkdir makes the directory name in dir unless it exists, and fails when it is
// something else.
func mkdir(dir *os.File, name string, perm fs.FileMode) error {
	err := sys.Mkdirat(dir, name, perm)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := sys.Fstatat(dir, name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return &fs.PathError{Op: "mkdir", Path: sys.Join(dir, name), Err: unix.ENOTDIR}
	}
	return nil
}
