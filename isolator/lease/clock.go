package lease

import (
	"container/heap"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time since boot by which leases expire: CLOCK_BOOTTIME, which goes on while the
// host sleeps and which nobody can set (clock_gettime(2), Linux 2.6.39).
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // cannot happen: every kernel that has pidfds has the clock
	}
	return time.Duration(ts.Nano())
}

// clock tells the time since boot, and has Watcher.expire called at one.
type clock interface {
	now() time.Duration
	// wake sets the time of the next call, in place of the one before; zero is none.
	wake(at time.Duration)
	close() error
}

// alarm is the clock of the kernel, by one timerfd(2) that the Watcher waits for as it does
// for processes.
type alarm struct{ fd int }

// alarmToken stands for the alarm among the tokens of processes.
const alarmToken = 0

func newAlarm(p processes) (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return alarm{}, os.NewSyscallError("timerfd_create", err)
	}
	if err := p.add(fd, alarmToken); err != nil {
		_ = unix.Close(fd) // nothing was set
		return alarm{}, fmt.Errorf("wait for a timer: %w", err)
	}
	return alarm{fd}, nil
}

func (alarm) now() time.Duration { return Now() }

// wake makes the timer's descriptor unreadable until then, also if it was readable.
func (a alarm) wake(at time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic(err) // cannot happen: it is a timer, and the time is not negative
	}
}

func (a alarm) close() error { return os.NewSyscallError("close", unix.Close(a.fd)) }

// timed are leases that only their time holds, a heap by that.
type timed []*watched

// Len is of heap.Interface, as are the others.
func (h timed) Len() int { return len(h) }

// Less has the first to expire on top.
func (h timed) Less(i, j int) bool { return h[i].lease.Until < h[j].lease.Until }

// Swap keeps the places.
func (h timed) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push adds a *watched.
func (h *timed) Push(x any) {
	e, _ := x.(*watched) // it is never anything else
	e.place = len(*h)
	*h = append(*h, e)
}

// Pop takes the last away.
func (h *timed) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.place = nowhere
	return e
}

// nowhere is the place of a lease that is not in the heap.
const nowhere = -1

// timeHolds reports whether the time of a lease has not passed, and has it looked at again
// when it has.
//
// Preconditions: w.mu is held.
func (w *Watcher) timeHolds(e *watched) bool {
	if e.lease.Until <= w.clock.now() {
		return false
	}
	if e.place == nowhere {
		heap.Push(&w.timed, e)
		if e.place == 0 {
			w.clock.wake(e.lease.Until)
		}
	}
	return true
}

// untime takes a lease out of the heap. That the timer may go off for nothing then does no
// harm.
//
// Preconditions: w.mu is held.
func (w *Watcher) untime(e *watched) {
	if e.place != nowhere {
		heap.Remove(&w.timed, e.place)
	}
}

// expire looks at the leases whose time has passed.
func (w *Watcher) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	for len(w.timed) > 0 && w.timed[0].lease.Until <= w.clock.now() {
		e := w.timed[0]
		w.untime(e)
		w.look(e)
	}
	var next time.Duration
	if len(w.timed) > 0 {
		next = w.timed[0].lease.Until
	}
	w.clock.wake(next)
}
