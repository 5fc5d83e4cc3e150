package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
	"tenon/mount/mounttest"
)

// leaving is a context of a caller who leaves as soon as the thread is on its way: the first
// look at it is for the turn.
type leaving struct {
	context.Context
	looked bool
}

func (l *leaving) Done() <-chan struct{} {
	over := make(chan struct{})
	if l.looked {
		close(over)
	}
	l.looked = true
	return over
}

func (l *leaving) Err() error { return context.Canceled }

// mountsOf counts the mounts of the volume in a task's namespace.
func (v volume) mountsOf(t testing.TB, k *task) (points []string) {
	t.Helper()
	table, err := k.ns.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := v.identity(t)
	for _, m := range table {
		if m.Dev == id.Dev && strings.HasPrefix(m.Root, "/volume") {
			points = append(points, m.Point)
		}
	}
	return points
}

// TestAFilesystemThatNeverAnswersHoldsUpNobodyElse: the call returns when its time is over,
// the thread is stuck until the server ends, and all others go on.
func TestAFilesystemThatNeverAnswersHoldsUpNobodyElse(t *testing.T) {
	mounttest.RequireFuse(t)
	v := newVolume(t)
	tree(t, v.dir, "sandbox/fuse/", "sandbox/other/")
	k := startTask(t, "private", nil)
	k.must("fuse", v.dir+"/sandbox/fuse")
	stuck := v.dir + "/sandbox/fuse/way/data"
	err := k.ns.Attach(&leaving{Context: t.Context()}, mustClone(t, v.source, Attributes{}), stuck, true)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), stuck) {
		t.Fatalf("got error %v, want one of the time being over", err)
	}
	// The process cannot take a second thread.
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.ns.At(over, v.targetPath); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another call is at work") {
		t.Errorf("got error %v, want one of another call", err)
	}
	// Another one goes on, even with the same process, and mounts are made there and here.
	second, err := OpenNamespace(k.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Attach(t.Context(), mustClone(t, v.source, Attributes{}), v.dir+"/sandbox/other", false); err != nil {
		t.Error(err)
	}
	v.attach(t, Attributes{})
	if err := Detach(v.sandbox, "target", false); err != nil {
		t.Error(err)
	}
	// With its server the filesystem ends, and so does the thread, which leaves nothing.
	k.must("close")
	if p := mustAt(t, k, v.targetPath); p.Mounted {
		t.Errorf("there is %+v", p)
	}
	if got := v.mountsOf(t, k); len(got) != 1 || got[0] != v.dir+"/sandbox/other" {
		t.Errorf("the volume is mounted at %q", got)
	}
}

// TestAnAttachThatComesTooLateIsTakenBack: the caller was told that nothing is mounted.
func TestAnAttachThatComesTooLateIsTakenBack(t *testing.T) {
	v := newVolume(t)
	k := startTask(t, "private", nil)
	f, err := sys.Dup(mustClone(t, v.source, Attributes{}).File())
	if err != nil {
		t.Fatal(err)
	}
	mounted := false
	err = k.ns.visit(t.Context(), "attach", v.targetPath, func(there *visit) error {
		there.tree = f
		err := there.attach(false)
		p, _ := there.at()
		mounted = p.Mounted
		there.over.Store(true) // the caller leaves now
		return err
	}, f)
	if err != nil || !mounted {
		t.Fatalf("mounted %v, %v", mounted, err)
	}
	if p := mustAt(t, k, v.targetPath); p.Mounted {
		t.Errorf("there is %+v", p)
	}
	// One that has left before gets nothing done at all.
	for call, do := range map[string]func(v *visit) error{
		"attach": func(there *visit) error { return there.attach(false) },
		"detach": func(there *visit) error { return there.detach(v.identity(t), true) },
		"flip":   func(there *visit) error { return there.setReadOnly(v.identity(t), true) },
	} {
		f, err := sys.Dup(mustClone(t, v.source, Attributes{}).File())
		if err != nil {
			t.Fatal(err)
		}
		v.attachIn(t, k, v.dir+"/sandbox/"+call, Attributes{})
		err = k.ns.visit(t.Context(), call, v.dir+"/sandbox/"+call, func(there *visit) error {
			there.over.Store(true)
			if call == "attach" {
				there.target, there.tree = v.targetPath[1:], f
			}
			return do(there)
		}, f)
		if !errors.Is(err, errLeft) {
			t.Errorf("%s: got error %v, want %v", call, err, errLeft)
		}
		if p := mustAt(t, k, v.dir+"/sandbox/"+call); !p.Mounted || p.ReadOnly {
			t.Errorf("%s: there is %+v", call, p)
		}
	}
	if p := mustAt(t, k, v.targetPath); p.Mounted {
		t.Errorf("there is %+v", p)
	}
}

