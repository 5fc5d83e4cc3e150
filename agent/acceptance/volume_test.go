package acceptance

import (
	"maps"
	"slices"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// part is disk for one of two volumes, reserved for the role eng: all of a MOUNT disk, and
// 1,024 MiB of another.
func (n *node) part(number int) resource.Resource {
	if n.kind == resource.SourceMount {
		return n.onDisk(number, 4096, dynamic("eng"))
	}
	return n.onDisk(1, 1024, dynamic("eng"))
}

// withTwo is a node with the volumes eng/v1 and eng/v2.
func withTwo(t *testing.T, kind resource.SourceType, make func(resource.Resource, string) resource.Resource) (n *node, v1, v2 resource.Resource) {
	t.Helper()
	n = start(t, kind)
	v1, v2 = make(n.part(1), "v1"), make(n.part(2), "v2")
	n.must(reserve(n.part(1), n.part(2)))
	n.must(create(v1, v2))
	return n, v1, v2
}

func bothAreMade(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, vol)
	n.has("two volumes", v1, v2)
	n.hasDirectories("eng/v1", "eng/v2")
}

// hasDirectories fails the test unless these volumes, and no others, have a directory.
func (n *node) hasDirectories(refs ...string) {
	n.t.Helper()
	for _, ref := range refs {
		if _, there := n.directory(n.named(ref).UUID); !there {
			n.t.Errorf("volume %s has no directory", ref)
		}
	}
	n.k.Lock()
	defer n.k.Unlock()
	found := 0
	for _, p := range n.k.Pools {
		found += len(p.Incoming) + len(p.Live) + len(p.Trash)
	}
	is(n.t, "directories", found, len(refs))
}

func oneIsDestroyed(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, vol)
	n.must(destroy(v1))
	n.has("one volume and disk", n.part(1), v2)
	n.hasDirectories("eng/v2")
}

func volumesSurvive(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, vol)
	id := n.named("eng/v1").UUID
	n.restart("boot-1")
	n.has("after a restart", v1, v2)
	is(t, "the volume", n.named("eng/v1").UUID, id)
	n.hasDirectories("eng/v1", "eng/v2")
}

func directoryIsTheVolumesOwn(t *testing.T, kind resource.SourceType) {
	n, v1, _ := withTwo(t, kind, vol)
	before := n.named("eng/v1").UUID
	made, there := n.directory(before)
	is(t, "a directory by its UUID", there, true)
	n.must(destroy(v1))
	n.must(create(v1))
	after := n.named("eng/v1").UUID
	again, there := n.directory(after)
	is(t, "a directory of the next one", there && before != after && made.Birth != again.Birth, true)
}

func lessAfterAReboot(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, vol)
	n.k.Reboot()
	key := n.named("eng/v1").Disk
	refused(t, "restart with 1,023 MiB", n.restartOn("boot-2", key, 1023), "Incompatible agent resources")
	allowed(t, "restart with the old size", n.restartOn("boot-2", key, 4096))
	n.has("afterwards", v1, v2)
}

func usedAndLeft(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, vol)
	before, _ := n.directory(n.named("eng/v1").UUID)
	n.attached("task", "eng/v1", resource.RW)
	is(t, "mounts", len(n.mounts()), 1)
	n.denied("a second task on an exclusive volume", volume.ErrInUse, "task", destroy(v1))
	n.release("task")
	is(t, "mounts at the end", len(n.mounts()), 0)
	after, there := n.directory(n.named("eng/v1").UUID)
	is(t, "the same directory", there && before == after, true)
	n.has("afterwards", v1, v2)
	n.must(destroy(v1))
	n.hasDirectories("eng/v2")
}

func usedAtTheSameTime(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, sharing)
	n.attached("one", "eng/v1", resource.RW)
	n.has("with one task", v1, v2)
	n.attached("two", "eng/v1", resource.RW)
	n.has("with two tasks", v1, v2)
	is(t, "holders", len(n.holders("eng/v1")), 2)
	is(t, "mounts", len(n.mounts()), 2)
	for target, m := range n.mounts() {
		is(t, "mounted at "+target, m.Volume, n.named("eng/v1").UUID)
	}
}

func countedOnce(t *testing.T, kind resource.SourceType) {
	n, v1, _ := withTwo(t, kind, sharing)
	carved := func() resource.Scalar {
		q, _ := n.all().PersistentVolumes().Quantity("disk")
		return q
	}
	for _, task := range []string{"one", "two", "three"} {
		n.attached(task, "eng/v1", resource.RW)
		is(t, "carved with "+task, carved(), 2*v1.Scalar)
	}
}

func destroyedBesideOneInUse(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, sharing)
	n.attached("long", "eng/v1", resource.RW)
	n.attached("short", "eng/v2", resource.RW)
	n.release("short")
	n.has("while one is in use", v1, v2)
	n.must(destroy(v2))
	n.has("while the other is in use", v1, n.part(2))
	is(t, "holders", slices.Equal(n.holders("eng/v1"), []string{"long"}), true)
}

func destroyedAfterTheLastTask(t *testing.T, kind resource.SourceType) {
	n, v1, v2 := withTwo(t, kind, sharing)
	n.attached("long", "eng/v1", resource.RW)
	n.denied("in use", volume.ErrInUse, "Persistent volumes in use", destroy(v1))
	n.release("long")
	n.must(destroy(v1), destroy(v2))
	n.has("afterwards", n.part(1), n.part(2))
	n.hasDirectories()
}

func tasksNoticeNothing(t *testing.T, kind resource.SourceType) {
	n, _, _ := withTwo(t, kind, sharing)
	n.attached("one", "eng/v1", resource.RW)
	n.attached("two", "eng/v1", resource.RO)
	before := n.mounts()
	n.stop()
	is(t, "mounts while no agent runs", maps.Equal(n.mounts(), before), true)
	n.restart("boot-1")
	is(t, "mounts afterwards", maps.Equal(n.mounts(), before), true)
	is(t, "holders", slices.Equal(n.holders("eng/v1"), []string{"one", "two"}), true)
}

func rolesThatOverlapAsPaths(t *testing.T) {
	n := start(t, root)
	first, second := vol(space(64, dynamic("a/b/c/d")), "id"), vol(space(64, dynamic("a/b/c")), "d")
	n.must(reserve(space(64, dynamic("a/b/c/d")), space(64, dynamic("a/b/c"))), create(first), create(second))
	before, _ := n.directory(n.named("a/b/c/d/id").UUID)
	other, _ := n.directory(n.named("a/b/c/d").UUID)
	is(t, "one directory", before.Birth == other.Birth, false)
	n.must(destroy(second))
	after, there := n.directory(n.named("a/b/c/d/id").UUID)
	is(t, "the first one's directory is the same", there && before == after, true)
}

func anyRoleWillDo(t *testing.T) {
	n := start(t, root)
	r := space(64, dynamic("new/role-1"))
	n.must(reserve(r), create(vol(r, "id")))
	n.has("a new role", vol(r, "id"))
}
