package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"tenon/agent/volume"
)

// class is a kind of work. Its units share a bound on how many run at once, so that slow work
// (the removal of destroyed data) never holds up fast work (an attach).
type class uint8

const (
	laneDisk   class = iota
	laneTask         // tasks that are there; they are on no disk
	laneMount        // attachments: at most as many as still gain from each other
	laneEnd          // tasks that end: their sandboxes may be large, their processes slow to go
	laneMake         // volumes: enough to share the flushes of their directories
	laneRemove       // destroyed volumes: deleting gains little from threads
	classes
)

// lane is where a unit waits for its turn. Each disk has lanes of its own: one that does not
// answer any more holds up nothing that is on another.
type lane struct {
	class
	disk string // key
}

// width is how many units of each lane run at once.
var width = [classes]int{laneDisk: 4, laneTask: 16, laneMount: 16, laneEnd: 8, laneMake: 64, laneRemove: 2}

// slow is how long a unit is at work before somebody is told. The ends of tasks and the removal
// of data may take long; nothing else does on a disk that answers.
const slow = 10 * time.Second

// The time before a unit is tried again doubles from the first to the last of these.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// queue runs units, each at most once at a time, and each again when it was added
// while it ran. Failed units are run again later, for ever.
type queue struct {
	ctx context.Context
	run func(context.Context, volume.Unit) (again bool, err error)

	late func(volume.Unit) // called when a unit is slow

	mu      sync.Mutex
	items   map[volume.Unit]*item  // those waiting, running or to be tried again; guarded by mu
	ready   map[lane][]volume.Unit // guarded by mu
	running map[lane]int           // guarded by mu
	hangs   map[lane]*hang         // guarded by mu
	workers sync.WaitGroup         // but those that hang
}

// hang is a lane of which somebody wants to know whether its disk answers.
type hang struct {
	slow  int           // units that have been at work for longer than that
	begun chan struct{} // closed while there are any
}

type item struct {
	lane     lane
	queued   bool         // in ready
	running  bool         // being run
	waiting  []chan error // told the result of the next run
	failures int
	timer    *time.Timer // of the next try
}

func newQueue(ctx context.Context, run func(context.Context, volume.Unit) (bool, error)) *queue {
	return &queue{ctx: ctx, run: run, late: func(volume.Unit) {}, items: map[volume.Unit]*item{}, ready: map[lane][]volume.Unit{}, running: map[lane]int{}, hangs: map[lane]*hang{}}
}

