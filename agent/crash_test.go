package agent_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"sync"
	"testing"

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

	volumes map[volume.UUID]int // births of volumes whose making was acknowledged
	squat   string              // a user's directory where an agent would make a sandbox, if any
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

// operation is one random thing to ask for.
func (w *world) operation() volume.Operation {
	name := func(prefix string, n int) string { return fmt.Sprint(prefix, w.rng.IntN(n)) }
	vol, task := "web/"+name("v", 3), name("t", 3)
	mode := []resource.Mode{resource.RW, resource.RO}[w.rng.IntN(2)]
	switch w.rng.IntN(8) {
	case 0:
		return reserve("web", 64)
	case 1, 2:
		return create("web", name("v", 3), 32, w.rng.IntN(3) > 0)
	case 3:
		return volume.Destroy{Ref: vol}
	case 4:
		return volume.Attach{Task: task, Use: volume.Use{Volume: vol, Mode: mode}, Via: volume.ByPath}
	case 5:
		return volume.Detach{Task: task, Volume: vol}
	case 6:
		w.pid++
		w.k.Lock()
		w.k.Processes[w.pid] = uint64(w.pid)
		w.k.Unlock()
		return volume.Claim{Task: task, Cgroup: true, Lease: volume.Lease{PID: w.pid},
			Uses: []volume.Use{{Volume: vol, Mode: mode}}}
	}
	return volume.Release{Task: task, By: w.pid}
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
			if m := w.k.Mounts[path.Join(t.Sandbox, a.Path)]; m.Volume != a.Volume || m.ReadOnly != (a.Mode == resource.RO) {
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

func history(t *testing.T, seed uint64) (crashes int) {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), k: agenttest.NewKernel(), fs: crashfs.New(), volumes: map[volume.UUID]int{}}
	if !w.start() {
		t.Fatal("no start")
	}
	defer func() { w.stop() }()
	for range 20 {
		op := w.operation()
		if d, ok := op.(volume.Destroy); ok {
			if v, err := w.agent.State().Find(d.Ref); err == nil && len(w.agent.State().Holders(v.UUID)) == 0 {
				delete(w.volumes, v.UUID) // may be gone from here on
			}
		}
		if w.rng.IntN(2) == 0 {
			w.leave() // or what is recorded by then would wait for it
			w.light(1 + w.rng.IntN(8))
		}
		_, err := w.agent.Do(t.Context(), op)
		w.light(0)
		switch {
		case w.crashed():
			crashes++
			w.recover()
		case err != nil && !refusal(err):
			t.Fatalf("-crash.seed=%d: %s: %v", seed, op.Name(), err)
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
