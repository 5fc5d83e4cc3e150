package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/mount/mounttest"
)

// tmpfs mounts a file system of its own at one of the site's directories.
func (p *site) tmpfs(name, options string) {
	p.t.Helper()
	p.must(os.MkdirAll(p.path(name), 0o755))
	p.must(unix.Mount("tenon-test", p.path(name), "tmpfs", 0, options))
	p.t.Cleanup(func() { p.must(unix.Unmount(p.path(name), unix.MNT_DETACH)) })
}

// configure adds to the site's configuration.
func (p *site) configure(more string) {
	p.t.Helper()
	f, err := os.OpenFile(p.path("tenon.toml"), os.O_APPEND|os.O_WRONLY, 0)
	p.must(err)
	_, err = f.WriteString(more)
	p.must(errors.Join(err, f.Close()))
}

// recovered waits until nothing is wrong any more.
func (p *site) recovered() {
	p.t.Helper()
	for {
		st, err := p.Status(p.t.Context())
		p.must(err)
		if st.Healthy && st.Counts.Faults == 0 {
			return
		}
	}
}

// createOn makes a volume on the disk at a directory.
func (p *site) createOn(ctx context.Context, dir, id string) error {
	_, err := p.Create(ctx, wire.CreateVolume{Role: "web", ID: id, Size: resource.MiB, Shared: true, Disk: dir})
	return err
}

func (p *site) reserveOn(dir string, mb int) {
	p.t.Helper()
	path := dir
	_, err := p.Apply(p.t.Context(), resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: []resource.Resource{{
		Name: "disk", Type: resource.TypeScalar, Scalar: resource.Scalar(mb) * resource.One,
		Disk:         &resource.Disk{Source: &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &path}}},
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}}}})
	p.must(err)
}

func TestAFullPoolRefusesUntilThereIsRoom(t *testing.T) {
	p := newSite(t)
	p.tmpfs("pool", "size=4g,nr_inodes=40")
	a := p.start("")
	p.reserve(1024)
	made := 0
	for ; ; made++ {
		if err := p.create(fmt.Sprint("v", made)); err != nil {
			if !errors.Is(err, volume.ErrInsufficient) || !strings.Contains(err.Error(), "the disk is full") {
				t.Fatalf("a full pool: %v", err)
			}
			break
		}
	}
	if volumes, _ := p.check(); len(volumes) != made {
		t.Errorf("%d volumes of %d are left", len(volumes), made)
	}
	_, err := p.Destroy(t.Context(), "web/v0", true)
	p.must(err)
	p.must(p.create("more"))
	p.check()
	a.end(syscall.SIGTERM)
}

func TestAJournalsFullDiskRefusesUntilThereIsRoom(t *testing.T) {
	p := newSite(t)
	p.tmpfs("state", "size=2m")
	a := p.start("")
	p.must(mountFill(p.path("state", "filler")))
	var err error
	for n := 0; err == nil && n < 100_000; n++ {
		err = p.tryReserve(1)
		if err == nil {
			_, err = p.Apply(t.Context(), unreserveOne())
		}
	}
	if !errors.Is(err, volume.ErrInsufficient) {
		t.Fatalf("a full disk of the journal: %v", err)
	}
	if st, err := p.Status(t.Context()); err != nil || !st.Healthy {
		t.Errorf("status %+v, %v", st.Problem, err)
	}
	p.must(os.Remove(p.path("state", "filler")))
	p.must(p.tryReserve(8))
	a.end(syscall.SIGKILL)
	a = p.start("")
	p.must(p.create("kept"))
	p.check()
	a.end(syscall.SIGTERM)
}

func unreserveOne() resource.Operation {
	return resource.Operation{Type: resource.OpUnreserve, Unreserve: &resource.Unreserve{Resources: []resource.Resource{{
		Name: "disk", Type: resource.TypeScalar, Scalar: resource.One, Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}}}}
}

// mountFill writes a file until nothing more fits.
func mountFill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return f.Close()
}

func TestAPoolThatBecomesReadOnlyIsToldAndRecovers(t *testing.T) {
	p := newSite(t)
	p.tmpfs("pool", "")
	a := p.start("")
	p.reserve(64)
	p.must(p.create("old"))
	p.must(p.create("victim"))
	remount := func(flags uintptr) {
		t.Helper()
		p.must(unix.Mount("", p.path("pool"), "", unix.MS_REMOUNT|flags, ""))
	}
	remount(unix.MS_RDONLY)
	if err := p.create("new"); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("create: %v", err)
	}
	if _, err := p.Destroy(t.Context(), "web/victim", true); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("destroy: %v", err)
	}
	p.must(p.attach("reader", "old", resource.RO))
	st, err := p.Status(t.Context())
	p.must(err)
	if st.Counts.Faults == 0 || !st.Healthy {
		t.Errorf("healthy %v, faults %+v", st.Healthy, st.Faults)
	}
	remount(0)
	p.recovered() // by itself
	p.must(p.create("new"))
	p.must(p.Release(t.Context(), "reader", false))
	if volumes, _ := p.check(); len(volumes) != 2 {
		t.Errorf("volumes %+v", volumes)
	}
	a.end(syscall.SIGTERM)
}

