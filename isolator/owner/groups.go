package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxGroups is the kernel's limit of supplementary groups, credentials(7).
const maxGroups = 65536

// Groups are the supplementary groups of a task that is to start: those that it has anyway,
// and the shared ones of its volumes, each once and in ascending order, as setgroups(2)
// (syscall.Credential.Groups) takes them.
func Groups(have []uint32, shared ...uint32) ([]uint32, error) {
	all := slices.Concat(have, shared)
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxGroups {
		return nil, fmt.Errorf("%d supplementary groups are more than %d: %w", len(all), maxGroups, unix.EINVAL)
	}
	return all, nil
}

// Member says whether a running process is in a group: as one of its own or a supplementary
// one, by the numbers of the caller's user namespace. Nobody can add it to one. The error is
// ESRCH when the process has ended.
func Member(pid int, gid uint32) (bool, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false, fmt.Errorf("groups of process %d: %w", pid, unix.ESRCH)
	}
	if err != nil {
		return false, err
	}
	return isMember(string(text), gid), nil
}

// isMember looks into a text as proc_pid_status(5) describes it. A process acts with the
// last id of "Gid", that for files.
func isMember(status string, gid uint32) bool {
	want := strconv.FormatUint(uint64(gid), 10)
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		ids := strings.Fields(value)
		switch {
		case name == "Gid" && len(ids) > 0 && ids[len(ids)-1] == want:
			return true
		case name == "Groups":
			return slices.Contains(ids, want)
		}
	}
	return false
}
