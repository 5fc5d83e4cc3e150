package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// ErrNotOurs says that Make has not made what lies at the place of a sandbox.
var ErrNotOurs = errors.New("what lies there is somebody else's and is left alone")

// Mark is what Make writes to a directory that it makes, as an extended attribute
// (xattr(7)): only a directory with the mark of its own name is ever removed. It goes
// with the directory into the same transaction of the filesystem or an earlier one than
// whatever is put inside, so that a power cut leaves nothing but an empty directory
// without its mark.
type Mark struct {
	Task string
	Boot string // of the kernel that ran when the sandbox was made
}

// The attribute of a mark, and one that nobody has. The first namespace is root's alone;
// in a user namespace, and where the filesystem does not have it, there is the second,
// which whoever owns a directory can write.
const (
	trustedMark = "trusted.tenon.task"
	userMark    = "user.tenon.task"
	trustedNone = "trusted.tenon.none"
)

// markName finds the attribute that this process may write beneath root. To remove what
// is not there is ENODATA exactly where it could be.
func markName(root *os.File) (string, error) {
	dir, err := openDir(root, ".")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	err = mount.Retry(func() error { return unix.Fremovexattr(int(dir.Fd()), trustedNone) })
	if errors.Is(err, unix.ENODATA) {
		return trustedMark, nil
	}
	return userMark, nil
}

// write marks an open directory.
func (r *Root) write(dir *os.File, m Mark) error {
	value := []byte(m.Boot + "/" + m.Task) // a task's name has no slash
	err := mount.Retry(func() error { return unix.Fsetxattr(int(dir.Fd()), r.attr, value, 0) })
	runtime.KeepAlive(dir)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("set %s: the filesystem has no extended attributes to mark it with; sandboxes that "+
			"the agent makes need one that has (ext4, XFS, btrfs; tmpfs, for other users than root since Linux 6.6): %w", r.attr, err)
	case err != nil:
		return fmt.Errorf("set %s: %w", r.attr, err)
	}
	return nil
}

// read gives the mark of an open directory; one that has none, or what Make does not
// write, is the zero Mark.
func (r *Root) read(dir *os.File) (Mark, error) {
	buf := make([]byte, 512)
	var n int
	err := mount.Retry(func() (err error) {
		n, err = unix.Fgetxattr(int(dir.Fd()), r.attr, buf)
		return err
	})
	runtime.KeepAlive(dir)
	for _, none := range []error{unix.ENODATA, unix.EOPNOTSUPP, unix.ERANGE} {
		if errors.Is(err, none) {
			return Mark{}, nil
		}
	}
	if err != nil {
		return Mark{}, &fs.PathError{Op: "get " + r.attr, Path: dir.Name(), Err: err}
	}
	value := string(buf[:n])
	at := strings.LastIndexByte(value, '/')
	if at < 0 {
		return Mark{}, nil
	}
	return Mark{Boot: value[:at], Task: value[at+1:]}, nil
}

// judge says whether a directory that was there before is marked as the task's. It fails
// with ErrNotOurs unless it is, or is what a crash has left of Make before the mark: an
// empty directory of root's, or of the user that the sandbox is for.
func (r *Root) judge(dir *os.File, task string, uid int) (marked bool, err error) {
	m, err := r.read(dir)
	switch {
	case err != nil || m.Task == task:
		return err == nil, err
	case m.Task != "":
		return false, fmt.Errorf("%w: it is the sandbox of task %q", ErrNotOurs, m.Task)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return false, &fs.PathError{Op: "fstat", Path: dir.Name(), Err: err}
	}
	if st.Uid != 0 && int(st.Uid) != uid {
		return false, fmt.Errorf("%w: a directory of user %d without the agent's mark", ErrNotOurs, st.Uid)
	}
	names, err := dir.Readdirnames(1)
	if err == nil {
		return false, fmt.Errorf("%w: a directory without the agent's mark that has %q inside", ErrNotOurs, names[0])
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return false, err
}

// openPlace opens the directory of a task. A symlink or a file is ErrNotOurs.
func (r *Root) openPlace(task string) (*os.File, error) {
	dir, err := openDir(r.dir, task)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	return dir, err
}

// Made says whether the sandbox of a task is there: a directory that has its mark.
// Anything else in its place is none, but what is mounted over it is mount.ErrMounted.
func (r *Root) Made(task string) (bool, error) {
	err := checkTask(task)
	var m Mark
	if err == nil {
		m, err = r.look(task)
	}
	if err != nil {
		return false, fmt.Errorf("look for sandbox %q in %s: %w", task, r.path, err)
	}
	return m.Task == task, nil
}

// look reads the mark of the entry name of the root, if it is a directory.
func (r *Root) look(name string) (Mark, error) {
	dir, err := openDir(r.dir, name)
	if gone(err) {
		return Mark{}, nil
	}
	if err != nil {
		return Mark{}, err
	}
	defer dir.Close()
	return r.read(dir)
}

// Own lists the sandboxes directly in the root that Make has made, by name. It reads the
// whole directory: it is for the start. What is beneath a mount, or was renamed since,
// is not listed. An error comes with all that could be read.
func (r *Root) Own() ([]Mark, error) {
	names, err := r.names()
	errs := []error{err}
	var own []Mark
	for _, name := range names {
		m, err := r.look(name)
		if err != nil && !errors.Is(err, mount.ErrMounted) {
			errs = append(errs, err)
		}
		if m.Task == name {
			own = append(own, m)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return own, fmt.Errorf("list sandboxes in %s: %w", r.path, err)
	}
	return own, nil
}

// names are those of everything in the root, sorted.
func (r *Root) names() ([]string, error) {
	dir, err := openDir(r.dir, ".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