// add queues a unit. The channel gets the result of a run that begins after this call;
// when the queue's context ends first, it gets that error.
func (q *queue) add(u volume.Unit, l lane) <-chan error {
	done := make(chan error, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.ctx.Err(); err != nil {
		done <- err
		return done
	}
	it := q.items[u]
	if it == nil {
		it = &item{}
		q.items[u] = it
	}
	it.waiting = append(it.waiting, done)
	it.lane = l
	q.enqueue(u, it)
	return done
}

// do is add and waiting for the result. Where nothing is in the way the unit is run by the
// caller itself, which spares two changes of goroutine; ctx does not end a run. So it is not for
// units that touch a disk.
func (q *queue) do(ctx context.Context, u volume.Unit, l lane) error {
	it, mine := q.take(u, l)
	if !mine {
		select {
		case err := <-q.add(u, l):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return q.work(u, it, l, nil)
}

// take makes a unit run without having been queued, if it is not known to the queue and
// its lane has room for it at once.
func (q *queue) take(u volume.Unit, l lane) (*item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, known := q.items[u]; known || q.ctx.Err() != nil || q.running[l] >= width[l.class] || len(q.ready[l]) > 0 {
		return nil, false
	}
	it := &item{lane: l, running: true}
	q.items[u] = it
	q.running[l]++
	q.workers.Add(1)
	return it, true
}

// enqueue makes a unit ready, unless it is, or runs: then it becomes so afterwards.
//
// Preconditions: q.mu is held.
func (q *queue) enqueue(u volume.Unit, it *item) {
	if it.timer != nil {
		it.timer.Stop()
		it.timer = nil
	}
	if it.queued || it.running {
		return
	}
	it.queued = true
	q.ready[it.lane] = append(q.ready[it.lane], u)
	q.start(it.lane)
}

// start runs the next unit of a lane if there is room. When the queue has ended none is run: who
// waits for it is told at the end of wait, which counts no more workers than there were.
//
// Preconditions: q.mu is held.
func (q *queue) start(l lane) {
	if q.ctx.Err() != nil || q.running[l] >= width[l.class] || len(q.ready[l]) == 0 {
		return
	}
	u := q.ready[l][0]
	q.ready[l] = q.ready[l][1:]
	it := q.items[u]
	it.queued, it.running = false, true
	told := it.waiting
	it.waiting = nil
	q.running[l]++
	q.workers.Add(1)
	go func() { _ = q.work(u, it, l, told) }() // told has its error
}

// work runs a unit, tells the result to those who wait for it, and goes on in its lane.
func (q *queue) work(u volume.Unit, it *item, l lane, told []chan error) (err error) {
	leave := sync.OnceFunc(q.workers.Done)
	defer leave()
	again := true
	defer func() { // also after a panic, which whoever called may survive
		for _, done := range told {
			done <- err
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		q.running[l]--
		it.running = false
		q.after(u, it, again)
		q.start(l)
	}()
	if err := q.ctx.Err(); err != nil {
		return err
	}
	if l.class == laneEnd || l.class == laneRemove {
		again, err = q.run(q.ctx, u)
		return err
	}
	ended := q.watch(u, l, leave)
	defer func() { again = ended() || again }()
	again, err = q.run(q.ctx, u)
	return err
}

// watch notices that a unit is slow, until it is told that the unit has ended, and then says
// whether it was: it has to run once more, for what was told of it may have come after its end.
// Nobody waits for one when the queue ends: it may never come back.
func (q *queue) watch(u volume.Unit, l lane, leave func()) (ended func() (slow bool)) {
	told := make(chan struct{})
	timer := time.AfterFunc(slow, func() {
		defer close(told)
		q.late(u)
		q.count(l, 1)
		leave()
	})
	return func() bool {
		if timer.Stop() {
			return false
		}
		<-told
		q.count(l, -1)
		return true
	}
}

// count adds to the slow units of a lane.
func (q *queue) count(l lane, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.hangOf(l)
	h.slow += n
	switch {
	case n > 0 && h.slow == 1:
		close(h.begun)
	case n < 0 && h.slow == 0:
		h.begun = make(chan struct{})
	}
}

// hung gives a channel that is closed while a unit of a lane is slow, which is for those who
// wait for units and could do without.
func (q *queue) hung(l lane) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.hangOf(l).begun
}

// hangOf is what is known of a lane.
//
// Preconditions: q.mu is held.
func (q *queue) hangOf(l lane) *hang {
	h := q.hangs[l]
	if h == nil {
		h = &hang{begun: make(chan struct{})}
		q.hangs[l] = h
	}
	return h
}

// aside runs f among the units, for those who wait for the end of the queue; not at all when that
// has come.
func (q *queue) aside(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx.Err() == nil {
		q.workers.Go(f)
	}
}

// turns shows that the queue can be worked on: its lock is free.
func (q *queue) turns() {
	q.mu.Lock()
	defer q.mu.Unlock()
}

// after decides what becomes of a unit that was run.
//
// Preconditions: q.mu is held.
func (q *queue) after(u volume.Unit, it *item, again bool) {
	if again {
		it.failures++
	} else {
		it.failures = 0
	}
	switch {
	case q.ctx.Err() != nil:
		for _, done := range it.waiting {
			done <- q.ctx.Err()
		}
		delete(q.items, u)
	case len(it.waiting) > 0:
		q.enqueue(u, it)
	case again:
		it.timer = time.AfterFunc(backoff(it.failures), func() { q.retry(u, it) })
	default:
		delete(q.items, u)
	}
}

// retry queues a unit whose time has come, unless it was queued by then.
func (q *queue) retry(u volume.Unit, it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx.Err() == nil && q.items[u] == it && it.timer != nil {
		q.enqueue(u, it)
	}
}

// backoff is the time before the n-th try after a failure, with jitter.
func backoff(n int) time.Duration {
	d := lastRetry
	if n < 7 {
		d = min(lastRetry, firstRetry<<(n-1))
	}
	return d/2 + rand.N(d/2)
}

// wait returns when nothing runs any more but what is slow, or after a limit: a step on a disk
// that does not answer never ends. The context has ended by then. It tells whether it came to that.
func (q *queue) wait(limit time.Duration) bool {
	q.turns() // who was let in before the context ended has been counted by now
	idle := make(chan struct{})
	go func() { q.workers.Wait(); close(idle) }()
	end := time.NewTimer(limit)
	defer end.Stop()
	var ended bool
	select {
	case <-idle:
		ended = true
	case <-end.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.items {
		if it.timer != nil {
			it.timer.Stop()
		}
		for _, done := range it.waiting {
			done <- q.ctx.Err()
		}
		it.waiting = nil
	}
	clear(q.items)
	return ended
}
