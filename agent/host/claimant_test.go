package host_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"tenon/agent/volume"
)

// thread is one of this process' threads, but not its first, whose number is the process'.
func thread(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil && tid != os.Getpid() {
			return tid
		}
	}
	t.Fatal("this process has one thread")
	return 0
}

func TestANumberThatIsNoProcessIsRefusedInWords(t *testing.T) {
	n := withData(t)
	ended := exec.Command("/bin/true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[int]string{
		ended.Process.Pid: fmt.Sprintf("task t: there is no process %d, or not any more; name one that runs, by the number that it has where the agent runs", ended.Process.Pid),
		thread(t):         "is a thread of a process; name the process itself",
	} {
		for _, op := range []volume.Operation{
			hot("t", "data", "/mnt", "", pid),
			volume.Claim{Task: "t", Lease: volume.Lease{PID: pid}, Uses: []volume.Use{{Volume: "web/data"}}},
		} {
			_, err := n.Do(t.Context(), op)
			if !errors.Is(err, volume.ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s for %d: %v, want that %s", op.Name(), pid, err, want)
			}
		}
	}
	if held := n.held(t); held != 0 {
		t.Errorf("what was refused holds the volume: %d", held)
	}
}
