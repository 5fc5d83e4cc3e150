package quota

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

var withProjects = []flavour{xfs, ext4}

// tree makes a directory with a bit of everything: 8 inodes that can be assigned
// (the directory, a, a/b, a/b/c, a/file, a/b/link with one inode, a/b/c/file, many).
func tree(t *testing.T, d *disk) string {
	t.Helper()
	dir := d.mkdir(t, "data")
	must(t, os.MkdirAll(dir+"/a/b/c", 0o755))
	for _, name := range []string{"/a/file", "/a/b/c/file", "/many"} {
		must(t, os.WriteFile(dir+name, make([]byte, 10000), 0o600))
	}
	must(t, os.Link(dir+"/a/file", dir+"/a/b/link"))
	must(t, os.WriteFile(d.Dir+"/outside", []byte("x"), 0o600))
	must(t, os.Symlink(d.Dir+"/outside", dir+"/a/out"))
	must(t, os.Symlink(d.Dir, dir+"/a/disk"))
	must(t, unix.Mkfifo(dir+"/a/fifo", 0o600))
	return dir
}

const treeInodes = 7

func projectOfFile(t *testing.T, path string) (project, flags uint32) {
	t.Helper()
	must(t, withDir(path, func(f *os.File) error {
		x, err := getXattr(f)
		project, flags = x.project, x.flags
		return err
	}))
	return project, flags
}

func TestAllThatIsInADirectoryIsAssignedAndNothingElse(t *testing.T) {
	each(t, withProjects, func(t *testing.T, d *disk, q *Quota) {
		dir := tree(t, d)
		must(t, assign(t, q, dir, 5000))
		for name, inherit := range map[string]uint32{"": flagInherit, "/a/b/c": flagInherit, "/a/b/c/file": 0, "/a/b/link": 0, "/many": 0} {
			if project, flags := projectOfFile(t, dir+name); project != 5000 || flags&flagInherit != inherit {
				t.Errorf("%s has project %d and flags %#x", name, project, flags)
			}
		}
		for _, path := range []string{d.Dir, d.Dir + "/outside"} {
			if project, _ := projectOfFile(t, path); project != 0 {
				t.Errorf("%s has project %d", path, project)
			}
		}
		if u := usage(t, q, 5000); u.Inodes != treeInodes || u.Bytes < 3*10000 {
			t.Errorf("usage is %+v, want %d inodes", u, treeInodes)
		}
	})
}

