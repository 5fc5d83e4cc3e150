package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/mount/mounttest"
)

func TestLimitOfASharedVolumeIsOneForAllThatWriteToIt(t *testing.T) {
	limiting(t, func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("data", 8, true))
		file := func(task string) string { return filepath.Join(dir, "sandboxes", task, "data", task) }
		for _, task := range []string{"one", "two", "three"} {
			n.must(t, use(task, "data", "", resource.RW))
		}
		for _, task := range []string{"one", "two"} {
			if _, err := mounttest.Fill(t, file(task), 3*mib); err != nil {
				t.Fatal(err)
			}
		}
		holds(t, d, file("three"), 2)
		if _, err := mounttest.Fill(t, file("one")+"-more", mib); !errors.Is(err, d.Full) {
			t.Errorf("another writer: %v, want %v", err, d.Full)
		}
		n.must(t, volume.Resize{Ref: "web/data", Size: 9 * resource.One})
		if written, err := mounttest.Fill(t, file("two")+"-more", mib-d.Overhead); err != nil {
			t.Errorf("after it was made larger %d bytes were written, then %v", written, err)
		}
		for _, task := range []string{"one", "two", "three"} {
			n.must(t, volume.Release{Task: task})
		}
		n.must(t, volume.Destroy{Ref: "web/data"})
	})
}

// blocks adds up what du does.
func blocks(t *testing.T, dir string) (sum resource.Bytes, files int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st, _ := info.Sys().(*syscall.Stat_t)
		sum += resource.Bytes(st.Blocks) * 512
		files++
		return nil
	}))
	return sum, files
}

func TestLimitsCountWhatDuAddsUp(t *testing.T) {
	onDisks(t, []mounttest.Filesystem{mounttest.XFS, mounttest.Ext4}, func(t *testing.T, d *mounttest.Disk, dir string) {
		n := start(t, dir)
		n.reserve(t)
		n.must(t, creation("data", 32, true))
		v := n.volume(t, "data")
		for i := range 40 {
			at := filepath.Join(n.data(v), fmt.Sprint("d", i%4))
			must(t, os.MkdirAll(at, 0o755))
			must(t, os.WriteFile(filepath.Join(at, fmt.Sprint("f", i)), make([]byte, i*5000), 0o644))
		}
		syscall.Sync()
		used, err := n.Usage(t.Context(), v.UUID)
		must(t, err)
		sum, files := blocks(t, n.data(v))
		if got := used[v.UUID].Bytes; got < sum-resource.Bytes(files)*4096 || got > sum+resource.Bytes(files)*4096 {
			t.Errorf("%d bytes are counted, du has %d in %d files", got, sum, files)
		} else {
			t.Logf("%d bytes are counted, du has %d in %d files", got, sum, files)
		}
		n.must(t, volume.Destroy{Ref: "web/data"})
	})
}
