package mounttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Filesystem is a kind of filesystem that tests make, and what is peculiar to it.
type Filesystem struct {
	Name    string   // of the subtest
	Type    string   // as mount(2) and mkfs know it
	Since   string   // the kernel that has it; "" is any
	Mkfs    []string // arguments besides the image
	Options string   // of mount(2)

	Full     error  // what a write beyond a limit gets
	Overhead uint64 // the most that it takes of a limit for itself, in bytes
	Inodes   bool   // they can be counted and limited

	quotas uint64 // of BTRFS_IOC_QUOTA_CTL, given after the mount; 0 is none
}

// The filesystems with limits for directories, switched on. Making an XFS or ext4 of them
// takes a kernel with project quotas; RequireEnv calls them by what is missing: the type of
// the filesystem, "prjquota", or "loop".
var (
	XFS = Filesystem{Name: "xfs", Type: "xfs", Options: "prjquota", Full: unix.ENOSPC, Inodes: true}

	Ext4 = Filesystem{Name: "ext4", Type: "ext4", Mkfs: []string{"-b", "4096", "-O", "quota,project", "-E", "quotatype=prjquota"},
		Options: "prjquota", Full: unix.EDQUOT, Overhead: 4096, Inodes: true} // the block of the directory

	BtrfsGroups = Filesystem{Name: "btrfs with quota groups", Type: "btrfs", Full: unix.EDQUOT, Overhead: 96 << 10, quotas: 1}

	BtrfsSimple = Filesystem{Name: "btrfs with simple quotas", Type: "btrfs", Full: unix.EDQUOT, Overhead: 96 << 10, quotas: 4, Since: "6.7"}
)

// Limiting are all of these.
func Limiting() []Filesystem { return []Filesystem{XFS, Ext4, BtrfsGroups, BtrfsSimple} }

// Plain are the same types of filesystems without limits.
func Plain() []Filesystem {
	return []Filesystem{{Name: "xfs", Type: "xfs"}, {Name: "ext4", Type: "ext4"}, {Name: "btrfs", Type: "btrfs"}}
}

// From include/uapi/linux/btrfs.h.
const (
	iocQuotaCtl = 0xc0109428 // BTRFS_IOC_QUOTA_CTL
	quotasOff   = 2          // BTRFS_QUOTA_CTL_DISABLE
)

// imageSize is the least that mkfs.xfs takes, rounded up.
const imageSize = 320 << 20

// Disk is a filesystem in an image file, mounted at Dir until the test ends.
type Disk struct {
	Filesystem
	Dir    string
	Device *os.File // the loop device
}

// NewDisk makes and mounts a filesystem, or skips the test where that cannot be done. What
// keeps it busy has to be let go of by cleanups that are registered later.
func NewDisk(t testing.TB, f Filesystem) *Disk {
	t.Helper()
	RequireRoot(t)
	RequireMounts(t)
	if f.Since != "" {
		RequireKernel(t, f.Since)
	}
	tmp := t.TempDir()
	d := &Disk{Filesystem: f, Dir: filepath.Join(tmp, "disk")}
	check(t, os.Mkdir(d.Dir, 0o755))
	image := makeImage(t, f, filepath.Join(tmp, "image"))
	defer image.Close()
	var err error
	if d.Device, err = AttachLoop(image); err != nil {
		Skip(t, "loop", err.Error())
	}
	t.Cleanup(func() { d.Device.Close() })
	if err := d.Mount(); err != nil {
		thing := f.Type
		if f.Options != "" {
			thing = f.Options
		}
		Skip(t, thing, fmt.Sprintf("mount %s -o %q: %v", f.Type, f.Options, err))
	}
	t.Cleanup(func() { check(t, unix.Unmount(d.Dir, 0)) })
	if f.quotas != 0 {
		check(t, d.SwitchQuotas(true))
	}
	return d
}

// makeImage makes a sparse file with a filesystem.
func makeImage(t testing.TB, f Filesystem, path string) *os.File {
	t.Helper()
	image, err := os.Create(path)
	check(t, err)
	check(t, image.Truncate(imageSize))
	args := append(append([]string{"-q"}, f.Mkfs...), path)
	if out, err := exec.CommandContext(t.Context(), "mkfs."+f.Type, args...).CombinedOutput(); err != nil {
		image.Close()
		Skip(t, f.Type, fmt.Sprintf("mkfs.%s: %v %s", f.Type, err, out))
	}
	return image
}

// Mount mounts the disk, which was unmounted meanwhile, at Dir.
func (d *Disk) Mount() error {
	return unix.Mount(d.Device.Name(), d.Dir, d.Type, 0, d.Options)
}

// Remount unmounts the disk and mounts it again.
func (d *Disk) Remount(t testing.TB) {
	t.Helper()
	check(t, unix.Unmount(d.Dir, 0))
	check(t, d.Mount())
}

// SwitchQuotas switches the quotas of a btrfs of Limiting on or off (BTRFS_IOC_QUOTA_CTL,
// btrfs-ioctl(2)).
func (d *Disk) SwitchQuotas(on bool) error {
	command := d.quotas
	if !on {
		command = quotasOff
	}
	root, err := os.Open(d.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	args := [2]uint64{command, 0}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, root.Fd(), iocQuotaCtl, uintptr(unsafe.Pointer(&args)))
	runtime.KeepAlive(root)
	if errno != 0 {
		return &os.PathError{Op: "BTRFS_IOC_QUOTA_CTL", Path: d.Dir, Err: errno}
	}
	return nil
}

// AttachLoop takes a free loop device for an image file, before anybody else does. The device
// lets go of the image once it is closed and nothing of it is mounted.
func AttachLoop(image *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	for range 100 {
		var n int
		if n, err = unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE); err != nil {
			break
		}
		var device *os.File
		if device, err = os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0); err != nil {
			break
		}
		if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return nil, fmt.Errorf("no loop device: %w", err)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
