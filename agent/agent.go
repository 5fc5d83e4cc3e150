// Package agent is the authority of one host: the one place where the state of its
// volumes changes, and the loop that makes the kernel agree with it.
//
// Do validates operations, records them in the journal and returns when what they
// touch has converged. State gives the newest version, Watch waits for one. Masters,
// the HTTP API and CSI are clients of these three and meet the same rules.
//
// Invariants: state changes under one lock in this package alone, and the only I/O
// under it is the journal's append; nothing is shown to readers or done to a disk
// before it would survive a power cut; steps of one unit never run at the same time;
// starting is the same loop as running. ARCHITECTURE.md beside this file has the
// argument for each.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"tenon/agent/volume"
	"tenon/checkpoint"
)

// Kernel is what the agent acts on: the disks, mounts, cgroups and processes of a
// host. All methods may be called at the same time, but never for the same unit.
type Kernel interface {
	// Observe looks at one unit of s, at a cost that does not grow with the number of
	// others. What is missing or out of reach is an observation; an error means that
	// looking failed, and will be tried again.
	Observe(ctx context.Context, s *volume.State, u volume.Unit) (volume.Seen, error)
	// Do does one step. It is idempotent, and what it made on a disk survives a power
	// cut when it returns. Errors are *volume.Error or of no kind.
	Do(ctx context.Context, s *volume.State, step volume.Step) error
	// Prepare completes an operation with what only the host knows, before it is
	// validated: default sandboxes, start times of processes, whether a lease is held.
	Prepare(ctx context.Context, s *volume.State, op volume.Operation) (volume.Operation, error)
	// Hand makes a detached mount of an attachment's volume, in its mode. The caller
	// closes it.
	Hand(ctx context.Context, s *volume.State, a *volume.Attachment) (*os.File, error)
	// Lost yields tasks whose lease may have ended, each at least once.
	Lost() <-chan string
}

// Journal is where the state survives. *checkpoint.Journal is one, and its comments are
// the contract.
type Journal interface {
	// Load calls apply for every record, in order; once, before anything else.
	Load(apply func(checkpoint.Record) error) error
	// Append writes a transaction that survives the process, but not a power cut.
	Append(tx ...checkpoint.Record) (checkpoint.Position, error)
	// Sync returns when everything up to p survives a power cut.
	Sync(ctx context.Context, p checkpoint.Position) error
	// Grown says that a snapshot is worth while.
	Grown() bool
	// Cut divides what was appended from what will be; the caller's state goes with it.
	Cut() (*checkpoint.Cut, error)
}

// Options are what an Agent is made of. Kernel, Journal and Boot must be set.
type Options struct {
	Kernel  Kernel
	Journal Journal
	Boot    string        // identity of the running boot of the kernel
	Disks   []volume.Disk // as configured: Key, Source, Total, Auto, Parts
	Host    volume.HostInfo
	Log     *slog.Logger
	Now     func() time.Time
	Meter   Meter
	Gauge   Gauge // nil is none
	// MeasureEvery is how often what is in volumes is measured whose disks ask for it
	// (Disk.OnExceed), and how often the agent looks for what nothing tells; 0 is once a minute.
	MeasureEvery time.Duration
	// Crash, if set, is called by name at every point where a crash is interesting:
	// "append", "synced", "settle", and "STEP:before" and "STEP:after" for each step.
	// Tests end the process there.
	Crash func(point string)
}

// Agent is the authority of one host. Its methods may be called at the same time.
type Agent struct {
	kernel  Kernel
	journal Journal
	log     *slog.Logger
	now     func() time.Time
	meter   Meter
	gauge   Gauge
	scales  *scales
	crash   func(string)
	queue   *queue
	work    sync.WaitGroup // snapshots and the lease loop
	stop    context.CancelFunc

	measuring turns // of those who want a volume smaller

	mu       sync.Mutex
	head     *volume.State                // newest version; guarded by mu
	pending  []version                    // versions that readers may not see yet; guarded by mu
	needs    checkpoint.Position          // of the newest durable record; guarded by mu
	cutting  bool                         // a snapshot is being written; guarded by mu
	failed   error                        // why the journal takes nothing more; guarded by mu
	stopping bool                         // guarded by mu
	changed  chan struct{}                // closed when a version is published; guarded by mu
	history  history                      // of published versions; guarded by mu
	current  atomic.Pointer[volume.State] // newest version that readers see
}

// version is a State with what must be durable before anyone is told of it.
type version struct {
	state   *volume.State
	needs   checkpoint.Position
	changes []volume.Change // since the version before
}

