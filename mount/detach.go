package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// Detach unmounts what is mounted on the entry name of parent, mounts stacked
// there included. After nil nothing is mounted there; it is nil as well when
// nothing was, or when the entry is not there at all.
//
// While something uses the mount it fails with a *BusyError. Lazy takes it from
// the namespace all the same (MNT_DETACH), with all that is mounted beneath: who
// has files open goes on reading and writing them, unseen, so lazy is for those
// who know that no such process matters.
func Detach(parent *os.File, name string, lazy bool) error {
	if err := checkName("detach", parent, name); err != nil {
		return err
	}
	flags := 0
	if lazy {
		flags = unix.MNT_DETACH
	}
	for range maxStacked {
		err := sys.Umount(parent, name, flags)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		// EINVAL says "not mounted", but also "locked" and "not yours".
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return busy("detach", parent, name, err)
		}
		st, statErr := sys.StatxAt(parent, name)
		if errors.Is(statErr, fs.ErrNotExist) || (statErr == nil && !st.MountRoot) {
			return nil
		}
		if err := errors.Join(err, statErr); err != nil {
			return fmt.Errorf("detach: %w", err)
		}
	}
	return tooManyStacked("detach", sys.Join(parent, name))
}

// Detach takes an attached tree from the namespace again, wherever its mount point is by
// now, as Detach does lazily: whoever has opened something on it keeps that. It is to
// undo an Attach that went astray; a tree that is not attached is nil.
func (t *Tree) Detach() error {
	err := sys.UmountFile(t.file)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// SetReadOnly makes the topmost mount on the entry name of parent read-only, or
// writable again, for everybody who uses it. It is for mounts that Attach made:
// it lifts the read-only attribute whoever set it, and cannot make a read-only
// filesystem writable.
//
// It fails with a *BusyError while a file is open for writing, in which case
// nothing has changed. Setting what is set is nil. Linux 5.12.
func SetReadOnly(parent *os.File, name string, readOnly bool) error {
	if err := checkName("remount", parent, name); err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	if readOnly {
		attr = unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	}
	err := sys.SetAttrAt(parent, name, attr)
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("nothing is mounted there: %w", err)
	}
	return busy("remount", parent, name, err)
}
