package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// one is the map of a single id.
func one(disk, seen uint32) []IDRange { return []IDRange{{Disk: disk, Seen: seen, Count: 1}} }

// mustUserNamespace makes a user namespace until the test ends.
func mustUserNamespace(t testing.TB, uids, gids []IDRange) *os.File {
	t.Helper()
	mounttest.RequireRoot(t)
	mounttest.RequireMounts(t)
	ns, err := UserNamespace(uids, gids)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// shell runs a script as somebody, without any capability unless it is root, with $d as the
// directory dir. Tests that use it do not run in parallel, see startChild.
func shell(t testing.TB, uid, gid uint32, dir *os.File, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "d=/proc/self/fd/3; "+script)
	cmd.ExtraFiles = []*os.File{dir}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// ownerOf is "uid:gid" of a path.
func ownerOf(t testing.TB, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

// own gives the volume's directory and file to somebody, closed to others.
func (v volume) own(t testing.TB, uid, gid int) {
	t.Helper()
	for path, mode := range map[string]os.FileMode{v.dir + "/volume": 0o700, v.dir + "/volume/precious": 0o600} {
		if err := errors.Join(os.Chown(path, uid, gid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTasksOfDifferentUsersShareAVolume: each finds all files to be its own, and on disk
// they are the volume's owner's, whose files nobody has changed.
func TestTasksOfDifferentUsersShareAVolume(t *testing.T) {
	v := newVolume(t)
	v.own(t, 1500, 1501)
	for uid := uint32(2000); uid < 2003; uid++ {
		ns := mustUserNamespace(t, one(1500, uid), one(1501, uid+100))
		tr := mustClone(t, v.source, Attributes{IDMap: ns})
		script := fmt.Sprintf("umask 077; cat $d/precious; echo; echo %d >> $d/precious && mkdir $d/by%[1]d && stat -c %%u:%%g $d/* $d/", uid)
		out, err := shell(t, uid, uid+100, tr.File(), script)
		if err != nil {
			t.Fatalf("task of %d: %v, %s", uid, err, out)
		}
		mine := fmt.Sprintf("%d:%d", uid, uid+100)
		for _, line := range strings.Split(out, "\n") {
			if strings.Contains(line, ":") && line != mine {
				t.Errorf("task of %d: something appears as that of %s", uid, line)
			}
		}
		if got := ownerOf(t, fmt.Sprintf("%s/volume/by%d", v.dir, uid)); got != "1500:1501" {
			t.Errorf("task of %d: on disk, what it made is %s", uid, got)
		}
	}
	text, err := os.ReadFile(v.dir + "/volume/precious")
	if want := "volume/precious2000\n2001\n2002\n"; err != nil || string(text) != want {
		t.Errorf("the file holds %q, %v; want %q", text, err, want)
	}
	// Without a map none of them gets in.
	if out, err := shell(t, 2000, 2100, v.source, "cat $d/precious"); err == nil {
		t.Errorf("without a map user 2000 reads %q", out)
	}
}

func TestAUserThatAMapLacksCanMakeNothing(t *testing.T) {
	v := newVolume(t)
	v.own(t, 1500, 1501)
	if err := os.Chmod(v.dir+"/volume", 0o777); err != nil {
		t.Fatal(err)
	}
	tr := mustClone(t, v.source, Attributes{IDMap: mustUserNamespace(t, one(1500, 2000), one(1501, 2000))})
	out, err := shell(t, 2001, 2001, tr.File(), "echo > $d/new")
	if err == nil || exists(v.dir+"/volume/new") {
		t.Errorf("user 2001 has made a file: %s", out)
	}
	// Not even root, who has no id there.
	if err := create(tr.File(), "new"); !errors.Is(err, unix.EOVERFLOW) {
		t.Errorf("root: got error %v, want %v", err, unix.EOVERFLOW)
	}
	// What belongs to somebody else appears to belong to nobody.
	tree(t, v.dir, "volume/foreign")
	if out, err := shell(t, 2000, 2000, tr.File(), "stat -c %u:%g $d/foreign"); err != nil || out != "65534:65534" {
		t.Errorf("root's file appears as that of %s, %v", out, err)
	}
}

func TestAMapMayHaveManyRanges(t *testing.T) {
	v := newVolume(t)
	m := []IDRange{{Disk: 5000, Seen: 10, Count: 10}, {Disk: 0, Seen: 100_000, Count: 5000}}
	ns := mustUserNamespace(t, m, m)
	tr := mustClone(t, v.source, Attributes{IDMap: ns})
	for disk, seen := range map[int]string{0: "100000", 1: "100001", 4999: "104999", 5000: "10", 5009: "19", 5010: "65534"} {
		if err := os.Chown(v.dir+"/volume/precious", disk, disk); err != nil {
			t.Fatal(err)
		}
		if got := ownerOf(t, fmt.Sprintf("/proc/self/fd/%d/precious", tr.File().Fd())); got != seen+":"+seen {
			t.Errorf("%d on disk is seen as %s, want %s", disk, got, seen)
		}
	}
}

// TestAnIDMapIsThereBeforeTheMountAppears: like the other attributes, which stay what they are.
func TestAnIDMapIsThereBeforeTheMountAppears(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		v.own(t, 1500, 1501)
		ns := mustUserNamespace(t, one(1500, 2000), one(1501, 2001))
		tr := mustClone(t, v.source, Attributes{ReadOnly: true, NoExec: true, IDMap: ns})
		if got := ownerOf(t, fmt.Sprintf("/proc/self/fd/%d/.", tr.File().Fd())); got != "2000:2001" {
			t.Errorf("detached, the volume is that of %s", got)
		}
		if err := tr.Attach(v.target); err != nil {
			t.Fatal(err)
		}
		if err := ns.Close(); err != nil { // the mount has its own hold of it
			t.Fatal(err)
		}
		p, err := At(v.sandbox, "target")
		if err != nil || !p.ReadOnly || !p.NoExec || !p.NoSuid || !p.NoDev || p.UID != 2000 || p.GID != 2001 {
			t.Errorf("at the target there is %+v, %v", p, err)
		}
		if id, err := Identify(v.source); err != nil || p.Identity != id {
			t.Errorf("at the target there is %v, want %v, %v", p.Identity, id, err)
		}
		if m, err := Lookup(tr.File()); err != nil || !m.IDMapped || !m.ReadOnly || !m.NoExec {
			t.Errorf("looked up as %+v, %v", m, err)
		}
		if m, err := Lookup(v.target); err != nil || m.IDMapped {
			t.Errorf("the sandbox is looked up as %+v, %v", m, err)
		}
	})
}

func TestASourceServesMountsWithAndWithoutMaps(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.CloneDetached, func(t *testing.T) {
		v := newVolume(t)
		v.own(t, 1500, 1501)
		tree(t, v.dir, "pool/")
		pool := mustOpen(t, v.dir)
		source, err := OpenSource(pool)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			source.Close()
			if err := SelfUnmount(v.dir); err != nil {
				t.Error(err)
			}
		}()
		dir, err := OpenBeneath(source.Dir(), "volume")
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		ns := mustUserNamespace(t, one(1500, 2000), one(1501, 2000))
		for range 2 {
			mapped := mustClone(t, dir, Attributes{IDMap: ns})
			if out, err := shell(t, 2000, 2000, mapped.File(), "cat $d/precious"); err != nil {
				t.Errorf("mapped: %v, %s", err, out)
			}
			plain := mustClone(t, dir, Attributes{})
			if out, err := shell(t, 1500, 1501, plain.File(), "cat $d/precious"); err != nil {
				t.Errorf("plain: %v, %s", err, out)
			}
			if _, err := Clone(mapped.File(), Attributes{IDMap: ns}); !errors.Is(err, ErrNoIDMap) {
				t.Errorf("a map over a map: got error %v, want %v", err, ErrNoIDMap)
			}
			mapped.Close()
			plain.Close()
		}
	})
}

func TestAFilesystemWithoutMapsIsAKnownError(t *testing.T) {
	dir := t.TempDir()
	mustMount(t, "none", dir, "ramfs", 0)
	ns := mustUserNamespace(t, one(0, 2000), one(0, 2000))
	d := mustOpen(t, dir)
	if _, err := Clone(d, Attributes{IDMap: ns}); !errors.Is(err, ErrNoIDMap) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got error %v, want %v with the path", err, ErrNoIDMap)
	}
	mustClone(t, d, Attributes{})
}

func TestNoProcessIsLeftInAUserNamespace(t *testing.T) {
	before := children(t)
	for range 20 {
		ns := mustUserNamespace(t, one(0, 2000), one(0, 2000))
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()))
		if err != nil || !strings.HasPrefix(link, "user:[") {
			t.Fatalf("the file is %q, %v", link, err)
		}
		if mine, err := os.Readlink("/proc/self/ns/user"); err != nil || link == mine {
			t.Fatalf("it is the test's own, %v", err)
		}
	}
	if diff := cmp.Diff(before, children(t)); diff != "" {
		t.Errorf("children (-before +after):\n%s", diff)
	}
}

