package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tenon/isolator/cgroup"
)

// pollEvery is the mean time between two looks at a group that tells nothing by itself.
const pollEvery = time.Second

// Watcher tells when leases end. All methods may be called by many goroutines at once,
// also by the one that receives from Lost.
type Watcher struct {
	log       *slog.Logger
	processes processes
	groups    *cgroup.Notifier
	clock     clock
	pollEvery time.Duration
	lost      chan string
	wake      chan struct{} // holds a token when ended may have grown
	quit      chan struct{} // closed by Close
	workers   sync.WaitGroup

	mu      sync.Mutex
	closed  bool                             // guarded by mu
	leases  map[string]*watched              // by key, until told, removed or replaced; guarded by mu
	tokens  map[uint64]*watched              // by token, while the process is alive; guarded by mu
	token   uint64                           // the last one given; guarded by mu
	byGroup map[string]map[*watched]struct{} // by cgroup, while it is watched; guarded by mu
	polled  map[*watched]struct{}            // those whose cgroup is not; guarded by mu
	timed   timed                            // those that only their time holds; guarded by mu
	ended   []*watched                       // not told yet, in order; guarded by mu
}

// watched is one lease that was added. Its process part is alive exactly while it has a
// pidfd. Its fields are guarded by the mutex of the Watcher.
type watched struct {
	key   string
	lease Lease
	pidfd int // -1: none
	token uint64
	place int // in Watcher.timed, or nowhere
}

// NewWatcher returns a Watcher without leases. The caller closes it.
func NewWatcher(log *slog.Logger) (*Watcher, error) {
	groups, err := cgroup.NewNotifier()
	if err != nil {
		return nil, fmt.Errorf("watch leases: %w", err)
	}
	procs, err := newProcesses()
	if err != nil {
		return nil, fmt.Errorf("watch leases: %w", errors.Join(err, groups.Close()))
	}
	clock, err := newAlarm(procs)
	if err != nil {
		return nil, fmt.Errorf("watch leases: %w", errors.Join(err, groups.Close(), procs.close()))
	}
	w := &Watcher{
		clock:     clock,
		log:       log,
		processes: procs,
		groups:    groups,
		pollEvery: pollEvery,
		lost:      make(chan string),
		wake:      make(chan struct{}, 1),
		quit:      make(chan struct{}),
		leases:    make(map[string]*watched),
		tokens:    make(map[uint64]*watched),
		byGroup:   make(map[string]map[*watched]struct{}),
		polled:    make(map[*watched]struct{}),
	}
	w.workers.Go(w.watchProcesses)
	w.workers.Go(w.watchGroups)
	w.workers.Go(w.tell)
	return w, nil
}

// Lost returns the channel on which each key is sent once when its lease has ended, also
// if it had when it was added. It is closed by Close. A receiver that is slow delays
// nothing but itself.
//
// A key that is received may be that of a lease which was removed or replaced a moment
// ago: the receiver asks Held of the lease it has by then before it acts.
func (w *Watcher) Lost() <-chan string { return w.lost }

// Add watches a lease under a key and replaces the one that was added under it before.
// It returns an error, and leaves that one in place, where the lease makes no sense, its
// cgroup is in no mounted hierarchy, no descriptor or inotify watch is left (the error
// names the limit), or the Watcher is closed.
func (w *Watcher) Add(key string, l Lease) error {
	if err := w.add(&watched{key: key, lease: l, pidfd: -1, place: nowhere}); err != nil {
		return fmt.Errorf("watch lease of %s: %w", key, err)
	}
	return nil
}

func (w *Watcher) add(e *watched) error {
	if err := e.lease.validate(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return os.ErrClosed
	}
	if err := w.open(e); err != nil {
		return err
	}
	held, err := w.held(e)
	if err != nil {
		w.release(e)
		return err
	}
	w.remove(e.key)
	w.leases[e.key] = e
	if !held {
		w.end(e)
	}
	return nil
}

// Remove ends the watch of a lease; a key that is not there is no error. See Lost for an
// end that is on its way.
func (w *Watcher) Remove(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(key)
}

// Preconditions: w.mu is held.
func (w *Watcher) remove(key string) {
	if e, ok := w.leases[key]; ok {
		delete(w.leases, key)
		w.release(e)
	}
}

