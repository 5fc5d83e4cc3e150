package volume

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tenon/agent/resource"
)

// history is an agent with its world, and what should have come of it.
type history struct {
	t *rapid.T
	w *world
	n *node
	o oracle

	old     *State // a version that was, and what it said
	oldText []string
	tally   map[string]int            // what came of actions
	ends    map[string]OperationState // how operations with ids have ended
}

func newHistory(t *rapid.T) *history {
	h := &history{t: t, o: newOracle(), tally: map[string]int{}, ends: map[string]OperationState{}}
	h.w = newWorld(t.Fatalf)
	h.n = h.w.start()
	h.w.addStrangers()
	for i, kind := range []string{"reserve", "reserve", "create"} {
		for _, volume := range []int{0, 2, 4} {
			h.act(action{Kind: kind, Volume: volume, Size: 1 - i/2, Way: volume, CrashIn: -1, CrashAgainIn: -1, FailIn: -1})
		}
	}
	return h
}

// aim turns many actions on a use that there is.
func (h *history) aim(a action) action {
	v, there := h.o.volumes[a.name()]
	switch {
	case a.Path == 4: // as it comes
	case a.Kind == "launch" && there:
		for i := range 6 {
			if other := (action{Volume: i}).name(); h.o.volumes[other].size == 0 {
				a.Volume = i
			}
		}
	case a.Kind == "acknowledge" && len(h.o.asked) > 0:
		ids := slices.Sorted(maps.Keys(h.o.asked))
		a.ID, _ = strconv.Atoi(ids[a.Volume%len(ids)][2:])
	case there && slices.Contains([]string{"grow", "shrink", "relaunch", "raze"}, a.Kind):
		a.Size, a.Way = int(v.size/mib(5).Scalar)-2, a.Way|2
		if v.shared {
			a.Way ^= 2
		}
	}
	if len(h.o.uses) == 0 || a.Way&4 > 0 || !slices.Contains([]string{"attach", "hot", "raise", "detach", "busy", "write", "end", "release", "slay", "renew"}, a.Kind) {
		return a
	}
	uses := slices.SortedFunc(maps.Keys(h.o.uses), func(a, b ouse) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	u := uses[(a.Task+a.Path+a.Volume)%len(uses)]
	a.Task = int(u.task[1] - '0')
	a.Volume = slices.Index(roles, u.volume.Role) + 2*slices.Index(ids, u.volume.ID)
	a.Path = max(0, slices.Index(paths, u.path))
	return a
}

// act does an action and holds what comes of it against the oracle.
func (h *history) act(a action) {
	h.ask(h.aim(a))
}

// ask does just the action. When the agent ends in the middle of an operation that has an id,
// it is asked for once more, whatever became of it: it is done once in all.
func (h *history) ask(a action) {
	before := h.o
	list := stamped(h.w.uptime, a.asked())
	h.bear(a)
	if len(list) == 0 {
		h.o = h.o.settled(h.w)
		list = h.happen(a)
		before = h.o
	}
	if len(list) > 0 {
		h.w.leave("/s/" + a.task())
	}
	after, kind := h.predict(list)
	h.w.crashIn, h.w.failIn, h.w.failAfter = a.CrashIn, a.FailIn, a.FailAfter
	var err error
	ended := h.mayEnd(func() {
		if len(list) > 0 {
			err = h.n.do(list...)
		} else {
			h.n.sweep()
		}
	})
	h.w.crashIn, h.w.failIn = -1, -1
	candidates := []oracle{after}
	switch {
	case ended:
		h.tally["crashes"]++
		h.tally[a.Kind+" crashed"]++
		candidates = h.mayBe(before, after, list, h.restart(a))
	case errors.Is(err, errRefused):
		if kind == nil || Kind(err) != kind {
			h.fail("%+v refused with %v, want %v", list, err, kind)
		}
		h.tally[a.Kind+" refused"]++
		candidates = []oracle{before}
	case kind != nil:
		h.fail("%+v is not refused, want %v", list, kind)
	case err != nil:
		h.tally[a.Kind+" failed"]++
		candidates = []oracle{before.takenBack(h.w, list, h.n.s)}
		h.n.sweep()
	case a.FailIn >= 0:
		h.n.sweep() // what failed behind the operation is tried again
	case len(list) > 0:
		h.tally[a.Kind+" done"]++
	}
	h.check(candidates)
	switch {
	case !ended:
		h.checkEnd(list, err)
	case a.ID > 0 && len(list) > 0:
		h.tally["asked again"]++
		a.CrashIn, a.CrashAgainIn, a.FailIn = -1, -1, -1
		h.ask(a)
	}
}

// bear starts the process that claims, if one does.
func (h *history) bear(a action) {
	if a.Kind == "hot" { // to one that has ended, nothing is attached: the host sees to that
		h.w.alive[a.pid()] = true
	}
	if a.Kind != "claim" || a.lease().PID == 0 {
		return
	}
	if t, ok := h.o.tasks[a.task()]; !ok || t.lease.PID != 0 {
		h.w.alive[a.pid()] = true
	}
}

// checkEnd holds what whoever asked was told against what is kept of the operation.
func (h *history) checkEnd(list []Operation, err error) {
	for _, op := range list {
		asked, is := op.(Identified)
		o, kept := h.n.s.Operation(asked.ID)
		switch {
		case !is || err != nil && !kept || o == nil:
		case err == nil && o.State != OperationFinished:
			h.fail("%+v is done and %s: %+v", list, o.State, o)
		default:
			h.tally["operation "+string(o.State)]++
		}
	}
}

// predict is what the oracle makes of a batch.
func (h *history) predict(list []Operation) (oracle, error) {
	after := h.o
	for _, op := range list {
		var kind error
		if after, kind = after.apply(h.w, op); kind != nil {
			return h.o, kind
		}
	}
	after = after.clone()
	for i := range after.tombs {
		after.tombs[i].fresh = false
	}
	return after, nil
}

// mayEnd says whether the agent ended in f.
func (h *history) mayEnd(f func()) (ended bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ended = r.(crash); !ended {
				panic(r)
			}
		}
	}()
	f()
	return false
}

