package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/agent/resource"
)

const (
	poolID  = "0e9cdd37-6c4f-4b2e-8d4f-c0ffee000000"
	otherID = "0e9cdd37-6c4f-4b2e-8d4f-c0ffee000001"
	volA    = "aaaaaaaa-0000-4000-8000-00000000000a"
	volB    = "bbbbbbbb-0000-4000-8000-00000000000b"
	volC    = "cccccccc-0000-4000-8000-00000000000c"
)

// web is an owner that no default would give.
var web = Owner{UID: 1234, GID: 4321, Mode: 0o770 | fs.ModeSetgid}

// mustOpen opens the directory dir as a pool.
func mustOpen(t testing.TB, dir string) *Pool {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// newPool formats a pool in a directory of the test's own.
func newPool(t testing.TB) (*Pool, string) {
	t.Helper()
	dir := t.TempDir()
	p := mustOpen(t, dir)
	must(t, p.Format(poolID))
	return p, dir
}

// failer is a testing.TB or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeLive takes v through Make and Publish.
func makeLive(t testing.TB, p *Pool, v string) {
	t.Helper()
	must(t, p.Make(v, web))
	must(t, p.Publish(t.Context(), v))
}

// tree renders what is beneath dir, one line an entry: mode, owner, path, and the
// content of files.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(dir, name)
		fmt.Fprintf(&b, "%v %d:%d %s", info.Mode(), st.Uid, st.Gid, rel)
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", content)
		}
		b.WriteByte('\n')
		return nil
	})
	must(t, err)
	return b.String()
}

func wantPlaces(t testing.TB, p *Pool, v string, want Places) {
	t.Helper()
	got, err := p.Find(v)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("Find(%s) = %+v, want %+v", v, got, want)
	}
}

func wantError(t testing.TB, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want one that is %v", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
}

func TestAPoolIsReachedThroughItsDescriptorAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "disk")
	must(t, os.Mkdir(dir, 0o755))
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	root := os.NewFile(uintptr(fd), dir)
	p, err := Open(root)
	must(t, err)
	defer p.Close()
	must(t, root.Close())
	moved := dir + ".moved"
	must(t, os.Rename(dir, moved))
	must(t, os.Mkdir(dir, 0o755))

	must(t, p.Format(poolID))
	makeLive(t, p, volA)

	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v appeared in the directory that came to the pool's path", left)
	}
	if _, err := os.Stat(filepath.Join(moved, "live", volA, "data")); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesWhatIsNoDirectoryAndMakesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	must(t, os.WriteFile(name, nil, 0o600))
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	if _, err := Open(f); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("Open of a file: %v, want ENOTDIR", err)
	}
	empty := t.TempDir()
	mustOpen(t, empty)
	if got, want := strings.Count(tree(t, empty), "\n"), 1; got != want {
		t.Errorf("Open left %d entries, want %d", got, want)
	}
}

func TestOnlyACanonicalUUIDComesToTheKernel(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	before := tree(t, dir)
	ctx := t.Context()
	calls := map[string]func(v string) error{
		"Make":    func(v string) error { return p.Make(v, web) },
		"Publish": func(v string) error { return p.Publish(ctx, v) },
		"Trash":   func(v string) error { return p.Trash(ctx, v) },
		"Discard": func(v string) error { return p.Discard(ctx, v) },
		"Purge":   func(v string) error { return p.Purge(ctx, v) },
		"Find":    func(v string) error { _, err := p.Find(v); return err },
		"Data":    func(v string) error { _, err := p.Data(v); return err },
		"Format":  p.Format,
	}
	for _, v := range []string{"", ".", "..", "../live", "/etc", "data", strings.ToUpper(volA),
		volA + "/", volA + "\x00", volA[:35], "{" + volA + "}", strings.ReplaceAll(volA, "-", ""),
		strings.Replace(volA, "-", "0", 1), "-" + volA[1:], "urn:uuid:" + volA, volA[:35] + "g"} {
		for name, call := range calls {
			err := call(v)
			if !errors.Is(err, errUUID) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s(%q) = %v, want a refusal that names %s", name, v, err, dir)
			}
		}
	}
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("refused names changed the pool (-before +after):\n%s", diff)
	}
}

