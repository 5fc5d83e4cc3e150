package agent_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// scales is an agent in a bubble of its own time, whose volumes are measured once a minute, on
// two disks, and what was measured when.
type scales struct {
	*agent.Agent
	k *agenttest.Kernel

	mu     sync.Mutex
	walked []string // names of volumes
	at     []time.Time
}

const otherDisk = "PATH:/mnt/d1"

// weighing runs body with an agent of which web/a, web/b and web/c, of 64 MiB each, are
// measured: the last one on another disk. A task writes to the first.
func weighing(t *testing.T, then volume.OnExceed, body func(t *testing.T, s *scales)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := agenttest.NewKernel("/mnt/d1")
		disks := k.Disks()
		for i := range disks {
			disks[i].OnExceed = then
		}
		k.Configure(disks...)
		for _, p := range k.Pools {
			p.Enforcement = volume.Enforcement{Mode: volume.EnforcedNone}
		}
		s := &scales{k: k}
		k.Walked = s.note
		a, stop := agenttest.StartTimed(t, k, t.TempDir(), agent.Options{Gauge: agenttest.Gauge{Kernel: k}, MeasureEvery: time.Minute})
		defer stop()
		s.Agent = a
		s.must(t, reserve("web", 1024), create("web", "a", 64, true), create("web", "b", 64, true))
		source := disks[1].Source
		r, c := reserve("web", 64), create("web", "c", 64, true)
		r.Resources[0].Disk = &resource.Disk{Source: source}
		c.Volume.Disk.Source = source
		s.must(t, r, c)
		s.must(t, volume.Attach{Task: "writer", Use: volume.Use{Volume: "web/a", Path: "p"}, Via: volume.ByPath})
		body(t, s)
	})
}

func (s *scales) must(t *testing.T, ops ...volume.Operation) {
	t.Helper()
	if _, err := s.Do(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
}

func (s *scales) note(id volume.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _ := s.State().Volume(id)
	s.walked, s.at = append(s.walked, v.ID), append(s.at, time.Now())
}

// since gives what was walked through since it was asked last.
func (s *scales) since() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, s.walked, s.at = s.walked, nil, nil
	slices.Sort(names)
	return names
}

// holds has so many MiB be in a volume.
func (s *scales) holds(t *testing.T, id string, mb resource.Bytes) *volume.Volume {
	t.Helper()
	v, err := s.State().Find("web/" + id)
	if err != nil {
		t.Fatal(err)
	}
	s.k.Lock()
	defer s.k.Unlock()
	s.k.Used[v.UUID] = mb * resource.MiB
	return v
}

// mounted says whether the task has its volume read-only.
func (s *scales) readOnly(t *testing.T) bool {
	t.Helper()
	s.k.Lock()
	defer s.k.Unlock()
	m, there := s.k.Mounts[agenttest.Root+"/writer/p"]
	if !there {
		t.Fatalf("nothing is mounted: %v", s.k.Mounts)
	}
	return m.ReadOnly
}

// pass lets some time go by and everything that is due then come to its end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEveryVolumeIsMeasuredAboutOnceAnInterval(t *testing.T) {
	weighing(t, volume.Report, func(t *testing.T, s *scales) {
		pass(time.Minute)
		if diff := cmp.Diff([]string{"a", "b", "c"}, slices.Compact(s.since())); diff != "" {
			t.Errorf("in the first minute (-want +got):\n%s", diff)
		}
		pass(time.Hour)
		if n := len(s.since()) / 3; n < 59 || n > 80 {
			t.Errorf("%d rounds in an hour", n)
		}
	})
}

func TestWhatWasMeasuredIsKnownWithoutAWalkAndWithItsTime(t *testing.T) {
	weighing(t, volume.Report, func(t *testing.T, s *scales) {
		a := s.holds(t, "a", 7)
		if used, err := s.Usage(t.Context()); err != nil || len(used) > 0 {
			t.Errorf("before it was measured: %v, %v", used, err)
		}
		begun, version := time.Now(), s.State().Version
		pass(time.Minute)
		s.since()
		for _, ids := range [][]volume.UUID{nil, {a.UUID}} {
			used, err := s.Usage(t.Context(), ids...)
			u := used[a.UUID]
			if err != nil || u.Bytes != 7*resource.MiB || u.Measured.Before(begun) || u.Measured.After(time.Now()) || u.Astray {
				t.Errorf("it is %+v, %v", u, err)
			}
			if want := 3; ids == nil && len(used) != want {
				t.Errorf("of %d volumes it is known, want %d", len(used), want)
			}
		}
		if n := s.since(); len(n) > 0 || s.State().Version != version {
			t.Errorf("asking has walked through %v; version %d, was %d", n, s.State().Version, version)
		}
		s.must(t, volume.Destroy{Ref: "web/c"})
		pass(2 * time.Minute)
		if used, _ := s.Usage(t.Context()); len(used) != 2 {
			t.Errorf("what is gone is known: %v", used)
		}
	})
}

