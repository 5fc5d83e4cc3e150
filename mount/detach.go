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

// ErrShared is the cause when a mount is not changed because it has copies in other
// namespaces, or other places, that would not follow (mount_namespaces(7), shared subtrees).
var ErrShared = errors.New("copies of the mount elsewhere would not follow")

// SetReadOnly makes the topmost mount on the entry name of parent read-only, or
// writable again, for everybody who uses it. It is for mounts that Attach made:
// it lifts the read-only attribute whoever set it, and cannot make a read-only
// filesystem writable.
//
// All that is mounted beneath it becomes read-only with it, or nothing does. What is
// beneath is left alone when it becomes writable again, since who made that read-only
// is not known.
//
// It fails with a *BusyError while a file is open for writing, and with ErrShared on a mount
// that propagates, in which cases nothing has changed. Setting what is set is nil.
// Linux 5.12.
func SetReadOnly(parent *os.File, name string, readOnly bool) error {
	if err := checkName(opRemount, parent, name); err != nil {
		return err
	}
	return busy(opRemount, parent, name, setReadOnly(parent, name, readOnly, find))
}

// setReadOnly is SetReadOnly with a bare EBUSY, in a namespace where find finds a mount.
func setReadOnly(parent *os.File, name string, readOnly bool, find func(id uint64) (Info, error)) error {
	p, err := At(parent, name)
	if err != nil {
		return err
	}
	if !p.Mounted {
		err := fmt.Errorf("nothing is mounted there: %w", unix.EINVAL)
		return &fs.PathError{Op: opRemount, Path: sys.Join(parent, name), Err: err}
	}
	m, err := find(p.MountID)
	if err == nil && m.Shared {
		err = ErrShared
	}
	if err != nil {
		return &fs.PathError{Op: opRemount, Path: sys.Join(parent, name), Err: err}
	}
	if readOnly {
		return sys.SetAttrAt(parent, name, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, unix.AT_RECURSIVE)
	}
	return sys.SetAttrAt(parent, name, unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}, 0)
}
