package agent_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

// launching reserves, creates and launches, each with an id.
func launching() []volume.Operation {
	return ops(as("one", reserve("web", 32)), as("two", create("web", "v", 32, true)), as("three", launch("task", "v", 32, true)))
}

// razing destroys what launching creates, and unreserves it.
func razing() []volume.Operation {
	return ops(as("four", volume.Destroy{Ref: "web/v"}), as("five", volume.Unreserve{Resources: reserve("web", 32).Resources}))
}

// statesOf gives the states of all operations that are kept, by id.
func statesOf(s *volume.State) map[string]volume.OperationState {
	states := map[string]volume.OperationState{}
	for o := range s.Operations() {
		states[o.ID] = o.State
	}
	return states
}

// files are what a directory holds.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(data)
	}
	return all
}

// written is what files hold, without the room that a journal makes ahead whenever it can.
func written(files map[string]string) map[string]string {
	all := map[string]string{}
	for name, data := range files {
		if data = strings.TrimRight(data, "\x00"); data != "" {
			all[name] = data
		}
	}
	return all
}

func TestAnOperationWithAnIDIsDoneOnceHoweverOftenItIsAsked(t *testing.T) {
	t.Parallel()
	k, dir := agenttest.NewKernel(), t.TempDir()
	a, stop := agenttest.StartOn(t, k, dir, "boot")
	s := must(t, a, launching()...)
	want := map[string]volume.OperationState{"one": volume.OperationFinished, "two": volume.OperationFinished, "three": volume.OperationFinished}
	if d := cmp.Diff(want, statesOf(s)); d != "" {
		t.Errorf("when it is done (-want +got):\n%s", d)
	}
	first := stored(t, s)
	for _, boot := range []string{"boot", "boot"} {
		must(t, a, launching()...)
		must(t, a, launching()[1])
		if d := cmp.Diff(first, stored(t, a.State())); d != "" {
			t.Errorf("asked again (-before +after):\n%s", d)
		}
		if _, err := a.Do(t.Context(), as("one", reserve("web", 33)), as("six", reserve("web", 1))); err != nil {
			t.Errorf("another operation whose digest is the same: %v", err) // only the digest counts
		}
		must(t, a, as("six", reserve("web", 1)))
		other := as("one", reserve("web", 33))
		other.Digest = "of something else"
		if _, err := a.Do(t.Context(), other); !errors.Is(err, volume.ErrExists) {
			t.Errorf("the id for something else: %v, want exists", err)
		}
		first = stored(t, a.State())
		stop()
		a, stop = agenttest.StartOn(t, k, dir, boot)
		if d := cmp.Diff(first, stored(t, a.State())); d != "" {
			t.Errorf("started anew (-before +after):\n%s", d)
		}
	}
	must(t, a, volume.Release{Task: "task"})
	must(t, a, razing()...)
	before := stored(t, a.State())
	must(t, a, launching()...) // long done; nothing comes back
	must(t, a, razing()...)
	if d := cmp.Diff(before, stored(t, a.State())); d != "" {
		t.Errorf("asked again when it is gone (-before +after):\n%s", d)
	}
	must(t, a, volume.Acknowledge{ID: "one"})
	if o, _ := a.State().Operation("one"); !o.Acknowledged {
		t.Errorf("acknowledged, it is %+v", o)
	}
}

// Whatever fails of a launch, what came with it is taken back, and whoever asks again is told.
func TestALaunchThatFailsTakesBackAllOfItsBatch(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is on fire")
	for _, step := range []volume.StepKind{volume.Make, volume.Publish, volume.MakeSandbox, volume.DoAttach} {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			k := agenttest.NewKernel()
			a := agenttest.Start(t, k)
			before := stored(t, a.State())
			fail(k, step, broken)
			if _, err := a.Do(t.Context(), launching()...); !errors.Is(err, broken) {
				t.Fatalf("the caller is told %v, want %v", err, broken)
			}
			fail(k, "", nil)
			gone(t, a)
			s := a.State()
			for live, all := s.CountVolumes(); all > live; live, all = s.CountVolumes() {
				s, _ = a.Watch(t.Context(), s.Version)
			}
			after := slices.DeleteFunc(stored(t, s), func(r string) bool { return strings.HasPrefix(r, `{"operation"`) })
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("left (-before +after):\n%s", d)
			}
			for id, state := range statesOf(s) {
				if o, _ := s.Operation(id); state != volume.OperationFailed || !strings.Contains(o.Message, "on fire") {
					t.Errorf("operation %s is %+v", id, o)
				}
			}
			if _, err := a.Do(t.Context(), launching()...); !errors.Is(err, volume.ErrFailed) {
				t.Errorf("asked again: %v, want failed", err)
			}
			if len(k.Mounts)+len(k.Sandboxes)+len(k.Pools[""].Live)+len(k.Pools[""].Trash) > 0 {
				t.Errorf("left on the host: %+v", k)
			}
			must(t, a, reserve("web", 32), create("web", "v", 32, true), launch("task", "v", 32, true))
		})
	}
}

