package sys

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Stat is what statx(2) tells about a file and the mount it lies on.
type Stat struct {
	Mode      uint32 // kind and permissions
	Dev, Ino  uint64 // as in stat(2)
	UID, GID  uint32 // the owner, as the file's mount shows it
	MountID   uint64 // see MountIDMask
	MountRoot bool   // the file is the root of its mount
	Links     uint32 // how many names the file has
	Bytes     uint64 // allocated to it, holes not counted
}

// statBlock is the unit of stx_blocks, whatever the filesystem's own blocks are.
const statBlock = 512

// MountIDMask asks statx for the kind of mount ID that the rest of this package
// uses too: the unique one (Linux 6.8), which is never used again in a boot, or
// the one of mountinfo (Linux 5.8), which may be once the mount is gone.
func MountIDMask() int {
	if HasStatmount.Available() {
		return unix.STATX_MNT_ID_UNIQUE
	}
	return unix.STATX_MNT_ID
}

// Statx is statx(2) of f itself.
func Statx(f *os.File) (Stat, error) {
	st, err := StatxFD(int(f.Fd()))
	runtime.KeepAlive(f)
	return st, pathError("statx", f, "", err)
}

// StatxFD is Statx of a bare descriptor, with a bare error.
func StatxFD(fd int) (Stat, error) {
	return statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|MountIDMask())
}

// StatxCached is StatxFD by what the kernel knows: it asks no server, so a dead network filesystem
// neither blocks it nor makes it fail.
func StatxCached(fd int) (Stat, error) {
	return statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS|MountIDMask())
}

// StatxAt is statx(2) of dir/name, or of the root of the topmost mount on it,
// following no symlink and starting no automount.
func StatxAt(dir *os.File, name string) (Stat, error) {
	st, err := statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|MountIDMask())
	runtime.KeepAlive(dir)
	return st, pathError("statx", dir, name, err)
}

// MountOf is the ID of the mount on which path ends, links followed. It asks
// no server, so a dead network filesystem does not block it.
func MountOf(path string) (uint64, error) {
	st, err := statx(unix.AT_FDCWD, path, unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, MountIDMask())
	if err != nil {
		return 0, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return st.MountID, nil
}

func statx(fd int, path string, flags, mask int) (Stat, error) {
	var st unix.Statx_t
	if err := Retry(func() error { return unix.Statx(fd, path, flags, mask, &st) }); err != nil {
		return Stat{}, err
	}
	return Stat{
		Mode:      uint32(st.Mode),
		Dev:       unix.Mkdev(st.Dev_major, st.Dev_minor),
		Ino:       st.Ino,
		UID:       st.Uid,
		GID:       st.Gid,
		MountID:   st.Mnt_id,
		MountRoot: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
		Links:     st.Nlink,
		Bytes:     st.Blocks * statBlock,
	}, nil
}

// StatfsFlags returns the ST_ flags of fstatfs(2): those of the mount, and
// ST_RDONLY of the filesystem. The descriptor may be O_PATH (Linux 3.12).
func StatfsFlags(fd int) (uint64, error) {
	var st unix.Statfs_t
	err := Retry(func() error { return unix.Fstatfs(fd, &st) })
	return uint64(st.Flags), err
}
