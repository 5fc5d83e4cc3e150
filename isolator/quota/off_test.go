package quota

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestStatusSaysThatLimitsAreEnforced(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		s, err := q.Status()
		must(t, err)
		if s.Filesystem != d.Type || s.Enforcement != Hard || len(s.Commands) > 0 {
			t.Errorf("status is %+v", s)
		}
	})
}

// openAny opens the quotas of any directory.
func openAny(t *testing.T, path string) *Quota {
	t.Helper()
	dir, err := os.Open(path)
	must(t, err)
	defer dir.Close()
	q, err := Open(dir)
	must(t, err)
	t.Cleanup(func() { q.Close() })
	return q
}

func TestAFilesystemWithQuotasOffSaysHowToSwitchThemOn(t *testing.T) {
	each(t, plain, func(t *testing.T, d *disk, q *Quota) {
		s, err := q.Status()
		must(t, err)
		if s.Enforcement != None || s.Why == "" || len(s.Escapes) > 0 {
			t.Errorf("status is %+v", s)
		}
		if p, ok := q.ledger.(projects); ok && p.missing() != "" {
			if len(s.Commands) > 0 || !strings.Contains(s.Why, "this kernel") {
				t.Errorf("on a kernel without quotas status is %+v", s)
			}
			wantError(t, q.SetLimit(5000, mib, 0), ErrUnsupported)
			return
		}
		commands := strings.Join(s.Commands, "\n")
		want := []string{d.Dir}
		if d.Type != "btrfs" {
			want = append(want, d.Device.Name(), "umount", "prjquota")
		}
		for _, part := range want {
			if !strings.Contains(commands, part) {
				t.Errorf("%q is not in the commands:\n%s", part, commands)
			}
		}
		wantError(t, q.SetLimit(5000, mib, 0), ErrOff)
		_, err = q.Usage(5000)
		wantError(t, err, ErrOff)
		_, err = q.List(DefaultRange)
		wantError(t, err, ErrOff)
		wantError(t, q.Clear(5000), ErrOff)
		if id := projectOf(t, q, d.Dir); id != 0 {
			t.Errorf("the project of the disk is %d", id)
		}
	})
}

func TestTheCommandsSwitchLimitsOn(t *testing.T) {
	for i, on := range []flavour{xfs, ext4, btrfsGroups} {
		t.Run(on.Type, func(t *testing.T) {
			newDisk(t, on) // or skip
			d := newDisk(t, plain[i])
			q := d.open(t)
			s, err := q.Status()
			must(t, err)
			must(t, q.Close())
			runAll(t, s.Commands)
			q = d.open(t)
			if s, err := q.Status(); err != nil || s.Enforcement != Hard {
				t.Fatalf("after %q it is %+v, %v", s.Commands, s, err)
			}
			dir := d.volume(t, q, "data", 5000, 2*mib)
			_, err = mounttest.Fill(t, dir+"/file", 4*mib)
			wantError(t, err, on.Full)
		})
	}
}

