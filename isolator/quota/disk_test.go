package quota

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

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

const mib = 1 << 20

// The filesystems that the tests run on.
var (
	xfs, ext4                = mounttest.XFS, mounttest.Ext4
	btrfsGroups, btrfsSimple = mounttest.BtrfsGroups, mounttest.BtrfsSimple
	flavours                 = mounttest.Limiting()
	plain                    = mounttest.Plain() // those whose quotas are not switched on
)

type flavour = mounttest.Filesystem

// disk is a filesystem whose quotas are looked at.
type disk struct{ *mounttest.Disk }

func newDisk(t testing.TB, f flavour) *disk {
	t.Helper()
	return &disk{mounttest.NewDisk(t, f)}
}

// open opens the disk's quotas until the test ends.
func (d *disk) open(t testing.TB) *Quota {
	t.Helper()
	root, err := os.Open(d.Dir)
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
		t.Run(f.Name, func(t *testing.T) {
			d := newDisk(t, f)
			body(t, d, d.open(t))
		})
	}
}

// mkdir makes a directory that can be limited, beneath the disk's own.
func (d *disk) mkdir(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(d.Dir, name)
	if d.Type != "btrfs" {
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
