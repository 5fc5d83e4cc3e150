package crashfs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"

	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// create makes a file with content, and does not sync anything.
func create(t *testing.T, fs *crashfs.FS, name, content string) checkpoint.File {
	t.Helper()
	f, err := fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, content, 0)
	return f
}

func write(t *testing.T, f checkpoint.File, content string, offset int64) {
	t.Helper()
	if _, err := f.WriteAt([]byte(content), offset); err != nil {
		t.Fatal(err)
	}
}

func sync(t *testing.T, fs *crashfs.FS, files ...checkpoint.File) {
	t.Helper()
	for _, f := range files {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.SyncDir("/d"); err != nil {
		t.Fatal(err)
	}
}

// content returns what /d/f holds, or "none".
func content(fs *crashfs.FS) string {
	b := fs.Bytes("/d/f")
	if b == nil {
		return "none"
	}
	return string(b)
}

// outcomes returns the different contents of /d/f after power cuts of many seeds.
func outcomes(fs *crashfs.FS, content func(*crashfs.FS) string) []string {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		seen[content(fs.Crash(crashfs.Some, seed))] = true
	}
	var all []string
	for s := range seen {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

func TestAPowerCutTakesWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		work            func(t *testing.T, fs *crashfs.FS)
		none, all, kill string
		some            []string
	}{
		"a file that was never synced": {
			work: func(t *testing.T, fs *crashfs.FS) { create(t, fs, "/d/f", "new") },
			none: "none", all: "new", kill: "new",
			some: []string{"", "\x00\x00\x00", "new", "none"},
		},
		"a synced file without a synced name": {
			work: func(t *testing.T, fs *crashfs.FS) {
				if err := create(t, fs, "/d/f", "new").Sync(); err != nil {
					t.Fatal(err)
				}
			},
			none: "none", all: "new", kill: "new",
			some: []string{"new", "none"},
		},
		"a synced name without synced bytes": {
			work: func(t *testing.T, fs *crashfs.FS) {
				create(t, fs, "/d/f", "new")
				sync(t, fs)
			},
			none: "", all: "new", kill: "new",
			some: []string{"", "\x00\x00\x00", "new"},
		},
		"an overwritten file": {
			work: func(t *testing.T, fs *crashfs.FS) {
				f := create(t, fs, "/d/f", "aa")
				sync(t, fs, f)
				write(t, f, "b", 0)
				write(t, f, "c", 1)
			},
			none: "aa", all: "bc", kill: "bc",
			some: []string{"aa", "ba", "bc"},
		},
		"a file replaced by a rename": {
			work: func(t *testing.T, fs *crashfs.FS) {
				sync(t, fs, create(t, fs, "/d/f", "old"), create(t, fs, "/d/g", "new"))
				if err := fs.Rename("/d/g", "/d/f"); err != nil {
					t.Fatal(err)
				}
			},
			none: "old", all: "new", kill: "new",
			some: []string{"new", "old"},
		},
		"a removed file": {
			work: func(t *testing.T, fs *crashfs.FS) {
				sync(t, fs, create(t, fs, "/d/f", "old"))
				if err := fs.Remove("/d/f"); err != nil {
					t.Fatal(err)
				}
			},
			none: "old", all: "none", kill: "none",
			some: []string{"none", "old"},
		},
		"a truncated file": {
			work: func(t *testing.T, fs *crashfs.FS) {
				f := create(t, fs, "/d/f", "old")
				sync(t, fs, f)
				if err := f.Truncate(1); err != nil {
					t.Fatal(err)
				}
			},
			none: "old", all: "o", kill: "o",
			some: []string{"o", "o\x00\x00", "old"},
		},
		"a failed sync forgets the bytes but goes on showing them": {
			work: func(t *testing.T, fs *crashfs.FS) {
				f := create(t, fs, "/d/f", "old")
				sync(t, fs, f)
				write(t, f, "new", 0)
				fs.FailAt(1, syscall.EIO)
				if err := f.Sync(); !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				sync(t, fs, f)
			},
			none: "old", all: "old", kill: "new",
			some: []string{"old"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs := crashfs.New()
			c.work(t, fs)
			got := [3]string{content(fs.Crash(crashfs.None, 0)), content(fs.Crash(crashfs.All, 0)), content(fs.Kill())}
			if want := [3]string{c.none, c.all, c.kill}; got != want {
				t.Errorf("none, all, killed: got %q, want %q", got, want)
			}
			if got := outcomes(fs, content); !slices.Equal(got, c.some) {
				t.Errorf("some: got %q, want %q", got, c.some)
			}
		})
	}
}

