package acceptance

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/checkpoint"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

// A node is an agent on a kernel in memory. All that is asked of it goes through Mesos' JSON.
type node struct {
	t    *testing.T
	k    *agenttest.Kernel
	a    *agent.Agent
	dir  string // of the journal
	kind resource.SourceType
	stop func()
}

// start runs an agent with a root disk and two disks of each other kind, of 4,096 MiB each. It
// is about disks of one kind.
func start(t *testing.T, kind resource.SourceType) *node {
	t.Helper()
	return startOn(t, kind, disks()...)
}

// startOn runs an agent with these disks.
func startOn(t *testing.T, kind resource.SourceType, disks ...volume.Disk) *node {
	t.Helper()
	n := &node{t: t, k: agenttest.NewKernel(), dir: t.TempDir(), kind: kind}
	n.k.Configure(disks...)
	n.a, n.stop = agenttest.StartOn(t, n.k, n.dir, "boot-1")
	return n
}

// disks are those that start configures.
func disks() (all []volume.Disk) {
	for _, r := range []resource.Resource{space(4096), on(resource.SourcePath, "/path1", space(4096)), on(resource.SourcePath, "/path2", space(4096)),
		on(resource.SourceMount, "/mount1", space(4096)), on(resource.SourceMount, "/mount2", space(4096))} {
		all = append(all, configured(r))
	}
	return all
}

// configured is the disk that is all one resource; reserved statically, if that is.
func configured(r resource.Resource) volume.Disk {
	d := volume.Disk{Total: r.Scalar}
	if r.Disk != nil {
		d.Source, d.Key = r.Disk.Source, r.Disk.Source.Key()
	}
	if r.IsReserved() {
		d.Parts = []volume.Part{{Reservations: r.Reservations, Size: r.Scalar}}
	}
	return d
}

// restart stops the agent and starts another on what it has left, in a boot of that name.
func (n *node) restart(boot string) {
	n.t.Helper()
	n.stop()
	n.a, n.stop = agenttest.StartOn(n.t, n.k, n.dir, boot)
}

// reboot restarts the host.
func (n *node) reboot() {
	n.t.Helper()
	n.stop()
	n.k.Reboot()
	n.restart("boot-2")
}

// ask has operations done, as one request in Mesos' JSON of somebody unknown.
func (n *node) ask(ops ...resource.Operation) error {
	n.t.Helper()
	return n.askAs("", access.ACLs{}, ops...)
}

// askAs is ask of somebody who is known, under rules.
func (n *node) askAs(principal string, rules access.ACLs, ops ...resource.Operation) error {
	n.t.Helper()
	text, err := json.Marshal(ops)
	if err != nil {
		return err
	}
	parsed, err := resource.ParseOperations(text)
	if err != nil {
		return err
	}
	asked, err := wire.FromMesos(parsed, principal)
	if err != nil {
		return err
	}
	_, err = n.a.Ask(n.t.Context(), agent.Request{Operations: asked, Allow: rules.For(principal)})
	return err
}

// must is ask of what cannot be refused.
func (n *node) must(ops ...resource.Operation) {
	n.t.Helper()
	if err := n.ask(ops...); err != nil {
		n.t.Fatal(err)
	}
}

// denied fails the test unless a request is refused for a reason of that kind, in words
// like these, and has changed nothing.
func (n *node) denied(what string, kind error, says string, ops ...resource.Operation) {
	n.t.Helper()
	n.deniedTo("", access.ACLs{}, what, kind, says, ops...)
}

// deniedTo is denied for somebody who is known, under rules.
func (n *node) deniedTo(principal string, rules access.ACLs, what string, kind error, says string, ops ...resource.Operation) {
	n.t.Helper()
	before := n.all()
	err := n.askAs(principal, rules, ops...)
	refused(n.t, what, err, says)
	if !errors.Is(err, kind) {
		n.t.Errorf("%s: %v, which is not %v", what, err, kind)
	}
	same(n.t, "afterwards", n.all(), before)
}

// all is what the agent has: its space, and its volumes.
func (n *node) all() (all resource.Set) {
	s := n.a.State()
	for a := range s.Accounts() {
		all = all.Add(s.Describe(a))
	}
	for v := range s.Volumes(volume.Name{}) {
		all = all.Add(s.Resource(v))
	}
	return all
}

// has fails the test unless this is all that is reserved, and nothing of the disks is missing.
func (n *node) has(what string, want ...resource.Resource) {
	n.t.Helper()
	same(n.t, what, n.all().Reserved(""), resource.SetOf(want...))
	q, _ := n.all().Quantity("disk")
	is(n.t, what+": all of it", q, total(n.k.Disks()))
}

// total is the size of all disks together.
func total(disks []volume.Disk) (sum resource.Scalar) {
	for _, d := range disks {
		sum += d.Total
	}
	return sum
}

// disk is space on a disk of the node's kind.
func (n *node) disk(mib float64, stack ...resource.Reservation) resource.Resource {
	return n.onDisk(1, mib, stack...)
}

func (n *node) onDisk(number int, mib float64, stack ...resource.Reservation) resource.Resource {
	at := map[int]string{1: "1", 2: "2"}[number]
	switch n.kind {
	case resource.SourcePath:
		return on(n.kind, "/path"+at, space(mib, stack...))
	case resource.SourceMount:
		return on(n.kind, "/mount"+at, space(mib, stack...))
	}
	return space(mib, stack...)
}

