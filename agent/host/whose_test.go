package host_test

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"

	"tenon/agent/volume"
)

const somebody = 65534

// Whoever claims may name any process. That does not open its mount namespace to them.
func TestAClaimOfSomebodyElsesProcessDoesNotOpenItsNamespace(t *testing.T) {
	n := withData(t)
	sh := startShell(t, "private")
	n.must(t, volume.Claim{Task: "shell", Lease: volume.Lease{PID: sh.pid}})
	at := n.place("x")
	op := volume.Attach{Task: "shell", Use: volume.Use{Volume: "web/data", Path: at}, UID: somebody}
	for _, uid := range []int{somebody, -1} {
		op.UID = uid
		if _, err := n.Do(t.Context(), op); !errors.Is(err, volume.ErrForbidden) {
			t.Errorf("user %d attaches to root's process by its task: %v; want ErrForbidden", uid, err)
		}
	}
	if said, ok := sh.do("grep -c ' " + at + " ' /proc/self/mountinfo"); ok {
		t.Errorf("it is mounted %s times", said)
	}
	op.UID = 0
	n.must(t, op)
	n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
}

// Whoever chooses what lies at /etc in a namespace of the host's own users is root there by the
// next set-user-ID program, also where the process is theirs.
func TestOnlyRootChoosesAPlaceInTheRootOfAProcess(t *testing.T) {
	n := withData(t)
	startShell(t, "private").end() // skips where nobody may mount
	theirs := runShell(t, exec.Command("sh"), &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Credential: &syscall.Credential{Uid: somebody, Gid: somebody}})
	n.must(t, volume.Claim{Task: "shell", Lease: volume.Lease{PID: theirs.pid}})
	at := n.place("x")
	for name, in := range map[string]volume.Process{"named": {PID: theirs.pid}, "by its task": {}} {
		op := volume.Attach{Task: "shell", Use: volume.Use{Volume: "web/data", Path: at}, In: in, UID: somebody}
		if _, err := n.Do(t.Context(), op); !errors.Is(err, volume.ErrForbidden) {
			t.Errorf("%s: %v; want ErrForbidden", name, err)
		}
	}
	if said, ok := theirs.do("grep -c ' " + at + " ' /proc/self/mountinfo"); ok {
		t.Errorf("it is mounted %s times", said)
	}
	n.must(t, volume.Attach{Task: "shell", Use: volume.Use{Volume: "web/data", Path: at}})
	theirs.must("grep ' " + at + " ' /proc/self/mountinfo")
	n.must(t, volume.Detach{Task: "shell", Volume: "web/data"})
}
