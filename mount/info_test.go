package mount

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
	"tenon/mount/mounttest"
)

// strangeMounts makes one mount of every kind that is told in another way by
// statmount than by mountinfo, and returns their points.
func strangeMounts(t *testing.T) []string {
	t.Helper()
	v := newVolume(t)
	long := "sandbox/" + strings.Repeat(strings.Repeat("l", 200)+"/", 6)
	tree(t, v.dir, "volume/sub/", "gone/", "shared/slave/", "sandbox/with space\tand\nlines\\040 ä/", long)
	bind := func(source, target string, flags uintptr) string {
		target = v.dir + "/" + target
		tree(t, target, "./")
		mustMount(t, v.dir+"/"+source, target, "", unix.MS_BIND)
		if flags != 0 {
			if err := unix.Mount("", target, "", flags, ""); err != nil {
				t.Fatal(err)
			}
		}
		return target
	}
	remount := uintptr(unix.MS_REMOUNT | unix.MS_BIND)
	points := []string{
		v.dir,
		bind("volume", "sandbox/plain", 0),
		bind("volume/sub", "sandbox/ro", remount|unix.MS_RDONLY),
		bind("volume", "sandbox/all", remount|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC),
		bind("volume", "sandbox/shared", unix.MS_SHARED),
		bind("sandbox/shared", "sandbox/slave", unix.MS_SLAVE),
		bind("volume", "sandbox/unbindable", unix.MS_UNBINDABLE),
		bind("volume", "sandbox/with space\tand\nlines\\040 ä", 0),
		bind("sandbox/with space\tand\nlines\\040 ä", "sandbox/root too", 0),
		bind("volume", strings.TrimSuffix(long, "/"), 0),
		bind("gone", "sandbox/of a deleted directory", 0),
	}
	if err := os.Remove(v.dir + "/gone"); err != nil {
		t.Fatal(err)
	}
	tree(t, v.dir, "sandbox/super/")
	mustMount(t, "none", v.dir+"/sandbox/super", "tmpfs", unix.MS_RDONLY)
	if err := unix.Mount("", v.dir+"/sandbox/super", "", remount, ""); err != nil {
		t.Fatal(err) // now the filesystem is read-only and the mount is not
	}
	return append(points, v.dir+"/sandbox/super")
}

// withOldIDs gives a mount the IDs of mountinfo in place of the unique ones.
func withOldIDs(t *testing.T, m Info) Info {
	t.Helper()
	old := func(id uint64) uint64 {
		var buf []byte
		s, err := sys.Statmount(id, &buf)
		if errors.Is(err, fs.ErrNotExist) {
			return 0 // the parent of the root is hidden
		}
		if err != nil {
			t.Fatal(err)
		}
		return uint64(s.OldID)
	}
	m.ID, m.ParentID = old(m.ID), old(m.ParentID)
	return m
}

func TestBothWaysOfLookingTellTheSame(t *testing.T) {
	mounttest.RequireKernel(t, "6.8")
	points := strangeMounts(t)
	look := func(t *testing.T) (table []Info, each map[string]Info) {
		table, err := Table()
		if err != nil {
			t.Fatal(err)
		}
		each = make(map[string]Info)
		for _, p := range points {
			f := mustOpen(t, p)
			if each[p], err = Lookup(f); err != nil {
				t.Errorf("Lookup(%q): %v", p, err)
			}
		}
		return table, each
	}
	var tables [][]Info
	var lookups []map[string]Info
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		table, each := look(t)
		tables, lookups = append(tables, table), append(lookups, each)
	})
	for i := range tables[0] {
		tables[0][i] = withOldIDs(t, tables[0][i])
		if tables[0][i].ParentID == 0 {
			tables[0][i].ParentID = tables[1][i].ParentID
		}
	}
	// Mountinfo's IDs are used again, so theirs is another order.
	slices.SortFunc(tables[0], func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	if diff := gocmp.Diff(tables[1], tables[0]); diff != "" {
		t.Errorf("the tables differ (-mountinfo +statmount):\n%s", diff)
	}
	for p, m := range lookups[0] {
		if diff := gocmp.Diff(lookups[1][p], withOldIDs(t, m)); diff != "" {
			t.Errorf("%q (-mountinfo +statmount):\n%s", p, diff)
		}
	}
}

func TestLookupTellsWhatWasMounted(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "volume/sub/", "sandbox/a b/")
		mustMount(t, v.dir+"/volume/sub", v.dir+"/sandbox/a b", "", unix.MS_BIND)
		below, err := Lookup(v.sandbox)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Lookup(mustOpen(t, v.dir+"/sandbox/a b"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := Identify(v.sandbox)
		if err != nil {
			t.Fatal(err)
		}
		want := Info{
			ID: got.ID, ParentID: below.ID, Dev: id.Dev, Root: "/volume/sub", Point: v.dir + "/sandbox/a b",
			FSType: "tmpfs", Private: true,
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got.ID == below.ID || below.Point != v.dir {
			t.Errorf("the mount below is %+v", below)
		}
	})
}

func TestLookupKnowsNoDetachedTree(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		_, err := Lookup(mustClone(t, v.source, Attributes{}).File())
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), v.dir+"/volume") {
			t.Errorf("got error %v, want %v with the path", err, fs.ErrNotExist)
		}
	})
}

func TestAMountOutsideTheRootOfTheProcessIsNotSeen(t *testing.T) {
	mounttest.RequireRoot(t) // to mount proc
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "jail/proc/", "jail/in/")
		mustMount(t, "none", v.dir+"/jail/proc", "proc", 0)
		mustMount(t, v.dir+"/jail/in", v.dir+"/jail/in", "", unix.MS_BIND)
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // for ever: the thread ends with its root
			if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Chroot(v.dir+"/jail")); err != nil {
				t.Error(err)
				return
			}
			if _, err := Lookup(v.sandbox); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Lookup: got error %v, want %v", err, fs.ErrNotExist)
			}
			table, err := Table()
			if err != nil {
				t.Error(err)
			}
			var points []string
			for _, m := range table {
				points = append(points, m.Point)
			}
			if diff := gocmp.Diff([]string{"/proc", "/in"}, points); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		}()
		<-done
	})
}

func FuzzFromMountinfo(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue")
	f.Add("36 35 0:5 / / ro,nosuid,nodev,noexec shared:1 master:2 - fuse.sshfs x ro")
	f.Add("1 1 0:1 /a\\040b //deleted rw - tmpfs none rw")
	f.Fuzz(func(t *testing.T, line string) {
		entries, err := mountinfo.GetMountsFromReader(strings.NewReader(line), nil)
		if err != nil {
			return
		}
		for _, e := range entries {
			m := fromMountinfo(e)
			if strings.Contains(m.FSType, ".") {
				t.Errorf("subtype left in %q", m.FSType)
			}
			if m.Private == (strings.Contains(e.Optional, "shared:") || strings.Contains(e.Optional, "master:")) {
				t.Errorf("private %v with the optional fields %q", m.Private, e.Optional)
			}
		}
	})
}