// Start loads the journal, fits it to the configuration and to the running boot, and
// reconciles everything once; only the removal of destroyed data and of the sandboxes of
// tasks that have ended goes on behind it.
// One bad volume does not keep the agent from starting, a damaged journal does.
func Start(ctx context.Context, o Options) (*Agent, error) {
	a := &Agent{kernel: o.Kernel, journal: o.Journal, log: o.Log, now: o.Now, meter: o.Meter, gauge: o.Gauge, scales: newScales(), crash: o.Crash, changed: make(chan struct{}),
		measuring: newTurns(maxMeasuring)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = func() time.Time { return time.Now().UTC() }
	}
	if a.meter == nil {
		a.meter = unmetered{}
	}
	if a.crash == nil {
		a.crash = func(string) {}
	}
	if err := a.load(); err != nil {
		return nil, err
	}
	if err := a.configure(o); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.queue = newQueue(run, a.reconcile)
	a.queue.late = a.noteSlow
	if err := a.first(ctx); err != nil {
		a.Stop()
		return nil, err
	}
	a.work.Go(func() { a.followLeases(run) })
	if a.gauge != nil {
		a.work.Go(func() { a.rounds(run, o.MeasureEvery) })
	}
	return a, nil
}

// load folds the journal into the first version.
func (a *Agent) load() error {
	var changes []volume.Change
	err := a.journal.Load(func(r checkpoint.Record) error {
		c, err := volume.Decode(r)
		changes = append(changes, c)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w (look at it with: tenon checkpoint show)", err)
	}
	a.head = volume.Empty().With(changes...)
	a.history.begin = a.head.Version
	a.current.Store(a.head)
	return nil
}

// configure records what is new since the last start.
func (a *Agent) configure(o Options) error {
	var out volume.Outcome
	v, err := a.commit(func(s *volume.State) (volume.Outcome, error) {
		changes, err := volume.Configure(s, a.env(), o.Boot, o.Disks)
		if err == nil {
			changes = append(changes, volume.Change{Host: &o.Host})
			out = volume.Outcome{Next: s.With(changes...), Changes: changes}
			err = out.Next.Check()
		}
		return out, err
	})
	if err != nil {
		return fmt.Errorf("the journal does not fit the configuration: %w", err)
	}
	return a.await(v)
}

// How long the agent waits at most when it starts and when it stops. It waits for no unit that is
// slow, nor for those behind it: their disk may never answer, and they go on, or not, behind
// whoever uses the others.
const (
	startLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
)

// first reconciles every unit once: disks before the volumes on them, volumes before
// the tasks that use them, sandboxes before what is mounted in them.
func (a *Agent) first(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, kind := range []volume.UnitKind{volume.DiskUnit, volume.VolumeUnit, volume.TaskUnit, volume.AttachmentUnit} {
		var units []volume.Unit
		for u := range a.State().Units() {
			switch l := a.lane(u); {
			case u.Kind != kind:
			case l.class == laneRemove || l.class == laneEnd:
				a.queue.add(u, l)
			default:
				units = append(units, u)
			}
		}
		whole := a.see(limited, units)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !whole {
			a.log.Warn("the agent starts though it has not seen everything yet")
		}
	}
	return nil
}

// see reconciles units and waits for those that are not on a disk which does not answer; it says
// whether these are all. What failed is a fault by now, and is tried again.
func (a *Agent) see(ctx context.Context, units []volume.Unit) (all bool) {
	runs, hung := make([]<-chan error, len(units)), make([]<-chan struct{}, len(units))
	for i, u := range units {
		l := a.lane(u)
		runs[i], hung[i] = a.queue.add(u, l), a.queue.hung(l)
	}
	all = true
	for i := range runs {
		select {
		case <-runs[i]:
		case <-hung[i]:
			all = false
		case <-ctx.Done():
			return false
		}
	}
	return all
}

// followLeases releases tasks when their leases end, and looks at what is mounted in the namespace
// of a process that has ended, which may be one of several of a task.
func (a *Agent) followLeases(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case task := <-a.kernel.Lost():
			a.enqueue(volume.UnitOfTask(task))
			for at := range a.State().AttachmentsIn(task) {
				if at.Via == volume.ByNamespace {
					a.enqueue(at.Unit())
				}
			}
		}
	}
}

// State is the newest version of which all durable parts survive a power cut.
func (a *Agent) State() *volume.State { return a.current.Load() }

// Watch returns the newest version as soon as there is one after the version given. It
// returns the context's error when that ends first.
func (a *Agent) Watch(ctx context.Context, after uint64) (*volume.State, error) {
	for {
		a.mu.Lock()
		s, changed := a.State(), a.changed
		a.mu.Unlock()
		if s.Version > after {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Health is nil while the agent can do its work: that it returns shows that the locks of the
// writer and of the loop are free. Faults of single units are not the agent's.
func (a *Agent) Health() error {
	a.queue.turns()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// Stop refuses new operations and ends the loop after the steps at work, but waits for them
// no longer than ten seconds, and not for those that hang already. It leaves every mount and every task as it is.
func (a *Agent) Stop() {
	a.mu.Lock()
	a.stopping = true
	a.mu.Unlock()
	a.stop()
	if !a.queue.wait(stopLimit) {
		a.log.Warn("the agent stops though a step has not ended", "took", stopLimit)
	}
	a.work.Wait()
}

func (a *Agent) env() volume.Env {
	return volume.Env{Now: a.now(), NewUUID: func() volume.UUID { return volume.UUID(uuid.NewString()) }}
}

// waitAll waits for every run and joins their errors.
func waitAll(ctx context.Context, runs []<-chan error) error {
	var errs []error
	for _, run := range runs {
		select {
		case err := <-run:
			errs = append(errs, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}
