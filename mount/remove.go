package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

const (
	// removeOpen is how many directories a removal holds open, however deep
	// the tree.
	removeOpen = 32
	// removeBatch is how many names are read from a directory at once.
	removeBatch = 512
)

// RemoveTree removes the entry name of parent and, when it is a directory, all
// that is in it. It is nil when nothing is there.
//
// No symlink is followed and no mount is crossed: at a mount, be it a bind mount
// of the same filesystem or of a single file, it stops with ErrMounted and
// leaves what is mounted untouched. Immutable and append-only flags inside the
// tree are cleared where they are in the way. Names that vanish meanwhile count
// as removed.
//
// It stops at the first path that will not go, which the error names, and when
// ctx ends. What is gone by then stays gone, and a later call goes on. It holds
// a bounded number of descriptors however deep the tree is. Nothing is synced.
func RemoveTree(ctx context.Context, parent *os.File, name string) error {
	if err := checkName("remove", parent, name); err != nil {
		return err
	}
	r := remover{parent: parent}
	defer r.close()
	err := r.remove(name)
	for err == nil && len(r.way) > 0 {
		if err = ctx.Err(); err != nil {
			return r.fail("", err)
		}
		err = r.step()
	}
	return err
}

// remover is a removal under way: an explicit stack instead of recursion.
type remover struct {
	parent *os.File  // holds the top of the tree; borrowed
	way    []*branch // from the top of the tree down to where we are
}

// branch is a directory between the top and where we are.
type branch struct {
	name  string
	id    Identity
	dir   *os.File // nil while closed to bound the number of descriptors
	names []string // read and still to be removed
	found bool     // this reading of the directory has found names
}

// dir is the directory where we are.
func (r *remover) dir() *os.File {
	if len(r.way) == 0 {
		return r.parent
	}
	return r.way[len(r.way)-1].dir
}

// step removes one more entry of the directory where we are, or the directory
// itself when none is left.
func (r *remover) step() error {
	name, err := r.way[len(r.way)-1].next()
	if errors.Is(err, io.EOF) {
		return r.leave()
	}
	if err != nil {
		return r.fail("", err)
	}
	return r.remove(name)
}

// next returns a name that was still in the directory when it was read, or
// io.EOF.
func (b *branch) next() (string, error) {
	if len(b.names) == 0 {
		names, err := b.dir.Readdirnames(removeBatch)
		if errors.Is(err, fs.ErrNotExist) {
			return "", io.EOF // somebody else has removed the directory
		}
		if err != nil {
			return "", err
		}
		b.names, b.found = names, true
	}
	name := b.names[0]
	b.names = b.names[1:]
	return name, nil
}

// remove unlinks the entry name where we are, or enters it.
func (r *remover) remove(name string) error {
	err := r.unlink(name, 0)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EISDIR):
		return r.enter(name)
	default:
		return r.fail(name, err)
	}
}

// unlink removes one entry, clearing the inode flags that forbid it.
func (r *remover) unlink(name string, flags int) error {
	err := sys.Unlinkat(r.dir(), name, flags)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	// The parent of the tree is not ours to change.
	if len(r.way) > 0 {
		if _, err := sys.UnlockFile(r.dir()); err != nil {
			return err
		}
	}
	if _, err := sys.Unlock(r.dir(), name); err != nil {
		return err
	}
	return sys.Unlinkat(r.dir(), name, flags)
}

// enter makes the directory name the one where we are.
func (r *remover) enter(name string) error {
	dir, id, err := r.open(name, resolveBeneath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return r.fail(name, err)
	}
	r.way = append(r.way, &branch{name: name, id: id, dir: dir})
	if far := len(r.way) - 1 - removeOpen; far >= 0 {
		r.way[far].close()
	}
	return nil
}

// leave removes the directory where we are, which had no names left, and goes
// back to the one above. When names have come since, it reads them again.
func (r *remover) leave() error {
	here := r.way[len(r.way)-1]
	if err := r.reopenAbove(); err != nil {
		return r.fail("", err)
	}
	r.way = r.way[:len(r.way)-1]
	err := r.unlink(here.name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOTEMPTY) && here.found {
		r.way = append(r.way, here)
		here.found = false
		if _, err := here.dir.Seek(0, io.SeekStart); err != nil {
			return r.fail("", err)
		}
		return nil
	}
	here.close()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r.fail(here.name, err)
	}
	return nil
}

// reopenAbove opens the directory above where we are, if it was closed. The
// way there is "..", so it counts only if it is the directory we came from.
func (r *remover) reopenAbove() error {
	if len(r.way) < 2 || r.way[len(r.way)-2].dir != nil {
		return nil
	}
	above := r.way[len(r.way)-2]
	const resolve = unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS
	dir, id, err := r.open("..", resolve)
	if err != nil {
		return err
	}
	if id != above.id {
		dir.Close()
		return errors.New("it was moved while it was being removed")
	}
	above.dir = dir
	return nil
}

// open opens for reading a directory next to where we are. Its name for messages
// stays short, lest a deep tree cost the square of its depth.
func (r *remover) open(name string, resolve uint64) (*os.File, Identity, error) {
	fd, err := sys.Openat2FD(r.dir(), name, unix.O_RDONLY|unix.O_DIRECTORY, resolve)
	if err != nil {
		return nil, Identity{}, err
	}
	dir := os.NewFile(uintptr(fd), name)
	id, err := Identify(dir)
	if err != nil {
		dir.Close()
		return nil, Identity{}, err
	}
	return dir, id, nil
}

// fail wraps err with the path of the entry name where we are, or of the
// directory where we are when name is empty.
func (r *remover) fail(name string, err error) error {
	path := []string{r.parent.Name()}
	for _, b := range r.way {
		path = append(path, b.name)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: %w", ErrMounted, err)
	}
	return &fs.PathError{Op: "remove", Path: filepath.Join(append(path, name)...), Err: err}
}

// close closes all that the removal holds open.
func (r *remover) close() {
	for _, b := range r.way {
		b.close()
	}
}

func (b *branch) close() {
	if b.dir != nil {
		b.dir.Close()
		b.dir = nil
	}
}
