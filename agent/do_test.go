package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

func attach(task, id string, mode resource.Mode) volume.Attach {
	return volume.Attach{Task: task, Use: volume.Use{Volume: "web/" + id, Mode: mode}, Via: volume.ByPath}
}

func must(t *testing.T, a *agent.Agent, ops ...volume.Operation) *volume.State {
	t.Helper()
	s, err := a.Do(t.Context(), ops...)
	if err != nil {
		t.Fatalf("%s: %v", ops[0].Name(), err)
	}
	return s
}

// fail makes every step of a kind fail until the test ends or says otherwise.
func fail(k *agenttest.Kernel, kind volume.StepKind, err error) {
	k.Lock()
	defer k.Unlock()
	k.Fail = func(s volume.Step) error {
		if s.Kind == kind {
			return err
		}
		return nil
	}
}

// stored is what a state would leave in the journal.
func stored(t *testing.T, s *volume.State) (records []string) {
	t.Helper()
	for c := range s.Snapshot() {
		r, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, string(r))
	}
	return records
}

func TestABatchIsAllOrNothing(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.NewKernel())
	before := stored(t, a.State())
	_, err := a.Do(t.Context(), reserve("web", 64), create("web", "a", 32, true), create("web", "b", 64, true))
	if !errors.Is(err, volume.ErrInsufficient) {
		t.Fatalf("a batch whose last part does not fit: %v", err)
	}
	if after := stored(t, a.State()); !slices.Equal(before, after) {
		t.Errorf("a refused batch has left\n%v\nwhere\n%v\nwas", after, before)
	}
}

func TestWhatCannotBeMadeIsTakenBack(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is on fire")
	for _, c := range []struct {
		step volume.StepKind
		op   volume.Operation
	}{
		{volume.Make, create("web", "new", 32, true)},
		{volume.Publish, create("web", "new", 32, true)},
		{volume.DoAttach, attach("task", "old", resource.RW)},
		{volume.MakeSandbox, attach("task", "old", resource.RW)},
		{volume.MakeSandbox, volume.Claim{Task: "task", Uses: []volume.Use{{Volume: "web/old"}}}},
		{volume.MakeCgroup, volume.Claim{Task: "task", Cgroup: true, Uses: []volume.Use{{Volume: "web/old"}}}},
	} {
		t.Run(string(c.step)+" of "+c.op.Name(), func(t *testing.T) {
			t.Parallel()
			k := agenttest.NewKernel()
			a := agenttest.Start(t, k)
			must(t, a, reserve("web", 128), create("web", "old", 32, true))
			before := stored(t, a.State())
			fail(k, c.step, broken)
			if _, err := a.Do(t.Context(), c.op); !errors.Is(err, broken) {
				t.Fatalf("the caller is told %v, want %v", err, broken)
			}
			if after := stored(t, a.State()); !slices.Equal(before, after) {
				t.Errorf("left\n%v\nwhere\n%v\nwas", after, before)
			}
			for u, f := range a.State().Faults() {
				t.Errorf("fault left: %v: %s", u, f.Reason)
			}
			fail(k, "", nil)
			must(t, a, c.op)
		})
	}
}

// The space of a volume that was made smaller is carved into one that can't be made: it comes
// back when that one is removed, and to nobody else.
func TestAVolumeThatWasMadeSmallerForNothingGetsItsSpaceBack(t *testing.T) {
	t.Parallel()
	k, broken := agenttest.NewKernel(), errors.New("the disk is on fire")
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 100), create("web", "old", 100, true))
	before := stored(t, a.State())
	fail(k, volume.Publish, broken)
	if _, err := a.Do(t.Context(), volume.Resize{Ref: "web/old", Size: 60 * resource.One}, create("web", "new", 40, true)); !errors.Is(err, broken) {
		t.Fatalf("the caller is told %v, want %v", err, broken)
	}
	if after := stored(t, a.State()); !slices.Equal(before, after) {
		t.Errorf("left\n%v\nwhere\n%v\nwas", after, before)
	}
}

