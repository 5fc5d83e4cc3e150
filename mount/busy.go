package mount

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

const (
	// maxUsers is how many users of a busy mount are named.
	maxUsers = 16
	// maxFiles is how many files of each are named.
	maxFiles = 4
	// maxLooks is how many links of /proc are looked at to find them; some
	// 2 µs each.
	maxLooks = 200_000
)

// opRemount is the BusyError.Op for which only writers are in the way.
const opRemount = "remount"

// User is a process that keeps a mount busy.
type User struct {
	PID     int
	Command string // the kernel's short name of it

	// Files are what it has open for writing there, a bounded number of them, by their
	// paths in its own mount namespace. It is for "remount" alone.
	Files []string
}

// String names the process for messages.
func (u User) String() string { return namesOf([]User{u}) }

// namesOf names processes that have the same files open, and these files once.
func namesOf(users []User) string {
	var names []string
	for _, u := range users {
		names = append(names, fmt.Sprintf("%d (%s)", u.PID, u.Command))
	}
	s := strings.Join(names, ", ")
	if files := users[0].Files; len(files) > 0 {
		s += " with " + strings.Join(files, ", ") + " open for writing"
	}
	return s
}

// byFiles puts those together that have the same files open, in the order of the first of each.
func byFiles(users []User) (groups [][]User) {
	for _, u := range users {
		at := slices.IndexFunc(groups, func(g []User) bool { return len(u.Files) > 0 && slices.Equal(g[0].Files, u.Files) })
		if at < 0 {
			groups = append(groups, []User{u})
		} else {
			groups[at] = append(groups[at], u)
		}
	}
	return groups
}

// BusyError says that a mount is in use and by what, as far as that could be
// seen: a bounded number is named, and users inside the kernel (a loop device,
// a swap file) never are. It is unix.EBUSY to errors.Is.
type BusyError struct {
	Op   string // what was tried: "detach", "remount", "unmount"
	Path string // where

	// Users are processes with a directory, file, program or mapping on it; for "remount",
	// those that may write to it or to what is mounted beneath it.
	Users  []User
	Mounts []string // what is mounted beneath it; empty for "remount"
}

// Error is one sentence that names what uses the mount.
func (e *BusyError) Error() string {
	var by []string
	for _, group := range byFiles(e.Users) {
		noun := "process "
		if len(group) > 1 {
			noun = "processes "
		}
		by = append(by, noun+namesOf(group))
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
	table, err := Table()
	if err != nil {
		table = nil // EBUSY is told, with what is known
	}
	b.explain(st.MountID, table)
	return b
}

// explain finds out what keeps the mount with the given ID busy. The table is that of the
// namespace where the mount is; processes are looked for in the agent's /proc, whatever
// namespace they are in.
func (b *BusyError) explain(id uint64, table []Info) {
	s := scan{mounts: map[uint64]bool{id: true}, left: maxLooks}
	if b.Op == opRemount {
		// All that is mounted beneath was to become read-only too.
		s.writers = true
		s.addBeneath(table)
	} else {
		b.Mounts = mountsBeneath(id, table)
	}
	b.Users = s.users()
}

// mountsBeneath lists where the children of a mount are mounted.
func mountsBeneath(id uint64, table []Info) []string {
	var points []string
	for _, m := range table {
		if m.ParentID == id && m.ID != id && len(points) < maxUsers {
			points = append(points, m.Point)
		}
	}
	return points
}

// scan is a search of /proc for those who hold something on one of some mounts.
type scan struct {
	mounts  map[uint64]bool
	writers bool // only what is open for writing counts
	left    int  // looks that may still be taken
}

// addBeneath adds to the mounts all that are beneath them.
func (s *scan) addBeneath(table []Info) {
	for found := true; found; {
		found = false
		for _, m := range table {
			if s.mounts[m.ParentID] && !s.mounts[m.ID] {
				s.mounts[m.ID], found = true, true
			}
		}
	}
}

// users are the processes that hold something on the mounts.
func (s *scan) users() []User {
	processes, err := readNames("/proc")
	if err != nil {
		return nil // as above
	}
	var users []User
	for _, name := range processes {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		uses, files := s.process(filepath.Join("/proc", name))
		if !uses {
			continue
		}
		users = append(users, User{PID: pid, Command: command(name), Files: files})
		if len(users) == maxUsers {
			break
		}
	}
	return users
}

// process looks at one by its directory in /proc; one that ends meanwhile holds nothing.
func (s *scan) process(proc string) (uses bool, files []string) {
	if s.writers {
		files = s.writes(proc)
		return len(files) > 0, files
	}
	return s.uses(proc), nil
}

// uses reports whether a process holds anything on the mounts.
func (s *scan) uses(proc string) bool {
	for _, link := range []string{"cwd", "root", "exe"} {
		if s.on(filepath.Join(proc, link)) {
			return true
		}
	}
	for link := range openLinks(proc) {
		if s.on(link) {
			return true
		}
	}
	return false
}

// writes lists files on the mounts that a process may write to: by a descriptor or by a
// mapping, which keeps the mount busy after the descriptor was closed.
func (s *scan) writes(proc string) (files []string) {
	for link := range openLinks(proc) {
		if !s.on(link) || !opensForWriting(link) {
			continue
		}
		file, err := os.Readlink(link)
		if err == nil && !slices.Contains(files, file) {
			files = append(files, file)
		}
		if len(files) == maxFiles {
			break
		}
	}
	return files
}

// openLinks are the links of /proc to all files that a process has open or mapped.
func openLinks(proc string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, links := range []string{"fd", "map_files"} {
			dir := filepath.Join(proc, links)
			names, err := readNames(dir)
			if err != nil {
				continue
			}
			for _, name := range names {
				if !yield(filepath.Join(dir, name)) {
					return
				}
			}
		}
	}
}

// opensForWriting reports whether the file behind a link of openLinks can be written to by
// it. The permissions of a link to a descriptor say so (fs/proc/fd.c). Those of a link to a
// mapping may be of one that had the same addresses before.
func opensForWriting(link string) bool {
	dir, name := filepath.Split(link)
	if filepath.Base(dir) == "map_files" {
		return mapsForWriting(filepath.Join(dir, "../maps"), name)
	}
	st, err := os.Lstat(link)
	return err == nil && st.Mode().Perm()&0o200 != 0
}

// mapsForWriting reports whether the mapping at the given addresses is shared and can be
// written to, by a file as proc_pid_maps(5) describes it.
func mapsForWriting(maps, addresses string) bool {
	text, err := os.ReadFile(maps)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		at, rest, _ := strings.Cut(line, " ")
		perms, _, _ := strings.Cut(rest, " ")
		if len(perms) == 4 && perms[1] == 'w' && perms[3] == 's' && unpadded(at) == addresses {
			return true
		}
	}
	return false
}

// unpadded is "start-end" without the zeros by which maps differs from map_files.
func unpadded(addresses string) string {
	start, end, _ := strings.Cut(addresses, "-")
	return strings.TrimLeft(start, "0") + "-" + strings.TrimLeft(end, "0")
}

// on reports whether a link of /proc leads to one of the mounts.
func (s *scan) on(link string) bool {
	if s.left == 0 {
		return false
	}
	s.left--
	id, err := sys.MountOf(link)
	return err == nil && s.mounts[id]
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
