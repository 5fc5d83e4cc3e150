package etcd_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/mastertest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// done has an agent carry out orders that are told to nobody, as by an earlier run of a client
// that was lost before it could answer.
func done(t *testing.T, a *agent.Agent, orders map[string][]byte) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	s := master.Open(ctx, mastertest.NewNode(a), master.Config{})
	for id, o := range orders {
		if !s.Take(o, id) {
			t.Fatalf("order %s is not taken", id)
		}
	}
	for id := range orders {
		awaitState(t, a, func(st *volume.State) bool {
			op, known := st.Operation("m:" + id)
			return known && op.State == volume.OperationFinished
		})
	}
	end()
	_ = s.Wait() // ended, as it says
}

// awaitState waits for a version of the state.
func awaitState(t *testing.T, a *agent.Agent, wanted func(*volume.State) bool) {
	t.Helper()
	for st := a.State(); !wanted(st); {
		next, err := a.Watch(t.Context(), st.Version)
		if err != nil {
			t.Fatal(err)
		}
		st = next
	}
}

func acknowledged(st *volume.State, id string) bool {
	op, known := st.Operation("m:" + id)
	return !known || op.Acknowledged
}

func TestAnOrderThatIsNotLookedAtForWantOfRoomIsNotForgotten(t *testing.T) {
	t.Parallel()
	const orders = 70 // more than are carried out at once
	e := mastertest.StartEtcd(t)
	kernel := agenttest.NewKernel()
	a := agenttest.Start(t, kernel)
	id := a.State().Agent
	order := func(name string, op resource.Operation) []byte { return mastertest.Order(id, name, op) }
	withdrawn, waits := order("withdrawn", mastertest.Reserve(100)), order("waits", mastertest.Reserve(1))
	done(t, a, map[string][]byte{"withdrawn": withdrawn, "waits": waits})
	hung := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(hung) })
	t.Cleanup(goOn)
	kernel.Lock()
	kernel.Acting = func(volume.Step) { <-hung }
	kernel.Unlock()
	base := "test/" + id + "/orders/"
	for i := range orders {
		name := fmt.Sprintf("slow-%02d", i) // before "waits", for which there is no room then
		put(t, e, base+name, order(name, mastertest.Create(name, 1)))
	}
	put(t, e, base+"waits", waits)
	f := follow(t, e, a, master.Config{})
	awaitState(t, a, func(st *volume.State) bool { return acknowledged(st, "withdrawn") }) // a whole look is over
	if acknowledged(a.State(), "waits") || len(get(t, e, base+"waits").Kvs) != 1 {
		t.Errorf("an order that is there and was not answered is acknowledged")
	}
	goOn()
	results(t, e, f, orders+1)
	if kvs := get(t, e, f.base+"results/waits").Kvs; len(kvs) != 1 || !strings.Contains(string(kvs[0].Value), "OPERATION_FINISHED") {
		t.Errorf("the result of the order is %v", kvs)
	}
	awaitState(t, a, func(st *volume.State) bool { return acknowledged(st, "waits") })
	if got := mastertest.ReservedBy(a.State(), mastertest.Principal); got != 101*resource.One {
		t.Errorf("%v MiB are reserved by two orders of 100 and 1", got)
	}
}