// runAll runs commands of a Status.
func runAll(t *testing.T, commands []string) {
	t.Helper()
	for _, command := range commands {
		word := strings.Fields(command)
		if slices.Contains(word, "--simple") && !strings.Contains(help(t, "btrfs", "quota", "enable", "--help"), "--simple") {
			mounttest.Skip(t, "btrfs-progs-6.7", "these do not know simple quotas")
		}
		if out, err := exec.CommandContext(t.Context(), word[0], word[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

// help is what a program says of itself.
func help(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestAnotherFilesystemHasNoLimits(t *testing.T) {
	mounttest.RequireMounts(t)
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, ""))
	defer func() { must(t, unix.Unmount(dir, 0)) }()
	q := openAny(t, dir)
	defer q.Close()
	s, err := q.Status()
	must(t, err)
	if s.Filesystem != "tmpfs" || s.Enforcement != None || len(s.Commands) > 0 || !strings.Contains(s.Why, "tmpfs has no limits") {
		t.Errorf("status is %+v", s)
	}
	_, usageErr := q.Usage(5000)
	_, listErr := q.List(DefaultRange)
	_, projectErr := q.ProjectOf(q.dir)
	for _, err := range []error{
		q.SetLimit(5000, mib, 0), q.Clear(5000), q.Assign(t.Context(), q.dir, 5000), usageErr, listErr, projectErr,
		CreateSubvolume(q.dir, "x"), DeleteSubvolume(q.dir, "x"),
	} {
		wantError(t, err, ErrUnsupported)
	}
}

// turn switches enforcement off and on again while the filesystem is mounted.
func turn(t *testing.T, d *disk, q *Quota, on bool) {
	t.Helper()
	switch {
	case d.Type == "btrfs":
		must(t, d.SwitchQuotas(on))
	default:
		const quotaOn, quotaOff = 'X'<<8 + 1, 'X'<<8 + 2
		flags, command := uint32(enforcing), uintptr(quotaOff)
		if on {
			command = quotaOn
		}
		must(t, q.ledger.(projects).ctl(command, 0, unsafe.Pointer(&flags)))
	}
}

func TestQuotasThatAreSwitchedOffMeanwhileAreAClearError(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		dir := d.volume(t, q, "data", 5000, 2*mib)
		turn(t, d, q, false)
		err := q.SetLimit(5000, 4*mib, 0)
		wantError(t, err, ErrOff)
		s, err2 := q.Status()
		must(t, err2)
		if s.Enforcement != None || len(s.Commands) == 0 || !strings.Contains(err.Error(), "enable") && !strings.Contains(err.Error(), "enforce") {
			t.Errorf("status is %+v, the error %v", s, err)
		}
		_, err = mounttest.Fill(t, dir+"/file", 4*mib)
		must(t, err) // nobody stops it
		if id := projectOf(t, q, dir); d.Type != "btrfs" && id != 5000 {
			t.Errorf("its project is %d", id)
		}
		must(t, os.Remove(dir+"/file"))
		turn(t, d, q, true)
		must(t, assign(t, q, dir, 5000)) // btrfs has forgotten it
		must(t, q.SetLimit(5000, 2*mib, 0))
		if s, err := q.Status(); err != nil || s.Enforcement != Hard {
			t.Errorf("switched on again it is %+v, %v", s, err)
		}
		_, err = mounttest.Fill(t, dir+"/file", 4*mib)
		wantError(t, err, d.Full)
	})
}

func TestWithoutTheRightToItNothingIsEnforced(t *testing.T) {
	each(t, flavours, func(t *testing.T, d *disk, q *Quota) {
		must(t, mounttest.AsTask(t, func() error {
			s, err := q.Status()
			if err == nil && (s.Enforcement != None || !strings.Contains(s.Why, "CAP_SYS_ADMIN") || len(s.Commands) > 0) {
				t.Errorf("status is %+v", s)
			}
			return err
		}))
		must(t, mounttest.AsTask(t, func() error {
			if err := q.SetLimit(5000, mib, 0); !errors.Is(err, unix.EPERM) {
				t.Errorf("SetLimit: %v", err)
			}
			return nil
		}))
	})
}

func TestWithoutQuotactlFDTheDeviceIsFound(t *testing.T) {
	each(t, []flavour{xfs, ext4}, func(t *testing.T, d *disk, q *Quota) {
		device, err := deviceOf(q.dir)
		if err != nil || device != d.Device.Name() {
			t.Fatalf("the device is %q, %v; want %q", device, err, d.Device.Name())
		}
		old := &Quota{dir: q.dir, fs: q.fs, block: q.block, label: labels{}, ledger: projects{dir: q.dir, fs: q.fs, device: device}}
		dir := d.volume(t, old, "data", 5000, 2*mib)
		_, err = mounttest.Fill(t, dir+"/file", 4*mib)
		wantError(t, err, d.Full)
		if a, b := usage(t, old, 5000), usage(t, q, 5000); a != b || a.LimitBytes != 2*mib {
			t.Errorf("by path %+v, by descriptor %+v", a, b)
		}
		if s, err := old.Status(); err != nil || s.Enforcement != Hard {
			t.Errorf("status is %+v, %v", s, err)
		}
		all, err := old.List(DefaultRange)
		if err != nil || len(all) != 1 {
			t.Errorf("List gives %v, %v", all, err)
		}
	})
}

func TestABindMountOfAPartIsNotTakenForTheDisk(t *testing.T) {
	each(t, plain[1:2], func(t *testing.T, d *disk, _ *Quota) {
		pool := filepath.Join(d.Dir, "pool")
		must(t, os.Mkdir(pool, 0o755))
		must(t, unix.Mount(pool, pool, "", unix.MS_BIND, ""))
		defer func() { must(t, unix.Unmount(pool, 0)) }()
		q := openAny(t, pool)
		defer q.Close()
		s, err := q.Status()
		must(t, err)
		if len(s.Commands) == 0 || s.Commands[0] != "umount "+d.Dir {
			t.Errorf("the commands are %q", s.Commands)
		}
	})
}

func TestTheRootFilesystemNeedsTheKernelsCommandLine(t *testing.T) {
	t.Parallel()
	for _, fs := range []string{"xfs", "ext4"} {
		if c := (place{"/dev/sda1", "/"}).caveat(fs, modeOff); !strings.Contains(c, "rootflags=prjquota") {
			t.Errorf("%s: %q", fs, c)
		}
		if c := (place{"/dev/sda1", "/"}).commands(fs, modeOff); len(c) > 0 {
			t.Errorf("%s: the root filesystem is to be mended by %q", fs, c)
		}
		if c := (place{"/dev/sda1", "/"}).commands(fs, modeAccounting); len(c) != 1 || strings.Contains(c[0], "umount") {
			t.Errorf("%s: enforcement of the root filesystem is switched on by %q", fs, c)
		}
		if c := (place{"/dev/sda1", "/srv"}).caveat(fs, modeOff); !strings.Contains(c, "/etc/fstab") {
			t.Errorf("%s: %q", fs, c)
		}
	}
}