// TestCVE_2018_15664_ARenameAtAnyInstantLeadsNowhereElse: the task exchanges a directory on the way with a
// symlink, or with another directory, all the time.
func TestCVE_2018_15664_ARenameAtAnyInstantLeadsNowhereElse(t *testing.T) {
	for name, other := range map[string]string{"a symlink": "link", "a directory": "dir/"} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t)
			tree(t, v.dir, "victim/data/", "sandbox/way/data/", "sandbox/dir/data/", "sandbox/link -> "+v.dir+"/victim")
			k := startTask(t, "private", nil)
			k.must("churn", v.dir+"/sandbox/way", v.dir+"/sandbox/"+strings.TrimSuffix(other, "/"))
			target := v.dir + "/sandbox/way/data"
			attached, refused := 0, 0
			for attached+refused < 300 {
				tr := mustClone(t, v.source, Attributes{})
				err := k.ns.Attach(t.Context(), tr, target, false)
				tr.Close()
				points := v.mountsOf(t, k)
				if (err == nil) != (len(points) == 1) || len(points) > 1 {
					t.Fatalf("with error %v the volume is mounted at %q", err, points)
				}
				if err != nil {
					refused++
					if !errors.Is(err, unix.ELOOP) && !errors.Is(err, ErrMoved) && !errors.Is(err, unix.ENOTDIR) {
						t.Fatalf("got error %v", err)
					}
					continue
				}
				attached++
				if strings.Contains(points[0], "victim") {
					t.Fatalf("the volume is mounted at %s", points[0])
				}
				v.detachMoved(t, k)
			}
			t.Logf("%d attached, %d refused", attached, refused)
			if attached == 0 || refused == 0 && name == "a symlink" {
				t.Error("the race was none")
			}
		})
	}
}

// detachMoved detaches the volume from wherever it is by now.
func (v volume) detachMoved(t testing.TB, k *task) {
	t.Helper()
	for range 10_000 {
		points := v.mountsOf(t, k)
		if len(points) == 0 {
			return
		}
		// It may be elsewhere again when it is looked for.
		err := k.ns.Detach(t.Context(), points[0], v.identity(t), false)
		if err != nil && !errors.Is(err, unix.ELOOP) && !errors.Is(err, ErrMoved) && !errors.Is(err, unix.ENOTDIR) {
			t.Fatal(err)
		}
	}
	t.Fatal("the volume was never caught")
}

func TestATaskMayEndAtAnyInstant(t *testing.T) {
	v := newVolume(t)
	for range 20 {
		k := startTask(t, "private", nil)
		done := make(chan error)
		go func() {
			for {
				tr, err := Clone(v.source, Attributes{})
				if err == nil {
					err = errors.Join(k.ns.Attach(t.Context(), tr, v.targetPath, false), tr.Close())
				}
				if err == nil {
					err = k.ns.Detach(t.Context(), v.targetPath, Identity{}, false)
				}
				if err != nil && !errors.Is(err, ErrMounted) {
					done <- err
					return
				}
			}
		}()
		k.stop()
		if err := <-done; !errors.Is(err, unix.ESRCH) {
			t.Fatalf("got error %v, want ESRCH", err)
		}
	}
}

// TestRootOfAnotherUserNamespaceMakesAMountWritable is why such a mount is ErrUndone. Where
// this fails the kernel has learned to keep it, and the refusal can go.
func TestRootOfAnotherUserNamespaceMakesAMountWritable(t *testing.T) {
	mounttest.RequireRoot(t)
	v := newVolume(t)
	k := startTask(t, "private", inOwnUsers())
	f, err := sys.Dup(mustClone(t, v.source, Attributes{ReadOnly: true}).File())
	if err != nil {
		t.Fatal(err)
	}
	err = k.ns.visit(t.Context(), "attach", v.targetPath, func(there *visit) error {
		at, err := there.openTarget(false)
		if err != nil {
			return err
		}
		defer at.Close()
		return sys.MoveMount(f, at)
	}, f)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.do("write", v.targetPath+"/precious"); !strings.Contains(got, "read-only") {
		t.Errorf("the task writes: %s", got)
	}
	k.must("writable", v.targetPath)
	k.must("write", v.targetPath+"/precious")
}

// TestANamespaceAboveOnesOwnIsRefused: the test's own, for a task in its own user namespace.
func TestANamespaceAboveOnesOwnIsRefused(t *testing.T) {
	mounttest.RequireRoot(t)
	k := startTask(t, "private", inOwnUsers())
	got := k.do("look", fmt.Sprint(os.Getpid()), "/tmp")
	if !strings.Contains(got, "needs CAP_SYS_PTRACE in the user namespace of the process") || !strings.Contains(got, "permission denied") {
		t.Errorf("got %q", got)
	}
}

// TestTheFirstThreadIsNeverTakenAway: /proc/self is that one's view of the world, and it would
// stay in the namespace for ever.
func TestTheFirstThreadIsNeverTakenAway(t *testing.T) {
	startTask(t, "private", nil).must("threads")
}

// TestWhatPropagatesToAnotherUserNamespaceIsLocked: the way for a read-only volume to get there.
func TestWhatPropagatesToAnotherUserNamespaceIsLocked(t *testing.T) {
	mounttest.RequireRoot(t)
	v := newVolume(t)
	if err := unix.Mount("", v.dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	k := startTask(t, "slave", inOwnUsers())
	v.attach(t, Attributes{ReadOnly: true})
	if p := mustAt(t, k, v.targetPath); !p.Mounted || !p.ReadOnly || p.Identity != v.identity(t) {
		t.Fatalf("there is %+v", p)
	}
	if got := k.do("writable", v.targetPath); !strings.Contains(got, "not permitted") {
		t.Errorf("made writable: %s", got)
	}
	if got := k.do("write", v.targetPath+"/precious"); !strings.Contains(got, "read-only") {
		t.Errorf("the task writes: %s", got)
	}
	if err := Detach(v.sandbox, "target", false); err != nil {
		t.Fatal(err)
	}
	if p := mustAt(t, k, v.targetPath); p.Mounted {
		t.Errorf("after the detach there is %+v", p)
	}
}
