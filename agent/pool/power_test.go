package pool

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// TestWhatWasAcknowledgedSurvivesAPowerCut holds every call that promises durability to
// it: after its return the filesystem stops writing at once, forgets what it has not
// written, and is mounted again.
func TestWhatWasAcknowledgedSurvivesAPowerCut(t *testing.T) {
	t.Parallel()
	for _, fstype := range []string{"ext4", "xfs", "btrfs"} {
		// Not in parallel: a mkfs that is being started holds, for an instant, what the
		// other has open, which then cannot be unmounted.
		t.Run(fstype, func(t *testing.T) { testPowerCut(t, fstype) })
	}
}

func testPowerCut(t *testing.T, fstype string) {
	d := newDisk(t, fstype)
	d.cut(t, func(p *Pool) error { return p.Format(poolID) })
	d.look(t, func(p *Pool) {
		if id, err := p.Identify(); err != nil || id.UUID != poolID {
			t.Fatalf("after Format and a power cut: %+v, %v", id, err)
		}
	})

	// What nobody has synced is lost, or this test could not fail.
	d.cut(t, func(p *Pool) error { return errors.Join(p.Make(volB, web), p.publish(volB)) })
	d.look(t, func(p *Pool) { wantPlaces(t, p, volB, Places{}) })

	d.cut(t, func(p *Pool) error { return errors.Join(p.Make(volA, web), p.Publish(t.Context(), volA)) })
	d.look(t, func(p *Pool) {
		wantPlaces(t, p, volA, Places{Live: true, Data: true})
		info, err := os.Stat(filepath.Join(d.dir, "live", volA, "data"))
		must(t, err)
		if got := info.Mode(); got != os.ModeDir|web.Mode {
			t.Errorf("after Publish and a power cut data has mode %v, want %v", got, web.Mode)
		}
	})

	// A crash between the move and its sync, then the call again.
	d.cut(t, func(p *Pool) error { return errors.Join(p.bin(volA), p.Trash(t.Context(), volA)) })
	d.look(t, func(p *Pool) { wantPlaces(t, p, volA, Places{Trash: true}) })

	// Nobody knows the volume any more, so nothing of it may come back.
	d.cut(t, func(p *Pool) error { return p.Purge(t.Context(), volA) })
	d.look(t, func(p *Pool) { wantPlaces(t, p, volA, Places{}) })
}

// disk is a filesystem in an image file.
type disk struct {
	image, dir, fstype string
}

// newDisk makes a filesystem, or skips the test where that cannot be done.
func newDisk(t *testing.T, fstype string) disk {
	t.Helper()
	mounttest.RequireRoot(t)
	mounttest.RequireMounts(t)
	tmp := t.TempDir()
	d := disk{image: filepath.Join(tmp, "image"), dir: filepath.Join(tmp, "disk"), fstype: fstype}
	must(t, os.Mkdir(d.dir, 0o755))
	must(t, os.WriteFile(d.image, nil, 0o600))
	must(t, os.Truncate(d.image, 320<<20))
	if out, err := exec.CommandContext(t.Context(), "mkfs."+fstype, "-q", d.image).CombinedOutput(); err != nil {
		mounttest.Skip(t, fstype, fmt.Sprintf("mkfs.%s: %v %s", fstype, err, out))
	}
	if err := d.mount(); err != nil {
		mounttest.Skip(t, "loop", err.Error())
	}
	must(t, unix.Unmount(d.dir, 0))
	return d
}

// mount mounts the image on a loop device that goes when it is unmounted.
func (d disk) mount() error {
	image, err := os.OpenFile(d.image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	device, err := mounttest.AttachLoop(image)
	if err != nil {
		return err
	}
	defer device.Close()
	return unix.Mount(device.Name(), d.dir, d.fstype, 0, "")
}

// cut does something in the pool and then takes the power away.
func (d disk) cut(t *testing.T, do func(p *Pool) error) {
	t.Helper()
	d.with(t, func(p *Pool) {
		must(t, do(p))
		if d.fstype == "btrfs" { // what has reached the disk by now is what there will be
			mustRun(t, "cp", "--sparse=always", d.image, d.image+".cut")
			return
		}
		const shutdown, withoutLogFlush = 0x8004587d, 2 // FS_IOC_SHUTDOWN; XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
		must(t, unix.IoctlSetPointerInt(int(p.root.Fd()), shutdown, withoutLogFlush))
	})
	if d.fstype == "btrfs" {
		must(t, os.Rename(d.image+".cut", d.image))
	}
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", name, err, out)
	}
}

// look looks at the pool after the power is back.
func (d disk) look(t *testing.T, at func(p *Pool)) {
	t.Helper()
	d.with(t, at)
}

// with mounts the disk and opens its pool for as long as f takes.
func (d disk) with(t *testing.T, f func(p *Pool)) {
	t.Helper()
	must(t, d.mount())
	defer func() { must(t, unix.Unmount(d.dir, 0)) }()
	root, err := os.Open(d.dir)
	must(t, err)
	open := Open
	if d.fstype == "btrfs" {
		open = openBtrfs
	}
	p, err := open(root)
	must(t, errors.Join(err, root.Close()))
	defer p.Close()
	f(p)
}
