package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

var (
	// ErrNotItsOwn is the cause when a process lives in the mount namespace of the caller or
	// of the host: a mount that is made for it would be everybody's.
	ErrNotItsOwn = errors.New("the process has no mount namespace of its own")

	// ErrMoved is the cause when a path does not lead to what was attached: whoever owns a
	// directory on the way has renamed it meanwhile.
	ErrMoved = errors.New("the path leads elsewhere by now")

	// ErrUndone is the cause when a read-only mount is refused because root of the user
	// namespace that owns the mount namespace could make it writable.
	ErrUndone = errors.New("the namespace belongs to another user namespace, whose root could make the mount writable")
)

// errLeft ends what is done for a caller who has gone. Nobody reads it.
var errLeft = errors.New("the caller has left")

// Namespace is the mount namespace of a running process, for mounts that are to appear there
// and to leave while it runs. Targets are absolute and clean, and mean what they mean to the
// process: beneath its root directory, over what is mounted there.
//
// The process may be hostile. No symlink is followed on the way to a target (ELOOP), no path is
// used twice, and what was attached is looked up afterwards. What it can do is to let a look-up
// take for ever, on a filesystem whose server is its own (fuse(4)), since the kernel has no
// time-out: so each call has a thread of its own, which is left behind when ctx ends, and takes
// back what it has attached should it ever go on. Calls of one Namespace take turns, so keep one for
// each process: then it can keep one thread, and no more.
//
// A Namespace holds no more than the process' entry in /proc, so that the mounts go when the
// process goes. From then on every call fails with ESRCH, whoever has its number next. A caller
// who means a process that was started at a certain time checks that after OpenNamespace.
//
// It needs CAP_SYS_CHROOT, CAP_SYS_PTRACE, and CAP_SYS_ADMIN also in the user namespace that
// owns the mount namespace: all of those below one's own, where one is root.
type Namespace struct {
	pid  int
	proc *os.File      // /proc/PID, O_PATH
	turn chan struct{} // holds a token while a call is at work
}

// OpenNamespace makes a Namespace of the process' current one, whichever that is when it is
// used. The number is that of the caller's PID namespace.
func OpenNamespace(pid int) (*Namespace, error) {
	proc, err := sys.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("mount namespace of process %d: %w", pid, unix.ESRCH)
	}
	if err != nil {
		return nil, err
	}
	return &Namespace{pid: pid, proc: proc, turn: make(chan struct{}, 1)}, nil
}

// Close lets go of the process. Calls under way end as they would.
func (n *Namespace) Close() error { return n.proc.Close() }

// Attach makes the tree visible at the target, an existing directory on which nothing is mounted
// (ErrMounted); with mkdirs, directories that are missing are made, with mode 0755. They stay.
// The tree is used up: close it, whatever the result.
//
// After nil the path leads to the mount. After an error nothing has become visible, but when ctx
// ends the mount may be there for a moment yet.
//
// Where the target lies on a mount that the process' namespace shares, or that others follow, the
// mount shows up there too, with its attributes (mount_namespaces(7)); so give targets on mounts
// that are private or slaves. In a namespace that belongs to another user namespace a read-only
// tree is ErrUndone: nothing keeps its root from remounting it, as it may lift the other
// attributes, and unmount what it does not want. (What comes there by propagation is locked.)
func (n *Namespace) Attach(ctx context.Context, tree *Tree, target string, mkdirs bool) error {
	if err := checkTarget(target); err != nil {
		return err
	}
	// The thread may outlive the caller, and the caller's tree.
	f, err := sys.Dup(tree.file)
	if err != nil {
		return err
	}
	return n.visit(ctx, "attach at", target, func(v *visit) error {
		v.tree = f
		return v.attach(mkdirs)
	}, f)
}

// At looks at what lies at the target: nothing, a directory, or a mount, as At does. It is how
// to find out whether a volume is mounted there, by Identity, and how. It enters no namespace,
// costs some 20 µs where a change costs 0.3 ms, and serves a process without one of its own.
func (n *Namespace) At(ctx context.Context, target string) (p Point, err error) {
	if err := checkTarget(target); err != nil {
		return Point{}, err
	}
	v := newVisit(target)
	v.outside = true
	err = n.start(ctx, "look at", v, func(v *visit) (err error) {
		p, err = v.at()
		return err
	})
	return p, err
}

