package agent

import (
	"testing"

	"tenon/agent/volume"
)

// remember makes a history of n versions after the first with some changes each.
func remember(n, each int) (*Agent, []*volume.State) {
	a := &Agent{}
	s := volume.Empty().With()
	a.history.begin = s.Version
	states := []*volume.State{s}
	for range n {
		s = s.With()
		a.history.add(Event{s.Version, make([]volume.Change, each)})
		states = append(states, s)
	}
	a.current.Store(s)
	return a, states
}

func TestEventsGoOnFromAnyVersionThatIsRemembered(t *testing.T) {
	t.Parallel()
	a, states := remember(10, 1)
	for i, s := range states {
		events, gap := a.Events(s.Version, 100)
		if gap || len(events) != 10-i {
			t.Fatalf("after version %d: %d events, gap %v", i, len(events), gap)
		}
		if len(events) > 0 && events[0].Version != states[i+1].Version {
			t.Errorf("after version %d comes %d", s.Version, events[0].Version)
		}
	}
	if events, _ := a.Events(states[0].Version, 3); len(events) != 3 || events[2].Version != states[3].Version {
		t.Errorf("got %d events of 3", len(events))
	}
}

func TestWhatIsForgottenOrNeverWasIsAGap(t *testing.T) {
	t.Parallel()
	a, states := remember(21, maxHistory/10)
	if _, gap := a.Events(states[10].Version, 1); !gap {
		t.Error("what is forgotten is no gap")
	}
	if events, gap := a.Events(states[11].Version, 100); gap || len(events) != 10 {
		t.Errorf("%d events, gap %v", len(events), gap)
	}
	if _, gap := a.Events(states[21].Version+1, 1); !gap {
		t.Error("a version to come is no gap")
	}
	if a.history.size > 2*maxHistory {
		t.Errorf("%d changes are remembered", a.history.size)
	}
}

func TestAChangeLargerThanTheHistoryIsRememberedAlone(t *testing.T) {
	t.Parallel()
	a, states := remember(3, 3*maxHistory)
	if events, gap := a.Events(states[2].Version, 10); gap || len(events) != 1 {
		t.Errorf("%d events, gap %v", len(events), gap)
	}
}
