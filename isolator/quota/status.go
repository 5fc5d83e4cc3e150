package quota

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// Enforcement says what becomes of a write beyond a limit.
type Enforcement string

// Hard: the write fails. None: no limit can be set.
const (
	Hard Enforcement = "hard"
	None Enforcement = "none"
)

// Status is what the filesystem of a directory does about limits, in words for people.
type Status struct {
	Filesystem  string
	Enforcement Enforcement

	// Why is one sentence: why nothing is enforced, or what should be known where it is;
	// it may be empty then.
	Why string

	// Commands switch enforcement on, one after the other, as root. They are empty where
	// it is on, the filesystem can't do it, or it is the root filesystem, of which Why tells.
	Commands []string

	// Escapes are the ways in which a task may get around a limit that is enforced.
	Escapes []string
}

// mode is how a filesystem counts.
type mode int

const (
	modeOff        mode = iota
	modeAccounting      // projects of XFS and ext4, without enforcement
	modeHard            // projects of XFS and ext4
	modeGroups          // quota groups of btrfs
	modeSimple          // its simple quotas
)

// state is a Status before it is put into words.
type state struct {
	off  error // why nothing is enforced: ErrOff, ErrUnsupported or EPERM; nil if it is
	mode mode
	why  string
}

const notPermitted = "the agent may not use quotas: that takes CAP_SYS_ADMIN in the initial user namespace"

// Status asks the filesystem what it does about limits now. It costs a system call or
// two, and reads the mount table where there are commands to name.
func (q *Quota) Status() (Status, error) {
	s, err := q.ledger.state()
	if err != nil {
		return Status{}, fmt.Errorf("quotas of %s: %w", q.dir.Name(), err)
	}
	out := Status{Filesystem: q.fs, Enforcement: Hard, Why: s.why, Escapes: escapes(q.fs, s.mode)}
	if s.off == nil {
		return out, nil
	}
	out.Enforcement, out.Escapes = None, nil
	if out.Why == "" {
		out.Why = fmt.Sprintf("%s has no limits for directories; XFS, ext4 and btrfs have", q.fs)
	}
	if errors.Is(s.off, ErrOff) {
		at, err := whereMounted(q.dir)
		if err != nil {
			return out, fmt.Errorf("find the mount of %s: %w", q.dir.Name(), err)
		}
		out.Commands = at.commands(q.fs, s.mode)
		out.Why += at.caveat(q.fs, s.mode)
	}
	return out, nil
}

// place is where a filesystem is mounted, and on what.
type place struct {
	device, point string
}

// whereMounted finds the whole filesystem that dir lies on: a pool may well be a bind
// mount of a part of it. The mount table is read, which takes long on a host with many mounts,
// only if dir's own path does not lie on the whole.
func whereMounted(dir *os.File) (place, error) {
	var st unix.Stat_t
	if err := mount.Retry(func() error { return unix.Fstat(int(dir.Fd()), &st) }); err != nil {
		return place{}, os.NewSyscallError("fstat", err)
	}
	dev := st.Dev
	if m, err := mount.Lookup(dir); err == nil {
		dev = m.Dev // btrfs gives each subvolume a device number of its own
	}
	at := place{device: "DEVICE"}
	var err error
	if at.point, err = pointOf(dir.Name(), dev); err != nil {
		return place{}, err
	}
	if device, err := deviceOf(dir); err == nil {
		at.device = device
	}
	return at, nil
}

// pointOf gives the point at which the whole filesystem of a device is mounted, or the path
// itself where there is none.
func pointOf(path string, device uint64) (string, error) {
	whole := func(m mount.Info) bool { return m.Dev == device && m.Root == "/" }
	if f, err := os.OpenFile(path, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
		m, err := mount.Lookup(f)
		_ = f.Close() // nothing was written
		if err == nil && whole(m) && m.Point != "" {
			return m.Point, nil
		}
	}
	table, err := mount.Table()
	if err != nil {
		return "", err
	}
	table = slices.DeleteFunc(table, func(m mount.Info) bool { return !whole(m) })
	if len(table) == 0 {
		return path, nil
	}
	return slices.MinFunc(table, func(a, b mount.Info) int { return cmp.Compare(len(a.Point), len(b.Point)) }).Point, nil
}

