package owner

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

const (
	permissions = 0o7777
	others      = 0o0007
	// shared is what the group needs: to read, write and walk through, and that what is
	// made in the directory is the group's too.
	shared = unix.S_ISGID | 0o0070
)

// Mode is what Own makes of a directory's permission bits (as in stat(2)): the group may do
// all, and others nothing, for a group that everybody can do without keeps nobody out.
func Mode(mode uint32) uint32 { return mode&permissions&^others | shared }

// Own gives a volume's data directory to a group that tasks share: it changes its group, and
// its mode to Mode(mode), where mode is the one that the volume was made with. The user stays,
// and nothing in the directory is touched. dir may have been opened with O_PATH. Doing what is
// done is nil. /proc has to be mounted.
//
// It should come before the first task writes, and the group has to be on record by then.
//
// Crash: the directory is as before, or has the group, or the mode too; Owned tells, and Own
// goes on. Nothing is synced, so after a power cut it may be as before again.
func Own(dir *os.File, gid, mode uint32) error {
	if gid == 0 || gid > lastGID {
		return fmt.Errorf("own %s: %d is no group to share: %w", dir.Name(), gid, unix.EINVAL)
	}
	// The group first: what it adds is for the new one.
	err := chgrp(dir, gid)
	if err == nil {
		err = chmod(dir, Mode(mode))
	}
	if err != nil {
		return fmt.Errorf("own %s by group %d: %w", dir.Name(), gid, err)
	}
	return nil
}

// Disown undoes Own: it gives the directory back the group and the mode that the volume was
// made with. What tasks have made in it keeps the group. When the directory is going to be
// purged it need not be disowned; the root of a MOUNT disk, which stays, has to be, before the
// group is another volume's.
//
// Crash: the directory is as before, or has the mode, or the group too; Disown goes on.
func Disown(dir *os.File, gid, mode uint32) error {
	// The mode first: what it takes is from the old one.
	err := chmod(dir, mode&permissions)
	if err == nil {
		err = chgrp(dir, gid)
	}
	if err != nil {
		return fmt.Errorf("disown %s: %w", dir.Name(), err)
	}
	return nil
}

// Owned says whether a directory is as Own leaves it.
func Owned(dir *os.File, gid, mode uint32) (bool, error) {
	st, err := stat(dir)
	if err != nil {
		return false, err
	}
	return st.Gid == gid && st.Mode&permissions == Mode(mode), nil
}

// chgrp changes the group alone.
func chgrp(dir *os.File, gid uint32) error {
	st, err := stat(dir)
	if err != nil || st.Gid == gid {
		return err
	}
	const same = -1
	err = mount.Retry(func() error { return unix.Fchownat(int(dir.Fd()), "", same, int(gid), unix.AT_EMPTY_PATH) })
	runtime.KeepAlive(dir)
	return pathError("fchownat", dir, err)
}

// chmod changes the mode by way of /proc, which takes a descriptor of O_PATH too.
func chmod(dir *os.File, mode uint32) error {
	st, err := stat(dir)
	if err != nil || st.Mode&permissions == mode {
		return err
	}
	path := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	err = mount.Retry(func() error { return unix.Chmod(path, mode) })
	runtime.KeepAlive(dir)
	return pathError("chmod", dir, err)
}

// stat is fstat(2) of a directory.
func stat(dir *os.File) (st unix.Stat_t, err error) {
	err = mount.Retry(func() error { return unix.Fstat(int(dir.Fd()), &st) })
	runtime.KeepAlive(dir)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	return st, pathError("fstat", dir, err)
}

func pathError(call string, dir *os.File, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: call, Path: dir.Name(), Err: err}
}
