package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

// The bits of a mode for one class of users (inode(7)).
const (
	maySearch = 1
	mayWrite  = 2
	mayRead   = 4
)

// closedTo says of each volume whose directory is closed to the command's user that it is, and
// what opens it; mounts are those of the attachments. What only an access control list says, or
// cannot be looked at, is taken for open.
func closedTo(as identity, attachments []wire.Attachment, mounts []*os.File) (lines []string) {
	if as.User == nil || as.User.UID == 0 {
		return nil
	}
	for i, f := range mounts {
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) != nil || hasACL(f) {
			continue
		}
		a := attachments[i]
		bits := as.bitsOf(st)
		what := ""
		switch {
		case bits&maySearch == 0:
			what = "enter"
		case a.Mode != resource.RO && bits&mayWrite == 0:
			what = "make files at the top of"
		case bits&mayRead == 0:
			what = "list"
		default:
			continue
		}
		lines = append(lines, fmt.Sprintf("%s may not %s volume %s: there it belongs to %d:%d, mode %#o; --idmap user shows it as that user's own, "+
			"and so do --uid and --gid of tenon volume create", as.who(), what, clean(a.Volume), st.Uid, st.Gid, st.Mode&0o7777))
	}
	return lines
}

// bitsOf is what the identity may do with a file as its mode says.
func (id identity) bitsOf(st unix.Stat_t) uint32 {
	switch {
	case st.Uid == id.User.UID:
		return st.Mode >> 6 & 7
	case st.Gid == id.User.GID, slices.Contains(id.Own, st.Gid), slices.Contains(id.Groups, st.Gid):
		return st.Mode >> 3 & 7
	}
	return st.Mode & 7
}

// hasACL says whether more than the mode may say who can use a directory (acl(5)).
func hasACL(f *os.File) bool {
	_, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), "system.posix_acl_access", nil)
	return err == nil || !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP)
}
