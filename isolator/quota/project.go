package quota

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// projects are the project quotas of XFS and ext4. Both answer to the calls of XFS
// (quotactl(2), "XFS quotas"), which count in blocks of 512 bytes; those of ext4 would
// count limits in blocks of 1,024.
type projects struct {
	dir      *os.File
	fs       string
	device   string // path of the block device, where quotactl_fd(2) is missing
	noDevice error  // why there is no such path
}

// From include/uapi/linux/dqblk_xfs.h and quota.h.
const (
	prjQuota = 2 // PRJQUOTA

	qxGetQuota     = 'X'<<8 + 3 // Q_XGETQUOTA
	qxSetLimits    = 'X'<<8 + 4 // Q_XSETQLIM
	qxGetState     = 'X'<<8 + 8 // Q_XGETQSTATV, Linux 3.12
	qxGetNextQuota = 'X'<<8 + 9 // Q_XGETNEXTQUOTA, Linux 4.6

	dqVersion  = 1        // FS_DQUOT_VERSION
	dqProject  = 1 << 1   // FS_PROJ_QUOTA
	dqLimits   = 1<<4 - 1 // FS_DQ_ISOFT | IHARD | BSOFT | BHARD
	accounting = 1 << 4   // FS_QUOTA_PDQ_ACCT
	enforcing  = 1 << 5   // FS_QUOTA_PDQ_ENFD

	basicBlock = 512 // bytes
)

// diskQuota is struct fs_disk_quota.
type diskQuota struct {
	version            int8
	flags              int8
	fieldMask          uint16
	id                 uint32
	blkHard, blkSoft   uint64
	inoHard, inoSoft   uint64
	blkCount, inoCount uint64
	_                  [40]byte // timers, warnings, and the realtime section as far as its timer
	_                  [8]byte  // its timer and warnings
	_                  [8]byte
}

// quotaState is struct fs_quota_statv.
type quotaState struct {
	version uint8
	_       uint8
	flags   uint16
	_       [156]byte
}

func (d *diskQuota) usage() Usage {
	return Usage{
		Bytes: d.blkCount * basicBlock, Inodes: d.inoCount,
		LimitBytes: d.blkHard * basicBlock, LimitInodes: d.inoHard,
	}
}

// hasQuotactlFD says whether there is quotactl_fd(2), which takes a descriptor and so
// needs no path of the device. A kernel that has it minds the descriptor first.
var hasQuotactlFD = sync.OnceValue(func() bool {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, ^uintptr(0), qxGetState<<8|prjQuota, 0, 0, 0, 0)
	return errno == unix.EBADF
})

// HasQuotactlFD says whether the kernel has quotactl_fd(2) (Linux 5.14), with which no path
// of a device is needed.
func HasQuotactlFD() bool { return hasQuotactlFD() }

// ctl is quotactl(2) about project quotas.
func (p projects) ctl(cmd uintptr, id uint32, arg unsafe.Pointer) error {
	cmd = cmd<<8 | prjQuota
	if p.noDevice != nil {
		return p.noDevice
	}
	if p.device == "" {
		_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, p.dir.Fd(), cmd, uintptr(id), uintptr(arg), 0, 0)
		runtime.KeepAlive(p.dir)
		return ctlError("quotactl_fd", errno)
	}
	path, err := unix.BytePtrFromString(p.device)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL, cmd, uintptr(unsafe.Pointer(path)), uintptr(id), uintptr(arg), 0, 0)
	return ctlError("quotactl", errno)
}

// ctlError says of the errors for a filesystem whose quotas are off that they are that.
func ctlError(call string, errno unix.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.ESRCH, unix.ENOSYS, unix.EOPNOTSUPP:
		return fmt.Errorf("%w: %w", ErrOff, os.NewSyscallError(call, errno))
	}
	return os.NewSyscallError(call, errno)
}

