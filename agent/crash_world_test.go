package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// world is a host with a disk for the journal, and the agent that runs on it, if any.
type world struct {
	t     *testing.T
	seed  uint64
	now   string // the event
	y     *tally
	k     *agenttest.Kernel
	fs    *crashfs.FS
	boot  int
	agent *agent.Agent
	last  *volume.State // the newest that was seen
	stop  func()

	mu        sync.Mutex
	fuse      int // points until the crash; 0 is never; guarded by mu
	patience  int // points until whoever asks gives up; 0 is never; guarded by mu
	giveUp    func()
	failIn    int // steps until one fails; 0 is never; guarded by mu
	failAfter bool
	broken    violation // the first that was seen while the agent worked; guarded by mu
	recorded  *volume.State
	synced    []promise // newest last; guarded by mu
	appended  int       // transactions, by which snapshots are due; guarded by mu

	volumes   map[volume.UUID]int              // births of volumes whose making was acknowledged
	ends      map[string]volume.OperationState // of operations with ids, as they were told
	makes     map[string]volume.UUID           // by operations with ids; guarded by mu
	ids, pids int
	claimants map[string]int
	users     map[string]bool // directories of users where an agent would make sandboxes
}

// violation says which law was broken.
type violation string

func (v violation) Error() string { return string(v) }

// fail ends the history.
func (w *world) fail(format string, args ...any) {
	panic(violation(fmt.Sprintf("%s: %s", w.now, fmt.Sprintf(format, args...))))
}

// violate notes that the agent breaks a law; the history ends after the event.
func (w *world) violate(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == "" {
		w.broken = violation(fmt.Sprintf("%s: %s", w.now, fmt.Sprintf(format, args...)))
	}
}

func newWorld(t *testing.T, seed uint64, y *tally) *world {
	w := &world{t: t, seed: seed, y: y, k: agenttest.NewKernel(), fs: crashfs.New(), now: "first start",
		volumes: map[volume.UUID]int{}, ends: map[string]volume.OperationState{}, makes: map[string]volume.UUID{}, claimants: map[string]int{}, users: map[string]bool{}}
	w.k.Projects = 3
	if seed%4 > 0 {
		w.k.Pools[""].Enforcement = volume.Enforcement{Mode: volume.EnforcedHard, By: volume.ByProject}
	}
	w.k.Acting, w.k.Between = w.lawful, func(volume.Step) { w.point("between") }
	w.k.Fail = func(volume.Step) error { return w.failStep(false) }
	w.k.FailAfter = func(volume.Step) error { return w.failStep(true) }
	w.k.Sandboxes[agenttest.Root+"/stranger"] = ""
	return w
}

// failStep is the error of a step that is to fail.
func (w *world) failStep(after bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failIn == 0 || w.failAfter != after {
		return nil
	}
	if w.failIn--; w.failIn == 0 {
		w.y.failures.Add(1)
		return errors.New("injected failure")
	}
	return nil
}

// point is called by the agent wherever a crash is interesting.
func (w *world) point(string) {
	w.mu.Lock()
	w.fuse--
	w.patience--
	dies, tires := w.fuse == 0, w.patience == 0
	giveUp := w.giveUp
	w.mu.Unlock()
	if tires && giveUp != nil {
		giveUp()
	}
	if dies {
		// Kernel first: a record without its effect is what a crash leaves, an effect
		// whose record was written in time is too, the reverse of the first is not.
		w.k.Kill()
		w.fs.StopAt(1)
	}
}

func (w *world) light(crash int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fuse = crash
}

// end lets go of the agent.
func (w *world) end() {
	if w.agent != nil {
		w.stop()
		w.agent = nil
	}
}

// groups are few, so that they are used again soon.
type groups struct{}

func (groups) Contains(gid uint32) bool { return gid >= 900 && gid < 905 }
func (groups) Len() uint64              { return 5 }
func (groups) String() string           { return "900-904" }
func (g groups) Next(from uint32, used func(uint32) bool) (uint32, bool) {
	for i := range uint32(5) {
		if gid := 900 + (from+i)%5; !used(gid) {
			return gid, true
		}
	}
	return 0, false
}

// start runs an agent on what there is; false when it crashed doing so.
func (w *world) start(rng *rand.Rand) bool {
	if rng != nil && rng.IntN(3) == 0 {
		w.light(1 + rng.IntN(10))
	}
	defer w.light(0)
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open("journal", checkpoint.Options{FS: w.fs, Logger: quiet, SegmentSize: 8 << 10})
	if err != nil {
		w.fail("open journal: %v", err)
	}
	a, err := agent.Start(context.Background(), agent.Options{Kernel: w.k, Journal: witness{j, w}, Boot: fmt.Sprint("boot", w.boot),
		Gauge: agenttest.Gauge{Kernel: w.k}, Disks: w.k.Disks(), Host: volume.HostInfo{Groups: groups{}}, Log: quiet, Crash: w.point})
	if err != nil {
		_ = j.Close()
		if !w.k.Dead() {
			w.fail("start: %v", err)
		}
		return false
	}
	w.agent, w.stop = a, func() { a.Stop(); _ = j.Close() }
	synctest.Wait()
	if w.k.Dead() {
		w.end()
		return false
	}
	return true
}

