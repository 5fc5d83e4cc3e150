package client_test

import (
	"fmt"
	"testing"

	"tenon/agent/agenttest"
	"tenon/agent/api"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// alive is a process of the fake kernel.
const alive = 7

// large is an agent whose state has many volumes, without having made them.
type large struct {
	api.Agent
	state *volume.State
}

func (l large) State() *volume.State { return l.state }

func BenchmarkStatusAt10000Volumes(b *testing.B) {
	a := agenttest.Start(b, agenttest.NewKernel())
	st := a.State()
	var changes []volume.Change
	for n := range 10_000 {
		changes = append(changes, volume.Change{Volume: &volume.Volume{
			UUID: volume.UUID(fmt.Sprint(n)), Name: volume.Name{Role: "web", ID: fmt.Sprint(n)}, Size: resource.One, Phase: volume.Ready,
		}})
	}
	c := serve(b, api.Options{Agent: large{a, st.With(changes...)}})
	for b.Loop() {
		if _, err := c.Status(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttachDetachThroughTheSocket(b *testing.B) {
	k := agenttest.NewKernel()
	k.Processes[alive] = 1
	c := serve(b, api.Options{Agent: agenttest.Start(b, k)})
	r := resource.Resource{
		Name: "disk", Type: resource.TypeScalar, Scalar: 64 * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}},
	}
	op := resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: []resource.Resource{r}}}
	if _, err := c.Apply(b.Context(), op); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Create(b.Context(), wire.CreateVolume{Role: "web", ID: "data", Size: 1 << 20, Shared: true}); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		task := fmt.Sprintf("t%p", pb)
		if _, err := c.Claim(b.Context(), wire.Claim{Task: task, PID: alive}); err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			if _, err := c.Attach(b.Context(), task, wire.Attach{Use: wire.Use{Volume: "web/data"}}); err != nil {
				b.Error(err)
			}
			if err := c.Detach(b.Context(), task, "web/data", "", false); err != nil {
				b.Error(err)
			}
		}
	})
}
