package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// What a visit does in the namespace. All of it is done by descriptor: a path, /proc above all,
// is what the process there wants it to be.

// at is Namespace.At.
func (v *visit) at() (Point, error) {
	parent, name, err := v.parent()
	if errors.Is(err, fs.ErrNotExist) {
		return Point{}, nil
	}
	if err != nil {
		return Point{}, err
	}
	defer parent.Close()
	return At(parent, name)
}

// attach is Namespace.Attach.
func (v *visit) attach(mkdirs bool) error {
	want, err := pointOf(int(v.tree.Fd()))
	if err == nil && want.ReadOnly && v.foreign {
		err = ErrUndone
	}
	if err != nil {
		return err
	}
	at, err := v.openTarget(mkdirs)
	if err != nil {
		return err
	}
	defer at.Close()
	if v.over.Load() {
		return errLeft
	}
	if err := sys.MoveMount(v.tree, at); err != nil {
		return err
	}
	found, err := v.at()
	if err == nil && found.MountID == want.MountID {
		return nil
	}
	return errors.Join(fmt.Errorf("what was attached is taken back: %w", ErrMoved), err, sys.UmountFileHere(v.tree))
}

// openTarget opens the directory to attach to, on which nothing is mounted.
func (v *visit) openTarget(mkdirs bool) (*os.File, error) {
	parent, name, err := v.openParent(mkdirs)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	at, err := OpenOver(parent, name)
	if err != nil {
		return nil, moved(err)
	}
	root, err := IsRoot(at)
	if err == nil && root {
		err = ErrMounted
	}
	if err != nil {
		at.Close()
		return nil, err
	}
	return at, nil
}

// openParent is parent, and makes what is missing if asked to.
func (v *visit) openParent(mkdirs bool) (*os.File, string, error) {
	if !mkdirs {
		return v.parent()
	}
	parent, name, err := mkdirAll(v.root, v.target, 0o755, OpenOver)
	return parent, name, moved(err)
}

// detach is Namespace.Detach, with a bare EBUSY.
func (v *visit) detach(want Identity, lazy bool) error {
	parent, name, err := v.parent()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	flags := 0
	if lazy {
		flags = unix.MNT_DETACH
	}
	for range maxStacked {
		p, err := v.find(parent, name, want)
		if err != nil || !p.Mounted {
			return err
		}
		if err := sys.UmountHere(parent, name, flags); err != nil {
			return v.explain(p.MountID, err)
		}
	}
	return tooManyStacked("detach", v.target)
}

// setReadOnly is Namespace.SetReadOnly, with a bare EBUSY.
func (v *visit) setReadOnly(want Identity, readOnly bool) error {
	if readOnly && v.foreign {
		return ErrUndone
	}
	parent, name, err := v.parent()
	if err != nil {
		return err
	}
	defer parent.Close()
	p, err := v.find(parent, name, want)
	if err != nil {
		return err
	}
	return v.explain(p.MountID, setReadOnly(parent, name, readOnly, v.lookup))
}

// find looks at the entry name of parent for a change: it is the last look before it.
func (v *visit) find(parent *os.File, name string, want Identity) (Point, error) {
	p, err := At(parent, name)
	if err == nil && p.Mounted && p.Identity != want {
		err = fmt.Errorf("%w that is not the one", ErrMounted)
	}
	if err == nil && v.over.Load() {
		err = errLeft
	}
	return p, err
}

// explain notes of an EBUSY what only can be seen here.
func (v *visit) explain(id uint64, err error) error {
	if errors.Is(err, unix.EBUSY) {
		v.busy = id
		v.beneath, _ = v.table() // EBUSY is told, with what is known
	}
	return err
}

// lookup is find of the package, in the namespace.
func (v *visit) lookup(id uint64) (Info, error) {
	if v.mounts == nil {
		return find(id)
	}
	table, err := v.table()
	if err != nil {
		return Info{}, err
	}
	for _, m := range table {
		if m.ID == id {
			return m, nil
		}
	}
	return Info{}, fs.ErrNotExist
}

// table is Table of the package, in the namespace.
func (v *visit) table() ([]Info, error) {
	if v.mounts == nil {
		return Table()
	}
	if _, err := v.mounts.Seek(0, 0); err != nil {
		return nil, err
	}
	entries, err := mountinfo.GetMountsFromReader(v.mounts, nil)
	if err != nil {
		return nil, err
	}
	return fromMountinfos(entries), nil
}
