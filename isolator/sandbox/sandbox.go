package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// The reasons for which a path cannot be a mount point. A mount on the way is
// mount.ErrMounted.
var (
	ErrNotDirectory = errors.New("a symlink or a file lies there")
	ErrNotEmpty     = errors.New("a directory lies there that is not empty")
)

// ErrMoved says that a path does not lead where it did: a directory on it was renamed
// since, or again and again while the path was looked up.
var ErrMoved = errors.New("the path leads elsewhere by now")

// Sandbox is an open sandbox.
type Sandbox struct {
	dir *os.File // O_PATH
}

// Close lets go of the sandbox. Points made of it can no longer be verified.
func (s *Sandbox) Close() error { return s.dir.Close() }

// Point is a prepared mount point. Its files are its own; Close closes them.
type Point struct {
	// Parent and Name are where to detach (mount.Detach) and to look (mount.At).
	// They stay right when a directory above is renamed.
	Parent *os.File
	Name   string

	// Target is the empty directory to attach to (mount.Tree.Attach), the very one
	// that was found empty. It is nil when something is mounted there already.
	Target *os.File

	// Found is what lies there. Found.Mounted is for the caller to compare with
	// the volume, by Found.Identity.
	Found mount.Point

	sandbox *Sandbox
	path    string
}

// Close closes the point's files. Nothing is unmounted.
func (p *Point) Close() error {
	err := p.Parent.Close()
	if p.Target != nil {
		err = errors.Join(err, p.Target.Close())
	}
	return err
}

