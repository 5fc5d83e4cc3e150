package mount

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// volume makes a directory with a file in it, a sandbox beside it with a target,
// and opens the three; all are on a private tmpfs of the test's own.
type volume struct {
	dir        string // of all
	source     *os.File
	sandbox    *os.File
	target     *os.File // "target" in the sandbox, before anything is mounted
	targetPath string
}

func newVolume(t testing.TB) volume {
	t.Helper()
	dir := memory(t)
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	tree(t, dir, "volume/precious", "sandbox/target/")
	return volume{
		dir:        dir,
		source:     mustOpen(t, dir+"/volume"),
		sandbox:    mustOpen(t, dir+"/sandbox"),
		target:     mustOpen(t, dir+"/sandbox/target"),
		targetPath: dir + "/sandbox/target",
	}
}

// attach puts the volume on its target.
func (v volume) attach(t testing.TB, a Attributes) {
	t.Helper()
	tr := mustClone(t, v.source, a)
	if err := tr.Attach(v.target); err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
}

// mustClone returns a tree that is closed when the test ends, if not before.
func mustClone(t testing.TB, dir *os.File, a Attributes) *Tree {
	t.Helper()
	tr, err := Clone(dir, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// create tries to make a file in the open directory dir.
func create(dir *os.File, name string) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func statfsFlags(t testing.TB, f *os.File) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Flags
}

func TestCloneHasItsAttributesBeforeItAppears(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	const all = unix.ST_RDONLY | unix.ST_NOEXEC | unix.ST_NOSUID | unix.ST_NODEV
	for a, want := range map[Attributes]int64{
		{}:                             unix.ST_NOSUID | unix.ST_NODEV,
		{ReadOnly: true}:               unix.ST_NOSUID | unix.ST_NODEV | unix.ST_RDONLY,
		{NoExec: true}:                 unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC,
		{ReadOnly: true, NoExec: true}: all,
	} {
		tr := mustClone(t, v.source, a)
		if got := statfsFlags(t, tr.File()) & all; got != want {
			t.Errorf("%+v, detached: flags %#x, want %#x", a, got, want)
		}
		if _, err := Lookup(tr.File()); err == nil {
			t.Errorf("%+v: it can be seen before it is attached", a)
		}
		if err := tr.Attach(v.target); err != nil {
			t.Fatal(err)
		}
		if got := statfsFlags(t, mustOpen(t, v.targetPath)) & all; got != want {
			t.Errorf("%+v, attached: flags %#x, want %#x", a, got, want)
		}
		m, err := Lookup(tr.File())
		if err != nil {
			t.Fatal(err)
		}
		got := Attributes{ReadOnly: m.ReadOnly, NoExec: m.NoExec}
		if got != a || !m.NoSuid || !m.NoDev || !m.Private || m.Point != v.targetPath {
			t.Errorf("%+v: looked up as %+v", a, m)
		}
		if err := Detach(v.sandbox, "target", true); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloneKeepsWhatItsSourceForbids(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.attach(t, Attributes{ReadOnly: true, NoExec: true})
	again := mustClone(t, mustOpen(t, v.targetPath), Attributes{})
	if got := statfsFlags(t, again.File()); got&unix.ST_RDONLY == 0 || got&unix.ST_NOEXEC == 0 {
		t.Errorf("flags %#x: a clone of a read-only mount is writable", got)
	}
}

func TestCloneOfASharedMountIsPrivate(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	tree(t, v.dir, "disk/")
	mustMount(t, "none", v.dir+"/disk", "tmpfs", 0)
	if err := unix.Mount("", v.dir+"/disk", "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	tr := mustClone(t, mustOpen(t, v.dir+"/disk"), Attributes{})
	if err := tr.Attach(v.target); err != nil {
		t.Fatal(err)
	}
	if m, err := Lookup(tr.File()); err != nil || !m.Private {
		t.Errorf("got %+v, %v; want a private mount", m, err)
	}
}

func TestCloneLeavesOutWhatIsMountedBeneath(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	tree(t, v.dir, "volume/sub/", "foreign/secret")
	mustMount(t, v.dir+"/foreign", v.dir+"/volume/sub", "", unix.MS_BIND)
	v.attach(t, Attributes{})
	if got := list(t, v.targetPath); strings.Join(got, " ") != "precious sub" {
		t.Errorf("the clone shows %v", got)
	}
}

func TestADeviceOnAVolumeIsDead(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	v := newVolume(t)
	if err := unix.Mknod(v.dir+"/volume/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	v.attach(t, Attributes{})
	if _, err := os.ReadFile(v.targetPath + "/null"); !errors.Is(err, unix.EACCES) {
		t.Errorf("reading a device: got error %v, want %v", err, unix.EACCES)
	}
}

func TestAttachShowsTheVolumeAndCloseKeepsIt(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.attach(t, Attributes{})
	if err := os.WriteFile(v.targetPath+"/new", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(list(t, v.dir+"/volume"), " "); got != "new precious" {
		t.Errorf("the volume holds %q", got)
	}
	if err := Detach(v.sandbox, "target", false); err != nil {
		t.Fatal(err)
	}
	if got := list(t, v.targetPath); len(got) != 0 {
		t.Errorf("the target shows %v after the detach", got)
	}
}

func TestATreeAttachedAgainMoves(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	tree(t, v.dir, "sandbox/other/")
	tr := mustClone(t, v.source, Attributes{})
	if err := tr.Attach(v.target); err != nil {
		t.Fatal(err)
	}
	if err := tr.Attach(mustOpen(t, v.dir+"/sandbox/other")); err != nil {
		t.Fatal(err)
	}
	if exists(v.targetPath+"/precious") || !exists(v.dir+"/sandbox/other/precious") {
		t.Errorf("the sandbox shows %v", list(t, v.dir+"/sandbox"))
	}
}

func TestATreeClosedUnattachedLeavesNothing(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	tr, err := Clone(v.source, Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tr.Attach(v.target); err == nil {
		t.Error("a closed tree was attached")
	}
	if got := list(t, v.targetPath); len(got) != 0 {
		t.Errorf("the target shows %v", got)
	}
}

func TestATreeThatComesThroughASocketIsAttached(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	sent, err := Clone(v.source, Attributes{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(fds[0], []byte{0}, unix.UnixRights(int(sent.File().Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	sent.Close()
	oob := make([]byte, unix.CmsgSpace(4))
	if _, _, _, _, err := unix.Recvmsg(fds[1], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	received, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	tr := FromFile(os.NewFile(uintptr(received[0]), "received"))
	defer tr.Close()
	if err := tr.Attach(v.target); err != nil {
		t.Fatal(err)
	}
	if err := create(tr.File(), "new"); !errors.Is(err, unix.EROFS) || !exists(v.targetPath+"/precious") {
		t.Errorf("got error %v on writing, want %v", err, unix.EROFS)
	}
}

func TestErrorsOfTreesNameTheFiles(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	tr := mustClone(t, v.source, Attributes{})
	file, err := os.Open(v.dir + "/volume/precious")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = tr.Attach(file)
	if err == nil || !strings.Contains(err.Error(), v.dir+"/volume") || !strings.Contains(err.Error(), "precious") {
		t.Errorf("attach of a directory to a file: %v", err)
	}
	closed := mustOpen(t, v.dir)
	closed.Close()
	if _, err := Clone(closed, Attributes{}); !errors.Is(err, syscall.EBADF) || !strings.Contains(err.Error(), v.dir) {
		t.Errorf("clone of a closed directory: %v", err)
	}
}
