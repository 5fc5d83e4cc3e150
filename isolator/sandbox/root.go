// Package sandbox is the directory that a task works in, and the mount points in
// it at which its volumes appear (design.md 8 and 9, spec.md 5).
//
// It makes and removes directories and looks at what lies at a path. It mounts no
// volume, knows no volume, and does not judge container paths beyond their form:
// that is the agent's.
//
// Invariants:
//
//   - A sandbox may be written by a hostile task at any instant. Every path is
//     resolved by descriptor beneath it, through no symlink and no mount; what was
//     resolved is used by descriptor; what was mounted is verified afterwards.
//   - Sandboxes lie on a private mount of their own, so that nothing mounted in
//     them propagates, and no directory of one can be renamed to the outside; but for
//     those of OpenShared, which are made to be seen elsewhere.
//   - Nothing mounted is ever removed with a sandbox, and no directory that was not
//     made here: each has a Mark.
//
// Nothing is synced: sandboxes and mount points are void after a power cut, and Own
// lists what it has left of them.
// Functions are safe for concurrent use, but for Close and Unmount.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

const (
	rootMode = 0o711 // a task of any user walks through, and sees no other's name
	taskMode = 0o750 // spec.md 4.6
)

// Root is a directory in which sandboxes may lie.
type Root struct {
	path string
	dir  *os.File // O_PATH, the root of its own mount unless it is shared
	attr string   // name of the attribute that marks sandboxes
}

// OpenRoot opens the allowed sandbox root at path, which is trusted. A missing one
// is made, with mode 0711; an existing one keeps its mode. The root becomes a private
// mount of its own (mount.SelfMount), unless it is one already.
func OpenRoot(path string) (*Root, error) {
	if err := makeRoot(path); err != nil {
		return nil, fmt.Errorf("make sandbox root: %w", err)
	}
	dir, err := mount.SelfMount(path)
	if err != nil {
		return nil, fmt.Errorf("mount sandbox root %s: %w", path, err)
	}
	return rootAt(path, dir)
}

// rootAt takes over the open directory of a root.
func rootAt(path string, dir *os.File) (*Root, error) {
	attr, err := markName(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look into sandbox root: %w", err), dir.Close())
	}
	return &Root{path: path, dir: dir, attr: attr}, nil
}

// OpenShared opens the allowed sandbox root at path, which is trusted, and leaves it
// mounted as it is: what is attached beneath it propagates to wherever its mount does, and
// what others have mounted there stays in sight. It is for directories of another program
// that makes the sandboxes and starts the tasks (the kubelet's, say). A missing one is made.
func OpenShared(path string) (*Root, error) {
	if err := makeRoot(path); err != nil {
		return nil, fmt.Errorf("make sandbox root: %w", err)
	}
	dir, err := mount.OpenDir(path)
	if err != nil {
		return nil, fmt.Errorf("open sandbox root: %w", err)
	}
	return rootAt(path, dir)
}

// OpenToLook opens a root of either kind as it is, to look at what is beneath it. A missing
// one is fs.ErrNotExist.
func OpenToLook(path string) (*Root, error) {
	dir, err := mount.OpenDir(path)
	if err != nil {
		return nil, fmt.Errorf("open sandbox root: %w", err)
	}
	return rootAt(path, dir)
}

// makeRoot makes the directory and, with mode 0755, what is missing above it.
func makeRoot(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(path, rootMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, rootMode) // whatever the umask
}

// Path is the path that the root was opened by.
func (r *Root) Path() string { return r.path }

// Close lets go of the root, which stays mounted with all that is in it.
func (r *Root) Close() error { return r.dir.Close() }

// Unmount closes the root and undoes what OpenRoot has mounted. It fails with a
// *mount.BusyError while anything in it is in use or mounted.
func (r *Root) Unmount() error {
	return errors.Join(r.Close(), mount.SelfUnmount(r.path))
}

