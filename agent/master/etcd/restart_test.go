package etcd_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/mastertest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// web is space that is reserved to the role web.
func web(mib resource.Scalar) resource.Resource {
	return resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: mib * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}},
	}
}

func create(of resource.Resource, id string) volume.Operation {
	of.Scalar, of.Shared = resource.One, true
	of.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: id}, Volume: &resource.Volume{ContainerPath: id, Mode: resource.RW}}
	return volume.Create{Volume: of}
}

func attach(task, id, path string) volume.Operation {
	return volume.Attach{Task: task, Use: volume.Use{Volume: "web/" + id, Path: path, Mode: resource.RO}, Via: volume.ByPath}
}

// events yields what happens to the keys of an agent from now on.
func events(t *testing.T, e *mastertest.Etcd, base string) func() *clientv3.Event {
	t.Helper()
	after := get(t, e, base).Header.Revision
	watch := e.Client.Watch(t.Context(), base, clientv3.WithPrefix(), clientv3.WithRev(after+1))
	var queue []*clientv3.Event
	return func() *clientv3.Event {
		t.Helper()
		for len(queue) == 0 {
			r, open := <-watch
			if !open || r.Err() != nil {
				t.Fatalf("the watch has ended: %v", r.Err())
			}
			queue = r.Events
		}
		first := queue[0]
		queue = queue[1:]
		return first
	}
}

func TestWhoeverWatchesSeesNothingVanishThatIsStillThereWhenTheAgentStartsAgain(t *testing.T) {
	t.Parallel()
	const volumes = 150 // more than one transaction has
	e := mastertest.StartEtcd(t)
	kernel, dir := agenttest.NewKernel(), t.TempDir()
	a, stop := agenttest.StartOn(t, kernel, dir, "boot-1")
	ops := []volume.Operation{volume.Reserve{Resources: []resource.Resource{web(2000)}}}
	for i := range volumes {
		ops = append(ops, create(web(0), fmt.Sprint("v", i)), attach(fmt.Sprint("task-", i), fmt.Sprint("v", i), "data"))
	}
	must(t, a, ops...)
	f := follow(t, e, a, master.Config{})
	awaitStatus(t, e, f)
	for i := range 3 {
		f.stop()
		gone := fmt.Sprint("v", i)
		v, _ := a.State().Named(volume.Name{Role: "web", ID: gone})
		must(t, a, volume.Release{Task: fmt.Sprint("task-", i)})
		must(t, a, volume.Destroy{Ref: "web/" + gone})
		stop()
		want := []string{"tasks/foreign", fmt.Sprint("tasks/task-", i), "volumes/" + string(v.UUID), "volumes/foreign"}
		slices.Sort(want)
		put(t, e, f.base+"volumes/foreign", []byte("{}"))
		put(t, e, f.base+"tasks/foreign", []byte("{}"))
		next := events(t, e, f.base)
		a, stop = agenttest.StartOn(t, kernel, dir, "boot-1")
		f = follow(t, e, a, master.Config{})
		var deleted []string
		for told := false; !told; {
			ev := next()
			key := strings.TrimPrefix(string(ev.Kv.Key), f.base)
			if ev.Type == clientv3.EventTypeDelete {
				deleted = append(deleted, key)
			}
			told = ev.Type == clientv3.EventTypePut && key == "status"
		}
		slices.Sort(deleted)
		if !slices.Equal(deleted, want) {
			t.Errorf("start %d: %d keys were removed, %.1000q; want %q, and before the status that counts what is there", i, len(deleted), deleted, want)
		}
		if count := get(t, e, f.base+"volumes/", clientv3.WithPrefix(), clientv3.WithCountOnly()).Count; count != int64(volumes-1-i) {
			t.Errorf("start %d: %d volumes are there, want %d", i, count, volumes-1-i)
		}
	}
}

// awaitStatus waits until etcd has the status of the newest version.
func awaitStatus(t *testing.T, e *mastertest.Etcd, f follower) {
	t.Helper()
	index := fmt.Sprintf(`"index":%d,`, f.State().Version)
	err := e.Await(t.Context(), f.base+"status", func(_ string, value []byte) bool { return strings.Contains(string(value), index) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeysOfOthersAreRemovedHoweverLongAndManyTheyAre(t *testing.T) {
	t.Parallel()
	e := mastertest.StartEtcd(t)
	a := agenttest.Start(t, agenttest.NewKernel())
	must(t, a, volume.Reserve{Resources: []resource.Resource{web(2000)}}, create(web(0), "kept"))
	base := "test/" + a.State().Agent + "/volumes/"
	for i := range 20 { // more than an answer of etcd may have
		put(t, e, fmt.Sprint(base, i, strings.Repeat("long", 100<<10)), nil)
	}
	for i := range 50 { // more than one comparison notes
		var ops []clientv3.Op
		for j := range 100 {
			ops = append(ops, clientv3.OpPut(fmt.Sprint(base, "foreign-", i, "-", j, strings.Repeat("x", 900)), ""))
		}
		if _, err := e.Client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	next := events(t, e, base)
	follow(t, e, a, master.Config{Heartbeat: 100 * time.Millisecond})
	for there := 5020; there > 0; {
		if next().Type == clientv3.EventTypeDelete {
			there--
		}
	}
	if got := get(t, e, base, clientv3.WithPrefix(), clientv3.WithKeysOnly()); got.Count != 1 {
		t.Errorf("%d volumes are there, want one", got.Count)
	}
}