// restart starts the agent that ended anew, perhaps several times, after a power cut or
// without one, and says what each possible past has come to by it.
func (h *history) restart(a action) (since func(oracle) oracle) {
	since = func(o oracle) oracle { return o }
	if a.PowerCut {
		h.w.cut(a.Survive)
		since = oracle.rebooted
	}
	h.w.crashIn = a.CrashAgainIn
	if h.mayEnd(func() { h.n = h.w.start() }) {
		a.CrashAgainIn = -1
		return h.restart(a)
	}
	h.w.crashIn = -1
	return since
}

// mayBe says what may have become of a batch in which the agent has ended. Of one whose
// operations have ids it is known, if it was recorded at all: what each of them reads.
func (h *history) mayBe(before, after oracle, list []Operation, since func(oracle) oracle) []oracle {
	may := []oracle{since(before), since(after), since(before.takenBack(h.w, list, h.n.s))}
	if len(list) == 0 || !named(list) || len(after.asked) == len(before.asked) {
		return may // not known, refused, or done before
	}
	if _, recorded := h.n.s.Operation(list[0].(Identified).ID); recorded {
		return may[2:]
	}
	return may[:1]
}

// happen lets the world do something, and queues what an agent would learn of it. Some
// end in an operation.
func (h *history) happen(a action) []Operation {
	w, v := h.w, h.o.volumes[a.name()]
	target := a.sandbox() + "/" + paths[a.Path]
	switch a.Kind {
	case "end", "kill":
		w.exit(a.pid())
		if _, in := w.cgroups["/c/"+a.task()]; in {
			w.cgroups["/c/"+a.task()] = false
		}
		if _, ok := h.o.tasks[a.task()]; ok && a.Kind == "end" {
			return ops(Release{Task: a.task(), Ended: true})
		}
	case "enter":
		if _, in := w.cgroups["/c/"+a.task()]; in {
			w.cgroups["/c/"+a.task()] = true
		}
	case "pass":
		w.uptime += 7 * time.Second
	case "busy":
		if m, there := w.mounts[target]; there && m.volume != "" {
			w.busy[target] = true
		}
	case "idle":
		clear(w.busy)
	case "foreign":
		if _, there := w.mounts[target]; !there {
			w.mounts[target] = mounted{}
		} else if w.mounts[target].volume == "" {
			delete(w.mounts, target)
		}
	case "lose":
		h.lose(a, v)
	case "overfill", "empty":
		if s, ok := h.n.s.Named(a.name()); ok && h.n.s.Measured(s) && v.size > 0 {
			w.over[s.UUID], v.over = a.Kind == "overfill", a.Kind == "overfill"
			h.o.volumes[a.name()] = v
		}
	case "away", "back":
		w.pools[v.disk].away = a.Kind == "away"
	case "write":
		h.write(a)
	case "squat":
		if _, ok := h.n.s.Task(a.task()); !ok {
			w.squat("/s/" + a.task())
		}
	case "compact":
		h.n.compact()
	case "restart":
		if a.PowerCut {
			h.w.cut(a.Survive)
			h.o = h.o.rebooted()
		}
		h.n = w.start()
	}
	return nil
}

