package lease

import (
	"errors"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// This file holds the Watcher's three goroutines.

// watchProcesses looks at leases whose process has ended.
func (w *Watcher) watchProcesses() {
	events := make([]unix.EpollEvent, 128)
	for {
		tokens, err := w.processes.wait(events)
		if err != nil {
			w.stopped(err)
			return
		}
		for _, token := range tokens {
			if token == alarmToken {
				w.expire()
			} else {
				w.processEnded(token)
			}
		}
	}
}

func (w *Watcher) processEnded(token uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := w.tokens[token]; ok {
		w.closeProcess(e)
		w.look(e)
	}
}

// watchGroups looks at leases whose cgroup has changed, and when it is time at those
// whose cgroup cannot tell.
func (w *Watcher) watchGroups() {
	for {
		paths, err := w.groups.Wait()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.lookAtPolled()
		case err != nil:
			w.stopped(err)
			return
		}
		for _, path := range paths {
			w.groupChanged(path)
		}
	}
}

func (w *Watcher) groupChanged(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range slices.Collect(maps.Keys(w.byGroup[path])) {
		w.look(e)
	}
}

// lookAtPolled does not hold the lock for all of them at once.
func (w *Watcher) lookAtPolled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range slices.Collect(maps.Keys(w.polled)) {
		if _, ok := w.polled[e]; ok {
			w.look(e)
		}
		w.mu.Unlock()
		w.mu.Lock()
	}
	w.setTimer()
}

// look ends a lease that is held no longer. Where the kernel cannot say it is held, and
// looked at again.
//
// Preconditions: w.mu is held; the lease is listed under its key.
func (w *Watcher) look(e *watched) {
	held, err := w.held(e)
	switch {
	case err != nil:
		if w.poll(e) {
			w.log.Warn("lease was taken as held", "path", e.lease.Cgroup, "err", err)
		}
	case !held:
		w.end(e)
	}
}

// tell sends the keys of ended leases.
func (w *Watcher) tell() {
	defer close(w.lost)
	for {
		key, ok := w.nextEnded()
		lost := w.lost
		if !ok {
			lost = nil // nothing to send: blocks until there is
		}
		if !w.send(lost, key) {
			return
		}
	}
}

// send sends a key, or waits for the next one where lost is nil. It returns false if the
// Watcher is closed.
func (w *Watcher) send(lost chan<- string, key string) bool {
	wake := w.wake
	if lost != nil {
		wake = nil
	}
	select {
	case lost <- key:
	case <-wake:
	case <-w.quit:
		return false
	}
	return true
}

// nextEnded takes the key of the next lease that has ended and was not removed since.
func (w *Watcher) nextEnded() (key string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.ended) > 0 {
		e := w.ended[0]
		w.ended = w.ended[1:]
		if w.leases[e.key] == e {
			delete(w.leases, e.key)
			return e.key, true
		}
	}
	return "", false
}

// stopped says that a goroutine ends; with Close that is what it should.
func (w *Watcher) stopped(err error) {
	if !errors.Is(err, os.ErrClosed) {
		w.log.Error("watching leases stopped", "err", err)
	}
}
