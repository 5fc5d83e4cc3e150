package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"tenon/mount/mounttest"
)

// Variables of the environment that only the tests know; the program refuses those that
// begin with TENON_ otherwise.
const (
	// The race detector lets every process sleep for a second at its end otherwise.
	noExitSleep = "GORACE=atexit_sleep_ms=0"

	insideEnv = "TENON_TEST_INSIDE"     // the process is to run the tests themselves
	mountsEnv = "TENON_MOUNTTEST_CHILD" // mounttest's own, which tenon must not see
	stageZero = "/proc/self/exe"        // how tenon run calls itself
	fixtures  = "../../testdata/mesos"  // operations as Mesos writes them
	goldenSet = "TENON_TEST_UPDATE"     // write the golden files of the scripts anew
)

// programs are on the PATH of scripts.
func programs() map[string]func() { return map[string]func(){"tenon": tenon, "curl": curl} }

// TestMain runs the tests in a mount namespace of their own, with this program on the
// PATH under the name tenon.
func TestMain(m *testing.M) {
	if os.Args[0] == stageZero && len(os.Args) > 1 && os.Args[1] == stageName {
		tenon()
	}
	if _, program := programs()[filepath.Base(os.Args[0])]; os.Getenv(insideEnv) != "" && !program {
		mounttest.Main(m)
	}
	testscript.Main(again{}, programs())
}

func tenon() {
	for _, name := range []string{insideEnv, mountsEnv, goldenSet} {
		os.Unsetenv(name)
	}
	main()
}

// again runs this test binary once more, for mounttest.Main, which does not return.
type again struct{}

// Run gives the exit code of the second run.
func (again) Run() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"=1", noExitSleep)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