func TestADryRunLeavesNoTrace(t *testing.T) {
	t.Parallel()
	k, dir := agenttest.NewKernel(), t.TempDir()
	a, _ := agenttest.StartOn(t, k, dir, "boot")
	must(t, a, reserve("web", 64), create("web", "old", 32, true))
	state, journal, steps := a.State(), written(files(t, dir)), k.Births
	asked := 0
	for _, c := range []struct {
		batch []volume.Operation
		want  error
	}{
		{launching(), nil},
		{ops(volume.Destroy{Ref: "web/old"}, volume.Unreserve{Resources: reserve("web", 64).Resources}), nil},
		{ops(volume.Resize{Ref: "web/old", Size: 40 * resource.One}), nil},
		{ops(volume.Resize{Ref: "web/old", Size: 65 * resource.One}), volume.ErrInsufficient},
		{ops(reserve("web", 1), volume.Destroy{Ref: "web/none"}), volume.ErrNotFound},
		{ops(create("web", "old", 1, true)), volume.ErrExists},
	} {
		allow := func(*volume.State, volume.Operation) error { asked++; return nil }
		s, err := a.Ask(t.Context(), agent.Request{Operations: c.batch, DryRun: true, Allow: allow})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || (s == nil) != (err != nil) {
			t.Errorf("%s: %v, want %v", c.batch[0].Name(), err, c.want)
		}
		if err == nil && slices.Equal(stored(t, s), stored(t, state)) {
			t.Errorf("%s: the state that is shown is the one that was", c.batch[0].Name())
		}
	}
	if a.State() != state || k.Births != steps || len(k.Mounts) > 0 {
		t.Error("something was done")
	}
	if d := cmp.Diff(journal, written(files(t, dir))); d != "" {
		t.Errorf("the journal has changed:\n%s", d)
	}
	if asked == 0 {
		t.Error("nobody was asked for leave")
	}
}

func TestLeaveIsAskedForWithTheStateThatEachOperationMeets(t *testing.T) {
	t.Parallel()
	a := agenttest.Start(t, agenttest.NewKernel())
	for _, dry := range []bool{true, false} {
		before := stored(t, a.State())
		var met []string
		allow := func(s *volume.State, op volume.Operation) error {
			live, _ := s.CountVolumes()
			met = append(met, fmt.Sprintf("%s meets %d volumes and %d tasks", op.Name(), live, s.CountTasks()))
			if op.Name() == "destroy" {
				return &volume.Error{Kind: volume.ErrForbidden, Message: "not you"}
			}
			return nil
		}
		_, err := a.Ask(t.Context(), agent.Request{Operations: append(launching(), volume.Destroy{Ref: "web/v"}), Allow: allow, DryRun: dry})
		want := []string{"reserve meets 0 volumes and 0 tasks", "create meets 0 volumes and 0 tasks", "launch meets 1 volumes and 0 tasks", "destroy meets 1 volumes and 1 tasks"}
		if d := cmp.Diff(want, met); d != "" || !errors.Is(err, volume.ErrForbidden) {
			t.Errorf("dry=%v: %v (-want +asked):\n%s", dry, err, d)
		}
		if d := cmp.Diff(before, stored(t, a.State())); d != "" {
			t.Errorf("dry=%v: a batch that was forbidden has changed\n%s", dry, d)
		}
	}
}

