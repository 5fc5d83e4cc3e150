package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// beneath is how every name is resolved. With NO_XDEV something that was mounted
// over a part of the pool is an error, not a place to put volumes in. O_NOFOLLOW is
// left out on purpose: it would turn ELOOP at the end of a path into ENOTDIR.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS |
	unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openDir opens the directory name beneath dir. flags are O_RDONLY or O_PATH.
func openDir(dir *os.File, name string, flags int) (*os.File, error) {
	return openAt(dir, name, unix.OpenHow{Flags: uint64(flags | unix.O_DIRECTORY)})
}

// openAt is openat2(2) beneath dir, always close-on-exec.
func openAt(dir *os.File, name string, how unix.OpenHow) (*os.File, error) {
	how.Flags |= unix.O_CLOEXEC
	how.Resolve = beneath
	var fd int
	err := mount.Retry(func() (err error) {
		fd, err = unix.Openat2(int(dir.Fd()), name, &how)
		return err
	})
	runtime.KeepAlive(dir)
	if err != nil {
		return nil, pathError("openat2", dir, name, explain(err))
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

// explain says what openat2(2) means by two errors that say something else elsewhere.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: %w", mount.ErrMounted, err)
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("a symlink is in the way: %w", err)
	}
	return err
}

// exists says whether the directory name is beneath dir. Anything else of that name
// is an error, and so is something mounted there.
func exists(dir *os.File, name string) (bool, error) {
	f, err := openDir(dir, name, unix.O_PATH)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// makeDir makes the directory name in parent beneath root, for its owner alone.
// It is no error if there is one; its mode is then what it was.
func makeDir(root *os.File, parent, name string) error {
	dir, err := openDir(root, parent, unix.O_PATH)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = mount.Retry(func() error { return unix.Mkdirat(int(dir.Fd()), name, 0o700) })
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return pathError("mkdirat", dir, name, err)
	}
	return nil
}

// removeEmpty removes the directory name from parent beneath root, if it is there. One
// with anything in it is an error.
func removeEmpty(root *os.File, parent, name string) error {
	dir, err := openDir(root, parent, unix.O_PATH)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = mount.Retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return pathError("rmdir", dir, name, err)
	}
	return nil
}

// within opens the directory name beneath root for reading, calls f on its
// descriptor, and says of an error that it came from op.
func within(root *os.File, name, op string, f func(fd int) error) error {
	dir, err := openDir(root, name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := mount.Retry(func() error { return f(int(dir.Fd())) }); err != nil {
		return pathError(op, dir, ".", err)
	}
	return nil
}

// syncDir makes the entries, owner and mode of the directory name durable.
func syncDir(root *os.File, name string) error {
	return within(root, name, "fsync", unix.Fsync)
}

// renameNew moves v from one place to another and never replaces anything
// (renameat2(2), RENAME_NOREPLACE).
func renameNew(root *os.File, from, to Place, v string) error {
	old, err := openDir(root, string(from), unix.O_PATH)
	if err != nil {
		return err
	}
	defer old.Close()
	next, err := openDir(root, string(to), unix.O_PATH)
	if err != nil {
		return err
	}
	defer next.Close()
	err = mount.Retry(func() error {
		return unix.Renameat2(int(old.Fd()), v, int(next.Fd()), v, unix.RENAME_NOREPLACE)
	})
	if err != nil {
		return &os.LinkError{Op: "renameat2", Err: err,
			Old: filepath.Join(old.Name(), v), New: filepath.Join(next.Name(), v)}
	}
	return nil
}

// link gives an open file without a name the one in dir. The path by way of /proc is
// that of open(2), "O_TMPFILE"; it needs no capability.
func link(f, dir *os.File, name string) error {
	self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	err := mount.Retry(func() error {
		return unix.Linkat(unix.AT_FDCWD, self, int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	})
	runtime.KeepAlive(f)
	if err != nil {
		return pathError("linkat", dir, name, err)
	}
	return nil
}

// pathError names the call and the full path of what it was made on.
func pathError(op string, dir *os.File, name string, err error) error {
	return &os.PathError{Op: op, Path: filepath.Join(dir.Name(), name), Err: err}
}

// chownDir sets the owner of the directory name beneath root.
func chownDir(root *os.File, name string, uid, gid int) error {
	return within(root, name, "fchown", func(fd int) error { return unix.Fchown(fd, uid, gid) })
}

// chmodDir sets the mode of the directory name beneath root, to all of its bits.
func chmodDir(root *os.File, name string, mode uint32) error {
	return within(root, name, "fchmod", func(fd int) error { return unix.Fchmod(fd, mode) })
}
