package lease

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tenon/isolator/cgroup"
)

func mustBeHeld(t testing.TB, l Lease, want bool) {
	t.Helper()
	got, err := l.Held()
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("held is %v, want %v: %+v", got, want, l)
	}
}

func TestALeaseOfNothingIsAlwaysHeld(t *testing.T) {
	t.Parallel()
	mustBeHeld(t, Lease{}, true)
}

func TestAProcessHoldsUntilItHasEnded(t *testing.T) {
	t.Parallel()
	p := mustStart(t)
	l := p.lease(t)
	mustBeHeld(t, l, true)
	p.zombify(t)
	mustBeHeld(t, l, false)
	p.end()
	mustBeHeld(t, l, false)
}

func TestAProcessThatGotTheIdLaterDoesNotHold(t *testing.T) {
	t.Parallel()
	former := mustStart(t).lease(t)
	former.Start--
	mustBeHeld(t, former, false)
}

func TestAProcessHoldsWhileAnyOfItsThreadsRuns(t *testing.T) {
	t.Parallel()
	p := mustPlay(t, "thread")
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid()) + "/stat")
	if err != nil || !strings.Contains(string(text), ") Z ") {
		t.Fatalf("the first thread has not ended: %q, %v", text, err)
	}
	l := p.lease(t)
	w := mustWatch(t)
	mustAdd(t, w, "task", l)
	mustBeHeld(t, l, true)
	mustHold(t, w, nil)
	p.zombify(t)
	mustBeHeld(t, l, false)
	mustLose(t, w, "task")
}

func TestAProcessIsKnownWhateverItsName(t *testing.T) {
	t.Parallel()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), ") Z (0 1")
	if err := os.Symlink(cat, name); err != nil {
		t.Fatal(err)
	}
	p := mustRun(t, exec.Command("sh", "-c", `echo started; exec "$0"`, name))
	// The shell may not have become the other program yet; neither name may matter.
	mustBeHeld(t, p.lease(t), true)
}

func TestTheLeaseOfAProcessThatHasEndedIsAnError(t *testing.T) {
	t.Parallel()
	p := mustStart(t)
	p.zombify(t)
	if l, err := OfProcess(p.pid()); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a zombie gave %+v, %v, want ESRCH", l, err)
	}
	p.end()
	if l, err := OfProcess(p.pid()); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a missing process gave %+v, %v, want ESRCH", l, err)
	}
	for _, pid := range []int{0, -1} {
		if l, err := OfProcess(pid); err == nil {
			t.Errorf("process %d gave %+v, want an error", pid, l)
		}
	}
}

func TestAGroupHoldsWhilePopulated(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		g := newGroup("task")
		mustBeHeld(t, g.lease(), false)
		p := mustStart(t)
		g.mustJoin(t, p)
		mustBeHeld(t, g.lease(), true)
		p.end()
		mustBeHeld(t, g.lease(), false)
		g.mustRemove(t)
		mustBeHeld(t, g.lease(), false)
	})
}

func TestEitherPartHolds(t *testing.T) {
	onEach(t, func(t *testing.T, newGroup func(string) group) {
		for _, part := range []struct {
			name                 string
			process, group, want bool
		}{
			{"both alive", true, true, true},
			{"process alive", true, false, true},
			{"group alive", false, true, true},
			{"neither", false, false, false},
		} {
			t.Run(part.name, func(t *testing.T) {
				g := newGroup(part.name)
				p, member := mustStart(t), mustStart(t)
				l := p.lease(t)
				l.Cgroup = string(g)
				if part.group {
					g.mustJoin(t, member)
				}
				if !part.process {
					p.end()
				}
				mustBeHeld(t, l, part.want)
			})
		}
	})
}

func TestAGroupInNoHierarchyGivesNoAnswer(t *testing.T) {
	t.Parallel()
	if held, err := (Lease{Cgroup: t.TempDir()}).Held(); !errors.Is(err, cgroup.ErrUnsupported) {
		t.Errorf("held is %v, %v, want ErrUnsupported", held, err)
	}
}

func TestStatIsParsed(t *testing.T) {
	t.Parallel()
	line := func(name, state, threads, start string) string {
		return "7 (" + name + ") " + state + " 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 " + threads + " 0 " + start + " 1 2 3\n"
	}
	for _, c := range []struct {
		text string
		want stat
	}{
		{line("cat", "S", "1", "123"), stat{start: 123}},
		{line("a b", "R", "4", "18446744073709551615"), stat{start: 1<<64 - 1}},
		{line(") Z 1 (", "S", "1", "5"), stat{start: 5}},
		{line("cat", "Z", "1", "5"), stat{start: 5, ended: true}},
		{line("cat", "Z", "0", "5"), stat{start: 5, ended: true}},
		{line("cat", "Z", "2", "5"), stat{start: 5}},
		{line("cat", "X", "0", "5"), stat{start: 5, ended: true}},
	} {
		if got, err := parseStat(c.text); err != nil || got != c.want {
			t.Errorf("%q gave %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "7 (cat)", "7 (cat) S 1 2", line("cat", "S", "1", "x"), line("cat", "S", "x", "1")} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("%q gave %+v, want an error", text, got)
		}
	}
}

func TestStatIsParsedOrRefusedWhateverItHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9]{1,3} \([a-z() ]{0,5}\)( [SZX0-9]{1,3}){15,25}`)).Draw(t, "text")
		if s, err := parseStat(text); err != nil && s != (stat{}) {
			t.Errorf("%q gave %+v together with %v", text, s, err)
		}
	})
}