// What an agent says of an operation, it says after a power cut, too.
func TestAPowerCutTakesNothingBackThatWasToldOfAnOperation(t *testing.T) {
	t.Parallel()
	fs, quiet := crashfs.New(), slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open("journal", checkpoint.Options{FS: fs, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	k := agenttest.NewKernel()
	a, err := agent.Start(t.Context(), agent.Options{Kernel: k, Journal: j, Boot: "boot-1", Disks: k.Disks(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { a.Stop(); _ = j.Close() }()
	for i, batch := range [][]volume.Operation{launching(), ops(as("six", create("web", "none", 4096, true))), ops(volume.Release{Task: "task"}), razing()} {
		_, err := a.Do(t.Context(), batch...)
		told := statesOf(a.State())
		if (err != nil) != (i == 1) {
			t.Fatalf("%s: %v", batch[0].Name(), err)
		}
		after := fs.Crash(crashfs.None, uint64(i))
		j, err := checkpoint.Open("journal", checkpoint.Options{FS: after, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		s := loaded(t, j)
		changes, err := volume.Configure(s, volume.Env{NewUUID: func() volume.UUID { return "new" }}, "boot-2", k.Disks())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(told, statesOf(s.With(changes...))); d != "" {
			t.Errorf("%s: (-told +after a power cut):\n%s", batch[0].Name(), d)
		}
		_ = j.Close()
	}
}

// loaded folds a journal.
func loaded(t *testing.T, j *checkpoint.Journal) *volume.State {
	t.Helper()
	s := volume.Empty()
	err := j.Load(func(r checkpoint.Record) error {
		c, err := volume.Decode(r)
		s = s.With(c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A reboot while a launch is at work: its task is over before it began, and it says so; what
// came with it is there.
func TestALaunchThatARebootHasCutShortHasFailed(t *testing.T) {
	t.Parallel()
	k, dir := agenttest.NewKernel(), t.TempDir()
	a, stop := agenttest.StartOn(t, k, dir, "boot-1")
	hang := make(chan struct{})
	reached := make(chan struct{})
	k.Lock()
	k.Fail = func(s volume.Step) error {
		if s.Kind == volume.DoAttach {
			close(reached)
			k.Unlock()
			<-hang
			k.Lock()
			return errors.New("the power is gone")
		}
		return nil
	}
	k.Unlock()
	done := make(chan error, 1)
	go func() { _, err := a.Do(t.Context(), launching()...); done <- err }()
	<-reached
	k.Kill() // nothing that comes now takes effect
	snapshot := t.TempDir()
	for name, data := range files(t, dir) {
		if err := os.WriteFile(filepath.Join(snapshot, filepath.Base(name)), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	close(hang)
	<-done
	stop()
	k.Lock()
	k.Fail = nil
	k.Unlock()
	k.Reboot()
	k.Revive()
	a, _ = agenttest.StartOn(t, k, snapshot, "boot-2")
	gone(t, a)
	want := map[string]volume.OperationState{"one": volume.OperationFinished, "two": volume.OperationFinished, "three": volume.OperationFailed}
	if d := cmp.Diff(want, statesOf(a.State())); d != "" {
		t.Errorf("after the reboot (-want +got):\n%s", d)
	}
	if _, err := a.State().Find("web/v"); err != nil {
		t.Errorf("its volume: %v", err)
	}
	if _, err := a.Do(t.Context(), launching()...); !errors.Is(err, volume.ErrFailed) {
		t.Errorf("asked again: %v, want failed", err)
	}
}

// Somebody releases the task while the volume is still being made: what was reserved and made
// stays, and is told to be there.
func TestALaunchThatIsReleasedEarlyLeavesTheRestOfItsBatch(t *testing.T) {
	t.Parallel()
	k, dir := agenttest.NewKernel(), t.TempDir()
	a, stop := agenttest.StartOn(t, k, dir, "boot")
	hang, reached := make(chan struct{}), make(chan struct{})
	k.Lock()
	k.Fail = func(s volume.Step) error {
		if s.Kind == volume.Make {
			close(reached)
			k.Unlock()
			<-hang
			k.Lock()
		}
		return nil
	}
	k.Unlock()
	done := make(chan error, 1)
	go func() { _, err := a.Do(t.Context(), launching()...); done <- err }()
	<-reached
	must(t, a, volume.Release{Task: "task"})
	want := map[string]volume.OperationState{"one": volume.OperationPending, "two": volume.OperationPending, "three": volume.OperationFailed}
	if d := cmp.Diff(want, statesOf(a.State())); d != "" {
		t.Errorf("when the task is released (-want +got):\n%s", d)
	}
	close(hang)
	if err := <-done; err != nil {
		t.Errorf("whoever asked is told %v", err)
	}
	want["one"], want["two"] = volume.OperationFinished, volume.OperationFinished
	for range 2 {
		if d := cmp.Diff(want, statesOf(a.State())); d != "" {
			t.Errorf("in the end (-want +got):\n%s", d)
		}
		if v, err := a.State().Find("web/v"); err != nil || v.Phase != volume.Ready || a.State().CountTasks() > 0 {
			t.Errorf("its volume is %+v, %v, and there are %d tasks", v, err, a.State().CountTasks())
		}
		stop()
		a, stop = agenttest.StartOn(t, k, dir, "boot")
	}
}