func TestALongWalkIsFollowedByALongRestOfItsDiskAlone(t *testing.T) {
	weighing(t, volume.Report, func(t *testing.T, s *scales) {
		slow := s.holds(t, "a", 1)
		s.k.Lock()
		s.k.Walked = func(id volume.UUID) {
			if id == slow.UUID {
				time.Sleep(10 * time.Minute)
			}
			s.note(id)
		}
		s.k.Unlock()
		pass(20 * time.Minute) // the walk has ended, the rest has not
		if n := s.since(); slices.Index(n, "a") < 0 || slices.Index(n, "b") < 0 || slices.Index(n, "c") < 2 || n[1] == "a" || len(n) < 20 {
			t.Errorf("in 20 minutes it was %v", n)
		}
		pass(85 * time.Minute)
		if n := s.since(); slices.Contains(n, "a") || slices.Contains(n, "b") || len(n) < 80 {
			t.Errorf("while the disk rests it was %v", n)
		}
		pass(20 * time.Minute)
		if n := s.since(); !slices.Contains(n, "a") || !slices.Contains(n, "b") {
			t.Errorf("after the rest it was %v", n)
		}
	})
}

func TestVolumesOfADiskAreWalkedThroughOneAfterTheOther(t *testing.T) {
	weighing(t, volume.Report, func(t *testing.T, s *scales) {
		at, most := map[string]int{}, 0
		s.k.Lock()
		s.k.Walked = func(id volume.UUID) {
			v, _ := s.State().Volume(id)
			s.mu.Lock()
			at[v.Disk]++
			most = max(most, at[v.Disk])
			s.mu.Unlock()
			time.Sleep(time.Second)
			s.mu.Lock()
			at[v.Disk]--
			s.mu.Unlock()
		}
		s.k.Unlock()
		pass(5 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if most != 1 {
			t.Errorf("%d walks at once on one disk", most)
		}
	})
}

func TestAnExceededVolumeIsToldAndItsWritersGoOnWhereThatIsAll(t *testing.T) {
	weighing(t, volume.Report, func(t *testing.T, s *scales) {
		s.holds(t, "a", 65)
		before := s.State().Version
		pass(time.Minute)
		v := s.holds(t, "a", 60)
		if v.Exceeded == nil || v.Exceeded.Used != 65*resource.MiB || s.readOnly(t) {
			t.Errorf("it is %+v, read-only: %v", v.Exceeded, s.readOnly(t))
		}
		pass(time.Minute)
		if v = s.holds(t, "a", 60); v.Exceeded != nil {
			t.Errorf("it is %+v", v.Exceeded)
		}
		var told []string
		events, _ := s.Events(before, 100)
		for _, e := range events {
			for _, c := range e.Changes {
				if c.Notice != nil {
					told = append(told, fmt.Sprint(c.Notice.Over, c.Notice.Used, c.Notice.Size))
				}
			}
		}
		if diff := cmp.Diff([]string{"true 65 MiB 64 MiB", "false 60 MiB 64 MiB"}, told); diff != "" {
			t.Errorf("what is told (-want +got):\n%s", diff)
		}
	})
}

func TestWritersOfAnExceededVolumeAreReadOnlyUntilItIsWithinAgain(t *testing.T) {
	weighing(t, volume.MakeReadOnly, func(t *testing.T, s *scales) {
		s.holds(t, "a", 65)
		target := agenttest.Root + "/writer/p"
		s.k.Lock()
		m := s.k.Mounts[target]
		m.Busy = true
		s.k.Mounts[target] = m
		s.k.Unlock()
		pass(time.Minute)
		v := s.holds(t, "a", 65)
		f, _ := s.State().Fault(volume.Unit{Kind: volume.AttachmentUnit, Volume: v.UUID, Task: "writer", Path: "p"})
		if s.readOnly(t) || v.Exceeded == nil || f.Kind != volume.ErrBusy {
			t.Errorf("while it writes: read-only %v, fault %+v", s.readOnly(t), f)
		}
		s.k.Lock()
		m.Busy = false
		s.k.Mounts[target] = m
		s.k.Unlock()
		pass(2 * time.Minute) // it is tried again at least once a minute
		if _, bad := s.State().Fault(volume.Unit{Kind: volume.AttachmentUnit, Volume: v.UUID, Task: "writer", Path: "p"}); !s.readOnly(t) || bad {
			t.Errorf("when it has stopped: read-only %v, a fault: %v", s.readOnly(t), bad)
		}
		s.must(t, volume.Attach{Task: "late", Use: volume.Use{Volume: "web/a", Path: "p"}, Via: volume.ByPath})
		s.k.Lock()
		if !s.k.Mounts[agenttest.Root+"/late/p"].ReadOnly {
			t.Error("who comes later may write")
		}
		s.k.Unlock()
		s.holds(t, "a", 62) // within its size, but not well within
		pass(2 * time.Minute)
		if !s.readOnly(t) {
			t.Error("it is writable just below its size")
		}
		s.holds(t, "a", 60)
		pass(time.Minute)
		if s.readOnly(t) {
			t.Error("it stays read-only")
		}
	})
}

func TestWritersOfAnExceededVolumeAreKilledWhereThatFollows(t *testing.T) {
	weighing(t, volume.KillWriters, func(t *testing.T, s *scales) {
		s.must(t, volume.Claim{Task: "doomed", Cgroup: true, Uses: []volume.Use{{Volume: "web/a", Path: "p"}}})
		s.holds(t, "a", 65)
		pass(time.Minute)
		if _, there := s.State().Task("doomed"); there || !s.readOnly(t) {
			t.Errorf("the task that can be killed is there: %v, the other one read-only: %v", there, s.readOnly(t))
		}
	})
}

func TestAGrownVolumeIsMeasuredAtOnceAndWritableAgain(t *testing.T) {
	weighing(t, volume.MakeReadOnly, func(t *testing.T, s *scales) {
		s.holds(t, "a", 100)
		pass(time.Minute)
		if !s.readOnly(t) {
			t.Fatal("it is writable")
		}
		s.since()
		s.must(t, volume.Resize{Ref: "web/a", Size: 80 * resource.One})
		synctest.Wait()
		if n := s.since(); !slices.Equal(n, []string{"a"}) || !s.readOnly(t) {
			t.Errorf("after it was made a little larger: walked %v, read-only %v", n, s.readOnly(t))
		}
		s.must(t, volume.Resize{Ref: "web/a", Size: 101 * resource.One})
		synctest.Wait()
		if n := s.since(); !slices.Equal(n, []string{"a"}) || s.readOnly(t) {
			t.Errorf("after it was made large enough: walked %v, read-only %v", n, s.readOnly(t))
		}
	})
}

func TestAnotherAgentGoesOnWithWhatIsExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, dir := agenttest.NewKernel(), t.TempDir()
		disks := k.Disks()
		disks[0].OnExceed = volume.MakeReadOnly
		k.Configure(disks...)
		k.Pools[""].Enforcement = volume.Enforcement{Mode: volume.EnforcedNone}
		o := agent.Options{Gauge: agenttest.Gauge{Kernel: k}, MeasureEvery: time.Minute}
		a, stop := agenttest.StartTimed(t, k, dir, o)
		s := &scales{Agent: a, k: k}
		s.must(t, reserve("web", 1024), create("web", "a", 64, true))
		s.must(t, volume.Attach{Task: "writer", Use: volume.Use{Volume: "web/a", Path: "p"}, Via: volume.ByPath})
		s.holds(t, "a", 65)
		pass(time.Minute)
		stop()
		s.Agent, stop = agenttest.StartTimed(t, k, dir, o)
		if v := s.holds(t, "a", 0); v.Exceeded == nil || !s.readOnly(t) {
			t.Errorf("the next one has it %+v, read-only %v", v.Exceeded, s.readOnly(t))
		}
		pass(time.Minute)
		if s.readOnly(t) {
			t.Error("it stays read-only")
		}
		s.holds(t, "a", 65)
		pass(time.Minute)
		stop()
		disks[0].OnExceed = "" // nobody measures any more
		k.Configure(disks...)
		s.Agent, stop = agenttest.StartTimed(t, k, dir, o)
		defer stop()
		pass(time.Minute)
		if v := s.holds(t, "a", 65); v.Exceeded != nil || s.readOnly(t) {
			t.Errorf("nobody measures, and it is %+v, read-only %v", v.Exceeded, s.readOnly(t))
		}
	})
}
