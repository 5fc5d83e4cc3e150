package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/cgroup"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a command as a task that uses volumes",
		ArgsUsage: "-- COMMAND [ARG]...",
		Description: "Claims the volumes, mounts them in a mount namespace that only the command sees, runs it with\n" +
			"the task's sandbox as its working directory, and releases everything when it has ended.\n" +
			"Of open files the command has standard input, output and error, and no others.\n" +
			"Exits as the command does (128 + n after signal n); 125 where Tenon itself failed, 126 where\n" +
			"the command can't be run, 127 where it is not found. It is for root: who may only use the socket\n" +
			"can have volumes mounted by the agent, with tenon attach.\n\n" +
			"EXAMPLES:\n" +
			"   tenon run --task writer --volume web/data:data:rw -- sh -c 'echo hi > data/greeting'\n" +
			"   tenon run --task reader --volume web/data:data:ro -- cat data/greeting\n" +
			"   tenon run --task hungry --volume web/data:data --io read=10MiB,write=5MiB -- cp data/a data/b\n" +
			"   tenon run --task carol --user carol --idmap user --volume web/data -- touch data/mine",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "task", Usage: "call the task `ID`", Required: true},
			&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "use a volume: `NAME[:PATH][:OPTIONS]`; may be repeated"},
			&cli.StringFlag{Name: "user", Usage: "run the command as `USER[:GROUP]`, by name or by number", DefaultText: "whoever asks"},
			idmapFlag("UID:GID, or user for that of --user"),
			&cli.StringSliceFlag{Name: "io", Usage: "limit what is read and written a second on the disks of its volumes, or on that of one: `[VOLUME:]LIMITS`, of read=10MiB,write=5MiB,riops=100,wiops=50; may be repeated"},
			&cli.StringFlag{Name: "sandbox", Usage: "use `DIR`, beneath a sandbox root, instead of one that is made and removed"},
		},
		Action: run,
	}
}

// run is a task's life as its parent sees it.
func run(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError{errors.New("run: no command given; put it after --")}
	}
	if err := resource.CheckID(c.String("task")); err != nil {
		return misused(c, "task: %s", err)
	}
	claim := wire.Claim{Task: c.String("task"), Sandbox: c.String("sandbox"), Cgroup: true}
	var err error
	if claim.Volumes, err = usesOf(c); err != nil {
		return err
	}
	for _, spec := range c.StringSlice("io") {
		limit, err := parseThrottle(spec)
		if err != nil {
			return misused(c, "%v", err)
		}
		claim.IO = append(claim.IO, limit)
	}
	as, err := runsAs(c, claim.Volumes)
	if err != nil {
		return err
	}
	claim.User = as.User
	if err := checkPrivilege(); err != nil {
		return selfFailed(err)
	}
	api := newClient(c)
	task, err := api.Claim(c.Context, claim)
	if err != nil {
		return selfFailed(adviseOnClaim(err))
	}
	as.Groups = groupsFor(task)
	code, closed, runErr := runTask(c.Context, api, task, as, c.Args().Slice())
	release(api, task.ID, c.App.ErrWriter)
	if code > 0 && code < exitRunSelf {
		for _, line := range closed { // which may be why
			hint(c, "tenon: %s", line)
		}
	}
	return exitAs(code, runErr)
}

// runsAs is as whom the command is run; the uses are mapped as --idmap says.
func runsAs(c *cli.Context, uses []wire.Use) (as identity, err error) {
	if c.IsSet("user") {
		if as, err = findUser(c.String("user")); err != nil {
			return as, misused(c, "%v", err)
		}
	}
	return as, mapUses(c, uses, as.User)
}

// runTask starts the stage with the task's mounts and waits for its end. It tells what of the
// volumes was closed to the command's user when it began.
func runTask(ctx context.Context, api *client.Client, task wire.Task, as identity, command []string) (code int, closed []string, err error) {
	mounts, paths, err := receive(ctx, api, task)
	defer closeAll(mounts)
	if err != nil {
		return 0, nil, err
	}
	closed = closedTo(as, task.Attachments, mounts)
	stage := exec.Command("/proc/self/exe", stageArguments(task, as, paths, command)...)
	stage.Stdin, stage.Stdout, stage.Stderr = os.Stdin, os.Stdout, os.Stderr
	stage.ExtraFiles = mounts
	stage.SysProcAttr = &syscall.SysProcAttr{}
	cleanup, err := bind(stage, task.Lease.Cgroup)
	if err != nil {
		return 0, nil, err
	}
	defer cleanup()
	code, err = supervise(stage)
	return code, closed, err
}

