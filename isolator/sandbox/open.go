package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

const (
	// maxDepth is how far down checkUnmounted looks; it holds a descriptor a level.
	maxDepth = 64
	// batch is how many names are read from a directory at once.
	batch = 512
)

// openDir opens the directory name in parent for reading: no symlink, nothing else,
// and nothing that is mounted there (openat2(2), Linux 5.6).
func openDir(parent *os.File, name string) (*os.File, error) {
	how := unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS |
			unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	var fd int
	err := mount.Retry(func() (err error) {
		fd, err = unix.Openat2(int(parent.Fd()), name, &how)
		return err
	})
	runtime.KeepAlive(parent)
	path := filepath.Join(parent.Name(), name)
	if errors.Is(err, unix.EXDEV) {
		err = fmt.Errorf("%w: %w", mount.ErrMounted, err)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "openat2", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// makeDir is mkdir(2) of name in parent, for root alone, and says whether it was not
// there before.
func makeDir(parent *os.File, name string) (made bool, err error) {
	err = mount.Retry(func() error { return unix.Mkdirat(int(parent.Fd()), name, 0o700) })
	runtime.KeepAlive(parent)
	if errors.Is(err, unix.EEXIST) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "mkdir", Path: filepath.Join(parent.Name(), name), Err: err}
	}
	return true, nil
}

// removeDir is rmdir(2) of name in parent.
func removeDir(parent *os.File, name string) error {
	err := mount.Retry(func() error { return unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR) })
	runtime.KeepAlive(parent)
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: %w", mount.ErrMounted, err)
	}
	if err != nil {
		return &fs.PathError{Op: "rmdir", Path: filepath.Join(parent.Name(), name), Err: err}
	}
	return nil
}

// checkUnmounted fails with mount.ErrMounted at the first mount on or beneath the
// entry name of parent, as far as depth levels down. What vanishes meanwhile, and
// what is no directory and no mount, is nothing to it.
func checkUnmounted(ctx context.Context, parent *os.File, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	isDir, err := lookForMount(parent, name)
	if err != nil || !isDir || depth == 0 {
		return err
	}
	dir, err := openDir(parent, name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(batch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := checkUnmounted(ctx, dir, n, depth-1); err != nil {
				return err
			}
		}
	}
}

// lookForMount says whether name is a directory, and fails if it is a mount.
func lookForMount(parent *os.File, name string) (isDir bool, err error) {
	var st unix.Statx_t
	err = mount.Retry(func() error {
		return unix.Statx(int(parent.Fd()), name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	})
	runtime.KeepAlive(parent)
	if gone(err) {
		return false, nil
	}
	if err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		err = mount.ErrMounted
	}
	if err != nil {
		return false, &fs.PathError{Op: "statx", Path: filepath.Join(parent.Name(), name), Err: err}
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// gone says that a name has vanished or has become something else since it was read.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