// children are the child processes of this process, zombies included.
func children(t testing.TB) []string {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, path := range lists {
		text, err := os.ReadFile(path)
		if err == nil { // the thread may have ended
			pids = append(pids, strings.Fields(string(text))...)
		}
	}
	return pids
}

func TestAMapThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	ok := one(0, 1)
	for name, c := range map[string]struct {
		bad  []IDRange
		want string
	}{
		"nothing":           {nil, "0 ranges; a map has from 1 to 340"},
		"too much":          {make([]IDRange, 341), "341 ranges"},
		"an empty range":    {[]IDRange{{Disk: 7, Seen: 8}}, "the range from 7 on disk is empty"},
		"no id":             {one(1<<32-1, 1), "the range from 4294967295 on disk has ids above 4294967294"},
		"no id that's seen": {[]IDRange{{Disk: 0, Seen: 1, Count: 1<<32 - 1}}, "the range from 1 seen has ids above"},
		"twice on disk":     {[]IDRange{{Disk: 10, Seen: 1, Count: 2}, {Disk: 9, Seen: 3, Count: 2}}, "id 10 on disk is in two ranges"},
		"twice seen":        {[]IDRange{{Disk: 1, Seen: 5, Count: 1}, {Disk: 2, Seen: 5, Count: 1}}, "id 5 seen is in two ranges"},
	} {
		for kind, call := range map[string]func() (*os.File, error){
			"user":  func() (*os.File, error) { return UserNamespace(c.bad, ok) },
			"group": func() (*os.File, error) { return UserNamespace(ok, c.bad) },
		} {
			_, err := call()
			if !errors.Is(err, unix.EINVAL) || !strings.Contains(fmt.Sprint(err), "map of "+kind+" ids: "+c.want) {
				t.Errorf("%s, %s: got error %v", name, kind, err)
			}
		}
	}
}

func BenchmarkUserNamespace(b *testing.B) {
	mounttest.RequireRoot(b)
	for b.Loop() {
		ns, err := UserNamespace(one(0, 2000), one(0, 2000))
		if err != nil {
			b.Fatal(err)
		}
		ns.Close()
	}
}
