package lease

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKillEndsTheProcessOfTheLeaseAndNoOther(t *testing.T) {
	t.Parallel()
	p := mustStart(t)
	l := p.lease(t)
	other := Lease{PID: l.PID, Start: l.Start + 1}
	if err := other.Kill(t.Context()); err != nil {
		t.Errorf("kill of a process that has given its id away: %v", err)
	}
	if held, err := l.Held(); !held || err != nil {
		t.Fatalf("another process was killed, %v", err)
	}
	if err := l.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if held, err := l.Held(); held || err != nil {
		t.Errorf("a killed process holds its lease: %v, %v", held, err)
	}
	if err := l.Kill(t.Context()); err != nil {
		t.Errorf("kill of a zombie: %v", err)
	}
	p.end()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != unix.SIGKILL {
		t.Errorf("it ended with %v", p.cmd.ProcessState)
	}
	for name, l := range map[string]Lease{"a missing process": l, "no process": {Cgroup: "/sys/fs/cgroup/none"}, "nothing": {}} {
		if err := l.Kill(t.Context()); err != nil {
			t.Errorf("kill of %s: %v", name, err)
		}
	}
}

func TestKillWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := mustStart(t)
	if err := p.lease(t).Kill(ctx); err != nil && !errors.Is(err, context.Canceled) { // it may be faster
		t.Errorf("kill: %v", err)
	}
}

func TestUserIsThatOfTheProcess(t *testing.T) {
	t.Parallel()
	p := mustStart(t)
	l := p.lease(t)
	if got, err := l.User(); got != os.Getuid() || err != nil {
		t.Errorf("user is %d, %v, want %d", got, err, os.Getuid())
	}
	other := Lease{PID: l.PID, Start: l.Start + 1}
	if got, err := other.User(); !errors.Is(err, unix.ESRCH) {
		t.Errorf("user of a process that has given its id away is %d, %v", got, err)
	}
	p.kill()
	if got, err := l.User(); !errors.Is(err, unix.ESRCH) {
		t.Errorf("user of a missing process is %d, %v", got, err)
	}
}
