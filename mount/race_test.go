package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
