package agent_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"
)

// What was done is remembered in its order, and done once, whatever time it is said to be.
func TestAClockThatJumpsChangesNothing(t *testing.T) {
	t.Parallel()
	var clock atomic.Pointer[time.Time]
	set := func(year int) { now := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); clock.Store(&now) }
	set(2026)
	a := agenttest.StartWith(t, agenttest.NewKernel(), agent.Options{Now: func() time.Time { return *clock.Load() }})
	must(t, a, reserve("web", 1))
	years := []int{2026, 1999, 2100, 1970, 2026}
	const each = volume.MaxOperations * 2 / 5 // twice as many in all as are kept
	for y, year := range years {
		set(year)
		for i := range each {
			must(t, a, as(fmt.Sprintf("op-%d-%03d", y, i), reserve("web", 1)))
		}
		must(t, a, as(fmt.Sprintf("op-%d-%03d", y, each-1), reserve("web", 1))) // asked again at once
	}
	total := len(years) * each
	for n := range total {
		id := fmt.Sprintf("op-%d-%03d", n/each, n%each)
		if _, kept := a.State().Operation(id); kept != (n >= total-volume.MaxOperations) {
			t.Fatalf("%s, the %d. of %d: kept is %v", id, n+1, total, kept)
		}
	}
	if free, want := reserved(a.State()), int64(1+total); free.String() != fmt.Sprint(want) {
		t.Errorf("%s MiB are reserved, want %d: something was done twice or not at all", free, want)
	}
}
