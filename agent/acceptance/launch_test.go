package acceptance

import (
	"slices"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

func madeAndUsedInOneRequest(t *testing.T, kind resource.SourceType) {
	n := start(t, kind)
	v := vol(n.part(1), "v1")
	n.must(reserve(n.part(1)))
	n.must(create(v), launch("task", changed(v, func(d *resource.Disk) {
		d.Volume = &resource.Volume{ContainerPath: "path1", Mode: resource.RW}
	})))
	is(t, "holders", slices.Equal(n.holders("eng/v1"), []string{"task"}), true)
	is(t, "mounted at path1", n.mounts()["/sandboxes/task/path1"].Volume, n.named("eng/v1").UUID)
	before, _ := n.directory(n.named("eng/v1").UUID)
	n.release("task")
	is(t, "mounts at the end", len(n.mounts()), 0)
	after, there := n.directory(n.named("eng/v1").UUID)
	is(t, "the same directory", there && before == after, true)
	n.has("afterwards", v)
}

func twoTasksOfOneRequest(t *testing.T) {
	n := start(t, root)
	v := sharing(eng(64), "id")
	n.must(reserve(eng(2048)))
	n.must(create(v), launch("t1", v, eng(32)), launch("t2", v, eng(64)))
	is(t, "holders", slices.Equal(n.holders("eng/id"), []string{"t1", "t2"}), true)
	id := n.named("eng/id").UUID
	is(t, "one directory in both", n.mounts()["/sandboxes/t1/data"].Volume == id && n.mounts()["/sandboxes/t2/data"].Volume == id, true)
}

func oneAfterTheOther(t *testing.T, kind resource.SourceType) {
	n := start(t, kind)
	v1, v2 := sharing(n.part(1), "v1"), sharing(n.part(2), "v2")
	n.must(reserve(n.part(1), n.part(2)))
	n.must(create(v1), launch("t1", v1))
	n.has("while it is in use", v1, n.part(2))
	n.must(create(v2), launch("t2", v2))
	n.has("while both are in use", v1, v2)
	n.must(launch("t3", v1))
	is(t, "holders", slices.Equal(n.holders("eng/v1"), []string{"t1", "t3"}), true)
}

func reservedAndUsedInOneRequest(t *testing.T) {
	n := start(t, root)
	n.must(reserve(eng(64)), launch("task", eng(64)))
	n.has("while the task runs", eng(64))
	n.release("task")
	n.must(unreserve(eng(64)))
	n.has("afterwards")
}

func groupOnOneVolume(t *testing.T) {
	n := start(t, root)
	v := sharing(eng(64), "id")
	n.must(reserve(eng(64)), create(v))
	reader := changed(v, func(d *resource.Disk) { d.Volume = &resource.Volume{ContainerPath: "in", Mode: resource.RO} })
	n.must(launchGroup(taskOf("t1", v), taskOf("t2", reader)))
	is(t, "holders", slices.Equal(n.holders("eng/id"), []string{"t1", "t2"}), true)
	is(t, "writable", n.mounts()["/sandboxes/t1/data"].ReadOnly, false)
	is(t, "read-only", n.mounts()["/sandboxes/t2/in"].ReadOnly, true)
}

func beforeAndAfterACreate(t *testing.T) {
	n := start(t, root)
	v := sharing(eng(64), "id")
	n.must(reserve(eng(128)), create(v))
	n.must(launch("t1", v), create(vol(eng(64), "other")), launch("t2", v))
	is(t, "holders", slices.Equal(n.holders("eng/id"), []string{"t1", "t2"}), true)
}

func operationsWithIds(t *testing.T) {
	n := start(t, root)
	identified := create(vol(eng(8), "id"))
	identified.ID = "op-1"
	n.must(reserve(eng(64)))
	n.must(identified)
	n.must(identified)
	n.has("done once", eng(56), vol(eng(8), "id"))
	another := create(vol(eng(8), "id2"))
	another.ID = "op-1"
	n.denied("another of the same id", volume.ErrExists, "was used", another)
	n.restart("boot-1")
	n.must(identified)
	n.has("done once, after a restart too", eng(56), vol(eng(8), "id"))
	st, known := n.a.State().Operation("op-1")
	is(t, "finished", known && st.State == volume.OperationFinished, true)
	for range 2 {
		_, err := n.a.Do(t.Context(), volume.Acknowledge{ID: "op-1"})
		allowed(t, "acknowledge", err)
	}
	_, err := n.a.Do(t.Context(), volume.Acknowledge{ID: "op-2"})
	refused(t, "acknowledge of what is not known", err, "no operation")
}
