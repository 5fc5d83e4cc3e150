package agent_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

var (
	seedFlag  = flag.Uint64("crash.seed", 0, "replay the one history of this seed")
	histories = flag.Int("crash.histories", 1500, "how many random histories to try")
)

// world is a host with a disk for the journal, and the agent that runs on it, if any.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	k     *agenttest.Kernel
	fs    *crashfs.FS
	boot  int
	agent *agent.Agent
	stop  func()

	mu   sync.Mutex
	fuse int // points until the crash; 0 is never

	volumes map[volume.UUID]int              // births of volumes whose making was acknowledged
	ends    map[string]volume.OperationState // of operations with ids, as they were told
	ids     int
	squat   string // a user's directory where an agent would make a sandbox, if any
	pid     int
}

// point is called by the agent wherever a crash is interesting.
func (w *world) point(string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fuse == 0 {
		return
	}
	if w.fuse--; w.fuse == 0 {
		// Kernel first: a record without its effect is what a crash leaves, an effect
		// whose record was written in time is too, the reverse of the first is not.
		w.k.Kill()
		w.fs.StopAt(1)
	}
}

func (w *world) light(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fuse = n
}

// start runs an agent on what there is; false when it crashed doing so.
func (w *world) start() bool {
	w.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open("journal", checkpoint.Options{FS: w.fs, Logger: quiet, SegmentSize: 16 << 10})
	if err != nil {
		w.t.Fatalf("open journal: %v", err)
	}
	a, err := agent.Start(context.Background(), agent.Options{Kernel: w.k, Journal: j, Boot: fmt.Sprint("boot", w.boot),
		Disks: w.k.Disks(), Log: quiet, Crash: w.point})
	if err != nil {
		_ = j.Close()
		if !w.crashed() {
			w.t.Fatalf("start: %v", err)
		}
		return false
	}
	w.agent, w.stop = a, func() { a.Stop(); _ = j.Close() }
	return !w.crashed()
}

func (w *world) crashed() bool {
	_, err := w.k.Observe(context.Background(), volume.Empty(), volume.UnitOfDisk(""))
	return err != nil
}

// recover starts agents until one does not crash, as if the process had been killed or
// the power cut each time.
func (w *world) recover() {
	for {
		if w.agent != nil {
			w.stop()
			w.agent = nil
		}
		if w.rng.IntN(2) == 0 {
			w.fs = w.fs.Kill()
		} else {
			w.fs = w.fs.Crash(crashfs.Survival(w.rng.IntN(3)), w.rng.Uint64())
			w.k.Reboot()
			w.boot++
			w.settleThere()
		}
		w.k.Revive()
		w.light(0)
		if w.rng.IntN(3) == 0 {
			w.light(1 + w.rng.IntN(10))
		}
		if w.start() {
			w.light(0)
			if !w.crashed() {
				return
			}
		}
	}
}

// settleThere lets a user make a directory where a task had its sandbox, perhaps.
func (w *world) settleThere() {
	dir := path.Join(agenttest.Root, fmt.Sprint("t", w.rng.IntN(3)))
	if _, there := w.k.Sandboxes[dir]; !there && w.squat == "" {
		w.k.Sandboxes[dir], w.squat = "", dir
	}
}

// leave lets that user remove it again.
func (w *world) leave() {
	w.k.Lock()
	defer w.k.Unlock()
	if w.squat != "" {
		delete(w.k.Sandboxes, w.squat)
		w.squat = ""
	}
}

// operation is one random thing to ask for, and how much more role web has afterwards.
func (w *world) operation() (batch []volume.Operation, more resource.Scalar) {
	name := func(prefix string, n int) string { return fmt.Sprint(prefix, w.rng.IntN(n)) }
	vol, task := "web/"+name("v", 3), name("t", 3)
	mode := []resource.Mode{resource.RW, resource.RO}[w.rng.IntN(2)]
	switch w.rng.IntN(16) {
	case 0:
		return w.identified(reserve("web", 64)), 64 * resource.One
	case 1, 2:
		return w.identified(create("web", name("v", 3), 32, w.rng.IntN(3) > 0)), 0
	case 3:
		return w.identified(volume.Destroy{Ref: vol}), 0
	case 4:
		return ops(volume.Attach{Task: task, Use: volume.Use{Volume: vol, Mode: mode}, Via: volume.ByPath}), 0
	case 5:
		return ops(volume.Detach{Task: task, Volume: vol}), 0
	case 6:
		w.pid++
		w.k.Lock()
		w.k.Processes[w.pid] = uint64(w.pid)
		w.k.Unlock()
		return ops(volume.Claim{Task: task, Cgroup: true, Lease: volume.Lease{PID: w.pid},
			Uses: []volume.Use{{Volume: vol, Mode: mode}}}), 0
	case 7, 8:
		id := name("v", 3)
		return w.identified(reserve("web", 32), create("web", id, 32, true), launch(task, id, 32, true)), 32 * resource.One
	case 9, 10:
		return w.identified(volume.Destroy{Ref: vol}, volume.Unreserve{Resources: reserve("web", 32).Resources}), -32 * resource.One
	case 12:
		return ops(volume.Kill{Task: task}), 0
	case 13:
		w.k.Pass(time.Duration(w.rng.IntN(40)) * time.Second)
		return ops(volume.Renew{Task: task, TTL: time.Minute}), 0
	case 14:
		return ops(volume.Attach{Task: task, Use: volume.Use{Volume: vol, Mode: mode}, Via: volume.ByPath, TTL: time.Minute}), 0
	case 11:
		return w.identified(volume.Resize{Ref: vol, Size: resource.Scalar(16+16*w.rng.IntN(3)) * resource.One}), 0
	}
	return ops(volume.Release{Task: task, By: w.pid}), 0
}

