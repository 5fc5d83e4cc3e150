package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

const (
	// maxUsers is how many users of a busy mount are named.
	maxUsers = 16
	// maxLooks is how many links of /proc are looked at to find them; some
	// 2 µs each.
	maxLooks = 200_000
)

// User is a process that keeps a mount busy.
type User struct {
	PID     int
	Command string // the kernel's short name of it
}

// String names the process for messages.
func (u User) String() string { return fmt.Sprintf("%d (%s)", u.PID, u.Command) }

// BusyError says that a mount is in use and by what, as far as that could be
// seen: a bounded number is named, and users inside the kernel (a loop device,
// a swap file) never are. It is unix.EBUSY to errors.Is.
type BusyError struct {
	Op     string   // what was tried: "detach", "remount", "unmount"
	Path   string   // where
	Users  []User   // processes with a directory, file, program or mapping on it
	Mounts []string // what is mounted beneath it
}

// Error is one sentence that names what uses the mount.
func (e *BusyError) Error() string {
	var by []string
	for _, u := range e.Users {
		by = append(by, "process "+u.String())
	}
	for _, m := range e.Mounts {
		by = append(by, "mount "+m)
	}
	if len(by) == 0 {
		by = append(by, "nobody who can be seen")
	}
	return fmt.Sprintf("%s %s: in use by %s", e.Op, e.Path, strings.Join(by, ", "))
}

// Unwrap makes it EBUSY.
func (e *BusyError) Unwrap() error { return unix.EBUSY }

// busy turns EBUSY of an operation on parent/name into a *BusyError that names
// the users of the mount there, and leaves other errors alone.
func busy(op string, parent *os.File, name string, err error) error {
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	b := &BusyError{Op: op, Path: sys.Join(parent, name)}
	st, err := sys.StatxAt(parent, name)
	if err != nil {
		return errors.Join(b, err)
	}
	b.Users = findUsers(st.MountID)
	b.Mounts = mountsBeneath(st.MountID)
	return b
}

// mountsBeneath lists where the children of a mount are mounted.
func mountsBeneath(id uint64) []string {
	table, err := Table()
	if err != nil {
		return nil // the caller reports EBUSY, with what is known
	}
	var points []string
	for _, m := range table {
		if m.ParentID == id && m.ID != id && len(points) < maxUsers {
			points = append(points, m.Point)
		}
	}
	return points
}

// findUsers looks for the processes that hold something on a mount.
func findUsers(id uint64) []User {
	processes, err := readNames("/proc")
	if err != nil {
		return nil // as above
	}
	s := scan{mount: id, left: maxLooks}
	var users []User
	for _, name := range processes {
		pid, err := strconv.Atoi(name)
		if err != nil || !s.uses(filepath.Join("/proc", name)) {
			continue
		}
		users = append(users, User{PID: pid, Command: command(name)})
		if len(users) == maxUsers {
			break
		}
	}
	return users
}

// scan is a search of /proc for holders of a mount.
type scan struct {
	mount uint64
	left  int // looks that may still be taken
}

// uses reports whether the process with the given directory in /proc holds
// something on the mount. A process that ends meanwhile does not.
func (s *scan) uses(proc string) bool {
	for _, link := range []string{"cwd", "root", "exe"} {
		if s.on(filepath.Join(proc, link)) {
			return true
		}
	}
	for _, links := range []string{"fd", "map_files"} {
		dir := filepath.Join(proc, links)
		names, err := readNames(dir)
		if err != nil {
			continue
		}
		for _, name := range names {
			if s.on(filepath.Join(dir, name)) {
				return true
			}
		}
	}
	return false
}

// on reports whether a link of /proc leads to the mount.
func (s *scan) on(link string) bool {
	if s.left == 0 {
		return false
	}
	s.left--
	id, err := sys.MountOf(link)
	return err == nil && id == s.mount
}

// command is the short name of a process, or empty when it has ended.
func command(pid string) string {
	name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(name), "\n")
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
