// Package mounttest lets ordinary tests mount freely: Main runs a test binary
// in a mount namespace of its own, from which nothing leaks to the host, and
// fails it when it leaves mounts, descriptors or goroutines behind. The Require functions
// are the only ones in the project that may skip a test.
//
// It is for tests alone, and for no test that is to see the host's own mounts.
//
//	func TestMain(m *testing.M) { mounttest.Main(m) }
package mounttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// exitLeak is the exit code of a test binary that left something behind, or
// that would have run its tests in the host's mount namespace.
const exitLeak = 99

// childEnv tells the second run of the test binary where it comes from: the
// host's mount namespace, or why there is no other.
const (
	childEnv   = "TENON_MOUNTTEST_CHILD"
	noPrefix   = "none: "
	selfMounts = "/proc/self/ns/mnt"
)

// forGood is a goroutine of Ginkgo's, which runs the sanity suite of CSI, that ends with the process.
const forGood = "github.com/onsi/ginkgo/v2/internal/interrupt_handler.(*InterruptHandler).registerForInterrupts.func2"

// The first thread stays with the goroutine that runs main, so that no test can
// take it to another namespace and leave it there: /proc/self means that thread.
func init() { runtime.LockOSThread() }

// Main is the whole TestMain of a package whose tests mount. It runs the test
// binary again in a private mount namespace: as root in a new one, otherwise in
// a new user and mount namespace in which the user is root. Arguments,
// environment, standard files, signals and the exit code pass through. Where
// user namespaces are switched off, the tests run where they are and
// RequireMounts skips.
//
// After the tests it compares the mount table and the open descriptors with
// those before them, and looks for goroutines; what was left is printed, and the
// exit code is 99 unless the tests failed anyway. Main does not return.
func Main(m *testing.M) {
	if _, ok := os.LookupEnv(childEnv); ok {
		os.Exit(inside(m))
	}
	code, err := runInside()
	if err == nil {
		os.Exit(code)
	}
	os.Setenv(childEnv, noPrefix+err.Error())
	os.Exit(inside(m))
}

// MainInPlace is Main for a package whose tests open files or start goroutines, but mount nothing:
// they run where they are, and what they mounted is not looked for, since others may mount there.
func MainInPlace(m *testing.M) { os.Exit(watch(m, false)) }

// inside runs the tests in the namespace that was made for them.
func inside(m *testing.M) int {
	if err := checkNamespace(); err != nil {
		fmt.Fprintln(os.Stderr, "mounttest:", err)
		return exitLeak
	}
	return watch(m, true)
}

// watch runs the tests and looks for what they left.
func watch(m *testing.M, mounts bool) int {
	before := takeInventory(mounts)
	code := m.Run()
	var left []string
	if err := goleak.Find(goleak.IgnoreAnyFunction(forGood)); err != nil { // waits a moment for those that are about to end, and close what they have
		left = append(left, err.Error())
	}
	left = append(left, takeInventory(mounts).since(before)...)
	if len(left) == 0 {
		return code
	}
	fmt.Fprintf(os.Stderr, "mounttest: the tests left behind:\n\t%s\n", strings.Join(left, "\n\t"))
	if code == 0 {
		return exitLeak
	}
	return code
}

// checkNamespace refuses to run tests in the namespace of the first run, into
// which an environment variable set by hand would lead.
func checkNamespace() error {
	from := os.Getenv(childEnv)
	if strings.HasPrefix(from, noPrefix) {
		return nil
	}
	here, err := os.Readlink(selfMounts)
	if err != nil {
		return err
	}
	if from == here || from == "" {
		return fmt.Errorf("%s=%q is set, but this is no private mount namespace", childEnv, from)
	}
	return nil
}

// runInside runs this binary again in a private mount namespace and returns its
// exit code, or an error when there can be no such namespace.
func runInside() (int, error) {
	here, err := os.Readlink(selfMounts)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), childEnv+"="+here)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = privateMounts()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		return 0, fmt.Errorf("no private mount namespace: %w", err)
	}
	go func() {
		for s := range signals {
			// An error means that the child has ended, which Wait tells.
			_ = cmd.Process.Signal(s)
		}
	}()
	return exitCode(cmd.Wait()), nil
}

// privateMounts is how the second run is started. CLONE_NEWNS among
// Unshareflags makes the Go runtime turn / private recursively.
func privateMounts() *syscall.SysProcAttr {
	// Pdeathsig is tied to the thread that starts the child, which init keeps.
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() == 0 {
		return attr
	}
	attr.Cloneflags = syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	return attr
}

// exitCode is the exit code of a process that ended with err, as a shell has it.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		fmt.Fprintln(os.Stderr, "mounttest:", err)
		return exitLeak
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		fmt.Fprintln(os.Stderr, "mounttest: the tests were ended by", status.Signal())
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
