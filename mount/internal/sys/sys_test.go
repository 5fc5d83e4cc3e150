package sys_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := sys.Open(path, unix.O_PATH)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestRetryRepeatsInterruptedCallsAndNoOthers(t *testing.T) {
	t.Parallel()
	for _, last := range []error{nil, unix.EPERM} {
		calls := 0
		next := func() error {
			if calls++; calls < 4 {
				return unix.EINTR
			}
			return last
		}
		if err := sys.Retry(next); err != last || calls != 4 {
			t.Errorf("retry: %v after %d calls, want %v after 4", err, calls, last)
		}
		calls = 0
		if fd, err := sys.OpenFD(func() (int, error) { return 7, next() }); fd != 7 || err != last || calls != 4 {
			t.Errorf("openFD: %d, %v after %d calls, want 7, %v after 4", fd, err, calls, last)
		}
	}
}

func TestEveryCallNamesItselfAndThePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := mustOpen(t, dir)
	closed := mustOpen(t, dir)
	closed.Close()
	first := func(_ any, err error) error { return err }
	for call, err := range map[string]error{
		"open":          first(sys.Open(dir+"/absent", unix.O_PATH)),
		"openat":        first(sys.Openat(d, "absent", unix.O_PATH)),
		"openat2":       first(sys.Openat2(d, "absent", unix.O_PATH, 0)),
		"mkdirat":       sys.Mkdirat(d, "absent/x", 0o755),
		"unlinkat":      sys.Unlinkat(d, "absent", 0),
		"fstatat":       first(sys.Fstatat(d, "absent")),
		"fstat":         first(sys.Fstat(closed)),
		"dup":           first(sys.Dup(closed)),
		"open_tree":     first(sys.OpenTree(closed)),
		"mount_setattr": sys.SetAttrAt(d, "absent", unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV}, 0),
		"umount2":       sys.Umount(d, "absent", 0),
		"statx":         first(sys.StatxAt(d, "absent")),
	} {
		var pe *fs.PathError
		if !errors.As(err, &pe) || pe.Op != call || !strings.HasPrefix(pe.Path, dir) {
			t.Errorf("%s: got error %#v", call, err)
		}
	}
	for call, err := range map[string]error{
		"ioctl NS_GET_USERNS": first(sys.OwnerOf(d)), "umount2": sys.UmountHere(d, "absent", 0),
		"move_mount": sys.MoveMount(d, closed), "statx": first(sys.Statx(closed)), "mount_setattr": sys.SetAttr(closed, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV}),
	} {
		if err == nil || !strings.Contains(err.Error(), call) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got error %v", call, err)
		}
	}
}

func TestUnlockTouchesNoDeviceAndNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/pipe", 0o600); err != nil { // would block if it were opened
		t.Fatal(err)
	}
	if err := os.Symlink("pipe", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "link", "file"} {
		if had, err := sys.Unlock(mustOpen(t, dir), name); had || err != nil {
			t.Errorf("%s: got %v, %v; want nothing to clear", name, had, err)
		}
	}
	if _, err := sys.Unlock(mustOpen(t, dir), "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: got error %v, want %v", err, fs.ErrNotExist)
	}
}

func TestAFeatureKeepsOnlyCertainAnswers(t *testing.T) {
	t.Parallel()
	calls, has, sure := 0, false, false
	f := sys.NewFeature("x", func() (bool, bool) { calls++; return has, sure })
	for range 3 {
		if f.Available() {
			t.Error("available before the probe says so")
		}
	}
	if calls != 3 {
		t.Errorf("%d probes for three uncertain answers", calls)
	}
	has, sure = true, true
	for range 3 {
		if !f.Available() {
			t.Error("not available though the probe says so")
		}
	}
	if calls != 4 {
		t.Errorf("%d probes, want 4: a certain answer was not kept", calls)
	}
	restore := f.SwitchOff()
	if f.Available() {
		t.Error("available though switched off")
	}
	f.SwitchOff()() // nested
	if f.Available() {
		t.Error("the inner restore has switched it on")
	}
	restore()
	if !f.Available() {
		t.Error("not available after the restore")
	}
	never := sys.NewFeature("y", func() (bool, bool) { calls++; return false, true })
	for range 2 {
		if never.Available() {
			t.Error("available though the probe says no")
		}
	}
	if calls != 5 {
		t.Errorf("%d probes, want 5: a certain no was not kept", calls)
	}
}

