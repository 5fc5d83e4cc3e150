package owner

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// facts are "uid:gid mode" of a path.
func facts(t testing.TB, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o7777)
}

// TestTasksOfDifferentUsersShareAVolumeByItsGroup, and nobody else gets in.
func TestTasksOfDifferentUsersShareAVolumeByItsGroup(t *testing.T) {
	dir, path := newDir(t, 1500, 10000, os.ModeSetgid|0o770)
	groups, err := Groups(nil, 10000)
	must(t, err)
	for i, uid := range []uint32{2000, 2001, 2002} {
		script := fmt.Sprintf("umask 002; echo %d >> $d/log && mkdir -p $d/sub && echo %[1]d >> $d/sub/log && cat $d/log", uid)
		out, err := shell(t, uid, groups, dir, script)
		if err != nil || len(strings.Fields(out)) != i+1 {
			t.Fatalf("user %d: %v, %s", uid, err, out)
		}
	}
	for _, made := range []string{"log", "sub", "sub/log"} {
		if got := facts(t, path+"/"+made); !strings.HasPrefix(got, "2000:10000 ") {
			t.Errorf("%s is %s, want it to be of the group", made, got)
		}
	}
	if out, err := shell(t, 2003, nil, dir, "cat $d/log"); err == nil {
		t.Errorf("a user who is not in the group reads %q", out)
	}
	// The weakness that the package comment tells of.
	_, err = shell(t, 2000, groups, dir, "umask 022; echo mine > $d/mine")
	must(t, err)
	if out, err := shell(t, 2001, groups, dir, "echo changed > $d/mine"); err == nil {
		t.Errorf("with umask 022 another user changes the file: %s", out)
	}
	if out, err := shell(t, 2001, groups, dir, "rm -f $d/mine"); err != nil {
		t.Errorf("another user cannot remove the file: %s", out)
	}
}

// TestTasksOfDifferentUsersShareAVolumeByMaps does the same without a change on the disk, with
// any umask.
func TestTasksOfDifferentUsersShareAVolumeByMaps(t *testing.T) {
	dir, path := newDir(t, 1500, 1501, 0o700)
	var maps Maps
	defer maps.Close()
	for i, uid := range []uint32{2000, 2001, 2002} {
		ns, err := maps.As(ID{1500, 1501}, ID{uid, uid})
		must(t, err)
		tree, err := mount.Clone(dir, mount.Attributes{IDMap: ns})
		must(t, err)
		must(t, ns.Close())
		out, err := shell(t, uid, nil, tree.File(), "umask 077; echo >> $d/log && wc -l < $d/log")
		if err != nil || out != fmt.Sprint(i+1) {
			t.Errorf("user %d: %v, %s", uid, err, out)
		}
		must(t, tree.Close())
	}
	if got := facts(t, path+"/log"); got != "1500:1501 600" {
		t.Errorf("the file is %s", got)
	}
}
