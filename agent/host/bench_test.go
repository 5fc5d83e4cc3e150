package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/agent"
	"tenon/agent/api"
	"tenon/agent/client"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/checkpoint"
	"tenon/isolator/quota"
	"tenon/mount/mounttest"
)

// Each benchmark has a twin named bare: the system calls without which the work can't be
// done, in the same run, on the same disk. Their ratio is what counts.

func benchNode(b *testing.B) (*agent.Agent, string) {
	b.Helper()
	mounttest.RequireRoot(b)
	dir, err := os.MkdirTemp(".", "bench-") // beside the sources: on a disk, where /tmp may be none
	if err != nil {
		b.Fatal(err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		b.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open(filepath.Join(dir, "state"), checkpoint.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	// Sandboxes are in memory, so that mount points cost little on either side.
	sandboxes := filepath.Join(dir, "sandboxes")
	must(b, os.Mkdir(sandboxes, 0o711))
	must(b, unix.Mount("sandboxes", sandboxes, "tmpfs", 0, "mode=0711"))
	o := options(dir)
	o.Projects = quota.Range{First: 1 << 20, Last: 1 << 21} // for more than the callers ask for at the same time
	h, err := host.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	a, err := agent.Start(context.Background(), agent.Options{Kernel: h, Journal: j, Boot: "this", Log: quiet,
		Disks: []volume.Disk{{Total: 1 << 40}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		a.Stop()
		_, _ = h.Close(), j.Close()
		must(b, unix.Unmount(sandboxes, unix.MNT_DETACH)) // that of the agent lies on top, if there is one
		_ = unix.Unmount(sandboxes, unix.MNT_DETACH)
		must(b, host.Remove(options(dir), dir))
	})
	do(b, a, volume.Reserve{Resources: []resource.Resource{{Name: "disk", Type: resource.TypeScalar, Scalar: 1 << 39,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}}})
	return a, dir
}

func do(b *testing.B, a *agent.Agent, ops ...volume.Operation) {
	if _, err := a.Do(context.Background(), ops...); err != nil {
		b.Error(err)
	}
}

func newVolume(id string) volume.Create {
	return volume.Create{Role: "web", Owner: volume.Owner{Mode: 0o755}, Volume: resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: resource.One, Shared: true,
		Disk: &resource.Disk{Persistence: &resource.Persistence{ID: id}, Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}}}
}

// manyMounts mounts n file systems somewhere else in the namespace until the end.
func manyMounts(b *testing.B, dir string, n int) {
	b.Helper()
	if n == 0 {
		return
	}
	base := filepath.Join(dir, "others")
	if err := os.Mkdir(base, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := unix.Mount("others", base, "tmpfs", 0, ""); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Unmount(base, unix.MNT_DETACH) }) // takes its children along
	for i := range n {
		at := filepath.Join(base, strconv.Itoa(i))
		if err := os.Mkdir(at, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := unix.Mount("/proc/self", at, "", unix.MS_BIND, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttachDetach(b *testing.B) {
	for _, mounts := range []int{0, 50_000} {
		b.Run(fmt.Sprintf("mounts=%d", mounts), func(b *testing.B) {
			a, dir := benchNode(b)
			do(b, a, newVolume("data"))
			do(b, a, volume.Claim{Task: "t", Lease: volume.Lease{PID: os.Getpid()}}) // does not end with its last detach
			v, _ := a.State().Find("web/data")
			manyMounts(b, dir, mounts)
			data := filepath.Join(dir, "pool/live", string(v.UUID), "data")
			b.Run("bare", func(b *testing.B) { bareAttach(b, data, dir, false) })
			b.Run("bare-mkdir", func(b *testing.B) { bareAttach(b, data, dir, true) })
			b.Run("agent", func(b *testing.B) {
				for b.Loop() {
					do(b, a, volume.Attach{Task: "t", Use: volume.Use{Volume: "web/data"}, Via: volume.ByPath})
					do(b, a, volume.Detach{Task: "t", Volume: "web/data"})
				}
			})
		})
	}
}

// BenchmarkAttachDetachThroughTheSocket is the same work by callers of the API, each with
// a task of its own on one shared volume.
func BenchmarkAttachDetachThroughTheSocket(b *testing.B) {
	for _, callers := range []int{1, 2, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			a, dir := benchNode(b)
			do(b, a, newVolume("data"))
			v, _ := a.State().Find("web/data")
			ln, err := api.Listen(filepath.Join(dir, "s"), "")
			must(b, err)
			server := api.New(api.Options{Agent: a})
			served := make(chan error, 1)
			go func() { served <- server.Serve(ln) }()
			c := client.New(filepath.Join(dir, "s"))
			b.Run("bare", func(b *testing.B) {
				bareAttach(b, filepath.Join(dir, "pool/live", string(v.UUID), "data"), dir, true)
			})
			b.Run("agent", func(b *testing.B) {
				var n atomic.Int64
				tasks := make(chan string, callers)
				for range callers {
					task := fmt.Sprint("t", n.Add(1))
					do(b, a, volume.Claim{Task: task, Lease: volume.Lease{PID: os.Getpid()}})
					tasks <- task
				}
				together(b, callers, func() {
					task := <-tasks
					_, err := c.Attach(context.Background(), task, wire.Attach{Use: wire.Use{Volume: "web/data"}})
					if err == nil {
						err = c.Detach(context.Background(), task, "web/data", "", false)
					}
					if err != nil {
						b.Error(err)
					}
					tasks <- task
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
			})
			c.Close()
			must(b, server.Shutdown(context.Background()))
			must(b, <-served)
		})
	}
}

// bareAttach is clone, attributes, move and unmount, with everything opened before, and
// with or without making and removing the mount point.
func bareAttach(b *testing.B, source, dir string, mkdir bool) {
	target := filepath.Join(dir, "sandboxes", "bare")
	if err := os.MkdirAll(target, 0o755); err != nil {
		b.Fatal(err)
	}
	self, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	must(b, err)
	defer unix.Close(self)
	at, err := unix.Open(target, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(b, err)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	for b.Loop() {
		if mkdir {
			unix.Close(at)
			must(b, unix.Rmdir(target))
			must(b, unix.Mkdir(target, 0o755))
			at, err = unix.Open(target, unix.O_PATH|unix.O_CLOEXEC, 0)
			must(b, err)
		}
		fd, err := unix.OpenTree(self, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
		must(b, err)
		must(b, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr))
		must(b, unix.MoveMount(fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
		unix.Close(fd)
		must(b, unix.Unmount(target, unix.UMOUNT_NOFOLLOW))
	}
	unix.Close(at)
}

func must(b testing.TB, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

func BenchmarkDurableCreate(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			a, dir := benchNode(b)
			b.Run("bare-fdatasync", func(b *testing.B) { bareSync(b, dir, callers) })
			b.Run("bare-directories", func(b *testing.B) { bareDirectories(b, dir, callers) })
			var id atomic.Int64
			b.Run("agent", func(b *testing.B) {
				together(b, callers, func() { do(b, a, newVolume(strconv.FormatInt(id.Add(1), 10))) })
			})
		})
	}
}

// together does b.N pieces of work by a number of callers at once.
func together(b *testing.B, callers int, work func()) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				work()
			}
		})
	}
	all.Wait()
}

// bareSync is one write of 256 bytes per caller and one fdatasync for all callers, in a
// file that was written before.
func bareSync(b *testing.B, dir string, callers int) {
	f, err := os.Create(filepath.Join(dir, "bare-sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 4<<20)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 256)
	b.ResetTimer()
	for i := 0; i < b.N; i += callers {
		for j := range callers {
			if _, err := f.WriteAt(record, int64((i+j)*len(record))%(4<<20)); err != nil {
				b.Fatal(err)
			}
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
}

// bareNames numbers the directories of bareDirectories, in all its runs.
var bareNames atomic.Int64

// bareDirectories makes a volume's two directories, moves them and syncs, each caller
// for itself.
func bareDirectories(b *testing.B, dir string, callers int) {
	in, live := filepath.Join(dir, "bare-in"), filepath.Join(dir, "bare-live")
	_, _ = os.Mkdir(in, 0o755), os.Mkdir(live, 0o755)
	parent, err := os.Open(live)
	if err != nil {
		b.Fatal(err)
	}
	defer parent.Close()
	together(b, callers, func() {
		name := strconv.FormatInt(bareNames.Add(1), 10)
		if err := os.MkdirAll(filepath.Join(in, name, "data"), 0o700); err != nil {
			b.Error(err)
		}
		if err := os.Rename(filepath.Join(in, name), filepath.Join(live, name)); err != nil {
			b.Error(err)
		}
		if err := parent.Sync(); err != nil {
			b.Error(err)
		}
	})
}
