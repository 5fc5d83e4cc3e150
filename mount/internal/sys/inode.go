package sys

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Inode flags that forbid removal; linux/fs.h, ioctl_iflags(2).
const (
	immutable  = 0x10
	appendOnly = 0x20
)

// Unlock clears the immutable and append-only flags of the file or directory
// dir/name and reports whether one was set. It never follows a symlink and
// never opens a device or a pipe. Filesystems without such flags report false.
func Unlock(dir *os.File, name string) (bool, error) {
	const flags = unix.O_PATH | unix.O_NOFOLLOW
	f, err := Openat2(dir, name, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := Fstat(f)
	if err != nil {
		return false, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return false, nil
	}
	r, err := reopen(f)
	if err != nil {
		return false, err
	}
	defer r.Close()
	return UnlockFile(r)
}

// UnlockFile is Unlock of a file that is open for reading.
func UnlockFile(f *os.File) (bool, error) {
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	if err == nil && flags&(immutable|appendOnly) == 0 {
		return false, nil
	}
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^(immutable|appendOnly)))
	}
	runtime.KeepAlive(f)
	return err == nil, pathError("clear inode flags", f, "", err)
}

// reopen opens for reading the very file that an O_PATH descriptor holds.
func reopen(f *os.File) (*os.File, error) {
	fd, err := openFD(func() (int, error) {
		return unix.Open(ProcPath(f, ""), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	runtime.KeepAlive(f)
	if err != nil {
		return nil, pathError("reopen", f, "", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// ProcPath is a path of name beneath the open directory dir (or of dir itself,
// when name is empty) for the calls that take no descriptor. It means the same
// file however the directory is renamed, as long as dir is open. It needs /proc.
func ProcPath(dir *os.File, name string) string {
	if name == "" {
		return fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}
