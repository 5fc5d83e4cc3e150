package volume

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// moving are the kinds of actions that batches are made of here.
var moving = strings.Fields(`reserve refine unreserve rereserve create create carve resize resize grow shrink launch relaunch attach claim destroy raze detach release`)

func drawMoving(t *rapid.T) action {
	a := rapid.Custom(drawAction).Draw(t, "action")
	a.Kind = rapid.SampledFrom(moving).Draw(t, "kind")
	return a
}

// aimed has an action fit the volume that it names, if there is one.
func (a action) aimed(s *State) action {
	if v, ok := s.Named(a.name()); ok && a.Path < 3 {
		a.Size, a.Way = int(v.Size/mib(5).Scalar)-2, a.Way|2
		if v.Shared {
			a.Way ^= 2
		}
	}
	return a
}

// swept settles everything, as if all steps were done, until nothing is left to do.
func swept(s *State) *State {
	for range 4 {
		for _, u := range slices.Collect(s.Units()) {
			s = s.With(Settle(s, u, doneOf(s, u), second)...)
		}
	}
	return s
}

// doneOf is what would be seen of a unit when its steps are done.
func doneOf(s *State, u Unit) (seen Seen) {
	if v, ok := s.Volume(u.Volume); ok && u.Kind == VolumeUnit && (v.Phase != Destroying || s.held(v)) {
		seen.Volume = live
	}
	if a, ok := s.Attachment(u); ok && u.Kind == AttachmentUnit {
		seen.Attachment.Mounted = !a.Gone && a.Via == ByPath
		seen.Attachment.ReadOnly = a.Mode == "RO"
	}
	seen.Task = SeenTask{Sandbox: true, Cgroup: true, Claimant: true}
	if t, ok := s.Task(u.Task); ok && t.Releasing {
		seen.Task = SeenTask{}
	}
	return seen
}

// extended is a batch as far as it is accepted.
func extended(t *rapid.T, s *State, env Env, most int) (batch []Operation, removes bool, out Outcome) {
	out = Outcome{Next: s}
	for range rapid.IntRange(1, most).Draw(t, "operations") {
		a := drawMoving(t).aimed(out.Next)
		longer := append(slices.Clone(batch), a.asked()...)
		if more, err := Apply(s, env, longer...); err == nil {
			batch, out = longer, more
			removes = removes || slices.Contains([]string{"destroy", "raze", "detach", "release"}, a.Kind)
		}
	}
	return batch, removes, out
}

// Whatever a batch is, however far its steps came, and whatever others have done since: when it
// is taken back, no space comes about and none is lost, all that is left to remove is removed,
// and its operations have ended. Where nobody else did anything, all is as it was, but for
// what the batch was to remove. Not parallel: it sets a flag.
func TestUndoNeverOverdraws(t *testing.T) {
	manyChecks(t, histories)
	tally := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		env, w := numbered(), newWorld(rt.Fatalf)
		n := w.start()
		s := swept(n.s)
		_, _, out := extended(rt, s, env, 12)
		before := swept(out.Next)
		batch, removes, out := extended(rt, before, env, 6)
		if len(batch) == 0 {
			return
		}
		now := out.Next
		for _, u := range out.Touched {
			if rapid.Bool().Draw(rt, "done") {
				now = now.With(Settle(now, u, doneOf(now, u), second)...)
			}
		}
		others := rapid.IntRange(0, 4).Draw(rt, "others")
		for range others {
			a := drawMoving(rt).aimed(now)
			if other, err := Apply(now, env, a.operations()...); err == nil {
				now = other.Next
				tally["done since"]++
			}
		}
		done := finished(before, now, batch)
		changes := takingBack(before, now, batch, out.Touched, errors.New("no luck"))
		if done && len(changes) > 0 {
			rt.Fatalf("what has finished is taken back: %+v", changes)
		}
		now = now.With(changes...)
		if err := errors.Join(now.Check(), checkIndexes(now)); err != nil {
			rt.Fatalf("taken back: %v\nbatch %+v\n%s", err, batch, strings.Join(dump(now), "\n"))
		}
		if d := cmp.Diff(statesText(now), statesText(refold(rt, now))); d != "" {
			rt.Fatalf("started anew:\n%s", d)
		}
		after := swept(now)
		if err := errors.Join(after.Check(), checkIndexes(after)); err != nil {
			rt.Fatalf("when all is done: %v\n%s", err, strings.Join(dump(after), "\n"))
		}
		if len(after.atWork()) > 0 {
			rt.Fatalf("something is at work:\n%s", strings.Join(dump(after), "\n"))
		}
		tally["taken back"]++
		if others > 0 || removes || done {
			return
		}
		tally["taken back whole"]++
		if d := cmp.Diff(withoutOperations(dump(before)), withoutOperations(dump(after))); d != "" {
			rt.Fatalf("of %+v is left (-before +after):\n%s", batch, d)
		}
	})
	t.Logf("%v", tally)
	if enough := histories / 20; !testing.Short() && (tally["taken back whole"] < enough || tally["done since"] < enough) {
		t.Errorf("too little was tried: %v", tally)
	}
}

func withoutOperations(lines []string) []string {
	return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "operation ") })
}

// statesText are the volumes and operations of a state, which outlive an agent.
func statesText(s *State) []string {
	return slices.DeleteFunc(dump(s), func(l string) bool { return !strings.HasPrefix(l, "operation ") && !strings.HasPrefix(l, "volume ") })
}
