package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/agent/wire"
	"tenon/isolator/cgroup"
	"tenon/mount"
)

// stageName is the first argument of the process between `tenon run` and its command:
// the same program, which takes the descriptors of the mounts, makes the task's own
// mount namespace, puts the mounts into the sandbox there, and becomes the command.
const stageName = "run-stage"

// firstMount is the number of the first descriptor that was handed to the stage.
const firstMount = 3

// stage is what the stage is told in its arguments.
type stage struct {
	task, sandbox, cgroup string
	as                    identity
	paths                 []string // where each descriptor's mount goes
	command               []string
}

func stageArguments(t wire.Task, as identity, paths, command []string) []string {
	args := append([]string{stageName, t.ID, t.Sandbox, t.Lease.Cgroup, as.String(), strconv.Itoa(len(paths))}, paths...)
	return append(args, command...)
}

func parseStage(args []string) (s stage, err error) {
	const fixed = 5
	if len(args) < fixed {
		return s, errors.New("too few arguments")
	}
	as, err := parseIdentity(args[3])
	if err != nil {
		return s, err
	}
	n, err := strconv.Atoi(args[4])
	if err != nil || n < 0 || len(args) <= fixed+n {
		return s, fmt.Errorf("%q is not the number of mounts", args[4])
	}
	return stage{args[0], args[1], args[2], as, args[fixed : fixed+n], args[fixed+n:]}, nil
}

// runStage never returns. What goes wrong before the command runs is told on standard
// error and by the exit codes of run.
func runStage(args []string) {
	runtime.LockOSThread() // what a thread may do is its own, and goes to the command with exec
	parent := os.Getppid()
	s, err := parseStage(args)
	if err == nil {
		err = s.enter()
	}
	if err == nil {
		err = dropCapability(unix.CAP_SYS_RESOURCE)
	}
	if err == nil {
		err = s.as.assume()
	}
	if err == nil && s.cgroup == "" {
		err = endWith(parent)
	}
	if err != nil {
		leave(exitRunSelf, fmt.Errorf("start the task: %w", err))
	}
	if err := closeOnExec(); err != nil {
		leave(exitRunSelf, err)
	}
	leave(s.become())
}

// closeOnExec leaves the command standard input, output and error, and no other descriptor:
// neither one of Tenon's nor one that whoever started tenon run has open (close_range(2),
// Linux 5.11).
func closeOnExec() error {
	return os.NewSyscallError("close_range", unix.CloseRange(firstMount, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC))
}

func leave(code int, err error) {
	fmt.Fprintln(os.Stderr, "tenon: "+err.Error())
	os.Exit(code)
}

// enter joins the cgroup, makes the namespace and the mounts in it, and goes to the
// sandbox.
func (s stage) enter() error {
	if err := s.join(); err != nil {
		return err
	}
	if err := mount.MakePrivateNamespace(); err != nil {
		return err
	}
	sandbox, err := openSandbox(s.sandbox)
	if err != nil {
		return err
	}
	defer sandbox.Close()
	for i, path := range s.paths {
		f := os.NewFile(uintptr(firstMount+i), path)
		if err := place(f, sandbox, path); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
	}
	return sandbox.Chdir()
}

// endWith has this thread's process killed when its parent ends, once more: who becomes another
// user loses that (commit_creds in the kernel), and so does whoever executes on another thread.
func endWith(parent int) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if os.Getppid() != parent {
		return errors.New("tenon run has ended meanwhile")
	}
	return nil
}

// openSandbox opens the directory without following a symlink: others may write to what is
// above a launcher's sandbox.
func openSandbox(path string) (*os.File, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// join makes sure that the process is in the task's cgroup. From then on the cgroup
// proves the task alive, so that it may outlive `tenon run`.
func (s stage) join() error {
	if s.cgroup == "" {
		return nil
	}
	group, err := cgroup.Find(s.cgroup)
	if err != nil {
		return err
	}
	if err := group.Join(os.Getpid()); err != nil {
		return err
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0))
}

// place makes the mount point beneath the sandbox and moves the mount onto it.
func place(f *os.File, sandbox *os.File, path string) error {
	tree := mount.FromFile(f)
	defer tree.Close()
	parent, name, err := mount.MkdirBeneath(sandbox, path, 0o755)
	if err != nil {
		return err
	}
	defer parent.Close()
	at, err := mount.OpenOver(parent, name)
	if err != nil {
		return err
	}
	defer at.Close()
	return tree.Attach(at)
}

// environment is that of run, without what is for tests, and with the task's own.
func (s stage) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TENON_TEST_") && !strings.HasPrefix(v, "TENON_TASK=") && !strings.HasPrefix(v, "TENON_SANDBOX=") {
			env = append(env, v)
		}
	}
	return append(s.as.environment(env), "TENON_TASK="+s.task, "TENON_SANDBOX="+s.sandbox)
}
