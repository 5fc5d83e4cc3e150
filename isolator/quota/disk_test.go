package quota

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want one that is %v", err, kind)
	}
}

// flavour is a filesystem that the tests run on, and what is peculiar to it.
type flavour struct {
	name, fstype string
	since        string // kernel
	mkfs         []string
	options      string                            // of mount(2)
	prepare      func(t testing.TB, root *os.File) // switches quotas on, where that is done so

	full     error  // what a write beyond the limit gets
	overhead uint64 // most that the filesystem takes of a limit for itself
	inodes   bool   // they can be counted and limited
}

const mib = 1 << 20

var (
	xfs = flavour{name: "xfs", fstype: "xfs", options: "prjquota", full: unix.ENOSPC, inodes: true}

	ext4 = flavour{name: "ext4", fstype: "ext4", mkfs: []string{"-b", "4096", "-O", "quota,project", "-E", "quotatype=prjquota"},
		options: "prjquota", full: unix.EDQUOT, overhead: 4096, inodes: true} // the block of the directory

	btrfsGroups = flavour{name: "btrfs with quota groups", fstype: "btrfs", full: unix.EDQUOT, overhead: 96 << 10,
		prepare: func(t testing.TB, root *os.File) { must(t, enable(root, 1)) }}

	btrfsSimple = flavour{name: "btrfs with simple quotas", fstype: "btrfs", full: unix.EDQUOT, overhead: 96 << 10,
		since: "6.7", prepare: func(t testing.TB, root *os.File) { must(t, enable(root, 4)) }}

	flavours = []flavour{xfs, ext4, btrfsGroups, btrfsSimple}

	// plain are those whose quotas are not switched on.
	plain = []flavour{{name: "xfs", fstype: "xfs"}, {name: "ext4", fstype: "ext4"}, {name: "btrfs", fstype: "btrfs"}}
)

// enable is BTRFS_IOC_QUOTA_CTL: 1 switches quota groups on, 4 simple quotas, 2 all off.
func enable(root *os.File, command uint64) error {
	args := [2]uint64{command, 0}
	return ioctl(root, "BTRFS_IOC_QUOTA_CTL", 0xc0109428, unsafe.Pointer(&args))
}

// disk is a filesystem in an image file, mounted at dir.
type disk struct {
	flavour
	dir    string
	device *os.File
}

// newDisk makes and mounts a filesystem, or skips the test where that cannot be done.
func newDisk(t testing.TB, f flavour) *disk {
	t.Helper()
	mounttest.RequireRoot(t)
	mounttest.RequireMounts(t)
	if f.since != "" {
		mounttest.RequireKernel(t, f.since)
	}
	tmp := t.TempDir()
	d := &disk{flavour: f, dir: filepath.Join(tmp, "disk")}
	must(t, os.Mkdir(d.dir, 0o755))
	image, err := os.Create(filepath.Join(tmp, "image"))
	must(t, err)
	defer image.Close()
	must(t, image.Truncate(320*mib))
	args := append(append([]string{"-q"}, f.mkfs...), image.Name())
	if out, err := exec.CommandContext(t.Context(), "mkfs."+f.fstype, args...).CombinedOutput(); err != nil {
		mounttest.Skip(t, f.fstype, fmt.Sprintf("mkfs.%s: %v %s", f.fstype, err, out))
	}
	if d.device, err = attachLoop(image); err != nil {
		mounttest.Skip(t, "loop", err.Error())
	}
	t.Cleanup(func() { d.device.Close() })
	if err := d.mount(); err != nil {
		thing := f.fstype
		if f.options != "" {
			thing = f.options
		}
		mounttest.Skip(t, thing, fmt.Sprintf("mount %s -o %q: %v", f.fstype, f.options, err))
	}
	t.Cleanup(func() { must(t, unix.Unmount(d.dir, 0)) })
	if f.prepare != nil {
		root, err := os.Open(d.dir)
		must(t, err)
		defer root.Close()
		f.prepare(t, root)
	}
	return d
}

func (d *disk) mount() error {
	return unix.Mount(d.device.Name(), d.dir, d.fstype, 0, d.options)
}

// remount unmounts the disk and mounts it again.
func (d *disk) remount(t testing.TB) {
	t.Helper()
	must(t, unix.Unmount(d.dir, 0))
	must(t, d.mount())
}

// attachLoop takes a free loop device, before anybody else does.
func attachLoop(image *os.File) (*os.File, error) {
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

// open opens the disk's quotas until the test ends.
func (d *disk) open(t testing.TB) *Quota {
	t.Helper()
	root, err := os.Open(d.dir)
	must(t, err)
	defer root.Close()
	q, err := Open(root)
	must(t, err)
	t.Cleanup(func() { q.Close() }) // some tests have closed it to unmount
	return q
}

// each runs a test on a disk of each of the flavours, one after the other: loop devices
// and memory are few.
func each(t *testing.T, of []flavour, body func(t *testing.T, d *disk, q *Quota)) {
	t.Helper()
	for _, f := range of {
		t.Run(f.name, func(t *testing.T) {
			d := newDisk(t, f)
			body(t, d, d.open(t))
		})
	}
}

// mkdir makes a directory that can be limited, beneath the disk's own.
func (d *disk) mkdir(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(d.dir, name)
	if d.fstype != "btrfs" {
		must(t, os.Mkdir(path, 0o755))
		return path
	}
	must(t, withDir(filepath.Dir(path), func(parent *os.File) error {
		return CreateSubvolume(parent, filepath.Base(path))
	}))
	return path
}

// volume makes a directory in a project with a limit.
func (d *disk) volume(t testing.TB, q *Quota, name string, id uint32, bytes uint64) string {
	t.Helper()
	path := d.mkdir(t, name)
	must(t, assign(t, q, path, id))
	must(t, q.SetLimit(id, bytes, 0))
	return path
}

func withDir(path string, f func(dir *os.File) error) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(dir)
}

func assign(t testing.TB, q *Quota, path string, id uint32) error {
	t.Helper()
	return withDir(path, func(dir *os.File) error { return q.Assign(t.Context(), dir, id) })
}

func projectOf(t testing.TB, q *Quota, path string) (id uint32) {
	t.Helper()
	must(t, withDir(path, func(dir *os.File) (err error) {
		id, err = q.ProjectOf(dir)
		return err
	}))
	return id
}

// usage is what is used once all that was written has reached the disk.
func usage(t testing.TB, q *Quota, id uint32) Usage {
	t.Helper()
	must(t, unix.Syncfs(int(q.dir.Fd())))
	u, err := q.Usage(id)
	must(t, err)
	return u
}