func TestASizeThatIsNotTakenBackIsTold(t *testing.T) {
	t.Parallel()
	k, broken := agenttest.NewKernel(), errors.New("the disk is on fire")
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 100), create("web", "old", 10, true))
	reached, hang := make(chan struct{}), make(chan struct{})
	k.Lock()
	k.Fail = func(s volume.Step) error {
		if s.Kind != volume.Publish {
			return nil
		}
		close(reached)
		k.Unlock()
		<-hang
		k.Lock()
		return broken
	}
	k.Unlock()
	told := make(chan error, 1)
	go func() {
		_, err := a.Do(context.Background(), volume.Resize{Ref: "web/old", Size: 60 * resource.One}, create("web", "new", 40, true))
		told <- err
	}()
	<-reached
	must(t, a, attach("task", "old", resource.RW))
	fail(k, "", nil)
	close(hang)
	if err := <-told; !errors.Is(err, broken) || !strings.Contains(err.Error(), "volume web/old keeps the 60 MiB") {
		t.Errorf("told %v", err)
	}
	if v, err := a.State().Find("web/old"); err != nil || v.Size != 60*resource.One {
		t.Errorf("beneath its holder the volume is %+v, %v", v, err)
	}
}

func TestWhatCannotBeRemovedStaysRecordedAndIsTold(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 64), create("web", "v", 32, true))
	must(t, a, attach("task", "v", resource.RW))
	busy := &volume.Error{Kind: volume.ErrBusy, Message: "in use by process 1 (init)"}
	fail(k, volume.DoDetach, busy)
	if _, err := a.Do(t.Context(), volume.Detach{Task: "task", Volume: "web/v"}); !errors.Is(err, volume.ErrBusy) {
		t.Fatalf("detach: %v, want busy", err)
	}
	if _, err := a.Do(t.Context(), volume.Destroy{Ref: "web/v"}); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("destroy while the mount is busy: %v, want in use", err)
	}
	if _, err := a.Do(t.Context(), attach("other", "v", resource.RO)); err != nil {
		t.Errorf("others are held up: %v", err)
	}
	fail(k, "", nil)
	must(t, a, volume.Detach{Task: "task", Volume: "web/v"})
	must(t, a, volume.Release{Task: "other"})
	must(t, a, volume.Destroy{Ref: "web/v"})
}

