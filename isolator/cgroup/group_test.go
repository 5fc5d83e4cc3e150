package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func mustKill(t testing.TB, g *Group) {
	t.Helper()
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPopulated(t, g, false)
}

// mustNest makes a group beneath g, as a task could.
func mustNest(t testing.TB, g *Group, name string) *Group {
	t.Helper()
	inner := &Group{hierarchy: g.hierarchy, group: filepath.Join(g.group, name)}
	if err := os.Mkdir(inner.Path(), 0o755); err != nil {
		t.Fatal(err)
	}
	return inner
}

func TestAGroupIsPopulatedFromTheFirstProcessToTheEndOfTheLast(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		mustPopulated(t, g, false)
		a, b := mustStart(t, ""), mustStart(t, "")
		mustJoin(t, g, a.pid())
		mustJoin(t, g, b.pid())
		mustPopulated(t, g, true)
		a.end()
		mustPopulated(t, g, true)
		b.end()
		mustPopulated(t, g, false)
		if err := g.Delete(); err != nil {
			t.Fatal(err)
		}
		mustPopulated(t, g, false)
	})
}

func TestAGroupExistsFromCreateToDelete(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		path, err := m.Path("task")
		if err != nil {
			t.Fatal(err)
		}
		mustExist(t, path, false)
		g := mustCreate(t, m, "task")
		mustExist(t, path, true)
		if err := g.Delete(); err != nil {
			t.Fatal(err)
		}
		mustExist(t, path, false)
	})
}

func mustExist(t testing.TB, path string, want bool) {
	t.Helper()
	if got, err := Exists(path); err != nil || got != want {
		t.Errorf("exists is %v, %v, want %v: %s", got, err, want, path)
	}
}

func TestProcessesOfNestedGroupsAreTheGroupsOwn(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		inner := mustNest(t, mustNest(t, g, "a"), "b")
		a, b := mustStart(t, ""), mustStart(t, "")
		mustJoin(t, inner, a.pid())
		mustPopulated(t, g, true)
		mustJoin(t, g, b.pid())
		got, err := g.Processes()
		if err != nil {
			t.Fatal(err)
		}
		want := []int{a.pid(), b.pid()}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("processes (-want +got):\n%s", diff)
		}
		mustKill(t, g)
		a.wait(t)
		b.wait(t)
	})
}

func TestAZombieDoesNotPopulateAGroup(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		p := mustStart(t, "")
		mustJoin(t, g, p.pid())
		mustKill(t, g) // and nobody has waited for it
		if pids, err := g.Processes(); err != nil || len(pids) != 0 {
			t.Errorf("processes are %v, %v, want none", pids, err)
		}
		if err := g.Delete(); err != nil {
			t.Errorf("a zombie keeps the group: %v", err)
		}
		p.wait(t)
	})
}

func TestJoinOfAProcessThatHasEndedIsAnError(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		p := mustStart(t, "")
		p.end()
		for _, pid := range []int{p.pid(), 0, -1} {
			if err := g.Join(pid); err == nil {
				t.Errorf("joining process %d gave no error", pid)
			}
		}
	})
}

func TestJoinOfAMissingGroupIsAnError(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		if err := g.Delete(); err != nil {
			t.Fatal(err)
		}
		if err := g.Join(os.Getpid()); err == nil {
			t.Error("joined a group that is not there")
		}
	})
}

func TestAProcessCanBeBornInAGroupOfV2(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		dir, err := g.Dir()
		if !m.hierarchy.v2() {
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("error is %v, want ErrUnsupported", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		cmd := exec.Command("cat", "/proc/self/cgroup")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), "0::"+g.group+"\n") {
			t.Errorf("the process was in %q, want %s", out, g.group)
		}
	})
}