// Table returns all mounts beneath the root of the process, as Table does: to find a mount that
// is not at its target any more, by Dev and Root.
func (n *Namespace) Table(ctx context.Context) (table []Info, err error) {
	err = n.visit(ctx, "list", "/", func(v *visit) (err error) {
		table, err = v.table()
		return err
	})
	return table, err
}

// Detach unmounts the mounts of the directory want from the target, as Detach does. It is nil
// when nothing is mounted there, and ErrMounted when something else is. The directory stays.
func (n *Namespace) Detach(ctx context.Context, target string, want Identity, lazy bool) error {
	return n.change(ctx, "detach", target, func(v *visit) error { return v.detach(want, lazy) })
}

// SetReadOnly flips the mount of the directory want at the target, as SetReadOnly does. Anything
// else there is ErrMounted.
func (n *Namespace) SetReadOnly(ctx context.Context, target string, want Identity, readOnly bool) error {
	return n.change(ctx, opRemount, target, func(v *visit) error { return v.setReadOnly(want, readOnly) })
}

// change is visit that explains EBUSY, which is for the caller's own namespace to do: the /proc
// of the process shows what the process wants.
func (n *Namespace) change(ctx context.Context, op, target string, do func(v *visit) error) error {
	if err := checkTarget(target); err != nil {
		return err
	}
	var v *visit
	err := n.visit(ctx, op, target, func(there *visit) error {
		v = there
		return do(there)
	})
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	b := &BusyError{Op: op, Path: target}
	b.explain(v.busy, v.beneath)
	return fmt.Errorf("process %d: %w", n.pid, b)
}

// visit calls do on a thread that was taken to the namespace, and returns when it has, or when
// ctx ends. Files are closed when do has returned, however late.
func (n *Namespace) visit(ctx context.Context, op, target string, do func(v *visit) error, files ...*os.File) error {
	return n.start(ctx, op, newVisit(target), do, files...)
}

func (n *Namespace) start(ctx context.Context, op string, v *visit, do func(v *visit) error, files ...*os.File) error {
	fail := func(err error) error {
		if err == nil {
			return nil
		}
		if same, ok := err.(*fs.PathError); ok && same.Op == op {
			err = same.Err // what was tried, and where, is told once
		}
		return fmt.Errorf("%s /%s in the mount namespace of process %d: %w", op, v.target, n.pid, err)
	}
	select {
	case n.turn <- struct{}{}:
	case <-ctx.Done():
		closeAll(files)
		return fail(fmt.Errorf("another call is at work there: %w", context.Cause(ctx)))
	}
	proc, err := sys.Dup(n.proc) // the thread may outlive n
	if err != nil {
		<-n.turn
		closeAll(files)
		return fail(err)
	}
	v.onThread(func() {
		defer func() { <-n.turn }()
		defer closeAll(append(files, proc))
		v.ended <- v.run(proc, do)
	})
	select {
	case err := <-v.ended:
		return fail(err)
	case <-ctx.Done():
	}
	if v.over.CompareAndSwap(false, true) {
		return fail(context.Cause(ctx))
	}
	return fail(<-v.ended)
}

