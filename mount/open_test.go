package mount

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenBeneathOpensWhatLiesThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "a/b/")
	root := mustOpen(t, dir)
	for _, path := range []string{".", "a", "a/b", "a/./b", "a/../a/b"} {
		f, err := OpenBeneath(root, path)
		if err != nil {
			t.Errorf("OpenBeneath(%q): %v", path, err)
			continue
		}
		got, _ := Identify(f)
		want, _ := Identify(mustOpen(t, filepath.Join(dir, path)))
		if got != want {
			t.Errorf("OpenBeneath(%q) = %v, want %v", path, got, want)
		}
		if want := filepath.Join(dir, path); f.Name() != want {
			t.Errorf("OpenBeneath(%q).Name() = %q, want %q", path, f.Name(), want)
		}
		f.Close()
	}
}

func TestOpenBeneathRefusesEveryWayOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "root/in/", "out/", "root/file",
		"root/absolute -> "+dir+"/out", "root/climb -> ../out", "root/inner -> in", "root/in/loop -> .",
		"root/magic -> /proc/self/root", "root/dangling -> nowhere")
	root := mustOpen(t, dir+"/root")
	for path, want := range map[string]error{
		"/":            unix.EXDEV,
		dir + "/out":   unix.EXDEV,
		"..":           unix.EXDEV,
		"../out":       unix.EXDEV,
		"in/../../out": unix.EXDEV,
		"absolute":     unix.ELOOP,
		"climb":        unix.ELOOP,
		"climb/x":      unix.ELOOP,
		"inner":        unix.ELOOP,
		"in/loop/loop": unix.ELOOP,
		"magic":        unix.ELOOP,
		"magic/etc":    unix.ELOOP,
		"dangling":     unix.ELOOP,
		"file":         unix.ENOTDIR,
		"file/x":       unix.ENOTDIR,
		"absent":       unix.ENOENT,
		"":             unix.ENOENT,
		"in\x00/..":    unix.EINVAL,
	} {
		f, err := OpenBeneath(root, path)
		if f != nil {
			f.Close()
		}
		if !errors.Is(err, want) || errors.Is(err, ErrMounted) {
			t.Errorf("OpenBeneath(%q): got error %v, want %v", path, err, want)
		}
	}
}

func TestOpenBeneathRefusesMagicLinksOfProc(t *testing.T) {
	t.Parallel()
	root, pid := mustOpen(t, "/proc"), strconv.Itoa(os.Getpid())
	for _, path := range []string{"self", "thread-self/root", pid + "/cwd", pid + "/root", pid + "/fd/0", pid + "/exe"} {
		f, err := OpenBeneath(root, path)
		if f != nil {
			f.Close()
		}
		if !errors.Is(err, unix.ELOOP) {
			t.Errorf("OpenBeneath(/proc, %q): got error %v, want %v", path, err, unix.ELOOP)
		}
	}
}

func TestOnlyOpenOverStepsOntoAMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "root/target/below/", "elsewhere/sub/")
	mustMount(t, dir+"/elsewhere", dir+"/root/target", "", unix.MS_BIND)
	root := mustOpen(t, dir+"/root")
	for _, path := range []string{"target", "target/sub"} {
		if f, err := OpenBeneath(root, path); !errors.Is(err, ErrMounted) {
			f.Close()
			t.Errorf("OpenBeneath(%q): got error %v, want %v", path, err, ErrMounted)
		}
	}
	f, err := OpenOver(root, "target")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, _ := Identify(f)
	if want, _ := Identify(mustOpen(t, dir+"/elsewhere")); got != want {
		t.Errorf("OpenOver(target) = %v, want the root of the mount, %v", got, want)
	}
}

func TestOpenOverTakesOneNameAndNoLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "a/b/", "link -> a", "file")
	root := mustOpen(t, dir)
	for name, want := range map[string]error{
		"": unix.EINVAL, ".": unix.EINVAL, "..": unix.EINVAL, "a/b": unix.EINVAL, "/": unix.EINVAL, "a\x00": unix.EINVAL,
		"link": unix.ELOOP, "file": unix.ENOTDIR, "absent": unix.ENOENT,
	} {
		f, err := OpenOver(root, name)
		if f != nil {
			f.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("OpenOver(%q): got error %v, want %v", name, err, want)
		}
	}
}

func TestErrorsOfOpeningNameTheWholePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := mustOpen(t, dir)
	for name, open := range map[string]func() (*os.File, error){
		"OpenDir":     func() (*os.File, error) { return OpenDir(dir + "/absent") },
		"OpenBeneath": func() (*os.File, error) { return OpenBeneath(root, "absent") },
		"OpenOver":    func() (*os.File, error) { return OpenOver(root, "absent") },
	} {
		_, err := open()
		var pe *fs.PathError
		if !errors.As(err, &pe) || pe.Path != dir+"/absent" {
			t.Errorf("%s: got error %v, want an fs.PathError of %s/absent", name, err, dir)
		}
	}
}