// Close ends all watches, waits for the Watcher's goroutines and closes Lost. Ends that
// were not received are lost with it. The second call does nothing.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	close(w.quit)
	err := errors.Join(w.processes.close(), w.groups.Close())
	w.mu.Unlock()
	w.workers.Wait()
	w.mu.Lock()
	for _, key := range slices.Collect(maps.Keys(w.leases)) {
		w.remove(key)
	}
	return errors.Join(err, w.clock.close())
}

// open gets the pidfd of the lease's process if that is alive.
//
// Preconditions: w.mu is held.
func (w *Watcher) open(e *watched) error {
	if e.lease.PID == 0 {
		return nil
	}
	pidfd, err := openProcess(e.lease.PID)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	// The start time is compared after the pidfd is open: the process existed before,
	// so if it is alive now the pidfd is its own, not that of a predecessor.
	alive, err := e.lease.processAlive()
	if alive {
		w.token++
		err = w.processes.add(pidfd, w.token)
	}
	if !alive || err != nil {
		return errors.Join(err, unix.Close(pidfd))
	}
	e.pidfd, e.token = pidfd, w.token
	w.tokens[e.token] = e
	return nil
}

// held is Lease.Held by what is watched; it begins to watch the cgroup when the process
// part has ended, and the clock when nothing else holds.
//
// Preconditions: w.mu is held.
func (w *Watcher) held(e *watched) (bool, error) {
	switch {
	case e.pidfd >= 0:
		return true, nil
	case e.lease.Cgroup == "":
		return e.lease == (Lease{}) || w.timeHolds(e), nil
	}
	notified := w.groups.Add(e.lease.Cgroup)
	if notified == nil {
		w.listGroup(e)
	}
	populated, err := cgroup.Populated(e.lease.Cgroup)
	switch {
	case err != nil:
		return false, err
	case notified == nil:
		delete(w.polled, e)
	case populated && w.poll(e) && !expected(notified):
		w.log.Warn("cgroup is polled", "path", e.lease.Cgroup, "err", notified)
	}
	return populated || w.timeHolds(e), nil
}

// listGroup lists the lease under its cgroup, which is watched.
//
// Preconditions: w.mu is held.
func (w *Watcher) listGroup(e *watched) {
	if w.byGroup[e.lease.Cgroup] == nil {
		w.byGroup[e.lease.Cgroup] = make(map[*watched]struct{})
	}
	w.byGroup[e.lease.Cgroup][e] = struct{}{}
}

// expected reports whether a group cannot be watched because of what it is: of v1, or made
// a moment ago in the place of one that was removed.
func expected(err error) bool {
	return errors.Is(err, cgroup.ErrUnsupported) || errors.Is(err, fs.ErrNotExist)
}

// poll makes the cgroup of the lease looked at from time to time. It returns false if it
// is already.
//
// Preconditions: w.mu is held.
func (w *Watcher) poll(e *watched) bool {
	if _, ok := w.polled[e]; ok {
		return false
	}
	w.polled[e] = struct{}{}
	if len(w.polled) == 1 {
		w.setTimer()
	}
	return true
}

// setTimer sets the time of the next look at all that is polled, 10 % around the mean so
// that agents which were started together part.
//
// Preconditions: w.mu is held.
func (w *Watcher) setTimer() {
	var next time.Time
	if len(w.polled) > 0 {
		next = time.Now().Add(time.Duration(float64(w.pollEvery) * (0.9 + 0.2*rand.Float64())))
	}
	_ = w.groups.SetDeadline(next) // fails if closed, when no timer is needed
}

// release gives back what the lease costs.
//
// Preconditions: w.mu is held.
func (w *Watcher) release(e *watched) {
	w.closeProcess(e)
	w.untime(e)
	delete(w.polled, e)
	group := w.byGroup[e.lease.Cgroup]
	if delete(group, e); group != nil && len(group) == 0 {
		delete(w.byGroup, e.lease.Cgroup)
		w.groups.Remove(e.lease.Cgroup)
	}
}

// closeProcess closes the pidfd of the lease if it has one.
//
// Preconditions: w.mu is held.
func (w *Watcher) closeProcess(e *watched) {
	if e.pidfd < 0 {
		return
	}
	_ = w.processes.remove(e.pidfd) // fails if closed, when nothing is listed
	_ = unix.Close(e.pidfd)         // a pidfd has nothing to flush
	delete(w.tokens, e.token)
	e.pidfd = -1
}

// end lists a lease to be told.
//
// Preconditions: w.mu is held; the lease is listed under its key.
func (w *Watcher) end(e *watched) {
	w.release(e)
	w.ended = append(w.ended, e)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
