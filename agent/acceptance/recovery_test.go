package acceptance

import (
	"testing"

	"tenon/agent/resource"
)

func totalsHaveEverything(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(vol(eng(8), "id")))
	n.has("reservations and volumes", eng(56), vol(eng(8), "id"))
}

func sameAgentAfterAReboot(t *testing.T) {
	n := start(t, root)
	id := n.a.State().Agent
	n.reboot()
	is(t, "agent after a reboot", n.a.State().Agent, id)
	n.k.Reboot()
	allowed(t, "restart on another configuration", n.restartOn("boot-3", "", 8192))
	is(t, "agent after a reboot with another configuration", n.a.State().Agent, id)
	is(t, "an agent", id != "", true)
}

func sameAgentAfterAStop(t *testing.T) {
	n := start(t, root)
	id := n.a.State().Agent
	n.restart("boot-1")
	is(t, "agent", n.a.State().Agent, id)
}

func moreWhileATaskRuns(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(sharing(eng(8), "id")))
	n.attached("task", "eng/id", resource.RW)
	allowed(t, "restart with a larger disk", n.restartOn("boot-1", "", 8192))
	is(t, "mounts", len(n.mounts()), 1)
	is(t, "holders", len(n.holders("eng/id")), 1)
	n.must(reserve(eng(8000)))
}

func configurationsThatFit(t *testing.T) {
	n := start(t, resource.SourcePath)
	n.must(reserve(n.disk(64, dynamic("eng"))), reserve(eng(64)))
	const path = "PATH:/path1"
	for _, c := range []struct {
		key  string
		mib  int
		fits bool
	}{
		{"", 4096, true}, {"", 8192, true}, {"", 64, true}, {"", 63, false},
		{path, 4096, true}, {path, 8192, true}, {path, 64, true}, {path, 63, false},
	} {
		if err := n.restartOn("boot-1", c.key, c.mib); (err == nil) != c.fits {
			t.Errorf("restart with %d MiB of disk %q: %v, want it to fit: %t", c.mib, c.key, err, c.fits)
		}
	}
	allowed(t, "restart as it was", n.restartOn("boot-1", "", 4096))
	is(t, "both reservations", n.all().Contains(eng(64)) && n.all().Contains(n.disk(64, dynamic("eng"))), true)
}

func allocationsComeOff(t *testing.T) {
	n := start(t, root)
	given := func(r resource.Resource) resource.Resource {
		r.Allocation = "eng"
		return r
	}
	v := vol(eng(8), "id")
	n.must(reserve(given(eng(64))))
	n.has("RESERVE", eng(64))
	n.must(create(given(v)))
	n.has("CREATE", eng(56), v)
	n.must(destroy(given(v)))
	n.has("DESTROY", eng(64))
	n.must(unreserve(given(eng(64))))
	n.has("UNRESERVE")
}