func ops(list ...volume.Operation) []volume.Operation { return list }

// launch runs a task with a volume of role web.
func launch(task, id string, mb int, shared bool) volume.Launch {
	r := create("web", id, mb, shared).Volume
	r.Reservations = reserve("web", mb).Resources[0].Reservations
	return volume.Launch{Task: task, Resources: []resource.Resource{r}}
}

// identified gives each operation an id, mostly.
func (w *world) identified(list ...volume.Operation) []volume.Operation {
	if w.rng.IntN(4) == 0 {
		return list
	}
	for i, op := range list {
		w.ids++
		list[i] = as(fmt.Sprint("id", w.ids), op)
	}
	return list
}

// as gives an operation an id.
func as(id string, op volume.Operation) volume.Identified {
	return volume.Identified{ID: id, Type: strings.ToUpper(op.Name()), Digest: id, Operations: ops(op)}
}

// reserved is all that role web has.
func reserved(s *volume.State) (n resource.Scalar) {
	for a := range s.Accounts() {
		if len(a.Reservations) > 0 {
			n += a.Free
		}
	}
	for v := range s.Volumes(volume.Name{}) {
		n += v.Size
	}
	return n
}

// askAgain asks for a batch of which it is not known whether it was done: where it has ids it
// is done once in all, or has failed because of the reboot.
func (w *world) askAgain(seed uint64, batch []volume.Operation, was, more resource.Scalar) {
	w.t.Helper()
	first, is := batch[0].(volume.Identified)
	if !is {
		return
	}
	w.leave()
	_, err := w.agent.Do(w.t.Context(), batch...)
	s := w.settled()
	switch o, kept := s.Operation(first.ID); {
	case err != nil && !refusal(err) && !errors.Is(err, volume.ErrFailed):
		w.t.Fatalf("-crash.seed=%d: %s again: %v", seed, first.Name(), err)
	case kept && o.State != volume.OperationFinished:
		w.t.Fatalf("-crash.seed=%d: %s again: %v, and it is %+v", seed, first.Name(), err, o)
	case !kept:
		more = 0
	}
	if got := reserved(s); got != was+more {
		w.t.Fatalf("-crash.seed=%d: %s again: %v; role web has %s, want %s", seed, first.Name(), err, got, was+more)
	}
}

// checkOperations holds what is kept of operations with ids against what it was.
func (w *world) checkOperations(s *volume.State, fail func(string, ...any)) {
	w.t.Helper()
	for o := range s.Operations() {
		if o.State == volume.OperationPending {
			fail("operation %s is pending: %+v", o.ID, o)
		}
		if was := w.ends[o.ID]; was != "" && was != o.State {
			fail("operation %s was told to be %s, and is %s", o.ID, was, o.State)
		}
		w.ends[o.ID] = o.State
	}
	for id := range w.ends {
		if _, kept := s.Operation(id); !kept {
			fail("operation %s is forgotten", id)
		}
	}
}

// refusals are the answers that leave everything as it was.
func refusal(err error) bool {
	var e *volume.Error
	return errors.As(err, &e) && !errors.Is(err, volume.ErrFailed) && !errors.Is(err, volume.ErrJournal)
}

