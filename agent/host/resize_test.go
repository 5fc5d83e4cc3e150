package host_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// filled is an agent with a volume of 64 MiB that has 10 MiB in it.
func filled(t *testing.T) (*node, *volume.Volume) {
	t.Helper()
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	v, err := n.State().Find("web/data")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(n.dir, "pool", "live", string(v.UUID), "data")
	if err := errors.Join(os.Mkdir(filepath.Join(data, "sub"), 0o700),
		os.WriteFile(filepath.Join(data, "sub", "ten"), bytes.Repeat([]byte{1}, 10<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	return n, v
}

// refused asks for operations that must be refused for a reason, and change nothing.
func (n *node) refused(t *testing.T, kind error, parts string, ops ...volume.Operation) {
	t.Helper()
	before, _ := n.State().Find("web/data")
	_, err := n.Do(t.Context(), ops...)
	if !errors.Is(err, kind) || !strings.Contains(fmt.Sprint(err), parts) {
		t.Errorf("%s: %v, want %v with %q", ops[0].Name(), err, kind, parts)
	}
	if after, _ := n.State().Find("web/data"); after.Size != before.Size {
		t.Errorf("%s was refused and took the size from %s to %s", ops[0].Name(), before.Size, after.Size)
	}
}

// shrink is a SHRINK_VOLUME of a volume that has so many MiB then.
func (n *node) shrink(v *volume.Volume, size, by resource.Scalar) volume.Shrink {
	r := n.State().Resource(v)
	r.Scalar = size * resource.One
	return volume.Shrink{Volume: r, Subtract: by * resource.One}
}

func TestAVolumeNeverBecomesSmallerThanWhatIsInIt(t *testing.T) {
	n, v := filled(t)
	n.refused(t, volume.ErrInsufficient, "do not fit into", volume.Resize{Ref: "web/data", Size: 5 * resource.One})
	n.refused(t, volume.ErrInsufficient, "do not fit into", volume.Resize{Ref: string(v.UUID), Size: 10 * resource.One})
	n.refused(t, volume.ErrInsufficient, "do not fit into", n.shrink(v, 64, 60))
	n.refused(t, volume.ErrInsufficient, "do not fit into", n.shrink(v, 64, 32), n.shrink(v, 32, 28))
	n.refused(t, volume.ErrInsufficient, "do not fit into",
		volume.Resize{Ref: "web/data", Size: 32 * resource.One}, volume.Resize{Ref: "web/data", Size: 4 * resource.One})
	n.refused(t, volume.ErrNotFound, "", volume.Resize{Ref: "web/none", Size: resource.One})
	n.refused(t, volume.ErrNotFound, "", n.shrink(v, 63, 60))
	n.must(t, n.shrink(v, 64, 32))
	n.must(t, volume.Resize{Ref: "web/data", Size: 12 * resource.One})
	n.must(t, volume.Resize{Ref: "web/data", Size: 64 * resource.One})
	if v, _ = n.State().Find("web/data"); v.Size != 64*resource.One {
		t.Errorf("at the end it has %s", v.Size)
	}
}

func TestAVolumeThatCannotBeMeasuredStaysAsItIs(t *testing.T) {
	n, v := filled(t)
	smaller := volume.Resize{Ref: "web/data", Size: 20 * resource.One}

	// A host that has not looked at its disks yet does not know what is in them.
	other, err := host.Open(options(n.dir))
	if err != nil {
		t.Fatal(err)
	}
	if op, err := other.Prepare(t.Context(), n.State(), smaller); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("while its disk is away: %+v, %v", op, err)
	}
	larger := volume.Resize{Ref: "web/data", Size: 100 * resource.One}
	if op, err := other.Prepare(t.Context(), n.State(), larger); err != nil || op != larger {
		t.Errorf("one that grows is measured: %+v, %v", op, err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.RemoveAll(filepath.Join(n.dir, "pool", "live", string(v.UUID))); err != nil {
		t.Fatal(err)
	}
	n.refused(t, volume.ErrLost, "web/data", smaller) // before the state says so
	n.stop()
	n = start(t, n.dir)
	n.refused(t, volume.ErrLost, "web/data", smaller)
	n.refused(t, volume.ErrLost, "web/data", n.shrink(v, 64, 32))
	n.stop()
	if err := os.Rename(filepath.Join(n.dir, "pool"), filepath.Join(n.dir, "away")); err != nil {
		t.Fatal(err)
	}
	n = start(t, n.dir)
	n.refused(t, volume.ErrUnavailable, "web/data", smaller)
}

func TestAVolumeOnAMountDiskThatIsMountedLate(t *testing.T) {
	dir := directory(t)
	at := filepath.Join(dir, "disk")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	source := &resource.Source{Type: resource.SourceMount, Mount: &resource.Root{Root: &at}}
	disk := volume.Disk{Key: "MOUNT:" + at, Source: source, Total: 64 * resource.One}
	n := startIn(t, dir, "this", disk)
	unit := volume.UnitOfDisk(disk.Key)
	f, bad := n.State().Fault(unit)
	if want := "nothing is mounted at " + at + ", which is configured as a MOUNT disk"; !bad || f.Kind != volume.ErrUnavailable || f.Reason != want {
		t.Errorf("without a mount: %+v, want %q", f, want)
	}
	space := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: disk.Total, Disk: &resource.Disk{Source: source},
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}
	n.must(t, volume.Reserve{Resources: []resource.Resource{space}})
	space.Shared = true
	space.Disk = &resource.Disk{Source: source, Persistence: &resource.Persistence{ID: "whole"},
		Volume: &resource.Volume{ContainerPath: "whole", Mode: resource.RW}}
	create := volume.Create{Volume: space, Owner: volume.Owner{Mode: 0o1777}}
	if _, err := n.Do(t.Context(), create); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("create without a mount: %v", err)
	}
	if left, err := os.ReadDir(at); len(left) != 0 || err != nil {
		t.Errorf("beneath the mount point are %v, %v", left, err)
	}

	if err := syscall.Mount("late", at, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.stop()
		if err := syscall.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	until(t, n.Agent, func(s *volume.State) bool { _, bad := s.Fault(unit); return !bad })
	n.must(t, create)
	n.must(t, use("task", "whole", "", resource.RW))
	if err := os.WriteFile(filepath.Join(dir, "sandboxes", "task", "whole", "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, _ := n.State().Find("web/whole")
	if _, err := os.Stat(filepath.Join(at, "live", string(v.UUID), "data", "file")); err != nil {
		t.Errorf("what a task wrote is not on the disk: %v", err)
	}
	n.must(t, volume.Release{Task: "task"})
	if _, err := n.Do(t.Context(), volume.Resize{Ref: "web/whole", Size: resource.One}); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("resize of what goes as a whole: %v", err)
	}
	marker, err := os.ReadFile(filepath.Join(at, "tenon.json"))
	if err != nil {
		t.Fatal(err)
	}
	n.must(t, volume.Destroy{Ref: "web/whole"})
	n.emptied(t, at, marker)
	n.must(t, create) // the disk is as good as before
	n.must(t, volume.Destroy{Ref: "web/whole"})
}

// emptied holds that a disk is a pool with its marker still, and nothing else is on it.
func (n *node) emptied(t *testing.T, at string, marker []byte) {
	t.Helper()
	var left []string
	err := filepath.WalkDir(at, func(path string, _ os.DirEntry, err error) error {
		left = append(left, strings.TrimPrefix(path, at))
		return err
	})
	if got := strings.Join(left, " "); err != nil || got != " /incoming /live /tenon.json /trash" {
		t.Errorf("left on the disk: %q, %v", got, err)
	}
	if now, err := os.ReadFile(filepath.Join(at, "tenon.json")); err != nil || !bytes.Equal(now, marker) {
		t.Errorf("its marker is %q, %v", now, err)
	}
}
