package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount"
	"tenon/mount/mounttest"
)

// markAs marks a directory by hand.
func (r *Root) markAs(t *testing.T, name, value string) {
	t.Helper()
	must(t, unix.Setxattr(filepath.Join(r.Path(), name), r.attr, []byte(value), 0))
}

// wantMade holds what Made says against what it should.
func wantMade(t *testing.T, r *Root, task string, want bool) {
	t.Helper()
	if made, err := r.Made(task); err != nil || made != want {
		t.Errorf("Made(%q) = %v, %v, want %v", task, made, err, want)
	}
}

func TestMarkedSandboxesAreListedAndNothingElse(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	for _, task := range []string{"zeta", "alpha", "moved", "covered"} {
		must(t, r.Make(task, "boot-1", 0, 0))
	}
	must(t, r.Make("later", "boot/2", 0, 0))
	at := func(name string) string { return filepath.Join(r.Path(), name) }
	must(t, os.Rename(at("moved"), at("elsewhere")))
	must(t, os.Mkdir(at("foreign"), 0o700))
	must(t, os.MkdirAll(at("alpha/beneath"), 0o700))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	must(t, os.Symlink("alpha", at("link")))
	for name, value := range map[string]string{"short": "short", "empty": "", "nobody": "boot/", "long": strings.Repeat("x/", 300)} {
		must(t, os.Mkdir(at(name), 0o700))
		r.markAs(t, name, value)
	}
	must(t, unix.Mount(at("alpha"), at("covered"), "", unix.MS_BIND, ""))
	own, err := r.Own()
	must(t, err)
	want := []Mark{{"alpha", "boot-1"}, {"later", "boot/2"}, {"zeta", "boot-1"}}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Errorf("Own (-want +got):\n%s", diff)
	}
	_, err = r.Made("covered")
	wantError(t, err, mount.ErrMounted, at("covered"))
	must(t, unix.Unmount(at("covered"), 0))
	for _, name := range []string{"alpha", "later", "zeta", "covered"} {
		wantMade(t, r, name, true)
	}
	for _, name := range []string{"moved", "elsewhere", "foreign", "file", "link", "short", "empty", "nobody", "long", "none"} {
		wantMade(t, r, name, false)
	}
	for _, name := range []string{"", ".", "..", "alpha/beneath", "/"} {
		_, err := r.Made(name)
		wantError(t, err, unix.EINVAL, r.Path())
	}
}

func TestMakeGoesOnWhereACrashHasLeftIt(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	dir := filepath.Join(r.Path(), "task")
	must(t, os.Mkdir(dir, 0o700)) // before the mark
	must(t, r.Make("task", "boot-1", 0, 0))
	must(t, os.WriteFile(filepath.Join(dir, "log"), nil, 0o600))
	must(t, os.Chmod(dir, 0o700)) // after it
	must(t, r.Make("task", "boot-2", 0, 0))
	if got, want := tree(t, r.Path()), "drwxr-x--- 0:0 task\n-rw------- 0:0 task/log\n"; got != want {
		t.Errorf("made\n%swant\n%s", got, want)
	}
	own, err := r.Own()
	if want := []Mark{{"task", "boot-2"}}; err != nil || !slices.Equal(own, want) {
		t.Errorf("Own = %v, %v, want %v", own, err, want)
	}
	must(t, os.Mkdir(filepath.Join(r.Path(), "bare"), 0o700))
	for _, task := range []string{"bare", "task", "task", "none"} {
		must(t, r.Remove(t.Context(), task))
	}
	if got := tree(t, r.Path()); got != "" {
		t.Errorf("left\n%s", got)
	}
}

func TestWhatIsSomebodyElsesIsNeitherTakenNorRemoved(t *testing.T) {
	t.Parallel()
	r := newRoot(t)
	at := func(name string) string { return filepath.Join(r.Path(), name) }
	for _, name := range []string{"full", "others", "others-empty"} {
		must(t, os.Mkdir(at(name), 0o755))
	}
	must(t, os.WriteFile(at("full/precious"), nil, 0o600))
	must(t, os.WriteFile(at("others/precious"), nil, 0o600))
	r.markAs(t, "others", "boot/another")
	r.markAs(t, "others-empty", "boot/another")
	must(t, os.WriteFile(at("file"), nil, 0o600))
	must(t, os.Symlink("full", at("link")))
	wantUntouched(t, r, map[string]string{"full": "precious", "others": "another", "others-empty": "another", "file": "", "link": ""})
}

func TestAnEmptyDirectoryOfAUserIsTheUsers(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	r := newRoot(t)
	dir := filepath.Join(r.Path(), "users")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Chown(dir, 1234, 1234))
	must(t, unix.Setxattr(dir, userMark, []byte("boot/users"), 0)) // which a user can set
	wantUntouched(t, r, map[string]string{"users": "user 1234"})
}

// wantUntouched asks for the sandboxes of these names to be made and removed, and wants
// to be refused with the name and the reason.
func wantUntouched(t *testing.T, r *Root, reasons map[string]string) {
	t.Helper()
	before := tree(t, r.Path())
	for name, reason := range reasons {
		wantError(t, r.Make(name, "boot", 0, 0), ErrNotOurs, name, r.Path(), reason)
		wantError(t, r.Remove(t.Context(), name), ErrNotOurs, name, r.Path(), reason)
		wantMade(t, r, name, false)
	}
	if diff := cmp.Diff(before, tree(t, r.Path())); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
	if own, err := r.Own(); err != nil || len(own) > 0 {
		t.Errorf("Own = %v, %v, want none", own, err)
	}
}

func TestAFilesystemWithoutAttributesIsToldAndHasNothingMade(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	path := t.TempDir()
	must(t, unix.Mount("none", path, "ramfs", 0, ""))
	r, err := OpenRoot(path)
	must(t, err)
	wantError(t, r.Make("task", "boot", 0, 0), unix.EOPNOTSUPP, "task", path, "ext4")
	wantMade(t, r, "task", false)
	if got := tree(t, path); got != "" {
		t.Errorf("left\n%s", got)
	}
	must(t, os.MkdirAll(filepath.Join(path, "full", "x"), 0o700))
	wantError(t, r.Remove(t.Context(), "full"), ErrNotOurs)
	must(t, r.Unmount())
	must(t, unix.Unmount(path, 0))
}

func TestRootMarksWhereNobodyElseCan(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	if r := newRoot(t); r.attr != trustedMark {
		t.Errorf("root marks with %s", r.attr)
	}
}

// TestMarksHoldInAUserNamespace runs the tests above as an ordinary user. Where such a
// one may not mount, it is they who are skipped. It is not parallel: until the new process
// executes, it holds a copy of every descriptor, which keeps mounts of other tests busy.
func TestMarksHoldInAUserNamespace(t *testing.T) {
	mounttest.RequireRoot(t) // to become somebody else
	dir, err := os.MkdirTemp("", "sandbox-test-")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chown(dir, 65534, 65534))
	tests := []string{"TestMarkedSandboxesAreListedAndNothingElse", "TestMakeGoesOnWhereACrashHasLeftIt",
		"TestWhatIsSomebodyElsesIsNeitherTakenNorRemoved", "TestAFilesystemWithoutAttributesIsToldAndHasNothingMade"}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^("+strings.Join(tests, "|")+")$")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "TENON_") }), "TMPDIR="+dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	for _, name := range tests {
		passed, skipped := fmt.Sprintf("--- PASS: %s ", name), fmt.Sprintf("--- SKIP: %s ", name)
		if err != nil || !strings.Contains(string(out), passed) && !strings.Contains(string(out), skipped) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
