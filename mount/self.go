package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// maxStacked bounds how many mounts on top of each other are taken down in one
// call. More than this is somebody's loop.
const maxStacked = 64

// SelfMount makes the directory at the trusted path dir a private mount of its
// own, by binding it onto itself, and returns its root (O_PATH). It is where
// targets should lie: what is attached there propagates nowhere, and no other
// mount gets children by it. The mount is nosuid and nodev.
//
// A directory that is the root of a private mount already, by an earlier call or
// otherwise, is left as it is, so that restarts do not stack. SelfUnmount is the
// partner. Linux 5.12.
func SelfMount(dir string) (*os.File, error) {
	f, err := OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return selfMount(f)
}

// selfMount is SelfMount of an open directory.
func selfMount(dir *os.File) (*os.File, error) {
	st, err := sys.Statx(dir)
	if err != nil {
		return nil, err
	}
	if !st.MountRoot {
		return bindSelf(dir)
	}
	m, err := Lookup(dir)
	if err != nil {
		return nil, err
	}
	if m.Private {
		return sys.Dup(dir)
	}
	// An earlier call may have ended between its last two steps.
	ours, err := isSelfMount(m)
	if err != nil {
		return nil, err
	}
	if !ours {
		return bindSelf(dir)
	}
	if err := sys.SetAttr(dir, unix.MountAttr{Propagation: unix.MS_PRIVATE}); err != nil {
		return nil, err
	}
	return sys.Dup(dir)
}

// bindSelf mounts dir onto itself and returns the root of the new mount.
func bindSelf(dir *os.File) (*os.File, error) {
	tree, err := Clone(dir, Attributes{})
	if err != nil {
		return nil, err
	}
	err = tree.Attach(dir)
	if err == nil {
		// On a shared mount the new one has become shared by being attached.
		err = sys.SetAttr(tree.file, unix.MountAttr{Propagation: unix.MS_PRIVATE})
	}
	if err != nil {
		tree.Close()
		return nil, err
	}
	return tree.file, nil
}

// SelfUnmount undoes SelfMount of the trusted path dir. It is nil when no mount
// is there that SelfMount could have made; a mount of another origin stays. It
// fails with a *BusyError while something uses the mount.
func SelfUnmount(dir string) error {
	for range maxStacked {
		m, err := lookupSelfMount(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unmountPoint(m.Point); err != nil {
			return err
		}
	}
	return tooManyStacked("unmount", dir)
}

// lookupSelfMount finds the mount that SelfMount made at dir, or fs.ErrNotExist.
func lookupSelfMount(dir string) (Info, error) {
	f, err := OpenDir(dir)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	st, err := sys.Statx(f)
	if err != nil {
		return Info{}, err
	}
	if !st.MountRoot {
		return Info{}, fs.ErrNotExist
	}
	m, err := Lookup(f)
	if err != nil {
		return Info{}, err
	}
	if ours, err := isSelfMount(m); err != nil || !ours {
		return Info{}, errors.Join(err, fs.ErrNotExist)
	}
	return m, nil
}

// unmountPoint unmounts the topmost mount at a trusted path.
func unmountPoint(point string) error {
	parent, err := OpenDir(filepath.Dir(point))
	if err != nil {
		return err
	}
	defer parent.Close()
	name := filepath.Base(point)
	return busy("unmount", parent, name, sys.Umount(parent, name, 0))
}

// isSelfMount reports whether m is a directory bound onto itself.
func isSelfMount(m Info) (bool, error) {
	parent, err := find(m.ParentID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // m is the root of the namespace
	}
	if err != nil {
		return false, err
	}
	return bindsSelf(m, parent), nil
}

// bindsSelf reports whether m shows the very directory of its parent mount that
// it lies on.
func bindsSelf(m, parent Info) bool {
	below, ok := strings.CutPrefix(m.Point, strings.TrimSuffix(parent.Point, "/"))
	if !ok || m.Dev != parent.Dev || (below != "" && below[0] != '/') {
		return false
	}
	return m.Root == filepath.Join(parent.Root, below)
}

// tooManyStacked says that taking mounts down has no end.
func tooManyStacked(op, path string) error {
	return &fs.PathError{Op: op, Path: path, Err: fmt.Errorf("more than %d mounts are stacked there", maxStacked)}
}
