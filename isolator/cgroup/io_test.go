package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"tenon/mount/mounttest"
)

// onDisk gives a directory on a file system that has a device of its own, and that device.
func onDisk(t *testing.T) (string, Device) {
	t.Helper()
	for _, parent := range []string{t.TempDir(), "/mnt/d0"} { // the second is a virtual machine's
		dir, err := os.Open(parent)
		if err != nil {
			continue
		}
		d, err := DeviceOf(dir)
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			return parent, d
		}
	}
	mounttest.Skip(t, "disk", "no directory is on a block device")
	return "", Device{}
}

// limiting is onEach for the hierarchies whose groups can have limits.
func limiting(t *testing.T, test func(t *testing.T, m *Manager)) {
	onEach(t, func(t *testing.T, m *Manager) {
		if err := m.LimitsIO(); err != nil {
			if !errors.Is(err, ErrUnsupported) {
				t.Error(err)
			}
			if _, missing := m.group("/none").IOLimits(); missing != nil {
				t.Errorf("limits of a group where there can be none: %v", missing)
			}
			mounttest.Skip(t, "io", err.Error())
		}
		test(t, m)
		if !m.hierarchy.alone() {
			if err := remove(blkioRoot + m.parent); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestLimitsAreThoseOfTheGroupAndGoWithIt(t *testing.T) {
	limiting(t, func(t *testing.T, m *Manager) {
		_, d := onDisk(t)
		g := mustCreate(t, m, "task")
		if limits, err := g.IOLimits(); err != nil || len(limits) > 0 {
			t.Errorf("a new group has limits %v, %v", limits, err)
		}
		want := IOLimit{Device: d, Read: 10 << 20, Write: 5 << 20, ReadOps: 100, WriteOps: 50}
		for range 2 {
			if err := g.LimitIO(want); err != nil {
				t.Fatal(err)
			}
			if limits, err := g.IOLimits(); err != nil || !slices.Equal(limits, []IOLimit{want}) {
				t.Errorf("the kernel has limits %+v, %v, want %+v", limits, err, want)
			}
		}
		fewer := IOLimit{Device: d, Write: 5 << 20}
		if err := g.LimitIO(fewer); err != nil {
			t.Fatal(err)
		}
		if limits, err := g.IOLimits(); err != nil || !slices.Equal(limits, []IOLimit{fewer}) {
			t.Errorf("the kernel has limits %+v, %v, want %+v alone", limits, err, fewer)
		}
		none := m.group("/none")
		if err := none.LimitIO(want); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("limits of a group that is not there: %v", err)
		}
		if _, err := os.Stat(none.IOPath()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("there are limits of a group that is not there: %v", err)
		}
		less := mustCreate(t, m, "less")
		if err := less.LimitIO(IOLimit{Device: d, Write: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		if limits, err := less.IOLimits(); err != nil || !slices.Equal(limits, []IOLimit{{Device: d, Write: 1 << 20}}) {
			t.Errorf("the kernel has limits %+v, %v, want one of writes", limits, err)
		}
		for _, g := range []*Group{g, less} {
			if err := g.Delete(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(g.IOPath()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the limits outlive their group: %v", err)
			}
		}
	})
}

// The least time is what the kernel's limit makes it; a slow machine takes longer.
func TestWhoJoinsIsHeldToTheLimits(t *testing.T) {
	limiting(t, func(t *testing.T, m *Manager) {
		dir, d := onDisk(t)
		g := mustCreate(t, m, "task")
		if err := g.LimitIO(IOLimit{Device: d, Write: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		file, err := os.CreateTemp(dir, "tenon-io-test-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(file.Name())
		writer := exec.Command("sh", "-c", "read go && dd if=/dev/zero of="+file.Name()+" bs=256k count=12 oflag=direct")
		in, err := writer.StdinPipe()
		if err = errors.Join(err, file.Close(), writer.Start()); err != nil {
			t.Fatal(err)
		}
		err = g.Join(writer.Process.Pid)
		begin := time.Now()
		_, said := in.Write([]byte("go\n"))
		if err := errors.Join(err, said, in.Close(), writer.Wait()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 1500*time.Millisecond {
			t.Errorf("3 MiB were written in %s, at 1 MiB a second", took)
		}
		if err := g.Delete(); err != nil {
			t.Error(err)
		}
	})
}

func TestADirectoryThatIsOnNoDeviceHasNoLimits(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/proc", "/sys"} {
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := DeviceOf(dir); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "is on no block device") {
			t.Errorf("%s is on %v, %v", path, d, err)
		}
		_ = dir.Close()
	}
}