func TestADiskThatIsUnmountedUnderTheAgentGoesOnAndComesBack(t *testing.T) {
	p := newSite(t)
	d := mounttest.NewDisk(t, mounttest.Plain()[0])
	p.configure(fmt.Sprintf("\n[[disk]]\npath = %q\nsize = \"64MiB\"\n", d.Dir))
	a := p.start("")
	defer func() { a.end(syscall.SIGKILL) }()
	p.reserve(8)
	p.reserveOn(d.Dir, 8)
	p.must(p.createOn(t.Context(), d.Dir, "far"))
	p.must(unix.Unmount(d.Dir, unix.MNT_DETACH)) // what is open stays open
	p.must(p.attach("writer", "far", resource.RW))
	p.must(os.WriteFile(p.path("sandboxes/writer/data/file"), []byte("precious"), 0o600))
	p.must(p.Release(t.Context(), "writer", false))
	a.end(syscall.SIGTERM)

	a = p.start("")
	if err := p.attach("writer", "far", resource.RW); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("on a disk that is not there: %v", err)
	}
	p.must(p.create("near"))
	p.must(d.Mount())
	p.recovered()
	p.must(p.attach("reader", "far", resource.RO))
	if text, err := os.ReadFile(p.path("sandboxes/reader/data/file")); err != nil || string(text) != "precious" {
		t.Errorf("data %q, %v", text, err)
	}
	p.must(p.Release(t.Context(), "reader", false))
	a.end(syscall.SIGTERM)
}

func TestASandboxThatIsDeletedUnderItsMountIsForgotten(t *testing.T) {
	p := newSite(t)
	a := p.start("")
	p.reserve(64)
	p.must(p.create("data"))
	p.must(p.attach("task", "data", resource.RW))
	p.must(os.WriteFile(p.path("sandboxes/task/data/file"), []byte("precious"), 0o600))
	// In another namespace the mount does not keep its directory from being removed, and the
	// kernel takes the mount away here.
	remove := fmt.Sprintf("umount %[1]s/data && rm -r %[1]s", p.path("sandboxes/task"))
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", remove).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if mounts := mountsBeneath(t, p.path("sandboxes")+"/"); len(mounts) > 0 {
		t.Fatalf("the mount is still there: %q", mounts)
	}
	p.must(p.Release(t.Context(), "task", false))
	p.check()
	p.must(p.attach("task", "data", resource.RW))
	if text, err := os.ReadFile(p.path("sandboxes/task/data/file")); err != nil || string(text) != "precious" {
		t.Errorf("data %q, %v", text, err)
	}
	p.must(p.Release(t.Context(), "task", false))
	p.check()
	a.end(syscall.SIGTERM)
}

// The kernel bounds the mounts of a namespace (fs.mount-max).
func TestAtTheLimitOfMountsAttachingIsRefusedUntilThereIsRoom(t *testing.T) {
	p := newSite(t)
	a := p.start("")
	p.reserve(64)
	p.must(p.create("data"))
	p.must(p.attach("early", "data", resource.RW))
	many := p.path("many")
	p.tmpfs("many", "")
	p.must(unix.Mount("", many, "", unix.MS_PRIVATE, ""))
	// Each mount of the tree into itself doubles it; at the end single ones fill what is left.
	var err error
	for n := 0; err == nil; n++ {
		err = bindInto(many, many, fmt.Sprint("twice", n))
	}
	for n := 0; errors.Is(err, unix.ENOSPC) && n < 20; n++ {
		small := p.path("many", fmt.Sprint("twice", max(0, 12-n)))
		for i := 0; ; i++ {
			if err = bindInto(many, small, fmt.Sprint("once", n, "-", i)); err != nil {
				break
			}
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	err = p.attach("late", "data", resource.RW)
	if !errors.Is(err, volume.ErrInsufficient) || !strings.Contains(err.Error(), "fs.mount-max") {
		t.Errorf("at the limit: %v", err)
	}
	p.must(unix.Unmount(many, unix.MNT_DETACH))
	p.must(unix.Mount("tenon-test", many, "tmpfs", 0, "")) // for the end of the test
	for err = p.attach("late", "data", resource.RW); errors.Is(err, volume.ErrPending); {
		err = p.attach("late", "data", resource.RW)
	}
	p.must(err)
	for _, task := range []string{"early", "late"} {
		p.must(p.Release(t.Context(), task, false))
	}
	p.check()
	a.end(syscall.SIGTERM)
}

func bindInto(dir, source, name string) error {
	target := filepath.Join(dir, name)
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	return unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, "")
}

func TestAtTheLimitOfDescriptorsCallsAreRefusedUntilThereAreSome(t *testing.T) {
	p := newSite(t)
	a := p.start("")
	p.reserve(64)
	p.must(p.create("data"))
	_, err := p.Status(t.Context()) // its connection stays
	p.must(err)
	open := names(t, fmt.Sprintf("/proc/%d/fd", a.Process.Pid))
	var before unix.Rlimit
	p.must(unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, nil, &before))
	p.must(unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)), Max: before.Max}, nil))
	err = p.attach("task", "data", resource.RW)
	if err == nil || !strings.Contains(err.Error(), "too many open files") {
		t.Errorf("at the limit: %v", err)
	}
	p.must(unix.Prlimit(a.Process.Pid, unix.RLIMIT_NOFILE, &before, nil))
	for err = p.attach("task", "data", resource.RW); errors.Is(err, volume.ErrPending); { // what was taken back is being removed
		err = p.attach("task", "data", resource.RW)
	}
	p.must(err)
	p.must(p.Release(t.Context(), "task", false))
	p.recovered()
	p.check()
	a.end(syscall.SIGTERM)
}