func TestAnAssignmentThatWasInterruptedGoesOn(t *testing.T) {
	each(t, withProjects, func(t *testing.T, d *disk, q *Quota) {
		dir := tree(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantError(t, withDir(dir, func(f *os.File) error { return q.Assign(ctx, f, 5000) }), context.Canceled)
		if u := usage(t, q, 5000); u.Inodes != 1 {
			t.Errorf("usage is %+v, want the directory alone", u)
		}
		must(t, assign(t, q, dir, 5000))
		if u := usage(t, q, 5000); u.Inodes != treeInodes {
			t.Errorf("usage is %+v, want %d inodes", u, treeInodes)
		}
	})
}

func TestAnAssignmentStopsAtMounts(t *testing.T) {
	each(t, withProjects, func(t *testing.T, d *disk, q *Quota) {
		dir := tree(t, d)
		must(t, os.Mkdir(d.Dir+"/other", 0o755))
		must(t, os.WriteFile(d.Dir+"/other/file", nil, 0o600))
		must(t, unix.Mount(d.Dir+"/other", dir+"/a/b/c", "", unix.MS_BIND, ""))
		err := assign(t, q, dir, 5000)
		must(t, errors.Join(err, unix.Unmount(dir+"/a/b/c", 0)))
		for _, path := range []string{d.Dir + "/other", d.Dir + "/other/file", dir + "/a/b/c/file"} {
			if project, _ := projectOfFile(t, path); project != 0 {
				t.Errorf("%s has project %d", path, project)
			}
		}
		if u := usage(t, q, 5000); u.Inodes != treeInodes-2 {
			t.Errorf("usage is %+v, want %d inodes", u, treeInodes-2)
		}
	})
}

func TestADeepTreeIsAnErrorThatNamesIt(t *testing.T) {
	each(t, withProjects, func(t *testing.T, d *disk, q *Quota) {
		dir := d.mkdir(t, "data")
		deep := dir + strings.Repeat("/d", assignDepth)
		must(t, os.MkdirAll(deep, 0o755))
		must(t, assign(t, q, dir, 5000))
		must(t, os.Mkdir(deep+"/e", 0o755)) // it is in the project already, but who knows
		err := assign(t, q, dir, 5001)
		if err == nil || !strings.Contains(err.Error(), "levels deep") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestManyEntriesAreAllAssigned(t *testing.T) {
	each(t, withProjects, func(t *testing.T, d *disk, q *Quota) {
		dir := d.mkdir(t, "data")
		const files = 2*assignBatch + 10
		for n := range files {
			must(t, os.WriteFile(fmt.Sprintf("%s/%d", dir, n), nil, 0o600))
		}
		must(t, assign(t, q, dir, 5000))
		if u := usage(t, q, 5000); u.Inodes != files+1 {
			t.Errorf("usage is %+v, want %d inodes", u, files+1)
		}
	})
}

func TestWhatIsMadeDuringAnAssignmentIsInTheProject(t *testing.T) {
	each(t, withProjects, func(t *testing.T, d *disk, q *Quota) {
		dir := d.mkdir(t, "data")
		for n := range 200 {
			must(t, os.MkdirAll(fmt.Sprintf("%s/%d/sub", dir, n), 0o755))
		}
		done := make(chan error, 1)
		made := 0
		go func() {
			done <- mounttest.AsTask(t, func() (err error) {
				for ; made < 400 && err == nil; made++ {
					err = os.WriteFile(fmt.Sprintf("%s/%d/sub/%d", dir, made*7%200, made), nil, 0o600)
				}
				return err
			})
		}()
		must(t, errors.Join(assign(t, q, dir, 5000), <-done))
		if u, want := usage(t, q, 5000), uint64(1+2*200+made); u.Inodes != want {
			t.Errorf("usage is %+v, want %d inodes", u, want)
		}
	})
}

func TestADirectoryOfBtrfsThatIsNoSubvolumeIsRefused(t *testing.T) {
	each(t, []flavour{btrfsGroups, btrfsSimple}, func(t *testing.T, d *disk, q *Quota) {
		must(t, os.Mkdir(d.Dir+"/plain", 0o755))
		err := assign(t, q, d.Dir+"/plain", 5000)
		wantError(t, err, ErrUnsupported)
		if !strings.Contains(err.Error(), "only subvolumes") {
			t.Errorf("error is %v", err)
		}
		if all, err := q.List(DefaultRange); err != nil || len(all) > 0 {
			t.Errorf("List gives %v, %v", all, err)
		}
	})
}

func TestASubvolumeIsMadeAndDeleted(t *testing.T) {
	each(t, []flavour{btrfsGroups, btrfsSimple}, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 8*mib)
		wantError(t, CreateSubvolume(q.dir, "data"), os.ErrExist)
		_, err := mounttest.Fill(t, dir+"/file", mib)
		must(t, err)
		must(t, mounttest.AsTask(t, func() error { return os.Mkdir(dir+"/sub", 0o755) }))
		must(t, DeleteSubvolume(q.dir, "data"))
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
		wantError(t, DeleteSubvolume(q.dir, "data"), os.ErrNotExist)
		until(t, q, func() bool { return q.Clear(5000) == nil })
		for _, name := range []string{"", ".", "..", "a/b", "a\x00", strings.Repeat("x", 256)} {
			wantError(t, CreateSubvolume(q.dir, name), unix.EINVAL)
			wantError(t, DeleteSubvolume(q.dir, name), unix.EINVAL)
		}
		must(t, os.Mkdir(d.Dir+"/plain", 0o755))
		wantError(t, DeleteSubvolume(q.dir, "plain"), unix.EINVAL)
	})
}

func TestTheSizeOfTheDirectoryIsTheLimit(t *testing.T) {
	each(t, withProjects, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 8*mib)
		var st unix.Statfs_t
		must(t, unix.Statfs(dir, &st))
		if size := st.Blocks * uint64(st.Bsize); size != 8*mib {
			t.Errorf("statfs says %d bytes", size)
		}
	})
}

