package agent_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// event is one thing of a history: an operation, and what happens meanwhile. The numbers of
// crash, cancel, fail, disk and stop say at which point, step or operation of the journal's
// disk from now; 0 is never.
type event struct {
	what         string // see verbs
	volume, task int
	size         int
	ro, named    bool // it has an id

	crash  int // the agent ends
	cancel int // whoever asks gives up
	fail   int // a step fails, after it was done if failed
	failed bool
	disk   int // the journal's disk fails once, or for good if stop
	stop   bool

	gone    int // of what it meets: 1 the disk is away, 2 another is in its place, 3 a volume's directory is
	busy    bool
	squat   bool   // a user has a directory where the task's sandbox would be
	foreign bool   // something is mounted where the task's volume would be
	beside  *event // what is asked for at the same time, or right after it if failed
	seed    uint64 // of what else is by chance: how the agent ends, and whether it does again when it starts
}

// verbs are what events ask for.
var verbs = []string{"reserve", "create", "create", "destroy", "attach", "attach", "attach", "detach", "lazy", "claim", "claim", "launch", "launch", "raze", "raze",
	"resize", "kill", "renew", "borrow", "release", "release", "set-mode", "hand", "inside", "inside", "enclose", "enclose", "exit", "exit", "enter", "leave", "pass", "restart"}

// draw makes the events of a seed.
func draw(seed uint64) []event {
	rng := rand.New(rand.NewPCG(seed, 1))
	events := make([]event, 16)
	for i := range events {
		events[i] = drawEvent(rng)
		if i < 2 {
			events[i].what = []string{"launch", "reserve"}[i]
		}
		other := drawEvent(rng)
		switch {
		case events[i].what == "restart":
			events[i].disk = 0 // no agent starts on that
		case rng.IntN(4) == 0 && other.what != "restart":
			events[i].beside = &other
		}
	}
	return events
}

func drawEvent(rng *rand.Rand) event {
	e := event{what: verbs[rng.IntN(len(verbs))], volume: rng.IntN(3), task: rng.IntN(3), size: 16 + 16*rng.IntN(3),
		ro: rng.IntN(2) == 0, named: rng.IntN(4) > 0, seed: rng.Uint64(), failed: rng.IntN(2) == 0, stop: rng.IntN(2) == 0}
	switch rng.IntN(10) {
	case 0, 1, 2:
		e.crash = 1 + rng.IntN(10)
	case 3, 4:
		e.fail = 1 + rng.IntN(4)
	case 5:
		e.cancel = 1 + rng.IntN(8)
	case 6:
		e.disk = 1 + rng.IntN(8)
	}
	switch rng.IntN(12) {
	case 0, 1, 2:
		e.gone = 1 + rng.IntN(3)
	case 3:
		e.busy = true
	case 4:
		e.squat = true
	case 5:
		e.foreign = true
	}
	return e
}

func (e event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s v%d t%d size=%d ro=%t named=%t", e.what, e.volume, e.task, e.size, e.ro, e.named)
	for _, at := range []struct {
		name string
		n    int
	}{{"crash", e.crash}, {"cancel", e.cancel}, {"fail", e.fail}, {"disk", e.disk}, {"gone", e.gone}} {
		if at.n > 0 {
			fmt.Fprintf(&b, " %s=%d", at.name, at.n)
		}
	}
	for _, is := range []struct {
		name string
		is   bool
	}{{"after", e.fail > 0 && e.failed}, {"for good", e.disk > 0 && e.stop}, {"busy", e.busy}, {"squat", e.squat}, {"foreign", e.foreign}} {
		if is.is {
			b.WriteString(" " + is.name)
		}
	}
	if e.beside != nil {
		fmt.Fprintf(&b, " %s %s v%d t%d size=%d ro=%t named=%t", map[bool]string{false: "beside", true: "before"}[e.failed], e.beside.what, e.beside.volume, e.beside.task, e.beside.size, e.beside.ro, e.beside.named)
	}
	return b.String()
}

