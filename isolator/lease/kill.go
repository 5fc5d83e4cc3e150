package lease

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kill ends the process of a lease with SIGKILL and returns when it has ended, or when the
// context has, with its error. It may still be a zombie that its parent must wait for. A
// process that has ended, and a lease that names none, is no error; another process that has
// got the id since is left alone. What is in the lease's cgroup is for package cgroup to end.
func (l Lease) Kill(ctx context.Context) error {
	if l.PID == 0 {
		return nil
	}
	if err := l.kill(ctx); err != nil {
		return fmt.Errorf("kill process %d: %w", l.PID, err)
	}
	return nil
}

func (l Lease) kill(ctx context.Context) error {
	fd, err := openProcess(l.PID)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	// As for a Watcher, the start time is compared after the pidfd is open.
	if alive, err := l.processAlive(); !alive || err != nil {
		return err
	}
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	cerr := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	if err := errors.Join(cerr, os.NewSyscallError("pidfd_send_signal", sent)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = conn.Read(ended)
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// ended says whether the process of a pidfd has: it is readable then.
func ended(pidfd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
}

// User returns the real user id of the lease's process, by which kill(2) goes. It returns an
// error that wraps ESRCH if there is none any more.
func (l Lease) User() (int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(l.PID) + "/status")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return -1, fmt.Errorf("user of process %d: %w", l.PID, unix.ESRCH)
	}
	if err != nil {
		return -1, fmt.Errorf("user of process %d: %w", l.PID, err)
	}
	// Whatever lives with that start time now lived when its status was read.
	if alive, err := l.processAlive(); err != nil || !alive {
		return -1, fmt.Errorf("user of process %d: %w", l.PID, errors.Join(err, unix.ESRCH))
	}
	for line := range strings.Lines(string(text)) {
		if ids, is := strings.CutPrefix(line, "Uid:"); is && len(strings.Fields(ids)) > 0 {
			return strconv.Atoi(strings.Fields(ids)[0])
		}
	}
	return -1, fmt.Errorf("user of process %d: its status has none", l.PID)
}
