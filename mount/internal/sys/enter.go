package sys

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// OnOwnThread runs f on a thread that ends with it, so that f may take the thread where no
// other goroutine should follow. It does not wait.
func OnOwnThread(f func()) {
	go func() {
		// Never unlocked: the runtime ends the thread of a goroutine that returns so.
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		// The process' first thread cannot end, and /proc/self means it. It is held until
		// another goroutine has got another one.
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(taken)
			f()
		}()
		<-taken
		runtime.UnlockOSThread()
	}()
}

// EnterMounts takes the calling thread, which is to be one of OnOwnThread, to a mount
// namespace and makes root, a directory there, its root directory (setns(2), chroot(2)). From
// then on an absolute path means what the namespace's owner wants it to mean: only
// descriptors, and UmountHere and UmountFileHere, are safe. It needs CAP_SYS_ADMIN and
// CAP_SYS_CHROOT, the former also in the user namespace that owns the mount namespace.
func EnterMounts(ns, root *os.File) error {
	// The links to this process' descriptors, as the /proc of its own namespace has them.
	fds, err := Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer fds.Close()
	for _, step := range []struct {
		call string
		do   func() error
	}{
		{"unshare", func() error { return unix.Unshare(unix.CLONE_FS) }},
		{"setns", func() error { return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS) }},
		{"fchdir", func() error { return unix.Fchdir(int(root.Fd())) }},
		{"chroot", func() error { return unix.Chroot(".") }},
		{"fchdir", func() error { return unix.Fchdir(int(fds.Fd())) }},
	} {
		if err := Retry(step.do); err != nil {
			return os.NewSyscallError(step.call, err)
		}
	}
	runtime.KeepAlive(ns)
	runtime.KeepAlive(root)
	return nil
}

// UmountHere is Umount on a thread that EnterMounts took away. Its working directory holds
// the links to the descriptors.
func UmountHere(dir *os.File, name string, flags int) error {
	path := strconv.Itoa(int(dir.Fd())) + "/" + name
	err := Retry(func() error { return unix.Unmount(path, flags|unix.UMOUNT_NOFOLLOW) })
	runtime.KeepAlive(dir)
	return pathError("umount2", dir, name, err)
}

// UmountFileHere is UmountFile on such a thread.
func UmountFileHere(f *os.File) error {
	err := Retry(func() error { return unix.Unmount(strconv.Itoa(int(f.Fd())), unix.MNT_DETACH) })
	runtime.KeepAlive(f)
	return pathError("umount2", f, "", err)
}

// OwnerOf is the user namespace that owns another namespace (NS_GET_USERNS, ioctl_nsfs(2),
// Linux 4.9). EPERM says that it is none that the caller is above of.
func OwnerOf(ns *os.File) (*os.File, error) {
	fd, err := openFD(func() (int, error) { return unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_USERNS) })
	runtime.KeepAlive(ns)
	if err != nil {
		return nil, pathError("ioctl NS_GET_USERNS", ns, "", err)
	}
	return os.NewFile(uintptr(fd), "owner of "+ns.Name()), nil
}

// Same reports whether an open file is the one at a path, links followed. A path that may
// not be looked at is another's.
func Same(f *os.File, path string) (bool, error) {
	var st unix.Stat_t
	err := Retry(func() error { return unix.Stat(path, &st) })
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	is, err := Fstat(f)
	return is.Dev == st.Dev && is.Ino == st.Ino, err
}
