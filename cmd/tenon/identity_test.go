package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/mount/mounttest"
)

// root is there wherever these tests run, under its name and its number.
func TestAUserIsFoundByNameOrNumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]volume.ID{
		"root": {}, "0": {}, "root:7": {GID: 7}, "0:root": {}, "4000000001:5": {UID: 4000000001, GID: 5},
	} {
		if id, err := findUser(text); err != nil || *id.User != want || id.Home == "" {
			t.Errorf("findUser(%q) = %+v, %v; want %s", text, id, err, want.String())
		}
	}
	for text, want := range map[string]string{
		"":                  `user "" is not known`,
		":0":                `user "" is not known`,
		"no such user":      "is not known on this host",
		"4000000001":        "say of which group: --user 4000000001:GID",
		"root:":             `group "" is not known`,
		"root:no such":      `group "no such" is not known`,
		"-1:0":              "is not known on this host",
		"4294967295:0":      "is not known on this host",
		"0:4294967295":      `group "4294967295" is not known`,
		"4294967296:1":      "is not known on this host",
		"root:root:another": `group "root:another" is not known`,
	} {
		if id, err := findUser(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("findUser(%q) = %+v, %v; want an error with %q", text, id, err, want)
		}
	}
}

func TestWhomACommandRunsAsReachesTheStage(t *testing.T) {
	t.Parallel()
	for _, want := range []identity{
		{}, {Groups: []uint32{61000}},
		{User: &volume.ID{}, Name: "root", Home: "/root"},
		{User: &volume.ID{UID: 7, GID: 4294967294}, Own: []uint32{7, 9}, Groups: []uint32{61000, 61001}, Name: "a \"b", Home: "/x y"},
	} {
		got, err := parseIdentity(want.String())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if _, err := parseIdentity("{"); err == nil {
		t.Error("half an identity is taken for one")
	}
}

func TestAUserHasAnEnvironmentOfItsOwn(t *testing.T) {
	t.Parallel()
	env := []string{"HOME=/root", "PATH=/bin", "USER=root", "LOGNAME=root", "USERS=2"}
	if got := (identity{Groups: []uint32{1}}).environment(env); !slices.Equal(got, env) {
		t.Errorf("of nobody else: %q", got)
	}
	as := identity{User: &volume.ID{UID: 7}, Name: "seven", Home: "/home/7"}
	want := []string{"PATH=/bin", "USERS=2", "HOME=/home/7", "USER=seven", "LOGNAME=seven"}
	if got := as.environment(env); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTheGroupsOfATaskAreThoseOfItsVolumes(t *testing.T) {
	t.Parallel()
	task := wire.Task{Attachments: []wire.Attachment{{Group: 9}, {}, {Group: 7}, {Group: 9}}}
	if got := groupsFor(task); !slices.Equal(got, []uint32{7, 9}) {
		t.Errorf("%d, want 7 and 9", got)
	}
}

func TestAMapIsAUserAndAGroup(t *testing.T) {
	t.Parallel()
	if got, err := findMap("7:8", nil); err != nil || *got != (volume.ID{UID: 7, GID: 8}) {
		t.Errorf("%v, %v", got, err)
	}
	me := &volume.ID{UID: 3, GID: 4}
	if got, err := findMap("user", me); err != nil || got != me {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "7", "7:", ":7", "7:8:9", "a:b", "-1:0", "user:user", "4294967295:0", "user"} {
		if got, err := findMap(text, nil); err == nil {
			t.Errorf("findMap(%q) = %s", text, got)
		}
	}
}

// Where a task has no cgroup it ends with tenon run, also as another user.
func TestACommandEndsWithItsParentAsAnotherUser(t *testing.T) {
	mounttest.RequireRoot(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with it
		signal := int32(-1)
		err := endWith(os.Getppid())
		if err == nil {
			_, _, errno := unix.RawSyscall(unix.SYS_SETUID, 62001, 0, 0) // of this thread alone
			err = os.NewSyscallError("setuid", errnoOrNil(errno))
		}
		lost := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0) == nil && signal == 0
		if !lost {
			err = errors.Join(err, fmt.Errorf("signal %d is kept, which this test is about", signal))
		}
		err = errors.Join(err, endWith(os.Getppid()), unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0))
		if signal != int32(unix.SIGKILL) {
			err = errors.Join(err, fmt.Errorf("signal %d is sent when the parent ends, want SIGKILL", signal))
		}
		if endWith(os.Getppid()+1) == nil {
			err = errors.Join(err, errors.New("a parent that has ended already is not noticed"))
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func errnoOrNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