func TestSectorsSurviveIndependently(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	zeros := make([]byte, 2*512)
	f := create(t, fs, "/d/f", string(zeros))
	sync(t, fs, f)
	write(t, f, "ab", 511) // the last byte of one sector and the first of the next
	got := outcomes(fs, func(fs *crashfs.FS) string { return fmt.Sprintf("%q", fs.Bytes("/d/f")[511:513]) })
	if want := []string{`"\x00\x00"`, `"\x00b"`, `"a\x00"`, `"ab"`}; !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheSameSeedGivesTheSameImage(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	for i := range 20 {
		create(t, fs, fmt.Sprintf("/d/%d", i), fmt.Sprint("content ", i))
	}
	for seed := range uint64(20) {
		a, b := fs.Crash(crashfs.Some, seed), fs.Crash(crashfs.Some, seed)
		for i := range 20 {
			name := fmt.Sprintf("/d/%d", i)
			if !slices.Equal(a.Bytes(name), b.Bytes(name)) {
				t.Fatalf("seed %d gives two images", seed)
			}
		}
	}
}

func TestAfterTheStopNothingChanges(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	f := create(t, fs, "/d/f", "old")
	sync(t, fs, f)
	fs.StopAt(2)
	write(t, f, "one", 0)
	_, writeErr := f.WriteAt([]byte("two"), 0)
	_, openErr := fs.Open("/d/g", os.O_CREATE)
	_, lockErr := fs.Lock("/d")
	_, listErr := fs.List("/d")
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	for _, err := range []error{writeErr, openErr, lockErr, listErr, readErr, f.Sync(), f.Truncate(0), f.Close(),
		fs.Rename("/d/f", "/d/h"), fs.Remove("/d/f"), fs.SyncDir("/d")} {
		if !errors.Is(err, crashfs.ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
	}
	if got := [2]string{content(fs.Crash(crashfs.None, 0)), content(fs.Kill())}; got != [2]string{"old", "one"} {
		t.Errorf("got %q", got)
	}
}

func TestOnlyTheNamedOperationFails(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	f := create(t, fs, "/d/f", "....")
	fs.FailAt(2, syscall.EIO)
	write(t, f, "a", 0)
	if n, err := f.WriteAt([]byte("bbbb"), 0); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("the failed write: %d, %v", n, err)
	}
	write(t, f, "c", 3)
	if got := content(fs); got != "bb.c" {
		t.Errorf("got %q", got)
	}
	if n := fs.Operations(); n != 3 {
		t.Errorf("%d operations, want 3", n)
	}
}

func TestAFullFileSystemStillOverwrites(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	f := create(t, fs, "/d/f", "abc")
	fs.SetFull(true)
	write(t, f, "x", 2)
	if _, err := f.WriteAt([]byte("yz"), 2); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("growing: %v", err)
	}
	if _, err := fs.Open("/d/g", os.O_CREATE); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("creating: %v", err)
	}
	if got := content(fs); got != "abx" {
		t.Errorf("got %q", got)
	}
}

func TestALockIsHeldUntilItIsClosedOrTheProgramDies(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	lock, err := fs.Lock("/d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Lock("/d"); !errors.Is(err, checkpoint.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	for _, free := range []func(){func() {}, fs.ReleaseLocks} {
		free()
		if _, err := fs.Lock("/d"); err != nil {
			t.Error(err)
		}
	}
}

func TestReadsAndNamesAreThoseOfARealFileSystem(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	f := create(t, fs, "/d/f", "abc")
	create(t, fs, "/other/g", "")
	b := make([]byte, 5)
	if n, err := f.ReadAt(b, 1); n != 2 || err != io.EOF || string(b[:n]) != "bc" {
		t.Errorf("short read: %d, %v", n, err)
	}
	if n, err := f.ReadAt(b, 9); n != 0 || err != io.EOF {
		t.Errorf("read behind the end: %d, %v", n, err)
	}
	if got, err := fs.List("/d"); err != nil || !slices.Equal(got, []string{"f"}) {
		t.Errorf("list: %q, %v", got, err)
	}
	if err := fs.Remove("/d/f"); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadAt(b, 0); n != 3 || err != io.EOF {
		t.Errorf("read of a removed file: %d, %v", n, err)
	}
	_, open := fs.Open("/d/f", os.O_RDWR)
	for _, err := range []error{open, fs.Remove("/d/f"), fs.Rename("/d/f", "/d/g")} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
	}
}
