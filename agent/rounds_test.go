package agent_test

import (
	"testing"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func TestLimitsThatAreSwitchedOnLaterAreUsedWithoutARestart(t *testing.T) {
	weighing(t, volume.MakeReadOnly, func(t *testing.T, s *scales) {
		s.holds(t, "a", 65)
		pass(time.Minute)
		if !s.readOnly(t) {
			t.Fatal("it is writable")
		}
		s.k.Lock()
		p := s.k.Pools[""]
		p.Enforcement = volume.Enforcement{Mode: volume.EnforcedHard, By: volume.ByProject}
		clear(p.Limits) // nobody has set them
		s.k.Unlock()
		pass(time.Minute)
		s.since()
		pass(5 * time.Minute)
		v := s.holds(t, "a", 65)
		if mode := s.State().EnforcementOf(v); mode != volume.EnforcedHard || v.Exceeded != nil || s.readOnly(t) {
			t.Errorf("it is enforced %s, exceeded %+v, read-only %v", mode, v.Exceeded, s.readOnly(t))
		}
		s.k.Lock()
		if len(p.Limits) != 2 || p.Limits[v.Project] != v.Size {
			t.Errorf("the limits are %v", p.Limits)
		}
		s.k.Unlock()
		for _, id := range s.since() {
			if id != "c" { // of the other disk
				t.Errorf("web/%s is measured although its file system counts", id)
			}
		}
	})
}

func TestALimitThatSomebodyHasChangedIsRestored(t *testing.T) {
	weighing(t, volume.Report, func(t *testing.T, s *scales) {
		p := s.k.Pools[""]
		s.k.Lock()
		p.Enforcement = volume.Enforcement{Mode: volume.EnforcedHard, By: volume.ByProject}
		s.k.Unlock()
		pass(time.Minute)
		a, b := s.holds(t, "a", 1), s.holds(t, "b", 1)
		s.k.Lock()
		p.Limits[a.Project] = 1
		delete(p.Limits, b.Project)
		s.k.Unlock()
		pass(time.Minute)
		s.k.Lock()
		defer s.k.Unlock()
		if p.Limits[a.Project] != a.Size || p.Limits[b.Project] != b.Size {
			t.Errorf("the limits are %v", p.Limits)
		}
	})
}

func TestADiskThatOthersFillIsShownAndNoLongerWhenThereIsRoom(t *testing.T) {
	weighing(t, volume.Report, func(t *testing.T, s *scales) {
		room := func(free resource.Bytes) {
			s.k.Lock()
			defer s.k.Unlock()
			s.k.Pools[""].Room = volume.Room{FileSystem: "1", Size: 4096 * resource.MiB, Free: free * resource.MiB}
		}
		pressure := func() *volume.Pressure {
			d, _ := s.State().Disk("")
			return d.Pressure
		}
		room(127) // of the 128 that volumes may take
		if pass(3 * time.Minute); pressure() == nil || pressure().Promised != 128*resource.MiB || pressure().Free != 127*resource.MiB {
			t.Errorf("it is %+v", pressure())
		}
		version := s.State().Version
		room(100)
		if pass(3 * time.Minute); s.State().Version != version {
			t.Errorf("each round makes a version: %d, was %d", s.State().Version, version)
		}
		room(128)
		if _, err := s.Usage(t.Context()); err != nil || pressure() != nil { // whoever asks for usage sees it at once
			t.Errorf("it is %+v, %v", pressure(), err)
		}
		if d, _ := s.State().Disk(otherDisk); d.Pressure != nil {
			t.Errorf("the other disk's is %+v", d.Pressure)
		}
	})
}
