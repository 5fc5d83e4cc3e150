package quota

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

const (
	// assignDepth is how many levels Assign goes down, with a descriptor open for each.
	assignDepth = 256
	// assignBatch is how many entries are read from a directory at once.
	assignBatch = 512
)

// From include/uapi/linux/fs.h; the numbers are the same on amd64 and arm64.
const (
	iocGetXattr = 0x801c581f // FS_IOC_FSGETXATTR
	iocSetXattr = 0x401c5820 // FS_IOC_FSSETXATTR

	flagInherit = 1 << 9 // FS_XFLAG_PROJINHERIT
)

// xattr is struct fsxattr.
type xattr struct {
	flags      uint32
	extSize    uint32
	extents    uint32
	project    uint32
	cowExtSize uint32
	_          [8]byte
}

// labels are the project IDs that each inode of XFS and ext4 carries.
type labels struct{}

func (labels) projectOf(dir *os.File) (uint32, error) {
	own, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return 0, err
	}
	defer own.Close()
	x, err := getXattr(own)
	return x.project, err
}

func (labels) assign(ctx context.Context, dir *os.File, id uint32) error {
	own, err := openAt(dir, ".", openQuiet|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return assignTree(ctx, own, id, 0)
}

// assignTree puts a directory and what is in it into a project, and closes it. The
// directory comes first: from then on the kernel lets nothing of another project in by a
// rename or a link, and what is made in it is in the project, so that what is read
// afterwards is all that there is to do.
func assignTree(ctx context.Context, dir *os.File, id uint32, depth int) error {
	defer dir.Close()
	if depth > assignDepth {
		return fmt.Errorf("%s lies more than %d levels deep", dir.Name(), assignDepth)
	}
	if err := assignOne(dir, id, flagInherit); err != nil {
		return err
	}
	for {
		entries, err := dir.ReadDir(assignBatch)
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := assignEntry(ctx, dir, e, id, depth); err != nil {
				return err
			}
		}
	}
}

// assignEntry does so with an entry of a directory. What can't be opened without doing
// something to it (FIFOs, devices) carries no data and stays as it is.
func assignEntry(ctx context.Context, dir *os.File, e fs.DirEntry, id uint32, depth int) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("in %s: %w", dir.Name(), err)
	}
	flags := openQuiet
	switch {
	case e.IsDir():
		flags |= unix.O_DIRECTORY
	case !e.Type().IsRegular():
		return nil
	}
	f, err := openAt(dir, e.Name(), flags)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.IsDir() {
		return assignTree(ctx, f, id, depth+1)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err // it has become something else
	}
	return assignOne(f, id, 0)
}

// gone says whether an error of openAt means that an entry is not there any more, or not
// part of this tree.
func gone(err error) bool {
	return slices.ContainsFunc([]error{fs.ErrNotExist, unix.ENOTDIR, unix.ELOOP, unix.EXDEV, unix.ENXIO},
		func(e error) bool { return errors.Is(err, e) })
}

// assignOne sets the project of one file, and the flags that go with it, unless it has
// them.
func assignOne(f *os.File, id, flags uint32) error {
	x, err := getXattr(f)
	if err != nil || x.project == id && x.flags&flags == flags {
		return err
	}
	x.project = id
	x.flags |= flags
	return ioctl(f, "FS_IOC_FSSETXATTR", iocSetXattr, unsafe.Pointer(&x))
}

func getXattr(f *os.File) (x xattr, err error) {
	return x, ioctl(f, "FS_IOC_FSGETXATTR", iocGetXattr, unsafe.Pointer(&x))
}

// ioctl is ioctl(2), named by its request in errors.
func ioctl(f *os.File, name string, request uintptr, arg unsafe.Pointer) error {
	err := mount.Retry(func() error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
			return errno
		}
		return nil
	})
	runtime.KeepAlive(f)
	if err != nil {
		return &os.PathError{Op: name, Path: f.Name(), Err: err}
	}
	return nil
}

// openQuiet opens for reading, without waiting (FIFOs) and without a trace in the access
// time.
const openQuiet = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOATIME

// beneath is how every name is resolved: ELOOP at a symlink, EXDEV at a mount.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openAt is openat2(2) beneath dir, always close-on-exec.
func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: beneath}
	var fd int
	err := mount.Retry(func() (err error) {
		fd, err = unix.Openat2(int(dir.Fd()), name, &how)
		return err
	})
	runtime.KeepAlive(dir)
	path := filepath.Join(dir.Name(), name)
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