func TestFindSeesEachPlaceAndSaysWhatIsNoDirectory(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	wantPlaces(t, p, volA, Places{})
	for _, place := range places {
		must(t, os.Mkdir(filepath.Join(dir, string(place), volA), 0o700))
	}
	wantPlaces(t, p, volA, Places{Incoming: true, Live: true, Trash: true})
	must(t, os.Mkdir(filepath.Join(dir, "live", volA, "data"), 0o700))
	wantPlaces(t, p, volA, Places{Incoming: true, Live: true, Data: true, Trash: true})

	must(t, os.WriteFile(filepath.Join(dir, "trash", volB), nil, 0o600))
	must(t, os.Symlink(volA, filepath.Join(dir, "live", volB)))
	_, err := p.Find(volB)
	wantError(t, err, unix.ENOTDIR, filepath.Join(dir, "trash", volB))
	wantError(t, err, unix.ELOOP, filepath.Join(dir, "live", volB), "symlink")
}

func TestDataLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	outside := t.TempDir()
	if _, err := p.Data(volA); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Data of a volume that is not there: %v", err)
	}
	makeLive(t, p, volA)
	data := filepath.Join(dir, "live", volA, "data")
	f, err := p.Data(volA)
	must(t, err)
	defer f.Close()
	want, err := os.Stat(data)
	must(t, err)
	got, err := f.Stat()
	must(t, err)
	if !os.SameFile(got, want) {
		t.Errorf("Data gave %v, want %v", got.Sys(), want.Sys())
	}

	must(t, os.Remove(data))
	must(t, os.Symlink(outside, data))
	_, err = p.Data(volA)
	wantError(t, err, unix.ELOOP, volA, dir)
	must(t, os.RemoveAll(filepath.Join(dir, "live")))
	must(t, os.MkdirAll(filepath.Join(outside, volB, "data"), 0o700))
	must(t, os.Symlink(outside, filepath.Join(dir, "live")))
	_, err = p.Data(volB)
	wantError(t, err, unix.ELOOP, volB, dir)
}

func TestAPlaceThatBecameASymlinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	outside := t.TempDir()
	for _, place := range places {
		must(t, os.Remove(filepath.Join(dir, string(place))))
		must(t, os.Mkdir(filepath.Join(outside, string(place)), 0o755))
		must(t, os.Symlink(filepath.Join(outside, string(place)), filepath.Join(dir, string(place))))
		must(t, os.MkdirAll(filepath.Join(outside, string(place), volB, "data"), 0o755))
	}
	before := tree(t, outside)
	ctx := t.Context()
	_, findErr := p.Find(volB)
	for name, err := range map[string]error{
		"Make": p.Make(volA, web), "Publish": p.Publish(ctx, volB), "Trash": p.Trash(ctx, volB),
		"Discard": p.Discard(ctx, volB), "Purge": p.Purge(ctx, volB), "Format": p.Format(poolID), "Find": findErr,
	} {
		if !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s = %v, want ELOOP", name, err)
		}
	}
	if diff := cmp.Diff(before, tree(t, outside)); diff != "" {
		t.Errorf("changed outside the pool (-before +after):\n%s", diff)
	}
}

func TestListNamesEverythingInItsPlace(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	if got, err := p.List(); err != nil || len(got) != 0 {
		t.Fatalf("List of an empty pool = %v, %v", got, err)
	}
	must(t, p.Make(volC, web))
	makeLive(t, p, volB)
	makeLive(t, p, volA)
	must(t, p.Trash(t.Context(), volB))
	must(t, os.WriteFile(filepath.Join(dir, "live", "notes.txt"), nil, 0o600))

	got, err := p.List()
	must(t, err)
	want := []Entry{{volC, Incoming}, {volA, Live}, {"notes.txt", Live}, {volB, Trash}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	must(t, os.Remove(filepath.Join(dir, "incoming", volC, "data")))
	must(t, os.Remove(filepath.Join(dir, "incoming", volC)))
	must(t, os.Remove(filepath.Join(dir, "incoming")))
	_, err = p.List()
	wantError(t, err, fs.ErrNotExist, dir, "incoming")
}

func TestSpaceIsThatOfTheFilesystem(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	got, err := p.Space()
	must(t, err)
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	if want := resource.Bytes(st.Blocks * uint64(st.Frsize)); got.Total != want {
		t.Errorf("Total = %d, want %d", got.Total, want)
	}
	if got.Available <= 0 || got.Available > got.Total {
		t.Errorf("Available = %d of %d", got.Available, got.Total)
	}
}

func TestAContextThatHasEndedStopsAMoveBeforeItBegins(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	must(t, p.Make(volA, web))
	makeLive(t, p, volB)
	before := tree(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, p.Publish(ctx, volA), context.Canceled, "publish", volA, dir)
	wantError(t, p.Trash(ctx, volB), context.Canceled, "trash", volB, dir)
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}
