package agent

import (
	"cmp"
	"slices"

	"tenon/agent/volume"
)

// maxHistory is how many changes are remembered, at least, for those who follow them.
const maxHistory = 10_000

// Event is what one version that readers have seen has changed. The faults of units are
// among the changes.
type Event struct {
	Version uint64
	Changes []volume.Change
}

// history is the newest events, oldest first. It holds no versions of the state: each would
// keep alive what has long been replaced.
type history struct {
	events []Event
	size   int    // changes in events
	begin  uint64 // the version before the first event
}

// add remembers an event. Where there are twice as many as must be, it forgets the older
// half: that costs nothing that grows, seen over many.
func (h *history) add(e Event) {
	h.events = append(h.events, e)
	h.size += max(1, len(e.Changes))
	if h.size <= 2*maxHistory {
		return
	}
	drop := 0
	for ; h.size > maxHistory && drop < len(h.events)-1; drop++ {
		h.size -= max(1, len(h.events[drop].Changes))
		h.begin = h.events[drop].Version
	}
	h.events = append(h.events[:0:0], h.events[drop:]...)
}

// Events gives what has happened after a version, oldest first, at most limit of them. gap
// says that some of it is forgotten, or that the version is none of this run of the agent:
// whoever follows has to look at the newest state as a whole and to go on from there.
func (a *Agent) Events(after uint64, limit int) (events []Event, gap bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if after < a.history.begin || after > a.State().Version {
		return nil, true
	}
	from, _ := slices.BinarySearchFunc(a.history.events, after+1, func(e Event, version uint64) int {
		return cmp.Compare(e.Version, version)
	})
	rest := a.history.events[from:]
	return slices.Clone(rest[:min(limit, len(rest))]), false
}