func TestStatmountOfNoMountIsNotExist(t *testing.T) {
	t.Parallel()
	mounttest.RequireKernel(t, sys.HasStatmount.Since)
	var buf []byte
	if _, err := sys.Statmount(1<<60, &buf); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
}

func TestListmountGoesOnAfterABatch(t *testing.T) {
	mounttest.RequireMounts(t)
	mounttest.RequireKernel(t, sys.HasStatmount.Since)
	dir := t.TempDir()
	before, err := sys.Listmount()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	for range 2*sys.ListBatch - 1 - len(before) {
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir, unix.MNT_DETACH)
	}
	ids, err := sys.Listmount()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint64]bool)
	for _, id := range ids {
		seen[id] = true
	}
	if len(ids) != 2*sys.ListBatch || len(seen) != len(ids) {
		t.Errorf("%d IDs, %d of them distinct, want %d", len(ids), len(seen), 2*sys.ListBatch)
	}
}

// answer is what the kernel would write for a mount with the given strings.
func answer(mask uint64, root, point uint32, text string) []byte {
	buf := make([]byte, sys.StatmountStrings, sys.StatmountStrings+len(text))
	le := binary.NativeEndian
	le.PutUint64(buf[8:], mask)
	le.PutUint32(buf[16:], 8)    // major
	le.PutUint32(buf[20:], 1)    // minor
	le.PutUint32(buf[32:], 1)    // superblock flags
	le.PutUint32(buf[36:], 0)    // offset of the filesystem's type
	le.PutUint64(buf[40:], 1001) // unique ID
	le.PutUint64(buf[48:], 1000) // of the parent
	le.PutUint32(buf[56:], 31)   // ID of mountinfo
	le.PutUint64(buf[64:], 3)    // attributes
	le.PutUint64(buf[72:], unix.MS_SHARED)
	le.PutUint32(buf[104:], root)
	le.PutUint32(buf[108:], point)
	return append(buf, text...)
}

func TestDecodeMountReadsEveryField(t *testing.T) {
	t.Parallel()
	got, err := sys.DecodeMount(answer(sys.StatmountAll, 5, 7, "ext4\x00/\x00/srv/pool\x00rest"))
	if err != nil {
		t.Fatal(err)
	}
	want := sys.Mount{
		ID: 1001, ParentID: 1000, OldID: 31, Dev: unix.Mkdev(8, 1), SbFlags: 1, Attr: 3, Propagation: unix.MS_SHARED,
		Root: "/", Point: "/srv/pool", FSType: "ext4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeMountTrustsNoOffset(t *testing.T) {
	t.Parallel()
	got, err := sys.DecodeMount(answer(sys.StatmountAll, 1<<31, 5, "ext4\x00unfinished"))
	if err != nil || got.Root != "" || got.Point != "unfinished" {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = sys.DecodeMount(answer(sys.StatmountSbBasic|sys.StatmountMntBasic, 0, 0, "not asked for\x00"))
	if err != nil || got.Root+got.Point+got.FSType != "" {
		t.Errorf("got %+v, %v; want no strings, since the mask has none", got, err)
	}
	for _, bad := range [][]byte{nil, make([]byte, sys.StatmountStrings-1), answer(sys.StatmountMntRoot, 0, 0, "")} {
		if _, err := sys.DecodeMount(bad); err == nil {
			t.Errorf("%d bytes were accepted", len(bad))
		}
	}
}

func FuzzDecodeMount(f *testing.F) {
	f.Add(answer(sys.StatmountAll, 5, 7, "ext4\x00/\x00/srv/pool\x00"))
	f.Add(answer(sys.StatmountAll, ^uint32(0), 0, ""))
	f.Fuzz(func(t *testing.T, buf []byte) {
		m, err := sys.DecodeMount(buf)
		if err != nil {
			return
		}
		if strings.ContainsRune(m.Root+m.Point+m.FSType, 0) {
			t.Errorf("a string runs over its end: %+v", m)
		}
	})
}