func TestWaysAroundALimitAreThoseThatStatusNames(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		s, err := q.Status()
		must(t, err)
		named := strings.Join(s.Escapes, "\n")
		dir := d.volume(t, q, "data", 5000, 2*mib)
		for _, way := range []struct {
			word string
			try  func(t *testing.T, dir string) bool
		}{{"another project", takeOut}, {"CAP_SYS_RESOURCE", ignore}, {"subvolumes", nest}} { // the last ones fill it
			if escaped := way.try(t, dir); escaped != strings.Contains(named, way.word) {
				t.Errorf("%s: worked: %t; Status says: %s", way.word, escaped, named)
			}
		}
	})
}

// takeOut takes a file out of its project, as the task that owns it.
func takeOut(t *testing.T, dir string) bool {
	must(t, os.WriteFile(dir+"/mine", nil, 0o600))
	return mounttest.AsTask(t, func() error {
		return withDir(dir+"/mine", func(f *os.File) error {
			x := xattr{project: 0}
			return ioctl(f, "FS_IOC_FSSETXATTR", iocSetXattr, unsafe.Pointer(&x))
		})
	}) == nil && !isBtrfs(t, dir) // which has the call, but no projects
}

// ignore writes on with all capabilities.
func ignore(t *testing.T, dir string) bool {
	f, err := os.Create(dir + "/beyond")
	must(t, err)
	defer f.Close()
	_, err = mounttest.Grow(f, 4*mib)
	must(t, os.Remove(f.Name()))
	return err == nil
}

// nest writes to a subvolume in the subvolume, which a task needs no right to make.
func nest(t *testing.T, dir string) bool {
	if !isBtrfs(t, dir) {
		return false
	}
	must(t, mounttest.AsTask(t, func() error {
		return withDir(dir, func(parent *os.File) error { return CreateSubvolume(parent, "nested") })
	}))
	_, err := mounttest.Fill(t, dir+"/nested/file", 4*mib)
	return err == nil
}

func isBtrfs(t *testing.T, dir string) bool {
	var st unix.Statfs_t
	must(t, unix.Statfs(filepath.Clean(dir), &st))
	return st.Type == unix.BTRFS_SUPER_MAGIC
}

func TestTheStructuresAreThoseOfTheKernel(t *testing.T) {
	t.Parallel()
	for what, size := range map[string][2]uintptr{
		"fs_disk_quota":            {unsafe.Sizeof(diskQuota{}), 112},
		"fs_quota_statv":           {unsafe.Sizeof(quotaState{}), 160},
		"fsxattr":                  {unsafe.Sizeof(xattr{}), 28},
		"btrfs_ioctl_search_args":  {unsafe.Sizeof(searchArgs{}), 4096},
		"search_args_v2, buf":      {unsafe.Offsetof(findArgs{}.buf), 112},
		"btrfs_ioctl_vol_args_v2":  {unsafe.Sizeof(volArgs{}), 4096},
		"fs_disk_quota, d_icount":  {unsafe.Offsetof(diskQuota{}.inoCount), 48},
		"search_args, buf":         {unsafe.Offsetof(searchArgs{}.buf), 104},
		"fs_quota_statv, qs_flags": {unsafe.Offsetof(quotaState{}.flags), 2},
	} {
		if size[0] != size[1] {
			t.Errorf("%s: %d, want %d", what, size[0], size[1])
		}
	}
}

func TestAFailureLeavesNoDescriptorOpen(t *testing.T) {
	// mounttest.Main looks for them in the end.
	mounttest.RequireMounts(t)
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer f.Close()
	if _, err := Open(f); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("of a file: %v", err)
	}
}