// bind ties the stage to what proves the task alive, without a moment in between: it is
// born in the task's cgroup, or it dies with this process, which holds the lease. Where
// the cgroup is one of v1 it is the latter until the stage has joined.
//
// The kernel sends the signal of Pdeathsig when the thread ends that started the child, so
// the calling goroutine stays on its thread.
func bind(stage *exec.Cmd, path string) (cleanup func(), err error) {
	runtime.LockOSThread()
	cleanup = func() {}
	if path == "" {
		// Whatever the command leaves behind becomes a child of this process, which waits for
		// all of them before it releases the task.
		stage.SysProcAttr.Pdeathsig = syscall.SIGKILL
		err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		return outlive, os.NewSyscallError("prctl", err)
	}
	group, err := cgroup.Find(path)
	if err != nil {
		return cleanup, err
	}
	dir, err := group.Dir()
	if errors.Is(err, cgroup.ErrUnsupported) {
		stage.SysProcAttr.Pdeathsig = syscall.SIGKILL
		return cleanup, nil
	}
	if err != nil {
		return cleanup, err
	}
	stage.SysProcAttr.UseCgroupFD, stage.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return func() { _ = dir.Close() }, nil
}

// outlive waits for every process that the command has left behind.
func outlive() {
	for {
		_, err := syscall.Wait4(-1, nil, 0, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return // ECHILD: there is none
		}
	}
}

// receive takes the task's mounts from the agent, one descriptor a volume.
func receive(ctx context.Context, api *client.Client, task wire.Task) (mounts []*os.File, paths []string, err error) {
	for _, a := range task.Attachments {
		f, _, err := api.Mount(ctx, task.ID, wire.Attach{Use: useOf(a)})
		if err != nil {
			return mounts, paths, err
		}
		mounts, paths = append(mounts, f), append(paths, a.Path)
	}
	return mounts, paths, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // only descriptors of mounts; nothing is written through them
	}
}

// supervise runs the stage, hands signals on to it, and gives the exit code of what it
// became. The stage stays in the process group of this process, so that a shell's job
// control works on both: what the terminal sends to the group has reached the stage too.
func supervise(stage *exec.Cmd) (int, error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	defer signal.Stop(signals)
	err := stage.Start()
	closeAll(stage.ExtraFiles) // a mount that this process had open too could not be detached from the task
	if err != nil {
		return 0, notStarted(err)
	}
	done := make(chan error, 1)
	go func() { done <- stage.Wait() }()
	for {
		select {
		case s := <-signals:
			if handed(s) {
				_ = stage.Process.Signal(s) // it may have ended just now
			}
		case err := <-done:
			return codeOf(stage.ProcessState, err)
		}
	}
}

// handed says whether a signal is to be handed to the task: not those that speak of this
// process alone, and not those that the terminal has sent to both.
func handed(s os.Signal) bool {
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
		return !inForeground()
	case syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2:
		return true
	}
	return false
}

// inForeground says whether this process group is the one that a terminal sends signals to.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func codeOf(state *os.ProcessState, err error) (int, error) {
	if state == nil {
		return 0, err
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}

// release ends the task. Where that can't be done now the agent does it later, when it sees
// that nothing of the task is alive; the command has ended as it has, whatever comes of it.
func release(api *client.Client, task string, warn io.Writer) {
	err := api.Release(context.Background(), task, false)
	switch {
	case err == nil, errors.Is(err, volume.ErrNotFound):
	case errors.Is(err, volume.ErrInUse):
		fmt.Fprintf(warn, "tenon: task %s has left processes behind; its volumes stay held until they end (see: tenon explain)\n", task)
	default:
		fmt.Fprintf(warn, "tenon: task %s is not released yet, the agent does it when it can: %v\n", task, err)
	}
}

// selfFailed is the end of run where Tenon itself could not do its part.
func selfFailed(err error) error { return codeError{exitRunSelf, err.Error()} }

// exitAs ends the program as the task did. A task that an interrupt has ended takes this
// process along in the same way, so that a shell's loop around it ends too.
func exitAs(code int, err error) error {
	switch {
	case err != nil:
		return selfFailed(err)
	case code == 0:
		return nil
	case code == 128+int(syscall.SIGINT):
		signal.Reset(syscall.SIGINT)
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
		<-time.After(time.Second) // the signal is on its way, unless it is ignored
	}
	return codeError{code: code}
}
