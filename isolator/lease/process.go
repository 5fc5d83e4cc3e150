package lease

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// processes waits for the end of many processes at once: one epoll(7) descriptor which
// itself waits in Go's poller, so that no thread is blocked and Close ends the wait.
type processes struct{ file *os.File }

func newProcesses() (processes, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return processes{}, os.NewSyscallError("epoll_create1", err)
	}
	// Only a non-blocking descriptor goes to the poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		return processes{}, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	return processes{file: os.NewFile(uintptr(fd), "epoll")}, nil
}

// add makes wait return the token once the pidfd is readable, and again until remove.
func (p processes) add(pidfd int, token uint64) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(token), Pad: int32(token >> 32)}
	return p.control(unix.EPOLL_CTL_ADD, pidfd, &event)
}

// remove undoes add. It is needed before the pidfd is closed, as a child that the agent
// is about to start may share it for a moment.
func (p processes) remove(pidfd int) error {
	return p.control(unix.EPOLL_CTL_DEL, pidfd, nil)
}

func (p processes) control(op, pidfd int, event *unix.EpollEvent) error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	cerr := conn.Control(func(fd uintptr) { err = unix.EpollCtl(int(fd), op, pidfd, event) })
	if cerr != nil {
		return os.ErrClosed // its only error, which it does not wrap
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// wait blocks until at least one pidfd is readable and returns their tokens. After close
// it returns os.ErrClosed.
func (p processes) wait(events []unix.EpollEvent) (tokens []uint64, err error) {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var n int
	rerr := conn.Read(func(fd uintptr) bool {
		n, err = unix.EpollWait(int(fd), events, 0)
		for errors.Is(err, unix.EINTR) {
			n, err = unix.EpollWait(int(fd), events, 0)
		}
		return n > 0 || err != nil
	})
	if rerr != nil {
		return nil, os.ErrClosed // its only error here, which it does not wrap
	}
	if err != nil {
		return nil, fmt.Errorf("wait for processes: %w", os.NewSyscallError("epoll_wait", err))
	}
	for _, event := range events[:n] {
		tokens = append(tokens, uint64(uint32(event.Fd))|uint64(uint32(event.Pad))<<32)
	}
	return tokens, nil
}

func (p processes) close() error { return p.file.Close() }
