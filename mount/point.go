package mount

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// Point is what lies at a name in a directory.
type Point struct {
	Exists bool // something lies there; all else is zero otherwise
	Dir    bool // it is a directory (no symlink is followed)

	// Mounted says that something is mounted there; what follows is then about
	// the root of the topmost mount.
	Mounted  bool
	Identity Identity // of what one finds there
	MountID  uint64   // of the mount one finds there, as in Info
	UID, GID uint32   // the owner, as an idmapped mount shows it

	// Set only when Mounted, and not where the file system's server is gone (ENOTCONN).
	ReadOnly, NoSuid, NoDev, NoExec bool
}

// At looks at the entry name of parent. It costs four system calls however much
// is mounted, and follows neither a symlink nor an automount.
func At(parent *os.File, name string) (Point, error) {
	if err := checkName("look at", parent, name); err != nil {
		return Point{}, err
	}
	fd, err := sys.Openat2FD(parent, name, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
	if errors.Is(err, fs.ErrNotExist) {
		return Point{}, nil
	}
	if err != nil {
		return Point{}, err
	}
	defer unix.Close(fd)
	p, err := pointOf(fd)
	if err != nil {
		return Point{}, &fs.PathError{Op: "look at", Path: sys.Join(parent, name), Err: err}
	}
	return p, nil
}

// IsRoot says whether a directory is the root of a mount, and not only a directory on one
// (statx(2), STATX_ATTR_MOUNT_ROOT since Linux 5.8).
func IsRoot(dir *os.File) (bool, error) {
	st, err := sys.Statx(dir)
	return st.MountRoot, err
}

// pointOf is At of an open descriptor.
func pointOf(fd int) (Point, error) {
	st, err := sys.StatxFD(fd)
	if errors.Is(err, unix.ENOTCONN) {
		st, err = sys.StatxCached(fd)
	}
	if err != nil {
		return Point{}, err
	}
	p := Point{
		Exists:   true,
		Dir:      st.Mode&unix.S_IFMT == unix.S_IFDIR,
		Mounted:  st.MountRoot,
		Identity: Identity{Dev: st.Dev, Ino: st.Ino},
		MountID:  st.MountID,
		UID:      st.UID, GID: st.GID,
	}
	if !p.Mounted {
		return p, nil
	}
	flags, err := sys.StatfsFlags(fd)
	if errors.Is(err, unix.ENOTCONN) {
		return p, nil
	}
	if err != nil {
		return Point{}, err
	}
	p.ReadOnly = flags&unix.ST_RDONLY != 0
	p.NoSuid = flags&unix.ST_NOSUID != 0
	p.NoDev = flags&unix.ST_NODEV != 0
	p.NoExec = flags&unix.ST_NOEXEC != 0
	return p, nil
}