// check holds the state against the kernel and against what was acknowledged.
func (w *world) check(seed uint64) {
	w.t.Helper()
	s := w.settled()
	fail := func(format string, args ...any) {
		w.t.Helper()
		w.t.Fatalf("-crash.seed=%d: %s", seed, fmt.Sprintf(format, args...))
	}
	if err := s.Check(); err != nil {
		fail("%v", err)
	}
	w.checkOperations(s, fail)
	w.k.Lock()
	defer w.k.Unlock()
	p := w.k.Pools[""]
	live, all := s.CountVolumes()
	if live != all || len(p.Live) != live || len(p.Incoming)+len(p.Trash) != 0 {
		fail("%d of %d volumes live; on disk %+v", live, all, p)
	}
	for v := range s.Volumes(volume.Name{}) {
		if v.Phase != volume.Ready {
			fail("volume %s is %s", v.Name, v.Phase)
		}
	}
	for id, birth := range w.volumes {
		if _, ok := s.Volume(id); !ok {
			fail("acknowledged volume %s is gone", id)
		}
		if p.Live[id].Birth != birth {
			fail("data of volume %s was lost: born %d, now %d", id, birth, p.Live[id].Birth)
		}
	}
	mounts, sandboxes := 0, 0
	if w.squat != "" {
		sandboxes++
		if boot, there := w.k.Sandboxes[w.squat]; !there || boot != "" {
			fail("directory %s of a user was taken", w.squat)
		}
	}
	for t := range s.Tasks("") {
		if t.Releasing {
			fail("task %s is still being released", t.ID)
		}
		sandboxes++
		for a := range s.AttachmentsIn(t.ID) {
			if a.Via == volume.Claimed {
				continue
			}
			mounts++
			if m := w.k.Mounts[path.Join(t.Sandbox, a.Path)]; m.Volume != a.Volume || m.ReadOnly != (a.Mode == resource.RO) || m.NoExec != a.NoExec {
				fail("%s: kernel has %+v", a.Unit(), m)
			}
		}
	}
	if len(w.k.Mounts) != mounts || len(w.k.Sandboxes) != sandboxes {
		fail("%d attachments, %d tasks; kernel has mounts %v, sandboxes %v", mounts, sandboxes, w.k.Mounts, w.k.Sandboxes)
	}
}

// settled waits until nothing is being removed any more.
func (w *world) settled() *volume.State {
	s := w.agent.State()
	for {
		busy := false
		for range s.Tombstones() {
			busy = true
		}
		for t := range s.Tasks("") {
			busy = busy || t.Releasing
		}
		if !busy {
			return s
		}
		next, err := w.agent.Watch(w.t.Context(), s.Version)
		if err != nil {
			w.t.Fatal(err)
		}
		s = next
	}
}

// acknowledge notes which volumes the agent has shown, and with which data.
func (w *world) acknowledge() {
	w.volumes = map[volume.UUID]int{}
	for v := range w.agent.State().Volumes(volume.Name{}) {
		w.volumes[v.UUID] = w.k.Pools[""].Live[v.UUID].Birth
	}
}

// flat gives the operations of a batch without their ids.
func flat(batch []volume.Operation) (list []volume.Operation) {
	for _, op := range batch {
		if group, is := op.(volume.Identified); is {
			list = append(list, group.Operations...)
		} else {
			list = append(list, op)
		}
	}
	return list
}

func history(t *testing.T, seed uint64) (crashes int) {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), k: agenttest.NewKernel(), fs: crashfs.New(), volumes: map[volume.UUID]int{}, ends: map[string]volume.OperationState{}}
	if !w.start() {
		t.Fatal("no start")
	}
	defer func() { w.stop() }()
	for range 20 {
		batch, more := w.operation()
		was := reserved(w.agent.State())
		for _, op := range flat(batch) {
			if d, ok := op.(volume.Destroy); ok {
				if v, err := w.agent.State().Find(d.Ref); err == nil && len(w.agent.State().Holders(v.UUID)) == 0 {
					delete(w.volumes, v.UUID) // may be gone from here on
				}
			}
		}
		if w.rng.IntN(2) == 0 {
			w.leave() // or what is recorded by then would wait for it
			w.light(1 + w.rng.IntN(8))
		}
		_, err := w.agent.Do(t.Context(), batch...)
		w.light(0)
		switch {
		case w.crashed():
			crashes++
			w.recover()
			w.askAgain(seed, batch, was, more)
		case err != nil && !refusal(err):
			t.Fatalf("-crash.seed=%d: %s: %v", seed, batch[0].Name(), err)
		}
		w.check(seed)
		w.acknowledge()
	}
	return crashes
}

func TestNothingIsLostOrLeaksWhereverTheAgentCrashes(t *testing.T) {
	t.Parallel()
	if *seedFlag != 0 {
		history(t, *seedFlag)
		return
	}
	crashes := 0
	for seed := range uint64(*histories) {
		crashes += history(t, seed+1)
	}
	if crashes < *histories/2 {
		t.Errorf("only %d crashes in %d histories: the crash points are not where they should be", crashes, *histories)
	}
}
