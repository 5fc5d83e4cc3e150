package etcd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/etcd"
	"tenon/agent/master/mastertest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// value reads what an agent has written.
func value[T any](t *testing.T, e *mastertest.Etcd, f follower, key string) (v T) {
	t.Helper()
	kvs := get(t, e, f.base+key).Kvs
	if len(kvs) != 1 {
		t.Fatalf("there is no key %s", key)
	}
	if err := json.Unmarshal(kvs[0].Value, &v); err != nil {
		t.Errorf("%s is %.500s: %v", key, kvs[0].Value, err)
	}
	return v
}

// labelled is web with a label of so many bytes, which makes it another kind of reservation.
func labelled(mib resource.Scalar, key string, bytes int) resource.Resource {
	r := web(mib)
	labels := &r.Reservations[0].Labels
	*labels = append(*labels, resource.Label{Key: key + strings.Repeat("x", bytes)})
	return r
}

func reserve(r resource.Resource) volume.Operation {
	return volume.Reserve{Resources: []resource.Resource{r}}
}

func idOf(a follower, id string) string {
	v, _ := a.State().Named(volume.Name{Role: "web", ID: id})
	return "volumes/" + string(v.UUID)
}

func TestWhatIsTooLargeForAKeyIsWrittenInPartAndNothingElseSuffers(t *testing.T) {
	t.Parallel()
	const large = 2 << 20 // bytes, more than etcd takes
	e := mastertest.StartEtcd(t)
	a := agenttest.Start(t, agenttest.NewKernel())
	huge := labelled(100, "huge", large)
	ops := []volume.Operation{reserve(web(1000)), reserve(huge), create(huge, "labelled"), create(web(0), "used"), create(web(0), "fine"), attach("small", "fine", "data")}
	for i := range 600 {
		path := fmt.Sprint(strings.Repeat(strings.Repeat("x", 250)+"/", 14), i)
		ops = append(ops, attach("large", "used", path))
	}
	must(t, a, ops...)
	f, n := tell(t, e, a)
	awaitStatus(t, e, f)
	status := value[etcd.Status](t, e, f, "status")
	if !status.Truncated || len(status.Reservations) != 0 || len(status.Disks) != 1 || status.Counts.Attachments != 601 {
		t.Errorf("the status is %+v; want it truncated", status)
	}
	if v := value[etcd.Volume](t, e, f, idOf(f, "labelled")); !v.Truncated || v.Resource != nil || v.Name != "web/labelled" {
		t.Errorf("the volume with large labels is %+v; want it without resource", v)
	}
	if v := value[etcd.Volume](t, e, f, idOf(f, "used")); !v.Truncated || len(v.Holders) != 0 || v.References != 1 {
		t.Errorf("the volume with a large holder is %+v; want it without holders", v)
	}
	if w := value[etcd.Task](t, e, f, "tasks/large"); !w.Truncated || len(w.Attachments) != 0 || w.ID != "large" {
		t.Errorf("the large task is %+v; want it without attachments", w)
	}
	if v := value[etcd.Volume](t, e, f, idOf(f, "fine")); v.Truncated || v.Resource == nil || len(v.Holders) != 1 {
		t.Errorf("the volume of no size is %+v; want it whole", v)
	}
	if w := value[etcd.Task](t, e, f, "tasks/small"); w.Truncated || len(w.Attachments) != 1 {
		t.Errorf("the small task is %+v; want it whole", w)
	}
	put(t, e, f.base+"orders/one", mastertest.Order(a.State().Agent, "one", mastertest.Reserve(1)))
	results(t, e, f, 1)
	awaitIncomplete(t, n, "status is without its reservations: with them it has 2[0-9]{6} bytes, and 1048576 are allowed; 3 more keys are not whole")
	must(t, a, volume.Release{Task: "large"})
	must(t, a, volume.Destroy{Ref: "web/labelled"})
	huge.Scalar = 100 * resource.One
	must(t, a, volume.Unreserve{Resources: []resource.Resource{huge}})
	awaitStatus(t, e, f)
	if status := value[etcd.Status](t, e, f, "status"); status.Truncated || len(status.Reservations) != 2 {
		t.Errorf("the status is %+v when there is room again; want it whole", status)
	}
	if v := value[etcd.Volume](t, e, f, idOf(f, "used")); v.Truncated || v.Resource == nil {
		t.Errorf("the volume is %+v when there is room again; want it whole", v)
	}
	awaitIncomplete(t, n, "")
}

// tell runs the client of an agent without a supervisor.
func tell(t *testing.T, e *mastertest.Etcd, a *agent.Agent) (f follower, n *mastertest.Node) {
	t.Helper()
	c, err := etcd.New(master.Config{URL: "etcd://" + e.Address + "/test", Interval: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	n = mastertest.NewNode(a)
	ctx, end := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := c.Run(ctx, n); ctx.Err() == nil {
			t.Errorf("the client was lost: %v", err)
		}
	})
	f = follower{Agent: a, base: "test/" + a.State().Agent + "/", stop: func() { end(); run.Wait() }}
	t.Cleanup(f.stop)
	return f, n
}

// awaitIncomplete waits until the agent is told with this what the master is not told.
func awaitIncomplete(t *testing.T, n *mastertest.Node, want string) {
	t.Helper()
	shape := regexp.MustCompile("^" + want + "$")
	for err := range n.Contacts {
		if said, is := errors.AsType[master.Incomplete](err); is && shape.MatchString(string(said)) {
			return
		}
	}
}

func TestHoldersBeyondABoundAreLeftOut(t *testing.T) {
	t.Parallel()
	e := mastertest.StartEtcd(t)
	a := agenttest.Start(t, agenttest.NewKernel())
	ops := []volume.Operation{reserve(web(1000)), create(web(0), "held")}
	for i := range 501 {
		ops = append(ops, attach(fmt.Sprint("task-", i), "held", "data"))
	}
	must(t, a, ops...)
	f, n := tell(t, e, a)
	awaitStatus(t, e, f)
	key := idOf(f, "held")
	if v := value[etcd.Volume](t, e, f, key); !v.Truncated || len(v.Holders) != 500 || v.References != 501 || v.Resource == nil {
		t.Errorf("the volume has %d holders of %d, truncated %v", len(v.Holders), v.References, v.Truncated)
	}
	awaitIncomplete(t, n, key+" is without its holders after the first 500")
}