// lose removes the directory of a volume that nobody holds, by somebody else's hand. It
// had been there for long, so what was recorded of it is on the disk by now.
func (h *history) lose(a action, v ovolume) {
	s, ok := h.n.s.Named(a.name())
	if !ok || len(h.n.s.Holders(s.UUID)) > 0 || v.birth == 0 {
		return
	}
	h.w.journal.synced = len(h.w.journal.transactions)
	delete(h.w.pools[v.disk].live, s.UUID)
}

// write lets a task write through its mounts.
func (h *history) write(a action) {
	for u, way := range h.o.uses {
		m, there := h.w.mounts[h.o.tasks[u.task].sandbox+"/"+u.path]
		if u.task != a.task() || !there || m.volume == "" || way.mode == resource.RO || m.ro {
			continue
		}
		v := h.o.volumes[u.volume]
		h.w.pools[v.disk].live[m.volume].writes++
		v.writes++
		h.o.volumes[u.volume] = v
	}
}

// check holds the state against every law, and finds the candidate that it agrees with.
func (h *history) check(candidates []oracle) {
	if len(h.w.leftovers(h.n.s)) > 0 {
		h.n.sweep() // what waited for a task of its name goes at the next start
	}
	if what := h.n.unquiet(); what != "" {
		h.fail("not quiet: %s", what)
	}
	got := view(h.n.s).text()
	agreed := slices.IndexFunc(candidates, func(o oracle) bool { return o.settled(h.w).text() == got })
	if agreed < 0 {
		var want []string
		for _, o := range candidates {
			want = append(want, o.settled(h.w).text())
		}
		h.fail("got\n%s\nwant\n%s", got, strings.Join(want, "\n-- or --\n"))
	}
	h.o = candidates[agreed].settled(h.w)
	for o := range h.n.s.Operations() {
		h.o.asked[o.ID] = oasked{o.Digest, o.State}
	}
	if err := errors.Join(h.n.s.Check(), checkIndexes(h.n.s), h.checkData(), h.checkMounts(), h.checkHolders(), h.checkSandboxes(), h.checkOperations()); err != nil {
		h.fail("%v", err)
	}
	if !h.w.leftAlone() {
		h.fail("something unknown was touched")
	}
}

// checkData: every volume's directory is the one that was made for it, with all that was
// written to it, and there is nothing else.
func (h *history) checkData() error {
	for name, v := range h.o.volumes {
		s, _ := h.n.s.Named(name)
		p := h.w.pools[v.disk]
		d := p.live[s.UUID]
		if d == nil {
			if f, _ := h.n.s.Fault(UnitOfVolume(s.UUID)); f.Kind != ErrLost && f.Kind != ErrUnavailable {
				return fmt.Errorf("the data of %s is gone, and it is said to be %v", name, f.Kind)
			}
			continue
		}
		if v.birth == 0 {
			v.birth = d.birth
			h.o.volumes[name] = v
		}
		if *d != (directory{v.birth, v.writes, true}) {
			return fmt.Errorf("the data of %s is %+v, want birth %d and %d writes", name, *d, v.birth, v.writes)
		}
	}
	if err := h.checkGroups(); err != nil {
		return err
	}
	over := 0
	for name, v := range h.o.volumes {
		s, _ := h.n.s.Named(name)
		if h.n.s.Measured(s) && v.over != (s.Exceeded != nil) {
			return fmt.Errorf("%s holds too much: %v, and it is recorded as %+v", name, v.over, s.Exceeded)
		}
		if s.Exceeded != nil {
			over++
		}
	}
	if n := h.n.s.CountExceeded(); n != over {
		return fmt.Errorf("%d volumes are counted that hold too much, want %d", n, over)
	}
	for project, l := range h.w.limits {
		if v, ok := h.n.s.Volume(l.volume); !ok || v.Project != project || v.Phase == Ready && !h.w.pools[v.Disk].away && v.Size != l.size && h.w.pools[v.Disk].live[v.UUID] != nil {
			return fmt.Errorf("project %d is limited to %+v, the volume is %+v", project, l, v)
		}
	}
	for key, p := range h.w.pools {
		if most := len(h.o.volumes) + len(h.o.tombs) + 1; !p.away && (len(p.incoming) > 1 || len(p.trash) > 1 || len(p.live) > most) {
			return fmt.Errorf("something is left over on disk %q", key)
		}
	}
	return nil
}