// checkTarget refuses what is no clean absolute path beneath the root.
func checkTarget(target string) error {
	rest, absolute := strings.CutPrefix(target, "/")
	if !absolute || !fs.ValidPath(rest) || rest == "." || strings.Contains(rest, "\x00") {
		return fmt.Errorf("%q is no clean absolute path beneath the root: %w", target, unix.EINVAL)
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// visit is one call on its way. All but over belongs to its thread, until ended is told.
type visit struct {
	target string      // beneath the root
	ended  chan error  // told once
	over   atomic.Bool // set by the first of both: the thread when done, the caller who leaves

	// outside is a visit that only looks, and needs no thread but while it is in the kernel.
	outside bool

	ns, root *os.File // of the process; the root is O_PATH
	mounts   *os.File // its mountinfo, where there is no statmount
	foreign  bool     // another user namespace owns ns
	tree     *os.File // to be attached

	busy    uint64 // the mount that is busy
	beneath []Info // the table then
}

func newVisit(target string) *visit {
	return &visit{target: strings.TrimPrefix(target, "/"), ended: make(chan error, 1)}
}

// onThread runs f on the thread that the visit needs.
func (v *visit) onThread(f func()) {
	if v.outside {
		go f()
		return
	}
	sys.OnOwnThread(f)
}

// run is what the thread does.
func (v *visit) run(proc *os.File, do func(v *visit) error) error {
	defer v.close()
	err := v.open(proc)
	if err == nil && !v.outside {
		err = v.enter()
	}
	if err == nil {
		err = do(v)
	}
	if v.over.CompareAndSwap(false, true) || err != nil || v.tree == nil {
		return err
	}
	// The caller has left and knows of no mount.
	return sys.UmountFileHere(v.tree)
}

// open opens what is needed while /proc is still the caller's.
func (v *visit) open(proc *os.File) (err error) {
	if !v.outside {
		if err := v.openNamespace(proc); err != nil {
			return err
		}
	}
	v.root, err = sys.Openat(proc, "root", openPath)
	return ended(proc, err)
}

// openNamespace opens the namespace, unless it is everybody's.
func (v *visit) openNamespace(proc *os.File) (err error) {
	if v.ns, err = sys.Openat(proc, "ns/mnt", unix.O_RDONLY); err != nil {
		return ended(proc, err)
	}
	for _, common := range []string{"/proc/thread-self/ns/mnt", "/proc/1/ns/mnt"} {
		same, err := sys.Same(v.ns, common)
		if err != nil {
			return err
		}
		if same {
			return ErrNotItsOwn
		}
	}
	if v.foreign, err = isForeign(v.ns); err != nil || sys.HasStatmount.Available() {
		return err
	}
	v.mounts, err = sys.Openat(proc, "mountinfo", unix.O_RDONLY)
	return ended(proc, err)
}

// ended turns what /proc says of a process that has none of it any more into ESRCH, and says
// why it shows nothing of one that it knows (ptrace(2), access mode checking). One that is
// just ending is denied to everybody for a moment.
func ended(proc *os.File, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission) && isEnding(proc):
		return fmt.Errorf("%w: %w", unix.ESRCH, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this needs CAP_SYS_PTRACE in the user namespace of the process: %w", err)
	}
	return err
}

// isEnding reports whether a process is past its last instruction: its flags have PF_EXITING,
// which everybody may see (proc_pid_stat(5), field 9), or it has no entry any more.
func isEnding(proc *os.File) bool {
	const exiting = 0x4
	f, err := sys.Openat(proc, "stat", unix.O_RDONLY)
	if err != nil {
		return true
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	_, after, found := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ") // a name may hold anything
	fields := strings.Fields(after)
	if err != nil || !found || len(fields) < 7 {
		return true
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err != nil || flags&exiting != 0
}

// isForeign reports whether the namespace belongs to another user namespace than the caller's.
func isForeign(ns *os.File) (bool, error) {
	owner, err := sys.OwnerOf(ns)
	if errors.Is(err, unix.EPERM) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer owner.Close()
	same, err := sys.Same(owner, "/proc/thread-self/ns/user")
	return !same, err
}

// enter takes the thread to the namespace. Nothing must be done there by path.
func (v *visit) enter() error {
	err := sys.EnterMounts(v.ns, v.root)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("this needs CAP_SYS_ADMIN and CAP_SYS_CHROOT, also in the user namespace that owns it: %w", err)
	}
	return err
}

// close closes what open has opened.
func (v *visit) close() {
	for _, f := range []*os.File{v.ns, v.root, v.mounts} {
		if f != nil {
			f.Close()
		}
	}
}

// parent opens the directory that holds the target.
func (v *visit) parent() (*os.File, string, error) {
	f, err := sys.Openat2(v.root, path.Dir(v.target), openPath, resolveOver)
	return f, path.Base(v.target), moved(err)
}

// moved gives the EXDEV of a path that cannot leave the root its reason: a rename on the way.
func moved(err error) error {
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	return err
}
