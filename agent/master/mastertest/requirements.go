package mastertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tenon/agent/master"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// requirements are what every kind must fulfil.
func requirements() []requirement {
	list := []requirement{
		{name: "it registers", check: registers},
		{name: "it tells the whole latest state after a loss", check: tellsAllAfterALoss, rough: true},
		{name: "it carries out an order and tells how it ended", check: carriesOut},
		{name: "a replayed order is done once", check: replayed},
		{name: "a contradictory order is refused", check: contradictory},
		{name: "an order for another agent is refused", check: foreign},
		{name: "an order that makes no sense is refused", check: malformed},
		{name: "an order that is too large is refused", check: oversized},
		{name: "an order that cannot be done is refused with the reason", check: impossible},
		{name: "an order is done once although the agent starts again", check: onceOverRestart},
		{name: "a result is told although the agent starts again", check: toldOverRestart},
		{name: "a reboot changes the boot and not the agent", check: reboots},
		{name: "it goes on telling while all orders hang", check: tellsWhileOrdersHang},
	}
	for _, h := range []Harm{Gone, Hanging, Flooding, Lying} {
		list = append(list, requirement{
			name: "the agent works while the master " + string(h), rough: true,
			check: func(t *testing.T, host *host) { unharmed(t, host, h) },
		})
	}
	return list
}

func registers(t *testing.T, h *host) {
	h.Report(t, h.id, func(r master.Report) bool {
		return r.Schema == master.Schema && r.Agent == h.id && r.Boot == "boot-1" &&
			r.Status.Agent == h.id && r.Status.Version == "1.0" && r.Status.Healthy && len(r.Status.Disks) == 1
	})
	h.Order(t, h.id, "one", Order(h.id, "one", Reserve(256)))
	h.want(t, "one", volume.OperationFinished, "")
	if s := h.supervisor.Status()[0]; !s.Connected || s.LastContact.IsZero() || s.Name != "m" || s.Principal != "master:m" {
		t.Errorf("status %+v of a master that was reached", s)
	}
}

func tellsAllAfterALoss(t *testing.T, h *host) {
	h.do(t, reserve(1024), create("kept"), create("gone"), attach("first", "kept"), attach("last", "kept"))
	h.Report(t, h.id, hasVolumes("gone", "kept"))
	h.Break(t, Gone)
	h.do(t, volume.Destroy{Ref: "web/gone"}, create("new"), volume.Release{Task: "last"})
	h.Break(t, Fine)
	h.Report(t, h.id, func(r master.Report) bool {
		return hasVolumes("kept", "new")(r) && len(r.Tasks) == 1 && r.Tasks[0].ID == "first" && r.Volumes[0].References == 1
	})
}

func carriesOut(t *testing.T, h *host) {
	h.Order(t, h.id, "one", Order(h.id, "one", Reserve(256), Create("data", 64)))
	h.want(t, "one", volume.OperationFinished, "")
	h.wantReserved(t, 256)
	h.Report(t, h.id, hasVolumes("data"))
	v, ok := h.agent.State().Named(volume.Name{Role: "web", ID: "data"})
	if !ok || v.Principal == nil || *v.Principal != "master:m" {
		t.Errorf("the volume is %+v; want one of the master's principal", v)
	}
}

func replayed(t *testing.T, h *host) {
	order := Order(h.id, "one", Reserve(256))
	for range 3 {
		h.Order(t, h.id, "one", order)
		h.want(t, "one", volume.OperationFinished, "")
	}
	h.Order(t, h.id, "two", Order(h.id, "two", Reserve(1)))
	h.want(t, "two", volume.OperationFinished, "")
	h.wantReserved(t, 257)
}

func contradictory(t *testing.T, h *host) {
	first := Order(h.id, "one", Reserve(256))
	h.Order(t, h.id, "one", first)
	h.want(t, "one", volume.OperationFinished, "")
	h.Order(t, h.id, "one", Order(h.id, "one", Reserve(512)))
	h.want(t, "one", master.OperationError, "exists")
	h.Order(t, h.id, "one", first)
	h.want(t, "one", volume.OperationFinished, "")
	h.wantReserved(t, 256)
}

func foreign(t *testing.T, h *host) {
	h.Order(t, h.id, "one", Order("another-agent", "one", Reserve(256)))
	h.want(t, "one", master.OperationError, "invalid")
	h.wantReserved(t, 0)
}

func malformed(t *testing.T, h *host) {
	for id, text := range map[string]string{
		"type":    `{"id":"type","agent":"%s","operations":[{"type":"BOIL"}]}`,
		"nothing": `{"id":"nothing","agent":"%s","operations":[]}`,
		"missing": `{"id":"missing","agent":"%s"}`,
		"unknown": `{"id":"unknown","agent":"%s","operations":[],"force":true}`,
		"null":    `{"id":"null","agent":"%s","operations":null}`,
		"nested":  `{"id":"nested","agent":"%s","operations":[{"type":"UNRESERVE","id":"inner","unreserve":{"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"web"}]}]}}]}`,
	} {
		h.Order(t, h.id, id, fmt.Appendf(nil, text, h.id))
		h.want(t, id, master.OperationError, "invalid")
	}
	h.wantReserved(t, 0)
}

