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
