package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/agent/volume"
	"tenon/mount/mounttest"
)

const (
	right = "0e9cdd37-6c4f-4b2e-8d4f-c0ffee000000"
	wrong = "0e9cdd37-6c4f-4b2e-8d4f-c0ffee000001"
)

// diskAt is a disk at a directory that exists.
func diskAt(t *testing.T, dir string) *disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := &disk{dir: dir}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// mountAt mounts a file system of its own at dir and makes it a pool, unless pool is "".
func mountAt(t *testing.T, dir, pool string) (unmount func()) {
	t.Helper()
	mounttest.RequireMounts(t)
	d := diskAt(t, dir)
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	mounted := true
	unmount = func() {
		t.Helper()
		if err := unix.Unmount(dir, 0); mounted && err != nil {
			t.Errorf("unmount: %v", err)
		}
		mounted = false
	}
	t.Cleanup(unmount)
	if pool != "" {
		if err := errors.Join(d.format(pool), d.close()); err != nil {
			t.Fatal(err)
		}
	}
	return unmount
}

func wantSeen(t *testing.T, d *disk, want volume.SeenDisk) {
	t.Helper()
	got := d.see(right)
	got.Size = 0 // is that of the machine
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("saw %+v, want %+v", got, want)
	}
	_, err := d.use(right)
	if (err == nil) != (want.Pool == right) {
		t.Errorf("with %+v, use says %v", want, err)
	}
}

func TestTheRightDiskIsSeenAfterAWrongOne(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.CloneDetached, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "disk")
		d := &disk{dir: dir}
		wantSeen(t, d, volume.SeenDisk{Missing: "open " + dir + ": no such file or directory"})
		for _, pool := range []string{wrong, "", wrong} {
			unmount := mountAt(t, dir, pool)
			wantSeen(t, d, volume.SeenDisk{Empty: pool == "", Pool: pool})
			wantSeen(t, d, volume.SeenDisk{Empty: pool == "", Pool: pool})
			unmount() // not busy: nothing of it is held
		}
		unmount := mountAt(t, dir, right)
		wantSeen(t, d, volume.SeenDisk{Pool: right})
		over := mountAt(t, dir, wrong)
		wantSeen(t, d, volume.SeenDisk{Pool: right}) // whatever comes on top of it
		over()
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
		unmount()
	})
}

func TestOnlyTheRightPoolIsListed(t *testing.T) {
	t.Parallel()
	d := diskAt(t, filepath.Join(t.TempDir(), "disk"))
	if err := d.format(wrong); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d.dir, "live", "unknown"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.see(right)
	if all, err := d.unlisted(right); len(all) != 0 || err != nil {
		t.Errorf("of a wrong pool: %v, %v", all, err)
	}
	d.see(wrong)
	for _, want := range []int{1, 0} { // once
		if all, err := d.unlisted(wrong); len(all) != want || err != nil {
			t.Errorf("of the right pool: %v, %v, want %d", all, err, want)
		}
		d.see(wrong)
	}
}

func TestAMountDiskIsNoneWithoutAMount(t *testing.T) {
	d := diskAt(t, filepath.Join(t.TempDir(), "disk"))
	d.mount = true
	for range 2 {
		if seen := d.see(right); !strings.Contains(seen.Missing, "nothing is mounted at "+d.dir+", which is configured as a MOUNT disk") {
			t.Errorf("saw %+v", seen)
		}
		if err := d.format(right); err == nil {
			t.Error("a pool was made beneath the mount point")
		}
		mountAt(t, d.dir, "")()
	}
	if left, err := os.ReadDir(d.dir); len(left) != 0 || err != nil {
		t.Errorf("in it are %v, %v", left, err)
	}
	mountAt(t, d.dir, right)
	wantSeen(t, d, volume.SeenDisk{Pool: right})
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
}