// attach gives a task a volume, mounted beneath its sandbox at data.
func (n *node) attach(task, ref string, mode resource.Mode) error {
	_, err := n.a.Do(n.t.Context(), volume.Attach{Task: task, Use: volume.Use{Volume: ref, Path: "data", Mode: mode}, Via: volume.ByPath})
	return err
}

// attached is attach that must work.
func (n *node) attached(task, ref string, mode resource.Mode) {
	n.t.Helper()
	if err := n.attach(task, ref, mode); err != nil {
		n.t.Fatal(err)
	}
}

// release ends a task.
func (n *node) release(task string) {
	n.t.Helper()
	if _, err := n.a.Do(n.t.Context(), volume.Release{Task: task}); err != nil {
		n.t.Fatal(err)
	}
}

// holders are the tasks that hold a volume.
func (n *node) holders(ref string) (tasks []string) {
	n.t.Helper()
	s := n.a.State()
	v, err := s.Find(ref)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, h := range s.Holders(v.UUID) {
		tasks = append(tasks, h.Task)
	}
	return slices.Sorted(slices.Values(tasks))
}

// directory is that of a volume; ok is false where there is none.
func (n *node) directory(id volume.UUID) (dir agenttest.Dir, ok bool) {
	n.k.Lock()
	defer n.k.Unlock()
	for _, p := range n.k.Pools {
		if dir, ok = p.Live[id]; ok {
			return dir, ok
		}
	}
	return dir, false
}

// named is a volume by its name.
func (n *node) named(ref string) *volume.Volume {
	n.t.Helper()
	v, err := n.a.State().Find(ref)
	if err != nil {
		n.t.Fatal(err)
	}
	return v
}

// mounts are the places at which something is mounted, with what.
func (n *node) mounts() map[string]agenttest.Mount {
	n.k.Lock()
	defer n.k.Unlock()
	return maps.Clone(n.k.Mounts)
}

func reserve(rs ...resource.Resource) resource.Operation {
	return resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: rs}}
}

func unreserve(rs ...resource.Resource) resource.Operation {
	return resource.Operation{Type: resource.OpUnreserve, Unreserve: &resource.Unreserve{Resources: rs}}
}

func create(rs ...resource.Resource) resource.Operation {
	return resource.Operation{Type: resource.OpCreate, Create: &resource.Create{Volumes: rs}}
}

func destroy(rs ...resource.Resource) resource.Operation {
	return resource.Operation{Type: resource.OpDestroy, Destroy: &resource.Destroy{Volumes: rs}}
}

func grow(v, by resource.Resource) resource.Operation {
	return resource.Operation{Type: resource.OpGrowVolume, GrowVolume: &resource.GrowVolume{Volume: v, Addition: by}}
}

func shrink(v resource.Resource, mib float64) resource.Operation {
	return resource.Operation{Type: resource.OpShrinkVolume,
		ShrinkVolume: &resource.ShrinkVolume{Volume: v, Subtract: resource.Scalar(mib * float64(resource.One))}}
}

// restartOn restarts the agent in a boot, with a disk of another size; an agent that does not
// start is an error.
func (n *node) restartOn(boot, disk string, mib int) error {
	n.t.Helper()
	disks := disks()
	for i := range disks {
		if disks[i].Key == disk {
			disks[i].Total = resource.Scalar(mib) * resource.One
		}
	}
	return n.restartWith(boot, disks...)
}

// restartWith restarts the agent in a boot, with these disks.
func (n *node) restartWith(boot string, disks ...volume.Disk) error {
	n.t.Helper()
	n.stop()
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open(n.dir, checkpoint.Options{Logger: quiet})
	if err != nil {
		n.t.Fatal(err)
	}
	n.k.Configure(disks...)
	a, err := agent.Start(n.t.Context(), agent.Options{Kernel: n.k, Journal: j, Boot: boot, Disks: disks, Log: quiet, Now: time.Now})
	if err != nil {
		n.stop = func() {}
		return errors.Join(err, j.Close())
	}
	n.a, n.stop = a, sync.OnceFunc(func() {
		a.Stop()
		if err := j.Close(); err != nil {
			n.t.Error(err)
		}
	})
	n.t.Cleanup(n.stop)
	return nil
}

func launch(task string, rs ...resource.Resource) resource.Operation {
	return resource.Operation{Type: resource.OpLaunch, Launch: &resource.Launch{Tasks: []resource.TaskInfo{taskOf(task, rs...)}}}
}

func taskOf(id string, rs ...resource.Resource) resource.TaskInfo {
	return resource.TaskInfo{ID: id, Name: id, AgentID: "agent", Resources: rs}
}

// launchGroup is tasks that live and end together.
func launchGroup(tasks ...resource.TaskInfo) resource.Operation {
	return resource.Operation{Type: resource.OpLaunchGroup,
		LaunchGroup: &resource.LaunchGroup{Executor: &resource.ExecutorInfo{ID: "executor"}, Tasks: tasks}}
}

// rules are permissions as they stand in a configuration.
func rules(t *testing.T, text string) (acls access.ACLs) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &acls); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return acls
}
