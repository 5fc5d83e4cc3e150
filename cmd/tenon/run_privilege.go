package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// whoRuns says what to do where the kernel does not let this user run a task.
const whoRuns = "tenon run is for root: run it as root, or start the task yourself and have its volumes mounted into its sandbox: tenon attach"

// mayMount says whether this process may mount, and make mount namespaces: whether it has
// CAP_SYS_ADMIN (capabilities(7)).
func mayMount() (bool, error) {
	var sets [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	err := unix.Capget(&header, &sets[0])
	return sets[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0, os.NewSyscallError("capget", err)
}

// dropCapability takes a capability from this thread and whatever it executes, set-user-ID programs
// included: from the bounding set, and from all that are made of it (capabilities(7)). Tasks lose
// CAP_SYS_RESOURCE, whose owners ext4 does not hold to quotas.
func dropCapability(c uintptr) error {
	var sets [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	bounded, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
	if err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if bounded != 0 {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("take capability %d from the task: %w", c, os.NewSyscallError("prctl", err))
		}
	}
	set, bit := &sets[c/32], uint32(1)<<(c%32)
	set.Effective, set.Permitted, set.Inheritable = set.Effective&^bit, set.Permitted&^bit, set.Inheritable&^bit
	return os.NewSyscallError("capset", unix.Capset(&header, &sets[0])) // the ambient set follows (prctl(2))
}

// checkPrivilege makes sure that this process may make a task's mount namespace, before
// anything is claimed.
func checkPrivilege() error {
	able, err := mayMount()
	if err != nil || able {
		return err
	}
	return advice{errors.New("run: this user may not make the mount namespace that a task has"), []string{whoRuns}}
}

// notStarted is why the stage could not be started. An owner of a user namespace may make
// mount namespaces and still not have a process born in the agent's cgroups.
func notStarted(err error) error {
	err = fmt.Errorf("start the task: %w", err)
	if errors.Is(err, fs.ErrPermission) {
		return advice{err, []string{whoRuns}}
	}
	return err
}