func TestKillEndsATreeOfProcesses(t *testing.T) {
	for name, kill := range map[string]func(*Group, context.Context) error{
		"by the kernel if it can": (*Group).Kill, "one by one": (*Group).killEach,
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, m *Manager) {
				g := mustCreate(t, m, "task")
				// The shell joins before it forks, so that its children are born in the group.
				p := mustStart(t, `exec 3<&0
					echo $$ > '`+g.Path()+`/cgroup.procs'
					i=0; while [ $i -lt 20 ]; do (trap '' TERM HUP INT; cat <&3 >/dev/null) & i=$((i+1)); done`)
				pids, err := g.Processes()
				if err != nil || len(pids) < 21 {
					t.Fatalf("processes are %v, %v, want 21", pids, err)
				}
				if err := kill(g, t.Context()); err != nil {
					t.Fatal(err)
				}
				mustPopulated(t, g, false)
				p.wait(t)
				if err := g.Delete(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestKillEndsMoreProcessesThanOneBatchHolds(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		p := mustStart(t, `exec 3<&0
			echo $$ > '`+g.Path()+`/cgroup.procs'
			i=0; while [ $i -lt `+strconv.Itoa(killBatch)+` ]; do cat <&3 >/dev/null & i=$((i+1)); done`)
		pids, err := g.Processes()
		if err != nil {
			t.Fatal(err)
		}
		files, err := openProcesses(pids)
		if closeAll(files); err != nil || len(files) != killBatch {
			t.Errorf("of %d processes %d were opened, %v, want %d", len(pids), len(files), err, killBatch)
		}
		if err := g.killEach(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustPopulated(t, g, false)
		p.wait(t)
	})
}

func TestKillEndsATaskThatFrozeItself(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		inner := mustNest(t, g, "inner")
		p := mustStart(t, "")
		mustJoin(t, inner, p.pid())
		inner.freeze()
		mustKill(t, g)
		p.wait(t)
	})
}

func TestKillOfAnEmptyOrMissingGroupIsNoError(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		mustKill(t, g)
		if err := g.Delete(); err != nil {
			t.Fatal(err)
		}
		mustKill(t, g)
	})
}

func TestKillGivesUpWhenItsContextEnds(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		p := mustStart(t, "")
		mustJoin(t, g, p.pid())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		// On v2 the kernel may be done before Kill looks at its context.
		if err := g.Kill(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want %v", err, context.Canceled)
		}
		mustKill(t, g)
		p.wait(t)
	})
}

func TestWaitingForAnEmptyGroupEndsWithTheContext(t *testing.T) {
	onV2(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		p := mustStart(t, "")
		mustJoin(t, g, p.pid())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.waitEmpty(ctx) }()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want %v", err, context.Canceled)
		}
		p.end()
	})
}

func TestWaitingForAProcessEndsWithTheContext(t *testing.T) {
	t.Parallel()
	p := mustStart(t, "")
	files, err := openProcesses([]int{p.pid()})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- waitProcess(ctx, files[p.pid()]) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}

func TestOnlyMembersAreKilled(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		// It has the number of a member that has ended meanwhile, as far as Kill knows.
		stranger := mustStart(t, "")
		if err := g.killRound(canceled(t), []int{stranger.pid()}); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want %v: the stranger has ended", err, context.Canceled)
		}
		stranger.end()
		if !stranger.cmd.ProcessState.Success() {
			t.Errorf("the stranger ended with %v", stranger.cmd.ProcessState)
		}
	})
}

func canceled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestAProcessOfAnotherNamespaceIsAnErrorNotALoop(t *testing.T) {
	t.Parallel()
	if _, err := openProcesses([]int{0, 0}); err == nil {
		t.Error("processes that have no number here gave no error")
	}
}

func TestDeleteRemovesTheGroupsThatATaskMade(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		mustNest(t, mustNest(t, g, "a"), "b")
		mustNest(t, g, "c")
		for range 2 {
			if err := g.Delete(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(g.Path()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the group is still there: %v", err)
		}
	})
}

func TestDeleteOfABusyGroupNamesItsProcesses(t *testing.T) {
	onEach(t, func(t *testing.T, m *Manager) {
		g := mustCreate(t, m, "task")
		p := mustStart(t, "")
		mustJoin(t, mustNest(t, g, "inner"), p.pid())
		err := g.Delete()
		if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), strconv.Itoa(p.pid())) {
			t.Errorf("error is %v, want EBUSY that names process %d", err, p.pid())
		}
		mustPopulated(t, g, true)
		mustKill(t, g)
	})
}

func TestDeleteNeverRemovesAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "task-x", "data")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g := &Group{hierarchy: hierarchy{mount: dir}, group: "/task-x"}
	if err := g.Delete(); err == nil {
		t.Error("deleting a directory with a file in it gave no error")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
