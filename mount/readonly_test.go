package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestTheFilesOpenForWritingAreNamed(t *testing.T) {
	mounttest.RequireRoot(t) // to follow the links of map_files
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		tree(t, v.dir, "volume/log", "sandbox/elsewhere")
		v.attach(t, Attributes{})
		var files []*os.File
		for path, flags := range map[string]int{
			v.targetPath + "/precious":   os.O_RDONLY, // is in nobody's way
			v.targetPath + "/log":        os.O_WRONLY, // is
			v.dir + "/volume/log":        os.O_RDWR,   // by another mount
			v.dir + "/sandbox/elsewhere": os.O_RDWR,   // not in the volume
			v.targetPath:                 unix.O_PATH, // no more than a place
			v.targetPath + "/.":          os.O_RDONLY, // a directory
		} {
			f, err := os.OpenFile(path, flags, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			files = append(files, f)
		}
		pid, stop := startChild(t, cat, "/", files...)
		for _, f := range files {
			f.Close()
		}
		err := SetReadOnly(v.sandbox, "target", true)
		var busy *BusyError
		if !errors.As(err, &busy) {
			t.Fatalf("got error %v, want a *BusyError", err)
		}
		want := &BusyError{Op: "remount", Path: v.targetPath, Users: []User{
			{PID: pid, Command: "cat", Files: []string{v.targetPath + "/log"}},
		}}
		if diff := cmp.Diff(want, busy); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		text := fmt.Sprintf("remount %s: in use by process %d (cat) with %[1]s/log open for writing", v.targetPath, pid)
		if err.Error() != text {
			t.Errorf("got the text %q, want %q", err, text)
		}
		stop()
		if err := SetReadOnly(v.sandbox, "target", true); err != nil {
			t.Error(err)
		}
	})
}

func TestAMappingThatMayBeWrittenToIsNamed(t *testing.T) {
	mounttest.RequireRoot(t) // to follow the links of map_files
	v := newVolume(t)
	v.attach(t, Attributes{})
	f, err := os.OpenFile(v.targetPath+"/precious", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	var busy *BusyError
	if err := SetReadOnly(v.sandbox, "target", true); !errors.As(err, &busy) {
		t.Errorf("got error %v, want a *BusyError", err)
	} else if len(busy.Users) != 1 || busy.Users[0].PID != os.Getpid() || !cmp.Equal(busy.Users[0].Files, []string{v.targetPath + "/precious"}) {
		t.Errorf("got the users %v, want process %d with its file", busy.Users, os.Getpid())
	}
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
	if err := SetReadOnly(v.sandbox, "target", true); err != nil {
		t.Error(err)
	}
}

func TestTheNumberOfFilesNamedIsBounded(t *testing.T) {
	v := newVolume(t)
	v.attach(t, Attributes{})
	var files []*os.File
	for i := range maxFiles + 3 {
		f, err := os.Create(fmt.Sprintf("%s/file%d", v.targetPath, i))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	startChild(t, cat, "/", files...)
	for _, f := range files {
		f.Close()
	}
	var busy *BusyError
	if err := SetReadOnly(v.sandbox, "target", true); !errors.As(err, &busy) || len(busy.Users) != 1 || len(busy.Users[0].Files) != maxFiles {
		t.Errorf("got error %v, want a *BusyError with a user of %d files", err, maxFiles)
	}
}

func TestWhatIsMountedBeneathBecomesReadOnlyToo(t *testing.T) {
	v := newVolume(t)
	tree(t, v.dir, "volume/sub/", "volume/sub/deep/")
	v.attach(t, Attributes{})
	mustMount(t, "none", v.targetPath+"/sub", "tmpfs", 0)
	tree(t, v.targetPath, "sub/deep/")
	mustMount(t, "none", v.targetPath+"/sub/deep", "tmpfs", 0)
	tree(t, v.targetPath, "sub/deep/file")
	deep := v.targetPath + "/sub/deep"

	// One writer anywhere is in the way of all.
	f, err := os.OpenFile(deep+"/file", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if err := SetReadOnly(v.sandbox, "target", true); !errors.As(err, &busy) || len(busy.Users) != 1 || !cmp.Equal(busy.Users[0].Files, []string{deep + "/file"}) {
		t.Errorf("got error %v, want a *BusyError with %s/file", err, deep)
	}
	if p, err := At(v.sandbox, "target"); err != nil || p.ReadOnly {
		t.Errorf("after the refusal: %+v, %v", p, err)
	}
	f.Close()

	if err := SetReadOnly(v.sandbox, "target", true); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{v.targetPath, v.targetPath + "/sub", deep} {
		if err := create(mustOpen(t, dir), "new"); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: a write gives %v", dir, err)
		}
	}
	if err := SetReadOnly(v.sandbox, "target", false); err != nil {
		t.Fatal(err)
	}
	if err := create(mustOpen(t, v.targetPath), "new"); err != nil {
		t.Error(err)
	}
	if err := create(mustOpen(t, deep), "new"); !errors.Is(err, unix.EROFS) {
		t.Errorf("what is beneath was made writable: %v", err)
	}
}

// TestAMountWithCopiesIsNotFlipped: a change of attributes does not propagate, so the copy
// would go on as it was.
func TestAMountWithCopiesIsNotFlipped(t *testing.T) {
	mounttest.WithAndWithout(t, mounttest.Statmount, func(t *testing.T) {
		v := newVolume(t)
		if err := unix.Mount("", v.dir, "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		v.attach(t, Attributes{})
		for _, readOnly := range []bool{true, false} {
			err := SetReadOnly(v.sandbox, "target", readOnly)
			if !errors.Is(err, ErrShared) || !strings.Contains(err.Error(), v.targetPath) {
				t.Errorf("read-only %v: got error %v, want %v", readOnly, err, ErrShared)
			}
		}
		if p, err := At(v.sandbox, "target"); err != nil || p.ReadOnly {
			t.Errorf("after the refusal: %+v, %v", p, err)
		}
		// A mount that takes but does not send is nobody else's.
		if err := unix.Mount("", v.targetPath, "", unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := SetReadOnly(v.sandbox, "target", true); err != nil {
			t.Error(err)
		}
	})
}

func TestMappingsAreFoundByTheirAddresses(t *testing.T) {
	t.Parallel()
	maps := t.TempDir() + "/maps"
	text := "00400000-00675000 rw-s 00000000 fe:00 1 /a\n" +
		"7f00-7f01 r--s 00000000 fe:00 1 /b\n" +
		"7f01-7f02 rw-p 00000000 fe:00 1 /c d w s\n"
	if err := os.WriteFile(maps, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for addresses, want := range map[string]bool{"400000-675000": true, "7f00-7f01": false, "7f01-7f02": false, "1-2": false} {
		if got := mapsForWriting(maps, addresses); got != want {
			t.Errorf("%s: got %v, want %v", addresses, got, want)
		}
	}
	if mapsForWriting(maps+"absent", "400000-675000") {
		t.Error("found in a file that is not there")
	}
}
