package agent_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// question is a batch that is asked for, and what came of it.
type question struct {
	batch []volume.Operation
	act   func() // where there is no operation
	err   error
	asked int
}

// question is what is asked for in an event.
func (w *world) question(e event) *question {
	q := &question{act: func() { w.occur(e) }}
	q.batch = e.asked(w)
	return q
}

// ask asks for the batch, or lets happen what is no operation.
func (q *question) ask(ctx context.Context, w *world) {
	q.asked++
	if len(q.batch) == 0 {
		if q.asked == 1 {
			q.act()
		}
		return
	}
	_, q.err = w.agent.Do(ctx, q.batch...)
	switch {
	case q.err == nil:
		w.y.done.Add(1)
		w.noteClaim(q.batch[0])
	case refusal(q.err):
		w.y.refused.Add(1)
	default:
		w.y.taken.Add(1)
	}
}

// certain says whether it is known what came of a batch, or can't be found out by asking for
// it again: without an id that would be another one.
func (q *question) certain() bool {
	if len(q.batch) == 0 || q.err == nil || refusal(q.err) {
		return true
	}
	_, named := q.batch[0].(volume.Identified)
	return !named
}

func (w *world) noteClaim(op volume.Operation) {
	if c, is := op.(volume.Claim); is {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.claimants[c.Task] = c.Lease.PID
	}
}

// occur lets the host, or whoever runs the agent, do something.
func (w *world) occur(e event) {
	group := "/cgroup/" + e.who()
	switch e.what {
	case "exit":
		w.exit(e)
	case "enter", "leave":
		w.k.Lock()
		if _, there := w.k.Cgroups[group]; there {
			w.k.Cgroups[group] = e.what == "enter"
		}
		w.k.Unlock()
		if e.what == "leave" {
			w.k.Leave(group)
		}
		w.k.Pass(0, e.who())
	case "pass":
		w.k.Pass(time.Duration(e.size)*time.Second, e.who())
	case "restart":
		w.restart()
	}
}

// exit ends the process of a task, mostly of one that has a mount inside, and a cgroup in which another
// process goes on in the same mount namespace.
func (w *world) exit(e event) {
	w.mu.Lock()
	pid := w.claimants[e.who()]
	w.mu.Unlock()
	task := e.who()
	for t := range w.agent.State().Tasks("") {
		for a := range w.agent.State().AttachmentsIn(t.ID) {
			if e.named && a.Via == volume.ByNamespace && t.Lease.Cgroup != "" {
				task, pid = t.ID, a.PID
				w.follow(pid, t.Lease.Cgroup)
			}
		}
	}
	w.k.Exit(task, pid)
}

// follow has a process start another one.
func (w *world) follow(first int, group string) {
	pid := w.bear()
	w.k.Lock()
	defer w.k.Unlock()
	_, grouped := w.k.Cgroups[group]
	if _, lives := w.k.Processes[first]; grouped && lives {
		w.k.Spaces[pid], w.k.Members[pid], w.k.Cgroups[group] = w.k.Space(first), group, true
	}
}

// restart stops the agent, which leaves tasks alone, and starts another.
func (w *world) restart() {
	before := w.seenByTasks()
	w.end()
	if after := w.seenByTasks(); before != after && !w.k.Dead() {
		w.violate("a stop has changed what tasks see from %s to %s", before, after)
	}
	if !w.k.Dead() {
		w.start(nil)
	}
}

// seenByTasks is what tasks have, mounts above all.
func (w *world) seenByTasks() string {
	w.k.Lock()
	defer w.k.Unlock()
	return fmt.Sprint(w.k.Mounts, w.k.Sandboxes, w.k.Cgroups, w.k.Processes)
}

// hold holds what role web has against what came of what was asked for.
func (w *world) hold(was resource.Scalar, asked []*question, flaky bool) {
	may := []resource.Scalar{was}
	s := w.agent.State()
	for _, q := range asked {
		var after []resource.Scalar
		for _, n := range may {
			for _, more := range q.outcomes(s, flaky) {
				after = append(after, n+more)
			}
		}
		may = after
	}
	if got := reserved(s); !slices.Contains(may, got) {
		var errs []string
		for _, q := range asked {
			errs = append(errs, fmt.Sprintf("%v", q.err))
		}
		w.fail("role web has %s, had %s, and may have %v after %q", got, was, may, errs)
	}
}

// outcomes are how much more role web may have after a batch. Of operations with ids it is known
// which were done: where a step has failed, those that only remove something go on. flaky says
// that what was recorded last is not known to whoever was told of a failure.
func (q *question) outcomes(s *volume.State, flaky bool) []resource.Scalar {
	var done, whole resource.Scalar
	named := false
	for _, op := range q.batch {
		group, is := op.(volume.Identified)
		if o, kept := s.Operation(group.ID); is && kept && o.State == volume.OperationFinished {
			done += moreOf(group.Operations[0])
		}
		named = named || is
		for _, one := range flat([]volume.Operation{op}) {
			whole += moreOf(one)
		}
	}
	switch {
	case named:
		return []resource.Scalar{done}
	case q.err == nil:
		return []resource.Scalar{whole}
	case refusal(q.err) && !destroys(q.batch) && !flaky:
		return []resource.Scalar{0}
	}
	return []resource.Scalar{whole, 0}
}

// moreOf is how much more role web has after an operation.
func moreOf(op volume.Operation) (n resource.Scalar) {
	switch o := op.(type) {
	case volume.Reserve:
		return o.Resources[0].Scalar
	case volume.Unreserve:
		return -o.Resources[0].Scalar
	}
	return 0
}