func oversized(t *testing.T, h *host) {
	large := Reserve(256)
	labels := &large.Reserve.Resources[0].Reservations[0].Labels
	*labels = append(*labels, resource.Label{Key: strings.Repeat("x", master.MaxOrder)})
	h.Order(t, h.id, "one", Order(h.id, "one", large))
	h.want(t, "one", master.OperationError, "invalid")
	h.wantReserved(t, 0)
}

func impossible(t *testing.T, h *host) {
	h.Order(t, h.id, "one", Order(h.id, "one", Reserve(1<<20)))
	h.want(t, "one", master.OperationError, "insufficient")
	h.Order(t, h.id, "two", Order(h.id, "two", Reserve(10), Create("data", 20)))
	h.want(t, "two", master.OperationError, "insufficient")
	h.wantReserved(t, 0)
}

func onceOverRestart(t *testing.T, h *host) {
	order := Order(h.id, "one", Reserve(256))
	for _, reboot := range []bool{false, true} {
		h.Order(t, h.id, "one", order)
		h.want(t, "one", volume.OperationFinished, "")
		h.restart(t, reboot)
	}
	h.Order(t, h.id, "one", order)
	h.want(t, "one", volume.OperationFinished, "")
	h.wantReserved(t, 256)
}

func toldOverRestart(t *testing.T, h *host) {
	h.Report(t, h.id, func(r master.Report) bool { return true })
	h.Order(t, h.id, "one", Order(h.id, "one", Reserve(256)))
	h.await(t, func(st *volume.State) bool { return st.Free("", nil) < 4096*resource.One })
	h.restart(t, false)
	h.want(t, "one", volume.OperationFinished, "")
	h.wantReserved(t, 256)
}

func reboots(t *testing.T, h *host) {
	h.do(t, reserve(1024), create("data"), attach("task", "data"))
	h.Report(t, h.id, func(r master.Report) bool { return r.Boot == "boot-1" && len(r.Tasks) == 1 })
	h.restart(t, true)
	h.Report(t, h.id, func(r master.Report) bool {
		return r.Boot == "boot-2" && r.Agent == h.id && hasVolumes("data")(r) && len(r.Tasks) == 0
	})
}

// tellsWhileOrdersHang has a result acknowledged while as many orders as may be at work hang.
func tellsWhileOrdersHang(t *testing.T, h *host) {
	const most = 16                                                   // orders that are at work at once
	slow := func(i int) string { return fmt.Sprintf("slow-%02d", i) } // none begins as another is
	h.Order(t, h.id, "first", Order(h.id, "first", Reserve(256)))
	h.await(t, func(st *volume.State) bool {
		op, known := st.Operation("m:first")
		return known && op.State == volume.OperationFinished
	})
	goOn := h.hang()
	defer goOn()
	for i := range most + 4 {
		id := slow(i)
		h.Order(t, h.id, id, Order(h.id, id, Create(id, 1)))
	}
	h.await(t, func(st *volume.State) bool { live, _ := st.CountVolumes(); return live == most })
	h.want(t, "first", volume.OperationFinished, "")
	for i := range 3 { // the first of them may be told before it is acknowledged
		role := fmt.Sprint("role-", i)
		h.do(t, volume.Reserve{Resources: []resource.Resource{reservedTo(role, 1, nil)}})
		h.Report(t, h.id, hasReservation(role))
	}
	goOn()
	for i := range most + 4 {
		h.want(t, slow(i), volume.OperationFinished, "")
	}
}

func unharmed(t *testing.T, h *host, harm Harm) {
	h.Report(t, h.id, func(master.Report) bool { return true })
	h.Break(t, harm)
	h.do(t, reserve(1024), create("data"), attach("task", "data"))
	h.Break(t, Fine)
	h.Report(t, h.id, hasVolumes("data"))
	h.Order(t, h.id, "one", Order(h.id, "one", Reserve(256)))
	h.want(t, "one", volume.OperationFinished, "")
	h.wantReserved(t, 256)
}

// wantReserved checks how many MiB are reserved by orders, those of volumes counted.
func (h *host) wantReserved(t *testing.T, want resource.Scalar) {
	t.Helper()
	if got := ReservedBy(h.agent.State(), Principal); got != want*resource.One {
		t.Errorf("%v MiB are reserved by orders, want %v", got, want*resource.One)
	}
}

// hasVolumes says whether a report has these volumes of web, which are all ready.
func hasVolumes(ids ...string) func(master.Report) bool {
	return func(r master.Report) bool {
		if len(r.Volumes) != len(ids) || r.Status.Counts.Volumes != len(ids) {
			return false
		}
		for i, v := range r.Volumes {
			if v.ID != ids[i] || v.State != "ready" {
				return false
			}
		}
		return true
	}
}

// hasReservation says whether a report has one of a role.
func hasReservation(role string) func(master.Report) bool {
	return func(r master.Report) bool {
		return slices.ContainsFunc(r.Status.Reservations, func(one wire.Reservation) bool { return one.Role == role })
	}
}

// reserve, create and attach are what an operator does at the agent's own door.
func reserve(mib resource.Scalar) volume.Operation {
	return volume.Reserve{Resources: []resource.Resource{disk(mib, nil)}}
}

func create(id string) volume.Operation { return volume.Create{Volume: volumeOf(id, 64, nil)} }

func attach(task, id string) volume.Operation {
	return volume.Attach{Task: task, Use: volume.Use{Volume: "web/" + id, Path: id, Mode: resource.RW}, Via: volume.ByPath}
}