func (e event) id() string   { return fmt.Sprint("v", e.volume) }
func (e event) ref() string  { return "web/" + e.id() }
func (e event) who() string  { return fmt.Sprint("t", e.task) }
func (e event) shared() bool { return e.size > 16 || e.ro }
func (e event) mode() resource.Mode {
	if e.ro {
		return resource.RO
	}
	return resource.RW
}

// asked is what an event asks for; nothing, for an
// event that only lets something happen.
func (e event) asked(w *world) []volume.Operation {
	use := volume.Use{Volume: e.ref(), Mode: e.mode()}
	switch e.what {
	case "reserve":
		return w.identified(e, reserve("web", 64))
	case "create":
		return w.identified(e, create("web", e.id(), 32, e.shared()))
	case "destroy":
		return w.identified(e, volume.Destroy{Ref: e.ref()})
	case "attach":
		return ops(volume.Attach{Task: e.who(), Use: use, Via: volume.ByPath})
	case "borrow":
		return ops(volume.Attach{Task: e.who(), Use: use, Via: volume.ByPath, TTL: time.Minute})
	case "hand":
		return ops(volume.Attach{Task: e.who(), Use: use, Via: volume.ByDescriptor})
	case "inside":
		return ops(volume.Attach{Task: e.who(), Use: use, In: volume.Process{PID: w.claimants[e.who()]}})
	case "enclose":
		pid := w.bear()
		return ops(volume.Claim{Task: e.who(), Cgroup: true, Lease: volume.Lease{PID: pid}}, volume.Attach{Task: e.who(), Use: use, In: volume.Process{PID: pid}})
	case "detach", "lazy":
		return ops(volume.Detach{Task: e.who(), Volume: e.ref(), Lazy: e.what == "lazy"})
	case "claim":
		claim := volume.Claim{Task: e.who(), Cgroup: e.size > 16, Lease: volume.Lease{PID: w.bear()}, Uses: []volume.Use{use}}
		if e.size > 32 {
			claim.IO = []volume.Throttle{{Rate: volume.Rate{Write: resource.MiB}}}
		}
		return ops(claim)
	case "launch":
		return w.identified(e, reserve("web", 32), create("web", e.id(), 32, true), launch(e.who(), e.id(), 32, true))
	case "raze":
		return w.identified(e, volume.Destroy{Ref: e.ref()}, volume.Unreserve{Resources: reserve("web", 32).Resources})
	case "resize":
		return w.identified(e, volume.Resize{Ref: e.ref(), Size: resource.Scalar(e.size) * resource.One})
	case "kill":
		return ops(volume.Kill{Task: e.who()})
	case "renew":
		return ops(volume.Renew{Task: e.who(), TTL: time.Minute})
	case "release":
		return ops(volume.Release{Task: e.who(), By: w.claimants[e.who()]})
	case "set-mode":
		return ops(volume.SetMode{Task: e.who(), Volume: e.ref(), Mode: e.mode()})
	}
	return nil
}

// identified gives each operation an id, mostly.
func (w *world) identified(e event, list ...volume.Operation) []volume.Operation {
	if !e.named {
		return list
	}
	for i, op := range list {
		w.ids++
		list[i] = as(fmt.Sprint("id", w.ids), op)
	}
	return list
}

// flat gives the operations of a batch without their ids.
func flat(batch []volume.Operation) (list []volume.Operation) {
	for _, op := range batch {
		if group, is := op.(volume.Identified); is {
			list = append(list, group.Operations...)
		} else {
			list = append(list, op)
		}
	}
	return list
}

// destroys says whether a batch removes a volume.
func destroys(batch []volume.Operation) bool {
	for _, op := range flat(batch) {
		if _, is := op.(volume.Destroy); is {
			return true
		}
	}
	return false
}