// checkGroups: each shared volume, and what is left of one, has a group that no other has.
func (h *history) checkGroups() (err error) {
	of := map[uint32]UUID{}
	h.n.s.volumes.Scan(func(v *Volume) bool {
		if other, twice := of[v.Group]; v.Shared != (v.Group != 0) || v.Shared && (twice || !h.n.s.GroupUsed(v.Group) || v.Owner.GID != int(v.Group)) {
			err = fmt.Errorf("volume %s (shared: %t) has group %d of %+v, which is %q's", v.UUID, v.Shared, v.Group, v.Owner, other)
		}
		of[v.Group] = v.UUID
		return err == nil
	})
	if _, free := h.n.s.CountGroups(); err == nil && free+uint64(h.n.s.groups.Len()) != 64 {
		err = fmt.Errorf("%d groups are free, and %d used of 64", free, h.n.s.groups.Len())
	}
	return err
}

// checkMounts: what is mounted is what is attached, in its mode; where something else is
// in its place, that shows.
func (h *history) checkMounts() error {
	wanted := map[string]bool{}
	for u, way := range h.o.uses {
		target := targetOf(h.o.tasks[u.task].sandbox, u.path, way.pid)
		m, there := h.w.mounts[target]
		v, _ := h.n.s.Named(u.volume)
		if f, _ := h.n.s.Fault(Unit{AttachmentUnit, "", v.UUID, u.task, u.path}); there && m.volume == "" && f.Kind == ErrExists {
			continue
		}
		closed := h.o.volumes[u.volume].over
		if closed && h.n.s.Measured(v) {
			h.tally["closed"]++
		}
		ro := way.mode == resource.RO || closed && !h.w.busy[target] || m.ro && closed
		made := way.via == ByPath || way.via == ByNamespace
		if made && (!there || m.volume != v.UUID || m.ro != ro || m.noExec != way.noExec || m.as != way.as) {
			return fmt.Errorf("%+v is not mounted at %s: %+v", u, target, m)
		}
		wanted[target] = made
	}
	for target, m := range h.w.mounts {
		if m.volume != "" && !wanted[target] {
			return fmt.Errorf("volume %s is mounted at %s for nobody", m.volume, target)
		}
	}
	return nil
}

// checkSandboxes: what agents have made is there for the tasks that have it, and for
// nobody else.
func (h *history) checkSandboxes() error {
	wanted := map[string]bool{}
	for id, t := range h.o.tasks {
		if wanted[t.sandbox] = t.own; t.own && h.w.sandboxes[t.sandbox] != h.w.boot {
			return fmt.Errorf("task %s has no sandbox %s of this boot", id, t.sandbox)
		}
	}
	for dir, boot := range h.w.sandboxes {
		if boot > 0 && !wanted[dir] {
			return fmt.Errorf("sandbox %s of boot %d is left for nobody", dir, boot)
		}
	}
	return nil
}

// checkOperations: what has ended stays as it ended, whatever happens, and nothing is at work
// that has nothing to wait for.
func (h *history) checkOperations() error {
	for o := range h.n.s.Operations() {
		if was := h.ends[o.ID]; was != "" && was != o.State {
			return fmt.Errorf("operation %s was %s and is %s", o.ID, was, o.State)
		}
		if o.State != OperationPending {
			h.ends[o.ID] = o.State
		} else if first := h.n.s.batchOf(o)[0]; first.With != "" {
			return fmt.Errorf("operation %s ends with %s, which is not at work", o.ID, first.With)
		} else if !slices.ContainsFunc(h.n.s.batchOf(o), h.waiting) {
			return fmt.Errorf("operation %s waits for nothing: %+v", o.ID, o)
		}
	}
	return nil
}