func TestCallersAtTheSameTimeAllGetWhatTheyAskedFor(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 4096), create("web", "shared", 32, true))
	const callers = 50
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			id := fmt.Sprint("v", i)
			for _, op := range []volume.Operation{
				create("web", id, 32, false), attach("task"+id, id, resource.RW), attach("task"+id, "shared", resource.RO),
				volume.Detach{Task: "task" + id, Volume: "web/" + id}, volume.Destroy{Ref: "web/" + id},
			} {
				s, err := a.Do(context.Background(), op)
				if err != nil {
					t.Errorf("%s of %s: %v", op.Name(), id, err)
					return
				}
				if _, known := s.Task("task" + id); op.Name() == "attach" && !known {
					t.Errorf("the state that attach of %s returned does not know its task", id)
				}
			}
		})
	}
	all.Wait()
	s := a.State()
	v, err := s.Find("web/shared")
	if err != nil || len(s.Holders(v.UUID)) != callers || len(k.Mounts) != callers {
		t.Errorf("%d holders, %d mounts, %v; want %d", len(s.Holders(v.UUID)), len(k.Mounts), err, callers)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestWatchSeesEachVersionOnceItIsThere(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.NewKernel())
	seen := make(chan *volume.State, 1)
	from := a.State().Version
	go func() {
		s, err := a.Watch(context.Background(), from)
		if err != nil {
			t.Error(err)
		}
		seen <- s
	}()
	must(t, a, reserve("web", 64))
	if s := <-seen; s.Version <= from {
		t.Errorf("woken with version %d after %d", s.Version, from)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Watch(ctx, a.State().Version+100); !errors.Is(err, context.Canceled) {
		t.Errorf("a watch whose context has ended: %v", err)
	}
}

func TestATaskIsReleasedWhenItsLeaseEnds(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	dir := t.TempDir()
	a, stop := agenttest.StartOn(t, k, dir, "boot")
	must(t, a, reserve("web", 64), create("web", "v", 32, false))
	k.Lock()
	k.Processes[7], k.Processes[8] = 70, 80
	k.Unlock()
	must(t, a, volume.Claim{Task: "first", Lease: volume.Lease{PID: 7}, Uses: []volume.Use{{Volume: "web/v"}}})
	if _, err := a.Do(t.Context(), volume.Release{Task: "first"}); !errors.Is(err, volume.ErrInUse) {
		t.Errorf("release of a running task: %v", err)
	}
	k.Exit("first", 7)
	gone(t, a)
	must(t, a, volume.Claim{Task: "second", Lease: volume.Lease{PID: 8}, Uses: []volume.Use{{Volume: "web/v"}}})
	stop()
	k.Lock()
	delete(k.Processes, 8) // ends while no agent runs
	k.Unlock()
	a, _ = agenttest.StartOn(t, k, dir, "boot")
	gone(t, a)
	must(t, a, volume.Destroy{Ref: "web/v"})
}

// gone waits until there is no task any more.
func gone(t *testing.T, a *agent.Agent) {
	t.Helper()
	for s := a.State(); s.CountTasks() > 0; {
		next, err := a.Watch(t.Context(), s.Version)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
}

func TestAStoppedAgentRefusesAndLeavesTasksAlone(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a, stop := agenttest.StartOn(t, k, t.TempDir(), "boot")
	must(t, a, reserve("web", 64), create("web", "v", 32, true))
	must(t, a, attach("task", "v", resource.RW))
	stop()
	if _, err := a.Do(t.Context(), volume.Release{Task: "task"}); !errors.Is(err, volume.ErrStopped) {
		t.Errorf("after the stop: %v", err)
	}
	if len(k.Mounts) != 1 {
		t.Errorf("stopping has unmounted: %v", k.Mounts)
	}
}

func TestASandboxThatIsLeftOverGoesAndAUsersDirectoryStays(t *testing.T) {
	t.Parallel()
	k, user := agenttest.NewKernel(), agenttest.Root+"/user"
	a, stop := agenttest.StartOn(t, k, t.TempDir(), "boot-1")
	must(t, a, volume.Claim{Task: "task"})
	k.Lock()
	k.Sandboxes[user] = ""
	k.Unlock()
	if _, err := a.Do(t.Context(), volume.Claim{Task: "user"}); !errors.Is(err, volume.ErrExists) {
		t.Errorf("claim where a user has a directory: %v, want exists", err)
	}
	if n := a.State().CountTasks(); n != 1 {
		t.Errorf("%d tasks, want the one that has its sandbox", n)
	}
	stop()
	// Without a journal: in the same boot the task may be alive, in another it is not.
	for _, c := range []struct {
		boot string
		want map[string]string
	}{{"boot-1", map[string]string{agenttest.Root + "/task": "boot-1", user: ""}}, {"boot-2", map[string]string{user: ""}}} {
		a, stop := agenttest.StartOn(t, k, t.TempDir(), c.boot)
		gone(t, a)
		if n := a.State().CountTasks(); n != 0 || !maps.Equal(k.Sandboxes, c.want) {
			t.Errorf("%s: %d tasks, sandboxes %v, want %v", c.boot, n, k.Sandboxes, c.want)
		}
		stop()
	}
}

func TestAFailedJournalEndsAllChangesAndSaysSo(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open("journal", checkpoint.Options{FS: fs, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	k := agenttest.NewKernel()
	a, err := agent.Start(t.Context(), agent.Options{Kernel: k, Journal: j, Boot: "boot", Disks: k.Disks(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { a.Stop(); _ = j.Close() }()
	must(t, a, reserve("web", 64))
	before := a.State()
	fs.StopAt(1)
	if _, err := a.Do(t.Context(), create("web", "v", 32, true)); !errors.Is(err, volume.ErrJournal) {
		t.Fatalf("with a journal that can't be written: %v", err)
	}
	if err := a.Health(); !errors.Is(err, volume.ErrJournal) {
		t.Errorf("health: %v", err)
	}
	if a.State() != before || len(k.Pools[""].Live)+len(k.Pools[""].Incoming) != 0 {
		t.Error("something was shown or made that the journal does not hold")
	}
}

func TestAMountThatCannotBeHandedLeavesTheClaim(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 64), create("web", "v", 32, true))
	must(t, a, volume.Claim{Task: "task", Uses: []volume.Use{{Volume: "web/v"}}})
	before := stored(t, a.State())
	k.Lock()
	k.FailHand = errors.New("no mount today")
	k.Unlock()
	op := volume.Attach{Task: "task", Use: volume.Use{Volume: "web/v"}}
	if _, err := a.Hand(t.Context(), op, nil); !errors.Is(err, k.FailHand) {
		t.Fatalf("hand: %v", err)
	}
	if after := stored(t, a.State()); !slices.Equal(before, after) {
		t.Errorf("left\n%v\nwhere\n%v\nwas", after, before)
	}
	k.Lock()
	k.FailHand = nil
	k.Unlock()
	for range 2 {
		f, err := a.Hand(t.Context(), op, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
}

func TestAJournalWithoutRoomRefusesUntilThereIsSome(t *testing.T) {
	t.Parallel()
	fs := crashfs.New()
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open("journal", checkpoint.Options{FS: fs, Logger: quiet, SegmentSize: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	k := agenttest.NewKernel()
	a, err := agent.Start(t.Context(), agent.Options{Kernel: k, Journal: j, Boot: "boot", Disks: k.Disks(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { a.Stop(); _ = j.Close() }()
	fs.SetFull(true)
	for err == nil {
		_, err = a.Do(t.Context(), reserve("web", 1))
	}
	if !errors.Is(err, volume.ErrInsufficient) || a.Health() != nil {
		t.Fatalf("a journal without room: %v, health %v; want insufficient space, and healthy", err, a.Health())
	}
	before := stored(t, a.State())
	if _, err := a.Do(t.Context(), reserve("web", 1)); err == nil || !slices.Equal(before, stored(t, a.State())) {
		t.Errorf("refused with %v, but the state has changed", err)
	}
	fs.SetFull(false)
	must(t, a, reserve("web", 1))
}

func TestAUnitThatNobodyKnowsIsNotLookedAt(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	a := agenttest.Start(t, k)
	must(t, a, reserve("web", 64), create("web", "v", 32, true))
	must(t, a, attach("task", "v", resource.RW))
	must(t, a, volume.Release{Task: "task"}) // whose units run once more after they are dropped
	k.Exit("ghost", 1)
	must(t, a, volume.Destroy{Ref: "web/v"})
	a.Stop()
	if k.Unknown != 0 {
		t.Errorf("%d looks at what nobody knows: what they see may be taken for another of the name", k.Unknown)
	}
}

func TestDisksAreConfiguredAgainAtEachStart(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel("/mnt/d1")
	dir := t.TempDir()
	a, stop := agenttest.StartOn(t, k, dir, "boot")
	must(t, a, reserve("web", 64), create("web", "v", 32, true))
	stop()
	k.Lock()
	k.Pools[""].Missing = true
	k.Unlock()
	a, stop = agenttest.StartOn(t, k, dir, "boot")
	if _, err := a.Do(t.Context(), attach("task", "v", resource.RW)); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("attach of a volume whose disk is away: %v", err)
	}
	if _, err := a.Do(t.Context(), create("web", "w", 32, true)); !errors.Is(err, volume.ErrUnavailable) {
		t.Errorf("create on a disk that is away: %v", err)
	}
	stop()
	k.Lock()
	k.Pools[""].Missing = false
	k.Unlock()
	a, _ = agenttest.StartOn(t, k, dir, "boot")
	must(t, a, attach("task", "v", resource.RW))
}
