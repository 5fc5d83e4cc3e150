package lease

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tenon/isolator/cgroup"
)

// Lease names what proves a holder alive. The zero Lease names nothing and is always
// held. Leases may be compared.
type Lease struct {
	PID    int           // a process as the agent's PID namespace numbers it; 0: none
	Start  uint64        // its start, in clock ticks after boot: field 22 of /proc/PID/stat
	Cgroup string        // the full path of a cgroup, as cgroup.Group.Path returns it; "": none
	Until  time.Duration // when it expires, as Now counts; 0: never by itself
}

// OfProcess returns the lease of a living process; of a child that has not been waited
// for, or of the caller itself, it is sure to be the right one. It returns an error that
// wraps ESRCH if the process has ended.
func OfProcess(pid int) (Lease, error) {
	pidfd, err := openProcess(pid) // refuses what is a thread only
	if err != nil {
		return Lease{}, fmt.Errorf("lease of process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(pidfd) }() // a pidfd has nothing to flush
	s, err := readStat(pid)
	if err == nil && s.ended {
		err = unix.ESRCH
	}
	if err != nil {
		return Lease{}, fmt.Errorf("lease of process %d: %w", pid, err)
	}
	return Lease{PID: pid, Start: s.start}, nil
}

// Held reports whether anything that the lease names holds it: the process with that
// start time exists and has not ended, the cgroup is populated, or its time has not passed.
// It returns an error, and then no answer, where the kernel cannot say.
func (l Lease) Held() (bool, error) {
	if l == (Lease{}) || l.Until > Now() {
		return true, nil
	}
	if alive, err := l.processAlive(); alive || err != nil {
		return alive, err
	}
	if l.Cgroup == "" {
		return false, nil
	}
	return cgroup.Populated(l.Cgroup)
}

// validate refuses a lease of which nothing could ever be known.
func (l Lease) validate() error {
	if l.PID < 0 {
		return fmt.Errorf("%d is not a process id", l.PID)
	}
	if l.Until < 0 {
		return fmt.Errorf("%s is before the host was booted", l.Until)
	}
	if l.Cgroup == "" {
		return nil
	}
	if filepath.Clean(l.Cgroup) != l.Cgroup {
		return fmt.Errorf("cgroup %q is not a clean path", l.Cgroup)
	}
	_, err := cgroup.Populated(l.Cgroup)
	return err
}

func (l Lease) processAlive() (bool, error) {
	if l.PID == 0 {
		return false, nil
	}
	s, err := readStat(l.PID)
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	return err == nil && !s.ended && s.start == l.Start, err
}

// openProcess returns a pidfd, which is readable when the process has ended.
func openProcess(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return -1, fmt.Errorf("no descriptor is left (limit: RLIMIT_NOFILE): %w", err)
	}
	return fd, os.NewSyscallError("pidfd_open", err)
}

// stat is what a lease needs of /proc/PID/stat, see proc_pid_stat(5).
type stat struct {
	start uint64
	ended bool // all of its threads
}

// readStat returns ESRCH if there is no such process, not even a zombie.
func readStat(pid int) (stat, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	text, err := os.ReadFile(path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return stat{}, unix.ESRCH
	}
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(string(text))
	if err != nil {
		return stat{}, fmt.Errorf("%s %q: %w", path, text, err)
	}
	return s, nil
}

// Fields of /proc/PID/stat, counted as the man page does, from 1.
const (
	fieldState   = 3
	fieldThreads = 20
	fieldStart   = 22
)

func parseStat(text string) (stat, error) {
	// The second field is the program's name in brackets, which may hold anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= fieldStart-fieldState {
		return stat{}, errors.New("too few fields")
	}
	field := func(n int) string { return fields[n-fieldState] }
	start, err := strconv.ParseUint(field(fieldStart), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time: %w", err)
	}
	threads, err := strconv.Atoi(field(fieldThreads))
	if err != nil {
		return stat{}, fmt.Errorf("number of threads: %w", err)
	}
	// The state is that of the first thread, which may end before others do.
	state := field(fieldState)
	ended := state == "X" || (state == "Z" && threads <= 1)
	return stat{start: start, ended: ended}, nil
}