// Verify looks up the path from the sandbox on, as a task would, and fails with
// ErrMoved unless it leads to a mount of the directory want. Call it after Attach: the
// task may have renamed a directory on the way since Prepare. What was attached is
// then to be detached again. After nil p.Found is that mount.
func (p *Point) Verify(want mount.Identity) error {
	found, err := p.sandbox.Find(p.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	if !found.Mounted || found.Identity != want {
		return fmt.Errorf("%s in sandbox %s: %w", p.path, p.sandbox.dir.Name(), ErrMoved)
	}
	p.Found = found
	return nil
}

// Prepare makes the mount point for the container path: the directories missing on the
// way and the last one, root's with mode 0755 (less the umask). Directories on the
// way that exist are left as they are; the last must be empty or a mount.
//
// A path that is not clean and relative is EINVAL; otherwise see the errors above.
// After an error, directories made so far stay until Clear or the sandbox's end.
func (s *Sandbox) Prepare(containerPath string) (*Point, error) {
	if err := checkPath(containerPath); err != nil {
		return nil, s.fail("prepare", containerPath, err)
	}
	var p *Point
	err := steady(func() (err error) {
		p, err = s.prepare(containerPath)
		return err
	})
	return p, s.fail("prepare", containerPath, err)
}

func (s *Sandbox) prepare(containerPath string) (p *Point, err error) {
	parent, name, err := mount.MkdirBeneath(s.dir, containerPath, 0o755)
	if err != nil {
		return nil, err
	}
	p = &Point{Parent: parent, Name: name, sandbox: s, path: containerPath}
	p.Found, err = mount.At(parent, name)
	if err == nil && !p.Found.Mounted {
		p.Target, err = openEmpty(parent, name)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// openEmpty opens the directory name if nothing is in it.
func openEmpty(parent *os.File, name string) (*os.File, error) {
	dir, err := openDir(parent, name)
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return dir, nil
	}
	if err == nil {
		err = fmt.Errorf("%w: it has %q", ErrNotEmpty, names[0])
	}
	dir.Close()
	return nil, err
}

// Locate is the point at the container path as it is, for a detach: it makes nothing, and
// has no Target. Nothing on the way there is fs.ErrNotExist; see Find for the rest.
func (s *Sandbox) Locate(containerPath string) (*Point, error) {
	if err := checkPath(containerPath); err != nil {
		return nil, s.fail("locate", containerPath, err)
	}
	p := &Point{Name: path.Base(containerPath), sandbox: s, path: containerPath}
	err := steady(func() (err error) {
		if p.Parent, err = mount.OpenBeneath(s.dir, path.Dir(containerPath)); err != nil {
			return err
		}
		if p.Found, err = mount.At(p.Parent, p.Name); err != nil {
			p.Parent.Close()
		}
		return err
	})
	if err != nil {
		return nil, s.fail("locate", containerPath, err)
	}
	return p, nil
}

// Locate is Sandbox.Locate of a path beneath the root, in whichever sandbox that is.
func (r *Root) Locate(path string) (*Point, error) {
	return (&Sandbox{dir: r.dir}).Locate(path)
}

// Find says what lies at the container path now, in a constant number of system calls.
// Nothing there, or nothing on the way there, is no error; a symlink or a file on the
// way is ErrNotDirectory, and a mount on the way mount.ErrMounted.
func (s *Sandbox) Find(containerPath string) (mount.Point, error) {
	if err := checkPath(containerPath); err != nil {
		return mount.Point{}, s.fail("find", containerPath, err)
	}
	var found mount.Point
	err := steady(func() (err error) {
		found, err = s.find(containerPath)
		return err
	})
	return found, s.fail("find", containerPath, err)
}

func (s *Sandbox) find(containerPath string) (mount.Point, error) {
	var found mount.Point
	err := s.in(containerPath, func(parent *os.File, name string) (err error) {
		found, err = mount.At(parent, name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return mount.Point{}, nil
	}
	return found, err
}

// in calls do with the directory that a path lies in, which is the sandbox itself for
// most, and the path's last name.
func (s *Sandbox) in(at string, do func(parent *os.File, name string) error) error {
	above, name := path.Dir(at), path.Base(at)
	if above == "." {
		return do(s.dir, name)
	}
	parent, err := mount.OpenBeneath(s.dir, above)
	if err != nil {
		return err
	}
	defer parent.Close()
	return do(parent, name)
}

// Empty says whether an empty directory lies at the container path: one that Clear would
// remove. Anything else there, or on the way, is none.
func (s *Sandbox) Empty(containerPath string) (bool, error) {
	if err := checkPath(containerPath); err != nil {
		return false, s.fail("look into", containerPath, err)
	}
	err := s.in(containerPath, func(parent *os.File, name string) error {
		dir, err := openEmpty(parent, name)
		if err != nil {
			return err
		}
		return dir.Close()
	})
	if gone(err) || errors.Is(err, ErrNotEmpty) || errors.Is(err, mount.ErrMounted) {
		return false, nil
	}
	return err == nil, s.fail("look into", containerPath, err)
}

// Clear removes the mount point after the detach, and the directories above it in the
// sandbox as long as they are empty. What the task has put there stays, and is no
// error. A mount that is there still is mount.ErrMounted.
func (s *Sandbox) Clear(containerPath string) error {
	if err := checkPath(containerPath); err != nil {
		return s.fail("clear", containerPath, err)
	}
	for at := containerPath; at != "."; at = path.Dir(at) {
		err := steady(func() error { return s.clear(at) })
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil
		}
		if err != nil {
			return s.fail("clear", containerPath, err)
		}
	}
	return nil
}

// clear removes one empty directory, if it is there.
func (s *Sandbox) clear(at string) error {
	err := s.in(at, removeDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// tries bounds how often a look-up begins again.
const tries = 32

// steady repeats do while its error may come from what happens at the same time. That
// is a directory that a Clear of another path has removed, and EXDEV: openat2(2) says
// so not only of a mount, but also when what it has found was renamed to the outside
// of the directory where it began, which the task can do at any instant.
func steady(do func() error) error {
	var err error
	for range tries {
		err = do()
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EXDEV) && !errors.Is(err, mount.ErrMounted) {
			return err
		}
	}
	return err
}

// fail gives an error its kind and says what it is about.
func (s *Sandbox) fail(what, containerPath string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		err = fmt.Errorf("%w: %w", ErrNotDirectory, err)
	case errors.Is(err, unix.EXDEV) && !errors.Is(err, mount.ErrMounted):
		err = fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return fmt.Errorf("%s %q in sandbox %s: %w", what, containerPath, s.dir.Name(), err)
}
