package pool

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// Subvolumes are what btrfs can limit, and remove at once. To all else they are
// directories: they are renamed with the one that they lie in, and rmdir(2) removes one
// that is empty. Its methods may be called at the same time.
type Subvolumes interface {
	// Create makes the subvolume name in parent; fs.ErrExist if the name is taken.
	Create(parent *os.File, name string) error
	// Delete removes it with all that is in it, or nothing at all. An error may mean as
	// well that it is a plain directory, that another is inside, or that it is not allowed.
	Delete(parent *os.File, name string) error
	// Commit returns when all that was done to the filesystem of dir, the makings and
	// removals of subvolumes among it, survives a power cut: on a kernel before 6.6 fsync(2)
	// does not say that of them.
	Commit(dir *os.File) error
}

// makeData makes the directory that tasks see in the directory top beneath the root.
//
// Crash: it is there or not; either way another one finds its work.
func (p *Pool) makeData(top string) error {
	if p.subvolumes == nil {
		return makeDir(p.root, top, dataName)
	}
	dir, err := openDir(p.root, top, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := p.subvolumes.Create(dir, dataName); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// removeTree removes v from the directory of a place. A subvolume goes as a whole where
// that can be done, and like any other directory where not.
//
// Crash: the subvolume is whole, or empty, or gone, or any part of it is left; after a
// power cut also one that was gone may be there again. It is in the same place still.
func (p *Pool) removeTree(ctx context.Context, place *os.File, v string) error {
	if p.subvolumes != nil {
		if err := p.deleteData(place, v); err != nil {
			return err
		}
	}
	return mount.RemoveTree(ctx, place, v)
}

// deleteData tries the fast way; what is left is for the other.
func (p *Pool) deleteData(place *os.File, v string) error {
	dir, err := openDir(place, v, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	_ = p.subvolumes.Delete(dir, dataName) // removal file by file says what is in the way
	return nil
}

// syncPlace makes what came to a place, or left it, durable.
func (p *Pool) syncPlace(pl Place) error {
	if p.subvolumes != nil {
		return p.subvolumes.Commit(p.root)
	}
	return syncDir(p.root, string(pl))
}
