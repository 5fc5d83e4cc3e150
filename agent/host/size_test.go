package host_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/mount/mounttest"
)

func TestAMountDiskOffersTheWholeFileSystemAndNothingWhileItIsNotMounted(t *testing.T) {
	mounttest.RequireMounts(t)
	dir := t.TempDir()
	if size, err := host.WholeSize(dir); err == nil || !strings.Contains(err.Error(), "nothing is mounted at "+dir) {
		t.Errorf("before it is mounted: %s, %v; want an error that says so", size, err)
	}
	if err := syscall.Mount("tenon", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if size, err := host.WholeSize(dir); err != nil || size != 16*resource.MiB {
		t.Errorf("WholeSize = %s, %v; want all 16 MiB", size, err)
	}
	if size, err := host.OfferedSize(dir); err != nil || size != 8*resource.MiB {
		t.Errorf("OfferedSize = %s, %v; want half of it", size, err)
	}
}
