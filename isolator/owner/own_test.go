package owner

import (
	"errors"
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

func TestOwnAndDisownArePartners(t *testing.T) {
	t.Parallel()
	for mode, want := range map[os.FileMode]string{
		0o755: "1500:10000 2770", 0o700: "1500:10000 2770", 0o777: "1500:10000 2770", 0: "1500:10000 2070",
		os.ModeSticky | 0o750: "1500:10000 3770", os.ModeSetgid | 0o770: "1500:10000 2770",
	} {
		dir, path := newDir(t, 1500, 1501, mode)
		before := facts(t, path)
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		bits := st.Mode & 0o7777
		must(t, os.WriteFile(path+"/file", nil, 0o604))
		file := facts(t, path+"/file")
		for range 2 {
			must(t, Own(dir, 10000, bits))
			if got := facts(t, path); got != want {
				t.Errorf("%s: owned, it is %s, want %s", before, got, want)
			}
			if owned, err := Owned(dir, 10000, bits); err != nil || !owned {
				t.Errorf("%s: Owned is %v, %v", before, owned, err)
			}
		}
		if owned, err := Owned(dir, 10001, bits); err != nil || owned {
			t.Errorf("%s: Owned by another group is %v, %v", before, owned, err)
		}
		for range 2 {
			must(t, Disown(dir, 1501, bits))
			if got := facts(t, path); got != before {
				t.Errorf("disowned, it is %s, want %s", got, before)
			}
			if owned, err := Owned(dir, 10000, bits); err != nil || owned {
				t.Errorf("%s: afterwards Owned is %v, %v", before, owned, err)
			}
		}
		if got := facts(t, path+"/file"); got != file {
			t.Errorf("%s: the file is %s by now, was %s", before, got, file)
		}
	}
}

// TestOwnGoesOn after each point at which it may have been interrupted.
func TestOwnGoesOn(t *testing.T) {
	t.Parallel()
	dir, path := newDir(t, 1500, 1501, 0o755)
	for name, half := range map[string]func(){
		"nothing": func() { must(t, os.Chown(path, 1500, 1501)); must(t, os.Chmod(path, 0o755)) },
		"group":   func() { must(t, os.Chown(path, 1500, 10000)); must(t, os.Chmod(path, 0o755)) },
		"mode":    func() { must(t, os.Chown(path, 1500, 1501)); must(t, os.Chmod(path, os.ModeSetgid|0o770)) },
	} {
		half()
		if owned, err := Owned(dir, 10000, 0o755); err != nil || owned {
			t.Errorf("%s done: Owned is %v, %v", name, owned, err)
		}
		must(t, Own(dir, 10000, 0o755))
		if owned, err := Owned(dir, 10000, 0o755); err != nil || !owned {
			t.Errorf("%s done: afterwards Owned is %v, %v: %s", name, owned, err, facts(t, path))
		}
	}
}

func TestOwnRefusesWhatIsNoGroupAndNoDirectory(t *testing.T) {
	t.Parallel()
	dir, path := newDir(t, 1500, 1501, 0o755)
	before := facts(t, path)
	for _, gid := range []uint32{0, 1<<32 - 1} { // to chown(2) the last means "leave it"
		if err := Own(dir, gid, 0o755); !errors.Is(err, unix.EINVAL) || !strings.Contains(fmt.Sprint(err), path) {
			t.Errorf("group %d: got error %v, want %v with the path", gid, err, unix.EINVAL)
		}
	}
	must(t, os.WriteFile(path+"/file", nil, 0o644))
	file, err := os.Open(path + "/file")
	must(t, err)
	defer file.Close()
	_, owned := Owned(file, 10000, 0o644)
	for call, err := range map[string]error{"Own": Own(file, 10000, 0o644), "Disown": Disown(file, 1501, 0o644), "Owned": owned} {
		if !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s of a file: got error %v, want %v with the path", call, err, unix.ENOTDIR)
		}
	}
	if got := facts(t, path); got != before {
		t.Errorf("the directory is %s by now, was %s", got, before)
	}
}

// TestTasksOfDifferentUsersShareAVolumeByItsGroup, and nobody else gets in.
func TestTasksOfDifferentUsersShareAVolumeByItsGroup(t *testing.T) {
	dir, path := newDir(t, 1500, 1501, 0o755)
	must(t, Own(dir, 10000, 0o755))
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
