package sys

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OpenTree is open_tree(2) of dir itself with OPEN_TREE_CLONE, Linux 5.2: a
// detached mount of dir without the mounts beneath it. It is gone when the last
// descriptor of it is closed, unless it was attached.
func OpenTree(dir *os.File) (*os.File, error) {
	fd, err := openFD(func() (int, error) {
		return unix.OpenTree(int(dir.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	})
	runtime.KeepAlive(dir)
	if err != nil {
		return nil, pathError("open_tree", dir, "", err)
	}
	return os.NewFile(uintptr(fd), dir.Name()), nil
}

// SetAttr is mount_setattr(2) of the mount that f is the root of, Linux 5.12.
func SetAttr(f *os.File, attr unix.MountAttr) error {
	err := Retry(func() error { return unix.MountSetattr(int(f.Fd()), "", unix.AT_EMPTY_PATH, &attr) })
	runtime.KeepAlive(f)
	return pathError("mount_setattr", f, "", err)
}

// SetAttrTree is SetAttr of all mounts of the tree that f is the root of, or of none.
func SetAttrTree(f *os.File, attr unix.MountAttr) error {
	const flags = unix.AT_EMPTY_PATH | unix.AT_RECURSIVE
	err := Retry(func() error { return unix.MountSetattr(int(f.Fd()), "", flags, &attr) })
	runtime.KeepAlive(f)
	return pathError("mount_setattr", f, "", err)
}

// SetAttrAt is mount_setattr(2) of the topmost mount on dir/name, which is no
// symlink. EINVAL says that nothing is mounted there. Flags are 0 or AT_RECURSIVE.
func SetAttrAt(dir *os.File, name string, attr unix.MountAttr, flags uint) error {
	err := Retry(func() error {
		return unix.MountSetattr(int(dir.Fd()), name, flags|unix.AT_SYMLINK_NOFOLLOW, &attr)
	})
	runtime.KeepAlive(dir)
	return pathError("mount_setattr", dir, name, err)
}

// ErrMountMax is what ENOSPC of move_mount(2) means.
var ErrMountMax = errors.New("the mount namespace has as many mounts as fs.mount-max allows; detach some, or raise it: sysctl fs.mount-max")

// MoveMount is move_mount(2), Linux 5.2: it attaches the detached tree to the
// directory that at holds, on top of what is mounted there.
func MoveMount(tree, at *os.File) error {
	const flags = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	err := Retry(func() error { return unix.MoveMount(int(tree.Fd()), "", int(at.Fd()), "", flags) })
	runtime.KeepAlive(tree)
	runtime.KeepAlive(at)
	if err != nil {
		if errors.Is(err, unix.ENOSPC) {
			err = ErrMountMax
		}
		return &os.LinkError{Op: "move_mount", Old: tree.Name(), New: at.Name(), Err: err}
	}
	return nil
}

// Umount is umount2(2) of the topmost mount on dir/name, which is no symlink.
// The call takes no descriptor, so the path goes through /proc; the directory
// is dir all the same, however it is renamed.
func Umount(dir *os.File, name string, flags int) error {
	err := Retry(func() error { return unix.Unmount(ProcPath(dir, name), flags|unix.UMOUNT_NOFOLLOW) })
	runtime.KeepAlive(dir)
	return pathError("umount2", dir, name, err)
}

// UmountFile is umount2(2) with MNT_DETACH of the mount whose root f is.
func UmountFile(f *os.File) error {
	err := Retry(func() error { return unix.Unmount(ProcPath(f, ""), unix.MNT_DETACH) })
	runtime.KeepAlive(f)
	return pathError("umount2", f, "", err)
}

// UnshareMounts is unshare(2) of the calling thread's mount namespace, with
// every mount in the copy turned into a slave (a private one stays private).
func UnshareMounts() error {
	if err := Retry(func() error { return unix.Unshare(unix.CLONE_NEWNS) }); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	err := Retry(func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") })
	return os.NewSyscallError("mount", err)
}
