package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// killBatch bounds the descriptors that Kill holds at once where it kills one by one.
const killBatch = 256

// Kill ends every process in the group and in the groups beneath it with SIGKILL and
// returns when none is left, or when the context has ended, with its error; some may
// have been killed then. The processes may still be zombies that their parents must
// wait for. A missing or an empty group is no error. The group itself stays.
//
// On v2 the kernel kills all in one step (cgroup.kill, Linux 5.14). Where it cannot, the
// group is frozen if its hierarchy can do that, its processes are killed one by one, and
// so on until there are none.
func (g *Group) Kill(ctx context.Context) error {
	err := g.kill(ctx)
	if err != nil {
		return fmt.Errorf("kill cgroup %s: %w", g.Path(), explain(g.Path(), err))
	}
	return nil
}

func (g *Group) kill(ctx context.Context) error {
	if !g.hierarchy.v2() {
		return g.killEach(ctx)
	}
	err := write(filepath.Join(g.Path(), "cgroup.kill"), "1")
	switch {
	case err == nil:
		return g.waitEmpty(ctx)
	case gone(err): // the group, or only the file on a kernel older than 5.14
		return g.killEach(ctx)
	}
	return err
}

// waitEmpty waits until the group is not populated. Only for v2.
func (g *Group) waitEmpty(ctx context.Context) error {
	n, err := NewNotifier()
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }() // nothing is lost with it
	stop := context.AfterFunc(ctx, func() { _ = n.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		watched := n.Add(g.Path())
		populated, err := g.Populated()
		if err == nil && populated {
			err = watched
		}
		if err != nil || !populated {
			return err
		}
		if _, err := n.Wait(); err != nil {
			return cause(ctx, err)
		}
	}
}

// cause returns why a wait that the end of the context interrupts has ended.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// killEach kills without cgroup.kill: a batch of processes a round, until none is left.
func (g *Group) killEach(ctx context.Context) error {
	for {
		pids, err := g.Processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := g.killRound(ctx, pids); err != nil {
			return err
		}
	}
}

// killRound kills some of the group's processes and waits for their end.
func (g *Group) killRound(ctx context.Context, pids []int) error {
	victims, err := openProcesses(pids)
	defer closeAll(victims)
	if err != nil {
		return err
	}
	if err := g.signal(victims); err != nil {
		return err
	}
	for _, victim := range victims {
		if err := waitProcess(ctx, victim); err != nil {
			return err
		}
	}
	return nil
}

// signal kills those of the victims that are still in the group. A process that has the
// number of one that has ended meanwhile is not: its number was listed before victims
// were opened, and is listed again only if it is in the group itself.
func (g *Group) signal(victims map[int]*os.File) (err error) {
	// Frozen, they cannot fork; that they are killed anyway does not depend on it, as
	// further rounds follow. SIGKILL takes effect on v1 when they are thawed.
	g.freeze()
	defer g.thaw(g.Path())
	members, err := g.Processes()
	if err != nil {
		return err
	}
	for pid, victim := range victims {
		if !slices.Contains(members, pid) {
			continue
		}
		if err := sendKill(victim); err != nil {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return nil
}

// freeze asks the kernel to freeze the group, without waiting for it. That the hierarchy
// cannot, or the group has gone, is no failure: see signal.
func (g *Group) freeze() {
	file, frozen, _ := g.freezer()
	_ = write(filepath.Join(g.Path(), file), frozen)
}

// thaw undoes freeze, also in the groups beneath dir that the task itself has frozen.
func (g *Group) thaw(dir string) {
	file, _, thawed := g.freezer()
	_ = write(filepath.Join(dir, file), thawed)
	children, _ := subgroups(dir)
	for _, child := range children {
		g.thaw(child)
	}
}

// freezer returns the file that freezes a group and what is written to it.
func (g *Group) freezer() (file, frozen, thawed string) {
	if g.hierarchy.v2() {
		return "cgroup.freeze", "1", "0"
	}
	return "freezer.state", "FROZEN", "THAWED"
}

// write writes to a file of the kernel.
func write(path, value string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(value)
	return err
}

// openProcesses opens pidfds (pidfd_open(2), Linux 5.3) of at most killBatch processes.
func openProcesses(pids []int) (map[int]*os.File, error) {
	files := make(map[int]*os.File)
	for _, pid := range pids {
		if pid == 0 || len(files) == killBatch {
			continue
		}
		fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return files, fmt.Errorf("open process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
		}
		files[pid] = os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid))
	}
	if slices.Max(pids) == 0 {
		return files, fmt.Errorf("%d processes are in another PID namespace", len(pids))
	}
	return files, nil
}

func closeAll(files map[int]*os.File) {
	for _, f := range files {
		_ = f.Close() // a pidfd has nothing to flush
	}
}

// sendKill kills the process of a pidfd; one that has ended is no error.
func sendKill(pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	cerr := conn.Control(func(fd uintptr) {
		err = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0)
	})
	if errors.Is(err, unix.ESRCH) {
		err = nil
	}
	return errors.Join(cerr, os.NewSyscallError("pidfd_send_signal", err))
}

// waitProcess waits until the process of a pidfd has ended: then the pidfd is readable.
func waitProcess(ctx context.Context, pidfd *os.File) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return cause(ctx, conn.Read(readable))
}

// readable reports whether reading the descriptor would not block, an error included.
func readable(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return n > 0 || (err != nil && !errors.Is(err, unix.EINTR))
}
