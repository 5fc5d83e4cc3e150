package acceptance

import (
	"errors"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func oddContainerPaths(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)))
	at := func(path string) resource.Resource {
		return changed(vol(eng(8), "id"), func(d *resource.Disk) { d.Volume = &resource.Volume{ContainerPath: path, Mode: resource.RW} })
	}
	for _, path := range []string{"", ".", "..", "../x", "a/../..", "/abs", "a/", "a//b", "stdout"} {
		n.denied(path, volume.ErrInvalid, "", create(at(path)))
	}
	n.must(create(at("a/b")))
	is(t, "container path", n.named("eng/id").ContainerPath, "a/b")
}

func twoUsesInOneTask(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(sharing(eng(8), "id")))
	use := func(path string, mode resource.Mode) volume.Operation {
		return volume.Attach{Task: "task", Use: volume.Use{Volume: "eng/id", Path: path, Mode: mode}, Via: volume.ByPath}
	}
	if _, err := n.a.Do(t.Context(), use("in", resource.RO), use("out", resource.RW)); err != nil {
		t.Fatal(err)
	}
	modes := map[bool]int{}
	for _, m := range n.mounts() {
		modes[m.ReadOnly]++
	}
	is(t, "read-only", modes[true], 1)
	is(t, "writable", modes[false], 1)
	is(t, "holders", len(n.holders("eng/id")), 1)
}

func whatCannotBeRemoved(t *testing.T) {
	n := start(t, root)
	v := vol(eng(8), "id")
	n.must(reserve(eng(64)), create(v))
	id := n.named("eng/id").UUID
	stuck := errors.New("operation not permitted")
	n.failing(volume.Purge, stuck)
	refused(t, "destroy", n.ask(destroy(v)), "operation not permitted")
	allowed(t, "health of the agent", n.a.Health())
	f, told := n.a.State().Fault(volume.UnitOfVolume(id))
	is(t, "a fault that says why", told && f.Reason != "", true)
	n.must(create(vol(eng(8), "other")))
	n.failing("", nil)
	_, err := n.a.Do(t.Context(), volume.Destroy{Ref: string(id)})
	allowed(t, "destroy once it can be", err)
	n.has("afterwards", eng(56), vol(eng(8), "other"))
	n.hasDirectories("eng/other")
}

// failing makes steps of a kind fail.
func (n *node) failing(kind volume.StepKind, err error) {
	n.k.Lock()
	defer n.k.Unlock()
	n.k.Fail = func(s volume.Step) error {
		if s.Kind == kind {
			return err
		}
		return nil
	}
}

func oldDataIsNeverSeen(t *testing.T) {
	n := start(t, root)
	v := vol(eng(8), "id")
	n.must(reserve(eng(64)), create(v))
	old := n.named("eng/id").UUID
	before, _ := n.directory(old)
	n.failing(volume.Purge, errors.New("busy"))
	refused(t, "destroy of what cannot be removed yet", n.ask(destroy(v)), "busy")
	n.must(create(v))
	after, _ := n.directory(n.named("eng/id").UUID)
	is(t, "an empty directory", before.Birth != after.Birth, true)
	n.failing("", nil)
	_, err := n.a.Do(t.Context(), volume.Destroy{Ref: string(old)})
	allowed(t, "destroy of the old one, asked again", err)
	again, there := n.directory(n.named("eng/id").UUID)
	is(t, "the new one stays", there && again == after, true)
}

func namesThatBeginAlike(t *testing.T) {
	n := start(t, root)
	one, ten := sharing(eng(8), "vol1"), sharing(eng(8), "vol10")
	n.must(reserve(eng(64)), create(one, ten))
	before, _ := n.directory(n.named("eng/vol10").UUID)
	n.attached("task", "eng/vol10", resource.RW)
	n.must(destroy(one))
	after, there := n.directory(n.named("eng/vol10").UUID)
	is(t, "the other one is the same", there && before == after, true)
	is(t, "holders", len(n.holders("eng/vol10")), 1)
}

func ownersStay(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(sharing(eng(8), "id")))
	before, _ := n.directory(n.named("eng/id").UUID)
	n.attached("a", "eng/id", resource.RW)
	n.restart("boot-1")
	n.attached("b", "eng/id", resource.RW)
	after, _ := n.directory(n.named("eng/id").UUID)
	is(t, "the directory with its owner", before == after, true)
}

func endedWhileTheAgentWasDown(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(sharing(eng(8), "id")))
	n.k.Lock()
	n.k.Processes[42] = 7
	n.k.Unlock()
	use := volume.Use{Volume: "eng/id", Path: "data", Mode: resource.RW}
	if _, err := n.a.Do(t.Context(), volume.Claim{Task: "task", Lease: volume.Lease{PID: 42}, Uses: []volume.Use{use}},
		volume.Attach{Task: "task", Use: use, Via: volume.ByPath}); err != nil {
		t.Fatal(err)
	}
	is(t, "mounts", len(n.mounts()), 1)
	n.stop()
	n.k.Lock()
	delete(n.k.Processes, 42)
	n.k.Unlock()
	n.restart("boot-1")
	n.until(func(s *volume.State) bool { return s.CountTasks() == 0 })
	is(t, "mounts after the restart", len(n.mounts()), 0)
}

// until waits for a state.
func (n *node) until(there func(*volume.State) bool) {
	n.t.Helper()
	for s := n.a.State(); !there(s); {
		next, err := n.a.Watch(n.t.Context(), s.Version)
		if err != nil {
			n.t.Fatal(err)
		}
		s = next
	}
}

func volumesAreNotReserved(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), create(vol(eng(8), "id")))
	n.denied("refined", volume.ErrInvalid, "Please destroy the persistent volume first",
		reserve(vol(space(8, dynamic("eng"), dynamic("eng/ml")), "id")))
	n.denied("reserved", volume.ErrInvalid, "Please destroy the persistent volume first", reserve(vol(eng(8), "id")))
}

func identicalSharedVolumes(t *testing.T) {
	n := start(t, root)
	v := sharing(eng(8), "id")
	n.must(reserve(eng(64)), create(v))
	n.denied("again", volume.ErrExists, "is not unique", create(v))
	n.denied("twice at once", volume.ErrExists, "is not unique", create(sharing(eng(8), "two"), sharing(eng(8), "two")))
	n.must(destroy(v))
}

func countsAreHolders(t *testing.T) {
	n := start(t, root)
	v := sharing(eng(8), "id")
	n.must(reserve(eng(64)), create(v))
	n.attached("one", "eng/id", resource.RW)
	n.attached("two", "eng/id", resource.RO)
	n.stop()
	n.k.Lock()
	clear(n.k.Mounts) // somebody unmounts while nobody looks
	n.k.Unlock()
	n.restart("boot-1")
	is(t, "holders after a restart", len(n.holders("eng/id")), 2)
	is(t, "mounts after a restart", len(n.mounts()), 2)
	n.denied("in use", volume.ErrInUse, "Persistent volumes in use", destroy(v))
	n.release("one")
	_, err := n.a.Do(t.Context(), volume.Release{Task: "one"})
	is(t, "a second release is refused", errors.Is(err, volume.ErrNotFound), true)
	is(t, "holders", len(n.holders("eng/id")), 1)
	n.reboot()
	n.until(func(s *volume.State) bool { return s.CountTasks() == 0 })
	is(t, "holders after a reboot", len(n.holders("eng/id")), 0)
	n.must(destroy(v))
}