// recover starts agents until one does not crash, as if the process had been killed or
// the power cut each time.
func (w *world) recover(rng *rand.Rand) {
	for {
		w.k.Kill() // if only its disk has failed
		w.end()
		if rng.IntN(2) == 0 {
			w.fs = w.fs.Kill()
		} else {
			w.fs = w.fs.Crash(crashfs.Survival(rng.IntN(3)), rng.Uint64())
			w.k.PowerCut(rng)
			w.boot++
		}
		w.k.Revive()
		if w.start(rng) {
			return
		}
		w.y.crashes.Add(1)
	}
}

// bear starts a process.
func (w *world) bear() int {
	w.pids++
	w.k.Lock()
	defer w.k.Unlock()
	w.k.Processes[w.pids] = uint64(w.pids)
	return w.pids
}

// happen lets an event happen, and holds what came of it to the laws.
func (w *world) happen(e event) {
	rng := rand.New(rand.NewPCG(e.seed, 2))
	was, leave := reserved(w.agent.State()), w.meet(e)
	asked := []*question{w.question(e)}
	if e.beside != nil {
		asked = append(asked, w.question(*e.beside))
	}
	w.forget(asked)
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	w.arm(e, cancel)
	var side sync.WaitGroup
	later := e.failed // what failed at first is not yet mended then
	for _, q := range asked[1:] {
		if !later {
			side.Go(func() { q.ask(ctx, w) })
		}
	}
	for i, q := range asked {
		if i == 0 || later {
			q.ask(ctx, w)
		}
	}
	side.Wait()
	w.disarm()
	synctest.Wait() // what goes on behind may have met it, too
	if e.stop {
		leave() // or after another agent has met it, too
	}
	flaky := e.disk > 0 || w.k.Dead()
	if w.k.Dead() || w.agent.Health() != nil {
		w.y.crashes.Add(1)
		w.recover(rng)
	}
	if !e.stop {
		leave()
	}
	for _, q := range asked {
		if !q.certain() {
			w.y.asked.Add(1)
			q.ask(context.Background(), w)
		}
	}
	w.quiet(rng)
	w.hold(was, asked, flaky)
	w.check()
	w.acknowledge()
}

// arm has the agent crash, a step fail, whoever asks give up, or the journal's disk fail.
func (w *world) arm(e event, cancel func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fuse, w.patience, w.failIn, w.failAfter = e.crash, e.cancel, e.fail, e.failed
	w.giveUp = func() { w.y.cancellations.Add(1); cancel() }
	switch {
	case e.disk > 0 && e.stop:
		w.fs.StopAt(e.disk)
	case e.disk > 0:
		w.fs.FailAt(e.disk, errors.New("injected failure of the disk"))
	}
}

func (w *world) disarm() {
	w.mu.Lock()
	w.fuse, w.patience, w.failIn, w.giveUp = 0, 0, 0, nil
	w.mu.Unlock()
	if !w.k.Dead() {
		w.fs.StopAt(0)
		w.fs.FailAt(0, nil)
	}
}

// forget lets volumes that may be destroyed from here on go.
func (w *world) forget(asked []*question) {
	for _, q := range asked {
		for _, op := range flat(q.batch) {
			d, ok := op.(volume.Destroy)
			if !ok {
				continue
			}
			if v, err := w.agent.State().Find(d.Ref); err == nil && (len(asked) > 1 || len(w.agent.State().Holders(v.UUID)) == 0) {
				delete(w.volumes, v.UUID)
			}
		}
	}
}

// quiet waits until everything is as it should be, which it is within an hour.
func (w *world) quiet(rng *rand.Rand) {
	for range 60 {
		synctest.Wait()
		if w.agent.Health() != nil { // a journal that has failed is noticed when it is used again
			w.recover(rng)
		}
		w.leaveEnded()
		if w.atRest() == "" {
			return
		}
		time.Sleep(time.Minute)
	}
	w.fail("still not at rest: %s", w.atRest())
}

// leaveEnded has processes leave the cgroups of tasks that end: until then these stay.
func (w *world) leaveEnded() {
	for t := range w.agent.State().Tasks("") {
		if t.Releasing {
			w.k.Leave(t.Lease.Cgroup)
		}
	}
}

// atRest says what is not what it should be.
func (w *world) atRest() string {
	s := w.agent.State()
	for v := range s.Tombstones() {
		return "volume " + string(v.UUID) + " is being destroyed"
	}
	for v := range s.Volumes(volume.Name{}) {
		if v.Phase != volume.Ready {
			return fmt.Sprintf("volume %s is %s", v.Name, v.Phase)
		}
	}
	for t := range s.Tasks("") {
		if t.Releasing {
			return "task " + t.ID + " is being released"
		}
		for a := range s.AttachmentsIn(t.ID) {
			if a.Gone {
				return a.Unit().String() + " is being detached"
			}
		}
	}
	for u, f := range s.Faults() {
		return fmt.Sprintf("%s: %s", u, f.Reason)
	}
	for o := range s.Operations() {
		if o.State == volume.OperationPending {
			return fmt.Sprintf("operation is pending: %+v", o)
		}
	}
	return ""
}

// acknowledge notes which volumes the agent has shown, and with which data.
func (w *world) acknowledge() {
	w.k.Lock()
	defer w.k.Unlock()
	w.volumes = map[volume.UUID]int{}
	for v := range w.agent.State().Volumes(volume.Name{}) {
		w.volumes[v.UUID] = w.k.Pools[""].Live[v.UUID].Birth
	}
}
