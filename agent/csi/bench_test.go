package csi

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// BenchmarkPublishUnpublish is a pod's volume coming and going through gRPC on the unix
// socket, by callers that each have a directory of their own, while a number of file systems
// are mounted elsewhere. Its twin named bare is the system calls without which the work
// cannot be done, in the same run.
func BenchmarkPublishUnpublish(b *testing.B) {
	for _, mounts := range []int{0, 10_000} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("mounts=%d/callers=%d", mounts, callers), func(b *testing.B) { benchPublish(b, mounts, callers) })
		}
	}
}

func benchPublish(b *testing.B, mounts, callers int) {
	dir := directory(b, ".") // beside the sources: on a disk, where the directory for temporary files may be none
	n := real(b, dir)
	v := n.create(b, "data", multi)
	manyMounts(b, dir, mounts)
	data := filepath.Join(dir, "pool/live", string(n.find(b, v).UUID), "data")
	b.Run("bare", func(b *testing.B) { bare(b, data, n.target(b, "bare")) })
	b.Run("csi", func(b *testing.B) {
		asks := make(chan func(), callers)
		for i := range callers {
			asks <- n.pair(b, v, n.target(b, fmt.Sprint("pod-", i)))
		}
		together(b, callers, func() {
			ask := <-asks
			ask()
			asks <- ask
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
	})
}

// pair gives a function that publishes and unpublishes, by a connection of its own.
func (n *node) pair(b *testing.B, v *csi.Volume, at string) func() {
	conn, err := grpc.NewClient("unix:"+n.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(b, err)
	b.Cleanup(func() { must(b, conn.Close()) })
	c, ctx := csi.NewNodeClient(conn), context.Background()
	return func() {
		if _, err := c.NodePublishVolume(ctx, publication(v, at, multi)); err != nil {
			b.Error(err)
		}
		if _, err := c.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.VolumeId, TargetPath: at}); err != nil {
			b.Error(err)
		}
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

// bare makes a mount point, mounts with attributes, unmounts and removes it.
func bare(b *testing.B, source, at string) {
	self, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	must(b, err)
	defer unix.Close(self)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	for b.Loop() {
		must(b, unix.Mkdir(at, 0o755))
		fd, err := unix.OpenTree(self, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
		must(b, err)
		must(b, unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr))
		must(b, unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH))
		must(b, unix.Close(fd))
		must(b, unix.Unmount(at, unix.UMOUNT_NOFOLLOW))
		must(b, unix.Rmdir(at))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
}

// manyMounts mounts n file systems somewhere else in the namespace until the end.
func manyMounts(b *testing.B, dir string, n int) {
	b.Helper()
	if n == 0 {
		return
	}
	base := filepath.Join(dir, "others")
	must(b, os.Mkdir(base, 0o755))
	must(b, unix.Mount("others", base, "tmpfs", 0, ""))
	b.Cleanup(func() { must(b, unix.Unmount(base, unix.MNT_DETACH)) }) // takes its children along
	for i := range n {
		at := filepath.Join(base, strconv.Itoa(i))
		must(b, os.Mkdir(at, 0o755))
		must(b, unix.Mount("/proc/self", at, "", unix.MS_BIND, ""))
	}
}
