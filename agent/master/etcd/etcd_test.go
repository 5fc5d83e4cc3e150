package etcd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/etcd"
	"tenon/agent/master/mastertest"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

// follower is an agent that follows an etcd.
type follower struct {
	*agent.Agent
	supervisor *master.Supervisor
	base       string // of its keys
	stop       func()
}

func follow(t *testing.T, e *mastertest.Etcd, a *agent.Agent, c master.Config) follower {
	t.Helper()
	c.Name, c.Interval = "m", time.Nanosecond
	if c.URL == "" {
		c.URL = "etcd://" + e.Address + "/test"
	}
	m, err := master.Kinds{"etcd": etcd.New}.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := master.NewSupervisor(master.Options{
		Agent: a, Members: []master.Member{m}, Pause: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { s.Run(ctx) })
	f := follower{a, s, "test/" + a.State().Agent + "/", func() { end(); run.Wait() }}
	t.Cleanup(f.stop)
	return f
}

func put(t *testing.T, e *mastertest.Etcd, key string, value []byte) {
	t.Helper()
	if _, err := e.Client.Put(t.Context(), key, string(value)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, e *mastertest.Etcd, key string, how ...clientv3.OpOption) *clientv3.GetResponse {
	t.Helper()
	got, err := e.Client.Get(t.Context(), key, how...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// results waits until there are so many results.
func results(t *testing.T, e *mastertest.Etcd, f follower, count int) {
	t.Helper()
	err := e.Await(t.Context(), f.base+"results/", func(string, []byte) bool {
		return get(t, e, f.base+"results/", clientv3.WithPrefix(), clientv3.WithCountOnly()).Count >= int64(count)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAThousandOrdersAreDoneOnceWhileEtcdIsKilledCompactedAndForgetsItsLeases(t *testing.T) {
	t.Parallel()
	const orders, rounds = 1000, 5
	e := mastertest.StartEtcd(t)
	kernel, dir := agenttest.NewKernel(), t.TempDir()
	a, stop := agenttest.StartOn(t, kernel, dir, "boot-1")
	f := follow(t, e, a, master.Config{})
	order := func(i int) []byte {
		return mastertest.Order(a.State().Agent, fmt.Sprint("order-", i), mastertest.Reserve(1))
	}
	for i := range orders {
		put(t, e, fmt.Sprintf("%sorders/order-%d", f.base, i), order(i))
		if i%(orders/rounds) == orders/rounds-1 {
			e.Kill()
			e.Start(t)
			disturb(t, e, i)
		}
	}
	f.stop()
	stop()
	a, _ = agenttest.StartOn(t, kernel, dir, "boot-1")
	f = follow(t, e, a, master.Config{})
	results(t, e, f, orders/2)
	e.Kill()
	e.Start(t)
	for i := range orders / 10 { // the master has forgotten that it asked
		put(t, e, fmt.Sprintf("%sorders/order-%d", f.base, i), order(i))
	}
	results(t, e, f, orders)
	noOrders(t, e, f)
	for _, kv := range get(t, e, f.base+"results/", clientv3.WithPrefix()).Kvs {
		var r master.Result
		if err := json.Unmarshal(kv.Value, &r); err != nil || r.State != volume.OperationFinished {
			t.Errorf("%s is %s, %v", kv.Key, kv.Value, err)
		}
	}
	if got := mastertest.ReservedBy(a.State(), mastertest.Principal); got != orders*resource.One {
		t.Errorf("%v MiB are reserved by %d orders of one each", got, orders)
	}
}

// disturb compacts etcd, or takes all leases away.
func disturb(t *testing.T, e *mastertest.Etcd, i int) {
	t.Helper()
	if i%2 == 0 {
		if _, err := e.Client.Compact(t.Context(), get(t, e, "test").Header.Revision); err != nil {
			t.Fatal(err)
		}
		return
	}
	revokeAll(t, e)
}

func revokeAll(t *testing.T, e *mastertest.Etcd) {
	t.Helper()
	leases, err := e.Client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if _, err := e.Client.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// noOrders waits until every order is answered.
func noOrders(t *testing.T, e *mastertest.Etcd, f follower) {
	t.Helper()
	for {
		got := get(t, e, f.base+"orders/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if got.Count == 0 {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		<-e.Client.Watch(ctx, f.base+"orders/", clientv3.WithPrefix(), clientv3.WithRev(got.Header.Revision+1), clientv3.WithFilterPut())
		cancel()
	}
}

func TestTheSignOfLifeIsUnderALeaseAndComesBackWhenThatIsLost(t *testing.T) {
	t.Parallel()
	e := mastertest.StartEtcd(t)
	f := follow(t, e, agenttest.Start(t, agenttest.NewKernel()), master.Config{})
	leases := map[int64]bool{}
	for range 3 {
		err := e.Await(t.Context(), f.base+"alive", func(key string, value []byte) bool {
			var alive etcd.Alive
			if err := json.Unmarshal(value, &alive); err != nil || alive.Agent != f.State().Agent || alive.Boot != "boot-1" || alive.Schema != master.Schema {
				t.Errorf("%s is %s, %v", key, value, err)
			}
			kvs := get(t, e, f.base+"alive").Kvs
			if len(kvs) == 0 || leases[kvs[0].Lease] {
				return false
			}
			leases[kvs[0].Lease] = true
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		revokeAll(t, e)
	}
	if leases[0] || len(leases) != 3 {
		t.Errorf("the leases were %v; want three", leases)
	}
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	t.Parallel()
	e := mastertest.StartEtcd(t)
	a := agenttest.Start(t, agenttest.NewKernel())
	stack := []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}
	disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 2000 * resource.One, Reservations: stack}
	ops := []volume.Operation{volume.Reserve{Resources: []resource.Resource{disk}}}
	const volumes = 250 // more than one transaction has
	create := func(id string) volume.Operation {
		v := disk
		v.Scalar = resource.One
		v.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: id}, Volume: &resource.Volume{ContainerPath: id, Mode: resource.RW}}
		return volume.Create{Volume: v}
	}
	for i := range volumes {
		ops = append(ops, create(fmt.Sprint("v", i)))
	}
	must(t, a, ops...)
	f := follow(t, e, a, master.Config{})
	has := func(count int) func(string, []byte) bool {
		return func(key string, value []byte) bool {
			var s wire.Status
			return key == f.base+"status" && json.Unmarshal(value, &s) == nil && s.Index == a.State().Version && s.Counts.Volumes == count &&
				get(t, e, f.base+"volumes/", clientv3.WithPrefix(), clientv3.WithCountOnly()).Count == int64(count)
		}
	}
	await := func(count int) (revision int64) {
		t.Helper()
		if err := e.Await(t.Context(), f.base+"status", has(count)); err != nil {
			t.Fatal(err)
		}
		return get(t, e, f.base).Header.Revision
	}
	first := await(volumes)
	must(t, a, create("new"))
	must(t, a, volume.Destroy{Ref: "web/v7"}, volume.Destroy{Ref: "web/v8"})
	await(volumes - 1)
	changed := 0
	for _, kv := range get(t, e, f.base+"volumes/", clientv3.WithPrefix()).Kvs {
		if kv.ModRevision > first {
			changed++
			if !strings.Contains(string(kv.Value), `"web/new"`) {
				t.Errorf("%s was written again: %s", kv.Key, kv.Value)
			}
		}
	}
	if changed != 1 {
		t.Errorf("%d volumes were written, want 1", changed)
	}
	revokeAll(t, e) // a new connection writes the sign of life, and no volume
	before := get(t, e, f.base).Header.Revision
	must(t, a, create("newer"))
	await(volumes)
	for _, kv := range get(t, e, f.base+"volumes/", clientv3.WithPrefix()).Kvs {
		if kv.ModRevision > before && !strings.Contains(string(kv.Value), `"web/newer"`) {
			t.Errorf("%s was written again after the loss: %s", kv.Key, kv.Value)
		}
	}
}

func must(t *testing.T, a *agent.Agent, ops ...volume.Operation) {
	t.Helper()
	if _, err := a.Do(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
}

func TestUsersProveThemselvesWithThePasswordOfTheSecretFile(t *testing.T) {
	t.Parallel()
	e := mastertest.StartEtcd(t)
	ctx := t.Context()
	_, err1 := e.Client.UserAdd(ctx, "root", "root")
	_, err2 := e.Client.UserGrantRole(ctx, "root", "root")
	_, err3 := e.Client.UserAdd(ctx, "agent", "pass:word")
	_, err4 := e.Client.RoleAdd(ctx, "agents")
	_, err5 := e.Client.RoleGrantPermission(ctx, "agents", "test/", "test0", clientv3.PermissionType(clientv3.PermReadWrite))
	_, err6 := e.Client.UserGrantRole(ctx, "agent", "agents")
	_, err7 := e.Client.AuthEnable(ctx)
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(secret string) (heard bool, lost error) {
		t.Helper()
		c, err := etcd.New(master.Config{URL: "etcd://" + e.Address + "/test", SecretFile: secretFile(t, secret)})
		if err != nil {
			t.Fatal(err)
		}
		n := mastertest.NewNode(agenttest.Start(t, agenttest.NewKernel()))
		ctx, end := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- c.Run(ctx, n) }()
		select {
		case heard := <-n.Contacts:
			end()
			return heard == nil, <-ended
		case lost := <-ended:
			end()
			return false, lost
		}
	}
	if heard, lost := run("agent:pass:word\n"); !heard || !errors.Is(lost, context.Canceled) {
		t.Errorf("with the right password: heard %v, lost by %v", heard, lost)
	}
	for _, wrong := range []string{"agent:word", "agent", ""} {
		if heard, lost := run(wrong); heard || lost == nil || strings.Contains(lost.Error(), "word:") {
			t.Errorf("with %q: heard %v, lost by %v", wrong, heard, lost)
		}
	}
}

func TestAnOrderThatIsTooLargeToBeReadIsAnswered(t *testing.T) {
	t.Parallel()
	e := mastertest.StartEtcd(t, "--max-request-bytes=16777216")
	f := follow(t, e, agenttest.Start(t, agenttest.NewKernel()), master.Config{})
	id := f.State().Agent
	put(t, e, f.base+"orders/huge", make([]byte, 6<<20))
	put(t, e, f.base+"orders/small", mastertest.Order(id, "small", mastertest.Reserve(1)))
	results(t, e, f, 2)
	for name, want := range map[string]string{"huge": "larger than 4194304 bytes", "small": "OPERATION_FINISHED"} {
		if got := get(t, e, f.base+"results/"+name).Kvs; len(got) != 1 || !strings.Contains(string(got[0].Value), want) {
			t.Errorf("the result of %s is %v", name, got)
		}
	}
}

func TestEachOfManyOrdersThatMakeNoSenseIsAnswered(t *testing.T) {
	t.Parallel()
	const orders = 600 // more than are kept in memory
	e := mastertest.StartEtcd(t)
	a := agenttest.Start(t, agenttest.NewKernel())
	for i := range orders {
		put(t, e, fmt.Sprintf("test/%s/orders/%d", a.State().Agent, i), []byte("{}"))
	}
	put(t, e, fmt.Sprintf("test/%s/orders/", a.State().Agent), []byte("{}"))
	f := follow(t, e, a, master.Config{})
	results(t, e, f, orders)
	noOrders(t, e, f)
	for _, kv := range get(t, e, f.base+"results/", clientv3.WithPrefix()).Kvs {
		if !strings.Contains(string(kv.Value), "OPERATION_ERROR") {
			t.Errorf("%s is %s", kv.Key, kv.Value)
		}
	}
}
