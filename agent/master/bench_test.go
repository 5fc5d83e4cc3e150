package master_test

import (
	"fmt"
	"io"
	"testing"

	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/mastertest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// BenchmarkReport is what a report of 10,000 volumes costs, without sending it.
func BenchmarkReport(b *testing.B) {
	n := mastertest.NewNode(agenttest.Start(b, agenttest.NewKernel()))
	s := master.Open(b.Context(), n, master.Config{})
	changes := make([]volume.Change, 10_000)
	for i := range changes {
		id := fmt.Sprint("v", i)
		changes[i].Volume = &volume.Volume{UUID: volume.UUID(id), Name: volume.Name{Role: "web", ID: id}, Size: resource.One, Phase: volume.Ready,
			Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}
	}
	st := n.State().With(changes...)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.WriteReport(io.Discard, st); err != nil {
			b.Fatal(err)
		}
	}
}