// Make makes the sandbox of a task, <root>/<task>, with mode 0750, the given owner and
// its mark, or gives these to one that it has made before. task is one name, boot the
// kernel's. Anything else that lies there is ErrNotOurs and stays as it is, but for an
// empty directory of root's or of that owner's: a Make that was interrupted leaves one.
//
// Crash: nothing, an empty directory without its mark, or one with it; Make goes on. A
// power cut may also take back all of it.
func (r *Root) Make(task, boot string, uid, gid int) error {
	if err := r.make(Mark{Task: task, Boot: boot}, uid, gid); err != nil {
		return fmt.Errorf("make sandbox %q in %s: %w", task, r.path, err)
	}
	return nil
}

func (r *Root) make(m Mark, uid, gid int) error {
	if err := checkTask(m.Task); err != nil {
		return err
	}
	if uid < 0 || gid < 0 { // chown(2) would leave them as they are
		return fmt.Errorf("%d:%d is not a user and a group: %w", uid, gid, unix.EINVAL)
	}
	made, err := makeDir(r.dir, m.Task)
	if err != nil {
		return err
	}
	dir, err := r.openPlace(m.Task)
	if err != nil {
		return err
	}
	defer dir.Close()
	if !made {
		if _, err := r.judge(dir, m.Task, uid); err != nil {
			return err
		}
	}
	// The mark is last: what has it has its owner and mode, too.
	err = errors.Join(dir.Chown(uid, gid), dir.Chmod(taskMode))
	if err == nil {
		err = r.write(dir, m)
	}
	if err != nil && made {
		err = errors.Join(err, removeDir(r.dir, m.Task))
	}
	return err
}

// Open opens an existing sandbox. task is the name of one that Make made, or the
// clean relative path of a launcher's own beneath the root. A symlink or a file there, or on
// the way, is ErrNotDirectory, and a mount mount.ErrMounted.
func (r *Root) Open(task string) (*Sandbox, error) {
	if err := checkPath(task); err != nil {
		return nil, fmt.Errorf("open sandbox in %s: %w", r.path, err)
	}
	dir, err := mount.OpenBeneath(r.dir, task)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("%w: %w", ErrNotDirectory, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	return &Sandbox{dir: dir}, nil
}

// Remove removes the sandbox of a task with all that is in it, if it is there. What
// Make has not made is ErrNotOurs and stays. While anything is mounted inside it removes
// nothing and fails with mount.ErrMounted and the path. ctx ends it between two files;
// another Remove goes on.
//
// Crash: any part of it, with its mark, which goes last; Remove goes on.
//
// It looks for mounts first, down to 64 levels. One that is deeper, or that comes
// while it removes, is left as it is all the same, but stops it half way.
func (r *Root) Remove(ctx context.Context, task string) error {
	if err := r.remove(ctx, task); err != nil {
		return fmt.Errorf("remove sandbox %q in %s: %w", task, r.path, err)
	}
	return nil
}

func (r *Root) remove(ctx context.Context, task string) error {
	if err := checkTask(task); err != nil {
		return err
	}
	dir, err := r.openPlace(task)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	marked, err := r.judge(dir, task, 0)
	if err != nil {
		return err
	}
	if !marked {
		return removeDir(r.dir, task)
	}
	if err := checkUnmounted(ctx, r.dir, task, maxDepth); err != nil {
		return err
	}
	return mount.RemoveTree(ctx, r.dir, task)
}

// checkTask accepts one name; checkPath a path of several.
func checkTask(task string) error {
	if strings.Contains(task, "/") {
		return fmt.Errorf("%q is more than one name: %w", task, unix.EINVAL)
	}
	return checkPath(task)
}

func checkPath(path string) error {
	if !fs.ValidPath(path) || path == "." || strings.Contains(path, "\x00") {
		return fmt.Errorf("%q is not a clean relative path: %w", path, unix.EINVAL)
	}
	return nil
}