// state asks twice, since anyone may ask for the state, but not for a project.
func (p projects) state() (state, error) {
	s := quotaState{version: 1}
	err := p.ctl(qxGetState, 0, unsafe.Pointer(&s))
	if err != nil && !errors.Is(err, ErrOff) {
		return state{}, err
	}
	off := err != nil || s.flags&accounting == 0
	switch {
	case off && p.missing() != "":
		return state{off: ErrUnsupported, why: p.missing()}, nil
	case off:
		return state{off: ErrOff, mode: modeOff, why: "the filesystem is mounted without project quotas"}, nil
	case s.flags&enforcing == 0:
		return state{off: ErrOff, mode: modeAccounting, why: "the filesystem counts what projects use, but does not enforce their limits"}, nil
	}
	if _, err := p.usage(1); errors.Is(err, unix.EPERM) {
		return state{off: err, mode: modeHard, why: notPermitted}, nil
	}
	return state{mode: modeHard}, nil
}

// missing says what the kernel was built without.
func (p projects) missing() string {
	option, trace := "CONFIG_QUOTA", "/proc/sys/fs/quota"
	if p.fs == "xfs" {
		option, trace = "CONFIG_XFS_QUOTA", "/proc/fs/xfs/xqmstat"
	}
	if unix.Access(trace, unix.F_OK) != unix.ENOENT {
		return ""
	}
	return fmt.Sprintf("this kernel has no quotas for %s (%s)", p.fs, option)
}

// usage reads the record of a project. XFS has none for one that was never used.
func (p projects) usage(id uint32) (Usage, error) {
	d := diskQuota{version: dqVersion}
	err := p.ctl(qxGetQuota, id, unsafe.Pointer(&d))
	if errors.Is(err, unix.ENOENT) {
		return Usage{}, nil
	}
	return d.usage(), err
}

// limit sets hard and soft limits alike, for soft ones have timers.
func (p projects) limit(id uint32, bytes, inodes uint64) error {
	d := diskQuota{
		version: dqVersion, flags: dqProject, fieldMask: dqLimits, id: id,
		blkHard: bytes / basicBlock, blkSoft: bytes / basicBlock, inoHard: inodes, inoSoft: inodes,
	}
	return p.ctl(qxSetLimits, id, unsafe.Pointer(&d))
}

// clear asks first, so that a project without a record is not given one.
func (p projects) clear(id uint32) error {
	u, err := p.usage(id)
	if err != nil || u == (Usage{}) {
		return err
	}
	if err := u.empty(); err != nil {
		return err
	}
	return p.limit(id, 0, 0)
}

func (p projects) list(first, last uint32) ([]Entry, error) {
	var all []Entry
	for id := first; ; id++ {
		d := diskQuota{version: dqVersion}
		err := p.ctl(qxGetNextQuota, id, unsafe.Pointer(&d))
		if errors.Is(err, unix.ENOENT) || err == nil && d.id > last {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		id = d.id
		if u := d.usage(); u != (Usage{}) { // ext4 keeps records of what once was
			all = append(all, Entry{ID: id, Usage: u})
		}
		if id == last {
			return all, nil
		}
	}
}

// deviceOf finds the path of the block device that a filesystem lies on, in /dev.
func deviceOf(dir *os.File) (string, error) {
	var st unix.Stat_t
	if err := mount.Retry(func() error { return unix.Fstat(int(dir.Fd()), &st) }); err != nil {
		return "", os.NewSyscallError("fstat", err)
	}
	link := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	target, err := os.Readlink(link)
	if err != nil {
		return "", fmt.Errorf("find the device of %s: %w", dir.Name(), err)
	}
	path := "/dev/" + strings.ReplaceAll(filepath.Base(target), "!", "/")
	var node unix.Stat_t
	if err := mount.Retry(func() error { return unix.Stat(path, &node) }); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if node.Mode&unix.S_IFMT != unix.S_IFBLK || node.Rdev != st.Dev {
		return "", fmt.Errorf("%s is not the device of %s", path, dir.Name())
	}
	return path, nil
}