func TestOpenedDescriptorsAreCloseOnExec(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "a/")
	root := mustOpen(t, dir)
	beneath, err := OpenBeneath(root, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer beneath.Close()
	parent, _, err := MkdirBeneath(root, "x", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	for _, f := range []*os.File{root, beneath, parent} {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: descriptor flags %#x, %v; want close-on-exec", f.Name(), flags, err)
		}
	}
}

func TestMkdirBeneathMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "have/this/")
	root := mustOpen(t, dir)
	for _, path := range []string{"one", "a/b/c", "have/this/too", "have/this", "a/b/c"} {
		parent, name, err := MkdirBeneath(root, path, 0o700)
		if err != nil {
			t.Fatalf("MkdirBeneath(%q): %v", path, err)
		}
		if got := filepath.Join(parent.Name(), name); got != filepath.Join(dir, path) {
			t.Errorf("MkdirBeneath(%q) returned %q", path, got)
		}
		f, err := OpenBeneath(parent, name)
		if err != nil {
			t.Errorf("MkdirBeneath(%q): open what it made: %v", path, err)
		}
		f.Close()
		parent.Close()
	}
	for path, want := range map[string]fs.FileMode{"a/b/c": 0o700, "have/this": 0o755} {
		if st, err := os.Stat(filepath.Join(dir, path)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, st.Mode().Perm(), err, want)
		}
	}
	if _, err := Identify(root); err != nil {
		t.Errorf("root was closed: %v", err)
	}
}

func TestMkdirBeneathRefusesLinksFilesAndUncleanPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "root/in/", "out/", "root/file", "root/link -> ../out", "root/absolute -> "+dir+"/out", "root/in/dangling -> ../../out/new")
	root := mustOpen(t, dir+"/root")
	for path, want := range map[string]error{
		"link":          unix.ENOTDIR,
		"link/x":        unix.ELOOP,
		"absolute/x":    unix.ELOOP,
		"in/dangling":   unix.ENOTDIR,
		"in/dangling/x": unix.ELOOP,
		"file":          unix.ENOTDIR,
		"file/x":        unix.ENOTDIR,
		"":              unix.EINVAL,
		".":             unix.EINVAL,
		"..":            unix.EINVAL,
		"../out/x":      unix.EINVAL,
		"in/../x":       unix.EINVAL,
		"in//x":         unix.EINVAL,
		"in/":           unix.EINVAL,
		"/x":            unix.EINVAL,
		"x\x00y":        unix.EINVAL,
	} {
		parent, _, err := MkdirBeneath(root, path, 0o755)
		if parent != nil {
			parent.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("MkdirBeneath(%q): got error %v, want %v", path, err, want)
		}
	}
	if got := list(t, dir+"/out"); len(got) != 0 {
		t.Errorf("made outside the root: %v", got)
	}
}

func TestMkdirBeneathRefusesAMountOnTheWayButNotAtTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "root/way/", "elsewhere/")
	mustMount(t, dir+"/elsewhere", dir+"/root/way", "", unix.MS_BIND)
	root := mustOpen(t, dir+"/root")
	parent, _, err := MkdirBeneath(root, "way/x", 0o755)
	if !errors.Is(err, ErrMounted) {
		parent.Close()
		t.Errorf("way/x: got error %v, want %v", err, ErrMounted)
	}
	if got := list(t, dir+"/elsewhere"); len(got) != 0 {
		t.Errorf("made on the other mount: %v", got)
	}
	parent, name, err := MkdirBeneath(root, "way", 0o755)
	if err != nil || name != "way" {
		t.Fatalf("way: got %q, %v; want it to be left as it is", name, err)
	}
	parent.Close()
}

// TestCVE_2024_45310_NothingIsMadeThroughAFlippingSymlink lets a task swap a directory of its
// sandbox against a symlink as fast as it can.
func TestCVE_2024_45310_NothingIsMadeThroughAFlippingSymlink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "root/x/", "out/", "root/y -> ../out")
	root := mustOpen(t, dir+"/root")
	stop := flip(t, root, "x", "y")
	defer stop()
	made, refused := 0, 0
	for i := 0; i < 2000 || made == 0 || refused == 0; i++ {
		parent, _, err := MkdirBeneath(root, "x/"+strings.Repeat("d", i%200+1), 0o755)
		if err != nil {
			refused++
			continue
		}
		made++
		parent.Close()
		if got := list(t, dir+"/out"); len(got) != 0 {
			t.Fatalf("made outside the root: %v", got)
		}
	}
}

// flip exchanges two entries of dir in a loop until stop is called, and skips
// the turns in which one of them is missing.
func flip(t testing.TB, dir *os.File, a, b string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = unix.Renameat2(int(dir.Fd()), a, int(dir.Fd()), b, unix.RENAME_EXCHANGE)
		}
	}()
	return func() { cancel(); <-done }
}
