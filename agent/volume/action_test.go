package volume

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"tenon/agent/resource"
)

// action is one thing that happens in a history: an operation, or something that the
// world does; perhaps with an agent that ends in the middle of it.
type action struct {
	Kind                    string
	Task, Volume, Path, Way int
	Size                    int
	ID                      int // of the operation; none if zero
	CrashIn, CrashAgainIn   int // effects until the agent ends, and ends again while it starts; none if negative
	PowerCut                bool
	Survive                 int // of what was not synced, how much outlives a power cut
	FailIn                  int // steps until one fails; none if negative
	FailAfter               bool
}

// kinds are drawn from: what is there twice happens more often, the first is what a
// failing history is shortened to.
var kinds = strings.Fields(`nothing
	attach attach attach attach attach attach hot hot hot raise raise raise claim claim claim claim detach detach detach detach release release end kill enter slay slay renew renew pass pass
	create create create destroy destroy destroy reserve refine refine unreserve carve
	resize resize grow shrink rereserve launch launch launch relaunch relaunch raze raze acknowledge
	write write write busy busy idle idle foreign lose away back back overfill overfill overfill empty empty compact restart squat`)

func drawAction(t *rapid.T) action {
	small := func(name string, most int) int { return rapid.IntRange(0, most).Draw(t, name) }
	a := action{
		Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Task: small("task", 2), Volume: rapid.SampledFrom([]int{0, 0, 0, 2, 2, 2, 4, 4, 1, 3, 5}).Draw(t, "volume"), Path: small("path", 4), Way: small("way", 7), Size: small("size", 3), ID: max(0, small("id", 12)-6),
		CrashIn: -1, CrashAgainIn: -1, FailIn: -1,
	}
	switch small("trouble", 7) {
	case 0, 1:
		a.CrashIn, a.PowerCut, a.Survive = small("crash", 12), rapid.Bool().Draw(t, "power cut"), small("survive", 20)
	case 2:
		a.CrashIn, a.PowerCut, a.Survive = small("crash", 12), rapid.Bool().Draw(t, "power cut"), small("survive", 20)
		a.CrashAgainIn = small("crash again", 12)
	case 3:
		a.FailIn, a.FailAfter = small("fail", 4), rapid.Bool().Draw(t, "fail after")
	}
	return a
}

// The operands of actions.
var (
	roles = []string{"a", "a/b"}
	ids   = []string{"x", "y", "z"}
	paths = []string{"", "p", "p/q", "q", "pq"}
)

func (a action) task() string { return fmt.Sprint("t", a.Task) }
func (a action) pid() int     { return 100 + a.Task }
func (a action) own() bool    { return a.Way&4 == 0 }
func (a action) name() Name   { return Name{roles[a.Volume%2], ids[a.Volume/2]} }
func (a action) mode() resource.Mode {
	if a.Way&1 == 0 {
		return resource.RW
	}
	return resource.RO
}

func (a action) sandbox() string {
	if a.own() {
		return "/s/" + a.task()
	}
	return "/foreign/" + a.task()
}

// stack gives reserved disk: of role a, or of its refinement a/b.
func (a action) stack(r resource.Resource) resource.Resource {
	r = r.PushReservation(dynamicFor("a"))
	if a.Volume%2 == 1 {
		r = r.PushReservation(dynamicFor("a/b"))
	}
	if a.Volume/2 == 2 {
		r = on(r)
	}
	return r
}

func (a action) size() float64 { return float64(a.Size+2) * 5 }

func (a action) use() Use {
	u := Use{Volume: a.name().String(), Path: paths[a.Path], Mode: a.mode(), NoExec: a.Size == 2}
	if a.Size == 1 {
		u.As = &ID{7, 8}
	}
	return u
}

func (a action) lease() (l Lease) {
	if a.Path == 3 {
		l.TTL = 10 * time.Second
	}
	switch a.Size {
	case 0:
		return l
	case 1:
		l.Cgroup = "/c/" + a.task()
	}
	l.PID, l.Start = a.pid(), 1
	return l
}

// stamped gives operations the time at which they are asked for.
func stamped(now time.Duration, list []Operation) []Operation {
	var all []Operation
	for _, op := range list {
		switch o := op.(type) {
		case Claim:
			o.At = now
			op = o
		case Attach:
			o.At = now
			op = o
		case Renew:
			o.At = now
			op = o
		case Identified:
			o.Operations = stamped(now, o.Operations)
			op = o
		}
		all = append(all, op)
	}
	return all
}

