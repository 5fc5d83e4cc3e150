package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
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

func TestAReadOnlyTreeIsNeverWritable(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() { // writes through the path all the time
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			err := os.WriteFile(fmt.Sprintf("%s/intruder%d", v.targetPath, i%50), nil, 0o644)
			if errors.Is(err, unix.EROFS) {
				select {
				case refused <- struct{}{}:
				default:
				}
			}
		}
	}()
	seen := 0
	for i := 0; i < 500 || seen == 0; i++ {
		tr := mustClone(t, v.source, Attributes{ReadOnly: true})
		if err := create(tr.File(), "intruder"); !errors.Is(err, unix.EROFS) {
			t.Fatalf("written before the attach: %v", err)
		}
		if err := tr.Attach(v.target); err != nil {
			t.Fatal(err)
		}
		if err := create(tr.File(), "intruder"); !errors.Is(err, unix.EROFS) {
			t.Fatalf("written right after the attach: %v", err)
		}
		tr.Close()
		select {
		case <-refused:
			seen++
		default:
		}
		if err := Detach(v.sandbox, "target", true); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-done
	if got := strings.Join(list(t, v.dir+"/volume"), " "); got != "precious" {
		t.Errorf("the volume holds %q", got)
	}
}

// namespace is a mount namespace made now, as a slave of this one.
type namespace struct {
	work chan func()
}

// newNamespace starts a thread in a namespace of its own. The thread ends with
// the test, since its goroutine never unlocks it.
func newNamespace(t testing.TB) namespace {
	t.Helper()
	n := namespace{work: make(chan func())}
	started, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
		}
		started <- err
		for f := range n.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(n.work); <-done })
	return n
}

// do runs f in the namespace.
func (n namespace) do(f func()) {
	done := make(chan struct{})
	n.work <- func() { defer close(done); f() }
	<-done
}

// TestAReadOnlyTreeArrivesReadOnlyInAnOlderNamespace is the trap of spec.md 5.5.
func TestAReadOnlyTreeArrivesReadOnlyInAnOlderNamespace(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	if err := unix.Mount("", v.dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	older := newNamespace(t)
	v.attach(t, Attributes{ReadOnly: true})
	older.do(func() {
		if !exists(v.targetPath + "/precious") {
			t.Error("the mount did not arrive")
		}
		if err := os.WriteFile(v.targetPath+"/new", nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("write there: got error %v, want %v", err, unix.EROFS)
		}
		f := mustOpen(t, v.targetPath)
		if got := statfsFlags(t, f); got&unix.ST_NOSUID == 0 || got&unix.ST_NODEV == 0 {
			t.Errorf("flags there %#x, want nosuid and nodev", got)
		}
		f.Close()
	})
	if err := Detach(v.sandbox, "target", false); err != nil {
		t.Fatal(err)
	}
	older.do(func() {
		if exists(v.targetPath + "/precious") {
			t.Error("the detach did not arrive")
		}
	})
}

// TestNoMountAppearsOutsideTheRoot swaps a directory of the sandbox, or the
// target itself, against a symlink while volumes are attached.
func TestNoMountAppearsOutsideTheRoot(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"a directory on the way": "x/data", "the target": "x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t)
			tree(t, v.dir, "sandbox/x/data/", "sandbox/y -> ../out", "out/data/")
			stop := flip(t, v.sandbox, "x", "y")
			defer stop()
			attached, refused := 0, 0
			for i := 0; i < 1000 || attached == 0 || refused == 0; i++ {
				point, err := attachAt(v, path)
				if err != nil {
					refused++
					continue
				}
				attached++
				if !strings.HasPrefix(point, v.dir+"/sandbox/") {
					t.Fatalf("mounted on %s", point)
				}
			}
			table, err := Table()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range table {
				if strings.HasPrefix(m.Point, v.dir+"/") {
					t.Errorf("mount left on %s", m.Point)
				}
			}
		})
	}
}

// attachAt attaches and detaches the volume at path in its sandbox, the way the
// agent does it, and returns where it was mounted.
func attachAt(v volume, path string) (point string, err error) {
	parent, name, err := MkdirBeneath(v.sandbox, path, 0o755)
	if err != nil {
		return "", err
	}
	defer parent.Close()
	at, err := OpenBeneath(parent, name)
	if err != nil {
		return "", err
	}
	defer at.Close()
	tr, err := Clone(v.source, Attributes{})
	if err != nil {
		return "", err
	}
	defer tr.Close()
	if err := tr.Attach(at); err != nil {
		return "", err
	}
	m, err := Lookup(tr.File())
	if err != nil {
		return "", err
	}
	// By descriptor: the name may mean something else by now.
	return m.Point, unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", tr.File().Fd()), unix.MNT_DETACH)
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
