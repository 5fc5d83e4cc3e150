package mounttest_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tenon/mount/mounttest"
)

// scenarioEnv makes TestScenario do something; the other tests start this test
// binary again with it.
const scenarioEnv = "TENON_MOUNTTEST_SCENARIO"

func TestMain(m *testing.M) { mounttest.Main(m) }

// TestScenario is the test that is run by the others.
func TestScenario(t *testing.T) {
	scenario, dir, _ := strings.Cut(os.Getenv(scenarioEnv), " ")
	switch scenario {
	case "":
		// Nothing to do in an ordinary run.
	case "mount":
		mounttest.RequireMounts(t)
		if err := syscall.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/seen", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	case "descriptor":
		if _, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	case "fail":
		t.Error("as asked")
	case "root":
		mounttest.RequireRoot(t)
	case "mounts":
		mounttest.RequireMounts(t)
	case "kernel":
		mounttest.RequireKernel(t, "99.0")
	default:
		t.Fatalf("unknown scenario %q", scenario)
	}
}

// run runs TestScenario in another process as the first run of go test would.
func run(t *testing.T, scenario string, attr *syscall.SysProcAttr, env ...string) (code int, output string) {
	t.Helper()
	// Not by its path: another user may not be able to walk there.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestScenario$", "-test.v")
	inherited := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "TENON_") })
	cmd.Env = append(append(inherited, scenarioEnv+"="+scenario), env...)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestAnOrdinaryRunPasses(t *testing.T) {
	t.Parallel()
	if code, out := run(t, "", nil); code != 0 || !strings.Contains(out, "--- PASS: TestScenario") {
		t.Errorf("exit code %d, want 0; output:\n%s", code, out)
	}
}

func TestTheExitCodeAndTheFlagsPassThrough(t *testing.T) {
	t.Parallel()
	if code, out := run(t, "fail", nil); code != 1 || !strings.Contains(out, "--- FAIL: TestScenario") {
		t.Errorf("exit code %d, want 1; output:\n%s", code, out)
	}
}

func TestAMountLeftBehindFailsTheRunAndStaysInside(t *testing.T) {
	t.Parallel()
	mounttest.RequireMounts(t)
	dir := t.TempDir()
	code, out := run(t, "mount "+dir, nil)
	if code != 99 || !strings.Contains(out, dir) {
		t.Errorf("exit code %d, want 99 with the mount point; output:\n%s", code, out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the mount leaked out: %v, %v", entries, err)
	}
}

func TestADescriptorLeftBehindFailsTheRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, out := run(t, "descriptor "+dir, nil); code != 99 || !strings.Contains(out, dir) {
		t.Errorf("exit code %d, want 99 with the path; output:\n%s", code, out)
	}
}

func TestTheVariableSetByHandDoesNotLeadToTheHost(t *testing.T) {
	t.Parallel()
	here, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"", here} {
		code, out := run(t, "", nil, "TENON_MOUNTTEST_CHILD="+value)
		if code != 99 || strings.Contains(out, "TestScenario") {
			t.Errorf("with %q: exit code %d, want 99 and no test run; output:\n%s", value, code, out)
		}
	}
}

// unprivileged makes the second process an ordinary user.
func unprivileged() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
}

func TestAnOrdinaryUserMountsInAUserNamespace(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t) // to become somebody else
	requireUserNamespaces(t)
	dir, err := os.MkdirTemp("", "mounttest") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if code, out := run(t, "mount "+dir, unprivileged()); code != 99 || !strings.Contains(out, dir) {
		t.Errorf("exit code %d, want 99 for the mount left behind; output:\n%s", code, out)
	}
	if code, out := run(t, "root", unprivileged()); code != 0 || !strings.Contains(out, "--- SKIP") {
		t.Errorf("RequireRoot: exit code %d, want 0 and a skip; output:\n%s", code, out)
	}
}

// requireUserNamespaces skips where an ordinary user may not make one, or may
// not run this binary.
func requireUserNamespaces(t *testing.T) {
	t.Helper()
	if code, out := run(t, "mounts", unprivileged()); code != 0 || strings.Contains(out, "--- SKIP") {
		mounttest.Skip(t, "userns", "an ordinary user has none: "+out)
	}
}

func TestASkipOfAProvidedThingIsAFailure(t *testing.T) {
	t.Parallel()
	if code, out := run(t, "kernel", nil, "TENON_TEST_REQUIRE=root,mounts"); code != 0 || !strings.Contains(out, "--- SKIP") {
		t.Errorf("not provided: exit code %d, want 0 and a skip; output:\n%s", code, out)
	}
	if code, out := run(t, "kernel", nil, "TENON_TEST_REQUIRE=root,kernel"); code != 1 || !strings.Contains(out, "99.0") {
		t.Errorf("provided: exit code %d, want 1 with the reason; output:\n%s", code, out)
	}
}

func TestRequireKernelTakesTheRunningOne(t *testing.T) {
	t.Parallel()
	mounttest.RequireKernel(t, "5.12")
}
