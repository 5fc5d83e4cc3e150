package pool

import "sync"

// shared lets callers at the same time share one fsync of one directory. Its zero
// value is ready.
//
// A caller changes the directory first and then joins a round. The first of a round
// leads it: waits for the round before to end, closes its own to newcomers, and only
// then syncs, so that every change of those who joined came before the fsync.
type shared struct {
	mu   sync.Mutex
	open *round // guarded by mu; takes newcomers; nil is none
	last *round // guarded by mu; the newest, open or not; nil is none yet
}

// round is one fsync and those who wait for it.
type round struct {
	before *round        // to be waited for; its leader's alone
	done   chan struct{} // closed when err is set
	err    error
}

// do returns when a sync that began after do was called has ended, with its error.
// sync is called by one caller at a time.
func (s *shared) do(sync func() error) error {
	r, leads := s.join()
	if leads {
		s.lead(r, sync)
	}
	<-r.done
	return r.err
}

// join enters the open round, or opens one and leads it.
func (s *shared) join() (r *round, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		return s.open, false
	}
	s.open = &round{before: s.last, done: make(chan struct{})}
	s.last = s.open
	return s.open, true
}

// lead closes the round r when its turn has come, and syncs for all who are in it.
func (s *shared) lead(r *round, sync func() error) {
	if r.before != nil {
		<-r.before.done
		r.before = nil // or every round there ever was would be kept
	}
	s.mu.Lock()
	s.open = nil
	s.mu.Unlock()
	r.err = sync()
	close(r.done)
}
