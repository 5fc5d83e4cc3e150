package owner

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

func TestGroupsAreEachThereOnce(t *testing.T) {
	t.Parallel()
	have := []uint32{27, 4, 10001}
	got, err := Groups(have, 10003, 10001, 10002)
	must(t, err)
	if diff := cmp.Diff([]uint32{4, 27, 10001, 10002, 10003}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint32{27, 4, 10001}, have); diff != "" {
		t.Errorf("what was handed in has changed:\n%s", diff)
	}
	many := make([]uint32, 65536)
	for i := range many {
		many[i] = uint32(i + 1)
	}
	if got, err := Groups(many, 1, 65536); err != nil || len(got) != 65536 {
		t.Errorf("the most that can be: %d, %v", len(got), err)
	}
	if _, err := Groups(many, 65537); !errors.Is(err, unix.EINVAL) {
		t.Errorf("one more: got error %v, want %v", err, unix.EINVAL)
	}
}

func TestARunningProcessIsAskedForItsGroups(t *testing.T) {
	mounttest.RequireRoot(t)
	groups, err := Groups([]uint32{50}, 10000)
	must(t, err)
	cmd := exec.Command("/bin/cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 2000, Gid: 2001, Groups: groups}}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	for gid, want := range map[uint32]bool{50: true, 10000: true, 2001: true, 2000: false, 1000: false, 0: false, 5: false} {
		if got, err := Member(cmd.Process.Pid, gid); err != nil || got != want {
			t.Errorf("group %d: %v, %v; want %v", gid, got, err, want)
		}
	}
	must(t, stdin.Close())
	must(t, cmd.Wait())
	if _, err := Member(cmd.Process.Pid, 50); !errors.Is(err, unix.ESRCH) {
		t.Errorf("after its end: got error %v, want %v", err, unix.ESRCH)
	}
}

func TestTheGroupForFilesCounts(t *testing.T) {
	t.Parallel()
	status := "Name:\tGroups: 7\nGid:\t1\t2\t3\t4\nFDSize:\t64\nGroups:\t5 6 \nNStgid:\t8\n"
	for gid, want := range map[uint32]bool{1: false, 3: false, 4: true, 5: true, 6: true, 7: false, 8: false, 64: false} {
		if got := isMember(status, gid); got != want {
			t.Errorf("group %d: %v, want %v", gid, got, want)
		}
	}
	if isMember("Gid:\n", 0) || isMember("", 0) {
		t.Error("a member by nothing")
	}
	if got, err := Member(os.Getpid(), uint32(os.Getegid())); err != nil || !got {
		t.Errorf("the test's own: %v, %v", got, err)
	}
}