func TestWhatWasAnsweredBeforeAnOrderlyEndIsKept(t *testing.T) {
	p := newSite(t)
	a := p.start("")
	p.reserve(2048)
	const callers = 16
	var mu sync.Mutex
	told := map[string]bool{}
	enough := make(chan struct{})
	var work sync.WaitGroup
	for c := range callers {
		work.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("v%d-%d", c, n)
				if err := p.create(id); err != nil {
					return
				}
				mu.Lock()
				told["web/"+id] = true
				if len(told) == 2*callers {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	a.end(syscall.SIGTERM)
	work.Wait()
	if !a.ProcessState.Success() {
		t.Errorf("the agent ended with %v\n%s", a.ProcessState, a.log)
	}
	a = p.start("")
	volumes, _ := p.check()
	for _, v := range volumes {
		delete(told, v.Role+"/"+v.ID)
	}
	if len(told) > 0 {
		t.Errorf("answered, and not there: %v", told)
	}
	a.end(syscall.SIGTERM)
}

// A file system that is frozen answers nobody who would write, as one that hangs does.
func TestADiskThatHangsHoldsUpNoOther(t *testing.T) {
	p := newSite(t)
	d := mounttest.NewDisk(t, mounttest.Plain()[0])
	p.configure(fmt.Sprintf("\n[[disk]]\npath = %q\nsize = \"256MiB\"\n", d.Dir))
	a := p.start("")
	p.reserve(1024)
	p.reserveOn(d.Dir, 200)
	p.must(p.createOn(t.Context(), d.Dir, "victim"))
	thaw := freeze(t, d.Dir)
	defer thaw()
	const hung = 100 // more than a lane is wide
	ctx, giveUp := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for n := range hung {
		work.Go(func() { _ = p.createOn(ctx, d.Dir, fmt.Sprint("hung", n)) })
	}
	for n := 0; n < hung; { // all of them are recorded
		_, n = 0, 0
		for v, err := range p.AllVolumes(t.Context()) {
			p.must(err)
			if strings.HasPrefix(v.ID, "hung") {
				n++
			}
		}
	}
	for n := range 20 {
		id := fmt.Sprint("v", n)
		p.must(p.create(id))
		p.must(p.attach("task-"+id, id, resource.RW))
		p.must(p.Release(t.Context(), "task-"+id, false))
		_, err := p.Destroy(t.Context(), "web/"+id, true)
		p.must(err)
	}
	if st, err := p.Status(t.Context()); err != nil || !st.Healthy {
		t.Errorf("status: %v, %v", st.Problem, err)
	}
	giveUp()
	work.Wait()
	thaw()
	p.recovered()
	volumes, _ := p.settled()
	if len(volumes) != hung+1 {
		t.Errorf("%d volumes, want the %d that were asked for and one more", len(volumes), hung)
	}
	a.end(syscall.SIGTERM)
}

// freeze has all who would write to a file system wait (FIFREEZE, ioctl_fifreeze(2)) until it
// is thawed.
func freeze(t *testing.T, dir string) (thaw func()) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	const fifreeze, fithaw = 0xC0045877, 0xC0045878
	if err := unix.IoctlSetInt(int(f.Fd()), fifreeze, 0); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if err := unix.IoctlSetInt(int(f.Fd()), fithaw, 0); err != nil {
			t.Error(err)
		}
		f.Close()
	})
}
