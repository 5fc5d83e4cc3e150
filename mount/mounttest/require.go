package mounttest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// RequireEnv names the environment variable with what the machine is said to
// provide, e.g. "root,mounts,kernel". A test that lacks one of these fails
// instead of being skipped.
const RequireEnv = "TENON_TEST_REQUIRE"

// Skip skips the test because thing is missing, or fails it when RequireEnv says
// that the machine provides it. Packages that need something of their own (a
// filesystem, a device) build their Require function on it.
func Skip(t testing.TB, thing, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv(RequireEnv), ","), thing) {
		t.Fatalf("%s names %q, but %s", RequireEnv, thing, reason)
	}
	t.Skipf("needs %s: %s", thing, reason)
}

// RequireRoot skips unless the test is root in the initial user namespace.
// The name of the thing is "root".
func RequireRoot(t testing.TB) {
	t.Helper()
	if err := rootProblem(); err != nil {
		Skip(t, "root", err.Error())
	}
}

// RequireMounts skips unless the test may mount in a private namespace, which
// Main has made. The name of the thing is "mounts".
func RequireMounts(t testing.TB) {
	t.Helper()
	switch from := os.Getenv(childEnv); {
	case from == "":
		t.Fatal("the package has no TestMain that calls mounttest.Main")
	case strings.HasPrefix(from, noPrefix):
		Skip(t, "mounts", strings.TrimPrefix(from, noPrefix))
	}
}

// RequireKernel skips on a kernel older than release, e.g. "6.15". The name of
// the thing is "kernel".
func RequireKernel(t testing.TB, release string) {
	t.Helper()
	want, err := parseRelease(release)
	if err != nil {
		t.Fatal(err)
	}
	running := kernelRelease()
	got, err := parseRelease(running)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Compare(got[:], want[:]) < 0 {
		Skip(t, "kernel", "Linux "+release+" is newer than the running "+running)
	}
}

// RequireFuse skips unless the test may mount filesystems whose server it is itself. The
// name of the thing is "fuse".
func RequireFuse(t testing.TB) {
	t.Helper()
	RequireRoot(t)
	RequireMounts(t)
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		Skip(t, "fuse", err.Error())
	}
	f.Close()
}

// rootProblem says why the process is not root in the initial user namespace.
func rootProblem() error {
	if uid := os.Getuid(); uid != 0 {
		return fmt.Errorf("the user is %d", uid)
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	if f := strings.Fields(string(ids)); !slices.Equal(f, []string{"0", "0", "4294967295"}) {
		return fmt.Errorf("this is a user namespace with the map %v", f)
	}
	return nil
}

var kernelRelease = sync.OnceValue(func() string {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
})

// parseRelease reads major and minor of "6.18.44-generic" or "6.15".
func parseRelease(release string) ([2]int, error) {
	var v [2]int
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return v, fmt.Errorf("kernel release %q has no major.minor", release)
	}
	notDigit := func(r rune) bool { return r < '0' || r > '9' }
	for i := range v {
		number := parts[i]
		if end := strings.IndexFunc(number, notDigit); i == 1 && end > 0 {
			number = number[:end]
		}
		n, err := strconv.Atoi(number)
		if err != nil {
			return v, fmt.Errorf("kernel release %q: %w", release, err)
		}
		v[i] = n
	}
	return v, nil
}