// operations are what the action asks of the agent; none for what the world does.
func (a action) operations() []Operation {
	volume := a.stack(vol(a.name().ID, a.size()))
	volume.Shared = a.Way&2 == 0
	attach := Attach{Task: a.task(), Sandbox: a.sandbox(), Own: a.own(), Use: a.use(), Via: ByPath}
	switch a.Kind {
	case "reserve", "refine":
		return ops(reserve(a.stack(mib(a.size()))))
	case "unreserve":
		return ops(Unreserve{[]resource.Resource{a.stack(mib(a.size()))}})
	case "create":
		return ops(create(volume))
	case "carve":
		return ops(reserve(a.stack(mib(a.size()))), create(volume))
	case "destroy":
		return ops(Destroy{Ref: a.name().String()})
	case "claim":
		other := action{Volume: (a.Volume + 2) % 6, Path: (a.Path + 2) % 5, Way: a.Way}
		uses := []Use{a.use(), other.use()}
		return ops(Claim{Task: a.task(), Sandbox: a.sandbox(), Own: a.own(), Lease: a.lease(), Uses: uses[:a.Way%3]})
	case "hot":
		return ops(a.hot(attach))
	case "attach":
		switch a.Size {
		case 2:
			attach.TTL = 10 * time.Second
		case 3:
			attach.Via = ByDescriptor
		}
		return ops(attach)
	case "raise":
		second := attach
		second.Use.Path = paths[(a.Path+2)%5]
		return ops(attach, second)
	case "detach":
		return ops(Detach{Task: a.task(), Volume: a.name().String(), Path: []string{"", paths[a.Path]}[a.Way%2], Lazy: a.Way&2 > 0})
	case "renew":
		return ops(Renew{Task: a.task(), TTL: []time.Duration{0, 0, 20 * time.Second, MinTTL - 1}[a.Size]})
	case "slay":
		return ops(Kill{Task: a.task()})
	case "release":
		return ops(Release{Task: a.task(), Lazy: a.Way&2 > 0})
	}
	return a.more(volume)
}

// more are the operations that move space otherwise, or do several things in one batch.
func (a action) more(volume resource.Resource) []Operation {
	wanted := at(volume, paths[a.Path], a.mode())
	if a.Path == 0 {
		wanted.Disk.Volume.ContainerPath = a.name().ID
	}
	launch := Launch{Task: a.task(), Sandbox: a.sandbox(), Own: a.own(), Resources: []resource.Resource{wanted}}
	other := a
	other.Volume ^= 1
	switch a.Kind {
	case "resize":
		return ops(Resize{Ref: a.name().String(), Size: mib(a.size()).Scalar})
	case "grow":
		return ops(Grow{Volume: volume, Addition: a.stack(mib(5))})
	case "shrink":
		return ops(Shrink{Volume: volume, Subtract: mib(5).Scalar})
	case "rereserve":
		return ops(again(a.stack(mib(a.size())), other.stack(mib(a.size()))))
	case "launch":
		return ops(reserve(a.stack(mib(a.size()))), create(volume), launch)
	case "relaunch":
		return ops(launch)
	case "raze":
		return ops(Destroy{Ref: a.name().String()}, Unreserve{[]resource.Resource{a.stack(mib(a.size()))}})
	case "acknowledge":
		return ops(Acknowledge{fmt.Sprint("id", a.ID)})
	}
	return nil
}

// asked are the operations, each with an id if the action has one for them.
func (a action) asked() []Operation {
	list := a.operations()
	if a.ID == 0 || len(list) == 0 || a.Kind == "acknowledge" {
		return list
	}
	for i, op := range list {
		list[i] = Identified{ID: fmt.Sprint("id", a.ID+100*i), Type: strings.ToUpper(op.Name()),
			Digest: fmt.Sprint(a.Kind, a.Task, a.Volume, a.Path, a.Way, a.Size), Operations: ops(op)}
	}
	return list
}

// hot is an attach in the mount namespace of the task's process; some of them to a task that has
// no sandbox.
func (a action) hot(attach Attach) Attach {
	attach.Via, attach.In = ByNamespace, Process{a.pid(), 1}
	if a.Size > 1 {
		attach.Sandbox, attach.Own = "", false
	}
	if a.Size > 0 && attach.Path != "" {
		attach.Path = "/m/" + attach.Path
	}
	return attach
}
