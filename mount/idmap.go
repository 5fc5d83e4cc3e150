package mount

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// ErrNoIDMap is the cause when files cannot be shown as those of somebody else: the
// filesystem does not know how (ext4 and XFS do since Linux 5.12, btrfs since 5.15, tmpfs
// since 6.3), or its mount shows them as somebody else's already.
var ErrNoIDMap = errors.New("no idmapped mount can be made of it")

// maxIDRanges is how many ranges the kernel takes, user_namespaces(7).
const maxIDRanges = 340

// IDRange says as whose a row of ids appears: those of the filesystem from Disk on as those
// from Seen on, and what is made by these is kept as of those. Seen is an id of the host: that
// of root in a task's own user namespace is the one that it is mapped to.
type IDRange struct {
	Disk, Seen, Count uint32
}

// UserNamespace makes a user namespace that stands for a map of user ids and one of group
// ids, for Attributes.IDMap. No process is in it or ever will be. It costs a millisecond or two and
// lasts as long as the file or a mount that was made with it, so keep one for each map.
//
// Files of a user or group that the map lacks appear as those of the overflow ids (65534),
// and a process whose id the map lacks can make none (EOVERFLOW). To show a volume as a
// task's own, map the owner of its data directory to the task's user, and likewise the group:
// one range of Count 1 each.
//
// It needs CAP_SETUID and CAP_SETGID, and CAP_SETFCAP to show anything as root's. Linux 5.12;
// user_namespaces(7), mount_setattr(2).
func UserNamespace(uids, gids []IDRange) (*os.File, error) {
	us, err := idMap(uids)
	if err != nil {
		return nil, fmt.Errorf("map of user ids: %w", err)
	}
	gs, err := idMap(gids)
	if err != nil {
		return nil, fmt.Errorf("map of group ids: %w", err)
	}
	f, err := makeUserNamespace(us, gs)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("this needs CAP_SETUID and CAP_SETGID, and CAP_SETFCAP for what root is to own: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	return f, nil
}

// makeUserNamespace starts a process in a new user namespace, takes hold of the namespace,
// and ends the process before it has run one instruction.
//
// The kernel makes such a namespace for a new process or a single thread only, and the agent
// has many threads; a copy of it that goes on without execve(2) cannot be relied on in Go, and
// a program to execute needs a way to be told what to do. So the process traces itself, as
// SysProcAttr.Ptrace asks: the kernel stops it at the end of its execve, in whatever program,
// and there it is killed. It never runs, so it needs no protocol and no argument that users
// could meet, and it cannot be left behind: it dies with the thread that started it.
func makeUserNamespace(uids, gids []syscall.SysProcIDMap) (*os.File, error) {
	// Tracing, and the signal at the parent's death, are the thread's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const self = "/proc/self/exe"
	pid, err := syscall.ForkExec(self, []string{self}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: uids,
		GidMappings: gids,
		Ptrace:      true,
		Pdeathsig:   syscall.SIGKILL,
	}})
	if err != nil {
		return nil, err
	}
	ns, err := sys.Open("/proc/"+strconv.Itoa(pid)+"/ns/user", unix.O_RDONLY)
	if ended := end(pid); ended != nil && err == nil {
		ns.Close()
		err = ended
	}
	return ns, err
}

// end kills a child and waits until it is gone.
func end(pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return os.NewSyscallError("kill", err)
	}
	for {
		var status unix.WaitStatus
		err := sys.Retry(func() error {
			_, err := unix.Wait4(pid, &status, 0, nil)
			return err
		})
		if err != nil {
			return os.NewSyscallError("wait4", err)
		}
		if !status.Stopped() { // a traced process tells that too
			return nil
		}
	}
}

// idMap checks a map, since the kernel calls every mistake "invalid argument", and turns it
// into the kernel's words: what is inside the namespace is what is on disk.
func idMap(ranges []IDRange) ([]syscall.SysProcIDMap, error) {
	if len(ranges) == 0 || len(ranges) > maxIDRanges {
		return nil, fmt.Errorf("%d ranges; a map has from 1 to %d: %w", len(ranges), maxIDRanges, unix.EINVAL)
	}
	if err := checkRanges(ranges, "on disk", func(r IDRange) uint32 { return r.Disk }); err != nil {
		return nil, err
	}
	if err := checkRanges(ranges, "seen", func(r IDRange) uint32 { return r.Seen }); err != nil {
		return nil, err
	}
	ids := make([]syscall.SysProcIDMap, 0, len(ranges))
	for _, r := range ranges {
		ids = append(ids, syscall.SysProcIDMap{ContainerID: int(r.Disk), HostID: int(r.Seen), Size: int(r.Count)})
	}
	return ids, nil
}

// checkRanges refuses ranges that are empty, reach the id that means "none" (2^32-1), or
// have an id in common, on the side that first is the beginning of.
func checkRanges(ranges []IDRange, side string, first func(IDRange) uint32) error {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b IDRange) int { return cmp.Compare(first(a), first(b)) })
	var next uint64
	for _, r := range sorted {
		begin := uint64(first(r))
		end := begin + uint64(r.Count)
		switch {
		case r.Count == 0:
			return fmt.Errorf("the range from %d %s is empty: %w", begin, side, unix.EINVAL)
		case end > 1<<32-1:
			return fmt.Errorf("the range from %d %s has ids above %d: %w", begin, side, uint64(1<<32-2), unix.EINVAL)
		case begin < next:
			return fmt.Errorf("id %d %s is in two ranges: %w", begin, side, unix.EINVAL)
		}
		next = end
	}
	return nil
}