// commands switch enforcement on.
func (p place) commands(fs string, m mode) []string {
	unmount, remount := "umount "+p.point, fmt.Sprintf("mount -o prjquota %s %s", p.device, p.point)
	switch {
	case fs == "btrfs" && hasSimpleQuotas():
		return []string{"btrfs quota enable --simple " + p.point}
	case fs == "btrfs":
		return []string{"btrfs quota enable " + p.point}
	case m == modeAccounting && fs == "xfs":
		return []string{"xfs_quota -x -c 'enable -p' " + p.point}
	case m == modeAccounting:
		return []string{"quotaon -P " + p.point}
	case p.point == "/":
		return nil // it can't be unmounted: see caveat
	case fs == "xfs":
		return []string{unmount, remount}
	}
	return []string{unmount, fmt.Sprintf("tune2fs -O project,quota -Q prjquota %s", p.device), remount}
}

// rootFlags is how the root filesystem is mounted with quotas.
const rootFlags = "put rootflags=prjquota on the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, " +
	"and update-grub or grub2-mkconfig -o /boot/grub2/grub.cfg), and reboot; or give volumes a disk of their own"

// caveat is what has to be known besides the commands.
func (p place) caveat(fs string, m mode) string {
	switch {
	case fs == "btrfs":
		return "; that stays on once it is switched on"
	case p.point == "/" && m == modeOff && fs == "xfs":
		return "; for the root filesystem " + rootFlags
	case p.point == "/" && m == modeOff:
		return fmt.Sprintf("; for the root filesystem run tune2fs -O project,quota -Q prjquota %s from a rescue system, and then %s", p.device, rootFlags)
	}
	const fstab = "; prjquota has to be among its options in /etc/fstab too"
	if fs == "ext4" && m == modeOff {
		return fstab + "; make sure before that the kernel has quota format 2 (modprobe quota_v2, or CONFIG_QFMT_V2=y), " +
			"for without it an ext4 with quotas can only be mounted read-only"
	}
	return fstab
}

// hasSimpleQuotas says whether the kernel's btrfs has simple quotas (Linux 6.7).
func hasSimpleQuotas() bool {
	return unix.Access("/sys/fs/btrfs/features/simple_quota", unix.F_OK) == nil
}

// Ways around a limit, as Status.Escapes has them, which a task has or has not.
const (
	// EscapeByProject is open to a process in the initial user namespace that owns files there.
	EscapeByProject = "a task in the initial user namespace can give files that it owns another project, " +
		"which takes them out of the limit; run it in a user namespace, or refuse it ioctl FS_IOC_FSSETXATTR by seccomp"
	// EscapeByCapability is open to a process in the initial user namespace with CAP_SYS_RESOURCE.
	EscapeByCapability = "a task with CAP_SYS_RESOURCE in the initial user namespace writes beyond any limit; take that from it"
)

// escapes are the ways around a limit.
func escapes(fs string, m mode) []string {
	switch m {
	case modeGroups:
		return []string{"a task can make subvolumes in its volume, which are not limited; " +
			"simple quotas limit them too (Linux 6.7: btrfs quota disable, then btrfs quota enable --simple)"}
	case modeHard:
		ways := []string{EscapeByProject}
		if fs == "ext4" {
			ways = append(ways, EscapeByCapability)
		}
		return ways
	}
	return nil
}

// nameOf is what a filesystem is called, or its magic number if the mount is not to be
// seen.
func nameOf(dir *os.File, magic int64) string {
	m, err := mount.Lookup(dir)
	if err != nil {
		return fmt.Sprintf("filesystem of type %#x", magic)
	}
	return m.FSType
}