// waiting says whether anything that an operation waits for has not come about.
func (h *history) waiting(o *OperationStatus) bool {
	for _, id := range o.Making {
		if v, ok := h.n.s.Volume(id); ok && v.Phase == Creating {
			return true
		}
	}
	for _, id := range o.Removing {
		if _, there := h.n.s.Volume(id); there {
			return true
		}
	}
	return slices.ContainsFunc(slices.Concat(o.Settling, o.Attaching), func(t Target) bool {
		v, _ := h.n.s.Volume(t.Volume)
		task, known := h.n.s.Task(t.Task)
		switch a, ok := h.n.s.Attachment(t.Unit()); {
		case t.Done:
			return false
		case t.Path != "":
			return ok && h.w.mounts[h.w.target(h.n.s, a)].volume != t.Volume
		case t.Task != "":
			return known && h.w.sandboxes[task.Sandbox] != h.w.boot
		}
		return v != nil && h.w.pools[v.Disk].away
	})
}

// checkHolders: the reference count is the number of distinct tasks.
func (h *history) checkHolders() error {
	for name := range h.o.volumes {
		v, _ := h.n.s.Named(name)
		got, want := h.n.s.Holders(v.UUID), h.o.holders(name)
		if len(got) != len(want) {
			return fmt.Errorf("%s has holders %v, want %v", name, got, want)
		}
		for _, holder := range got {
			if !want[holder.Task] {
				return fmt.Errorf("%s has holder %s, want %v", name, holder.Task, want)
			}
		}
	}
	return nil
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("%s\n--- state\n%s\n--- world\n%s", fmt.Sprintf(format, args...), strings.Join(dump(h.n.s), "\n"), h.w.text())
}

// keep keeps a version, to see later whether it stayed what it was.
func (h *history) keep(t testing.TB) { h.old, h.oldText = h.n.s, records(t, h.n.s) }

func (h *history) checkOld(t testing.TB) {
	if h.old == nil {
		return
	}
	if now := records(t, h.old); !slices.Equal(now, h.oldText) {
		h.fail("a version changed after it was made:\n%s\nwas\n%s", strings.Join(now, "\n"), strings.Join(h.oldText, "\n"))
	}
}

// manyChecks makes rapid run n histories, unless its flag asks for another number.
func manyChecks(t *testing.T, n int) {
	checks := flag.Lookup("rapid.checks")
	was := checks.Value.String()
	if was != checks.DefValue {
		return
	}
	if testing.Short() {
		n /= 10
	}
	if err := checks.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	gc := debug.SetGCPercent(800) // the histories are small and leave much behind
	t.Cleanup(func() {
		_ = checks.Value.Set(was)
		debug.SetGCPercent(gc)
	})
}

// often is what must have come of actions once in 300 histories, at least: each begins
// with three volumes.
var often = []string{"hot done", "hot refused", "hot crashed", "launch done", "launch refused", "launch failed", "launch crashed", "relaunch done", "relaunch refused", "relaunch crashed",
	"raze done", "raze refused", "raze crashed", "rereserve done", "rereserve refused", "rereserve crashed", "resize done", "resize refused", "resize crashed",
	"grow done", "grow refused", "shrink done", "shrink refused", "acknowledge done", "acknowledge refused", "slay done", "slay refused", "slay crashed", "renew done", "renew refused",
	"asked again", "closed", "operation OPERATION_FAILED", "operation OPERATION_FINISHED"}

// Not parallel: it sets a flag. A failure prints the seed and the shortest history.
func TestHistoriesWithCrashesEndAsTheOracleSays(t *testing.T) {
	manyChecks(t, histories)
	tally := map[string]int{}
	actions := rapid.SliceOfN(rapid.Custom(drawAction), 8, 24)
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt)
		for i, a := range actions.Draw(rt, "history") {
			if i == 5 {
				h.keep(t)
			}
			h.act(a)
		}
		h.checkOld(t)
		for what, n := range h.tally {
			tally[what] += n
		}
	})
	t.Logf("what came of all actions: %v", tally)
	for _, what := range often {
		if enough := tally["create done"] / 3 / 300; tally[what] < enough {
			t.Errorf("%s %d times only, of at least %d: the histories do not try what they are for", what, tally[what], enough)
		}
	}
}
