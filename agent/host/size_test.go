package host

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/mount/mounttest"
)

func TestAMountDiskOffersTheWholeFileSystemAndNothingWhileItIsNotMounted(t *testing.T) {
	mounttest.RequireMounts(t)
	dir := t.TempDir()
	d := &disk{dir: dir, mount: true, log: slog.New(slog.DiscardHandler)}
	if seen := d.see(right); seen.Size != 0 || !strings.Contains(seen.Missing, "nothing is mounted at "+dir) {
		t.Errorf("before it is mounted: %+v; want a reason that says so", seen)
	}
	if err := unix.Mount("tenon", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if seen := d.see(right); seen.Size != 16*resource.MiB || !seen.Empty {
		t.Errorf("a MOUNT disk of 16 MiB: %+v", seen)
	}
	d.mount = false
	if seen := d.see(right); seen.Size != 8*resource.MiB {
		t.Errorf("a PATH disk of 16 MiB: %+v; want half of it", seen)
	}
}
