package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"tenon/agent/client"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/checkpoint"
	"tenon/mount/mounttest"
)

// site is a directory with all that one agent has, for agents one after the other.
type site struct {
	t   *testing.T
	dir string
	*client.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	mounttest.RequireRoot(t)
	dir, err := os.MkdirTemp("", "tenon-crash-")
	if err != nil {
		t.Fatal(err)
	}
	p := &site{t: t, dir: dir, Client: client.New(filepath.Join(dir, "tenon.sock"))}
	config := fmt.Sprintf("state_dir = %q\nsocket = %q\ngroup = \"\"\npool = %q\npool_size = \"4GiB\"\nsandbox_roots = [%q]\ncgroup_parent = %q\naudit_log = \"\"\n",
		p.path("state"), p.path("tenon.sock"), p.path("pool"), p.path("sandboxes"), "/"+filepath.Base(dir))
	if err := os.WriteFile(p.path("tenon.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		o := host.Options{Disks: map[string]string{"": p.path("pool")}, SandboxRoots: []string{p.path("sandboxes")}, CgroupParent: "/" + filepath.Base(dir)}
		if err := host.Remove(o, dir); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *site) path(names ...string) string {
	return filepath.Join(append([]string{p.dir}, names...)...)
}

// process is a running agent.
type process struct {
	*exec.Cmd
	log   *bytes.Buffer
	ended chan error
}

// start runs an agent until the test ends and waits until it answers. crash is a point
// at which it ends itself, or empty.
func (p *site) start(crash string) *process {
	p.t.Helper()
	a := &process{Cmd: exec.Command("tenon", "agent", "--config", p.path("tenon.toml")), log: &bytes.Buffer{}, ended: make(chan error, 1)}
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p.path("notify"), Net: "unixgram"})
	p.must(err)
	defer os.Remove(p.path("notify"))
	a.Env = append(os.Environ(), "TENON_TEST_CRASH="+crash, "NOTIFY_SOCKET="+p.path("notify"))
	a.Stderr = a.log
	p.must(a.Start())
	go func() {
		a.ended <- a.Wait()
		_ = ready.Close() // nothing more is told
	}()
	p.t.Cleanup(func() { a.end(syscall.SIGKILL) })
	var said [256]byte
	n, err := ready.Read(said[:])
	if err != nil || !strings.HasPrefix(string(said[:n]), "READY=1") {
		a.end(syscall.SIGKILL)
		p.t.Fatalf("the agent says %q, %v\n%s", said[:n], err, a.log)
	}
	return a
}

// end sends a signal and waits for the end.
func (a *process) end(s syscall.Signal) {
	_ = a.Process.Signal(s) // it may have ended
	a.ended <- <-a.ended
}

func (p *site) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *site) reserve(mb int) {
	p.t.Helper()
	p.must(p.tryReserve(mb))
}

func (p *site) tryReserve(mb int) error {
	_, err := p.Apply(p.t.Context(), resource.Operation{Type: resource.OpReserve, Reserve: &resource.Reserve{Resources: []resource.Resource{{
		Name: "disk", Type: resource.TypeScalar, Scalar: resource.Scalar(mb) * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}}}}})
	return err
}

func (p *site) create(id string) error {
	_, err := p.Create(p.t.Context(), wire.CreateVolume{Role: "web", ID: id, Size: 8 * resource.MiB, Shared: true, Mode: "0777"})
	return err
}

func (p *site) attach(task, id string, mode resource.Mode) error {
	_, err := p.Attach(p.t.Context(), task, wire.Attach{Use: wire.Use{Volume: "web/" + id, Path: "data", Mode: mode}})
	return err
}

// hire claims a volume for a process that does nothing.
func (p *site) hire(task, id string) error {
	worker := exec.Command("sleep", "infinity")
	p.must(worker.Start())
	ended := make(chan struct{})
	go func() { _ = worker.Wait(); close(ended) }()
	p.t.Cleanup(func() { _ = worker.Process.Kill(); <-ended })
	_, err := p.Claim(p.t.Context(), wire.Claim{Task: task, PID: worker.Process.Pid, Volumes: []wire.Use{{Volume: "web/" + id}}})
	return err
}

// settled waits until nothing is being made or removed any more and gives the rest.
func (p *site) settled() (volumes []wire.Volume, tasks []wire.Task) {
	p.t.Helper()
	for {
		st, err := p.Status(p.t.Context())
		p.must(err)
		volumes, tasks = nil, nil
		busy := st.Counts.Tombstones > 0
		for v, err := range p.AllVolumes(p.t.Context()) {
			p.must(err)
			volumes = append(volumes, v)
			busy = busy || v.Phase == volume.Creating
		}
		for t, err := range p.AllTasks(p.t.Context()) {
			p.must(err)
			tasks = append(tasks, t)
			busy = busy || t.Releasing
		}
		if !busy {
			if st.Counts.Faults > 0 {
				p.t.Errorf("faults: %+v", st.Faults)
			}
			return volumes, tasks
		}
	}
}

// check holds what the agent says against the disk and the mount table: nothing is
// there that it does not know, and nothing is missing.
func (p *site) check() (volumes []wire.Volume, tasks []wire.Task) {
	p.t.Helper()
	volumes, tasks = p.settled()
	var live, mounts, sandboxes []string
	for _, v := range volumes {
		live = append(live, string(v.UUID))
	}
	for _, t := range tasks {
		sandboxes = append(sandboxes, t.ID)
		for _, a := range t.Attachments {
			if a.Via == volume.ByPath {
				mounts = append(mounts, filepath.Join(t.Sandbox, a.Path))
			}
		}
	}
	same := func(what string, got, want []string) {
		p.t.Helper()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			p.t.Errorf("%s: the host has %v, the agent %v", what, got, want)
		}
	}
	same("volumes", names(p.t, p.path("pool", "live")), live)
	same("volumes being made", names(p.t, p.path("pool", "incoming")), nil)
	same("volumes being removed", names(p.t, p.path("pool", "trash")), nil)
	same("sandboxes", names(p.t, p.path("sandboxes")), sandboxes)
	same("mounts", mountsBeneath(p.t, p.path("sandboxes")+"/"), mounts)
	return volumes, tasks
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func mountsBeneath(t *testing.T, prefix string) (points []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, prefix) {
			points = append(points, point)
		}
	}
	return points
}

// The steps of each operation at which the agent is killed.
var crashPoints = map[string][]string{
	"reserve":   {"append", "synced"},
	"unreserve": {"append", "synced"},
	"resize":    {"append", "synced"},
	"set-mode":  {"append", "synced", "flip:before", "flip:after"},
	"launch":    {"append", "synced", "make:after", "publish:after", "settle", "make-sandbox:after", "attach:before", "attach:after", "settle#2"},
	"mount":     {"append", "synced"},
	"create":    {"append", "synced", "make:before", "make:after", "publish:before", "publish:after", "settle"},
	"attach":    {"append", "synced", "make-sandbox:before", "make-sandbox:after", "attach:before", "attach:after"},
	"detach":    {"append", "synced", "detach:before", "detach:after", "clear:before", "clear:after", "settle", "remove-sandbox:before", "remove-sandbox:after", "settle#2"},
	"destroy":   {"append", "synced", "trash:before", "trash:after", "purge:before", "purge:after", "settle"},
	"claim":     {"append", "synced", "make-sandbox:after", "make-cgroup:before", "make-cgroup:after"},
	"kill":      {"append", "synced", "kill:before", "kill:after", "settle", "remove-sandbox:after", "settle#2"},
	"release":   {"append", "synced", "remove-cgroup:before", "remove-cgroup:after", "remove-sandbox:before", "remove-sandbox:after", "settle"},
}

func TestKilledAtEveryStepTheAgentConverges(t *testing.T) {
	for op, points := range crashPoints {
		for _, point := range points {
			t.Run(op+" at "+point, func(t *testing.T) { killAt(t, op, point) })
		}
	}
}

// operations are those of crashPoints, and what has to be done before some of them.
func (p *site) operations() map[string]func() error {
	ctx, claim := p.t.Context(), wire.Claim{Task: "claimer", PID: os.Getpid(), Cgroup: true, Volumes: []wire.Use{{Volume: "web/kept"}}}
	return map[string]func() error{
		"reserve":   func() error { return p.tryReserve(8) },
		"unreserve": func() error { _, err := p.Apply(ctx, unreserveOne()); return err },
		"create":    func() error { return p.create("new") },
		"resize":    func() error { _, err := p.Resize(ctx, "web/victim", 12*resource.MiB); return err },
		"launch":    func() error { _, err := p.Apply(ctx, launched()...); return err },
		"mount": func() error {
			f, _, err := p.Mount(ctx, "claimer", wire.Attach{Use: wire.Use{Volume: "web/kept"}})
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"attach": func() error { return p.attach("task", "victim", resource.RO) },
		"detach": func() error { return p.Detach(ctx, "task", "web/victim", "", false) },
		"set-mode": func() error {
			_, err := p.SetMode(ctx, "holder", wire.SetMode{Volume: "web/kept", Mode: resource.RO})
			return err
		},
		"destroy": func() error { _, err := p.Destroy(ctx, "web/victim", true); return err },
		"claim":   func() error { _, err := p.Claim(ctx, claim); return err },
		"release": func() error { return p.Release(ctx, "claimer", false) },
		"hire":    func() error { return p.hire("worker", "kept") },
		"kill":    func() error { _, err := p.Kill(ctx, "worker"); return err },
	}
}

// launched is a batch that makes a volume and launches a task with it.
func launched() []resource.Operation {
	v := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 8 * resource.One, Shared: true,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: "web"}},
		Disk:         &resource.Disk{Persistence: &resource.Persistence{ID: "new"}, Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}}
	return []resource.Operation{
		{Type: resource.OpCreate, ID: "made", Create: &resource.Create{Volumes: []resource.Resource{v}}},
		{Type: resource.OpLaunch, ID: "launched", Launch: &resource.Launch{Tasks: []resource.TaskInfo{{ID: "launched", Name: "launched", Resources: []resource.Resource{v}}}}},
	}
}

func killAt(t *testing.T, op, point string) {
	p := newSite(t)
	a := p.start("")
	p.reserve(64)
	p.must(p.create("kept"))
	p.must(p.create("victim"))
	p.must(p.attach("holder", "kept", resource.RW))
	p.must(os.WriteFile(p.path("sandboxes/holder/data/file"), []byte("precious"), 0o600))
	does := p.operations()
	for later, first := range map[string]string{"detach": "attach", "release": "claim", "mount": "claim", "kill": "hire"} {
		if op == later {
			p.must(does[first]())
		}
	}
	a.end(syscall.SIGTERM)

	a = p.start(point)
	if err := does[op](); err == nil {
		t.Fatalf("the %s went through: it never came to %s", op, point)
	}
	a.end(syscall.SIGKILL)
	if status := a.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the agent ended with %v\n%s", a.ProcessState, a.log)
	}
	if _, err := checkpoint.Verify(p.path("state")); err != nil {
		t.Errorf("journal: %v", err)
	}

	a = p.start("")
	p.check()
	if text, err := os.ReadFile(p.path("sandboxes/holder/data/file")); err != nil || string(text) != "precious" {
		t.Errorf("data: %q, %v", text, err)
	}
	again := does[op]()
	if again != nil && !errors.Is(again, volume.ErrExists) && !errors.Is(again, volume.ErrNotFound) {
		t.Errorf("%s again: %v", op, again)
	}
	_, tasks := p.check()
	for _, task := range tasks {
		p.must(p.Release(t.Context(), task.ID, false))
	}
	p.check()
	a.end(syscall.SIGTERM)
}

// writers are tasks that read and write, in turns so that others get to run too, until they
// are told to stop.
type writers struct {
	turn  sync.Mutex
	stop  atomic.Bool
	work  sync.WaitGroup
	turns []atomic.Int64
	errs  []error
}

func (w *writers) run(i int, file string) {
	for !w.stop.Load() {
		w.turn.Lock()
		w.errs[i] = writeAndRead(file, fmt.Sprint("turn ", w.turns[i].Load()))
		w.turn.Unlock()
		if w.errs[i] != nil {
			return
		}
		w.turns[i].Add(1)
	}
}

func writeAndRead(file, text string) error {
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	got, err := os.ReadFile(file)
	if err == nil && string(got) != text {
		err = fmt.Errorf("%s holds %q, want %q", file, got, text)
	}
	return err
}

// advance waits until every task has done some more turns, or failed.
func (w *writers) advance() {
	for i := range w.turns {
		for from := w.turns[i].Load(); w.turns[i].Load() < from+3 && !w.failed(i); {
			runtime.Gosched()
		}
	}
}

func (w *writers) failed(i int) bool {
	w.turn.Lock()
	defer w.turn.Unlock()
	return w.errs[i] != nil
}

func TestTasksDoNotNoticeThatTheAgentIsKilled(t *testing.T) {
	const tasks, volumes = 100, 5
	p := newSite(t)
	a := p.start("")
	p.reserve(64)
	for v := range volumes {
		p.must(p.create(fmt.Sprint("v", v)))
	}
	w := &writers{turns: make([]atomic.Int64, tasks), errs: make([]error, tasks)}
	for i := range tasks {
		task := fmt.Sprint("task", i)
		p.must(p.attach(task, fmt.Sprint("v", i%volumes), resource.RW))
		w.work.Go(func() { w.run(i, p.path("sandboxes", task, "data", task)) })
	}
	runs := p.runTasks(5)
	acknowledged, _ := p.check()
	w.advance()
	a.end(syscall.SIGKILL)
	w.advance()
	p.start("")
	w.advance()

	after, tasksAfter := p.check()
	if got, want := fmt.Sprintf("%+v", after), fmt.Sprintf("%+v", acknowledged); got != want {
		t.Errorf("after the restart:\n%s\nacknowledged before:\n%s", got, want)
	}
	if len(tasksAfter) != tasks+len(runs) {
		t.Errorf("%d tasks after the restart, want %d", len(tasksAfter), tasks+len(runs))
	}
	for v := range volumes {
		p.checkHolders(fmt.Sprint("web/v", v), v, tasks, volumes)
	}
	w.stop.Store(true)
	w.work.Wait()
	if err := errors.Join(w.errs...); err != nil {
		t.Errorf("tasks noticed: %v", err)
	}
	for _, r := range runs {
		_ = r.Process.Signal(syscall.SIGTERM)
		if err := r.Wait(); r.ProcessState.ExitCode() != 0 {
			t.Errorf("tenon run: %v", err)
		}
	}
	for i := range tasks {
		p.must(p.Release(t.Context(), fmt.Sprint("task", i), false))
	}
	for v := range volumes {
		_, err := p.Destroy(t.Context(), fmt.Sprint("web/v", v), true)
		p.must(err)
	}
	p.check()
}

// checkHolders makes sure that a volume has every step-th task from the first on as a
// holder, and is not destroyed.
func (p *site) checkHolders(name string, first, tasks, step int) {
	p.t.Helper()
	v, err := p.Volume(p.t.Context(), name)
	p.must(err)
	for i := first; i < tasks; i += step {
		task := fmt.Sprint("task", i)
		if !slices.ContainsFunc(v.Holders, func(h wire.Holder) bool { return h.Task == task }) {
			p.t.Errorf("%s is not named as a holder of %s", task, name)
		}
	}
	if _, err := p.Destroy(p.t.Context(), name, true); !errors.Is(err, volume.ErrInUse) {
		p.t.Errorf("destroy %s: %v, want in use", name, err)
	}
}

// runTasks starts tasks by `tenon run` that write to the first volume until SIGTERM, and
// waits until each has written.
func (p *site) runTasks(n int) (runs []*exec.Cmd) {
	p.t.Helper()
	const script = `trap 'exit 0' TERM; while echo $TENON_TASK > data/run-$TENON_TASK && [ "$(cat data/run-$TENON_TASK)" = $TENON_TASK ]; do sleep 0.01; done; exit 1`
	for i := range n {
		id := fmt.Sprint("run", i)
		r := exec.CommandContext(context.WithoutCancel(p.t.Context()), "tenon", "--socket", p.path("tenon.sock"), "run", "--task", id, "--volume", "web/v0:data:rw", "--", "sh", "-c", script)
		p.must(r.Start())
		p.t.Cleanup(func() { _ = r.Process.Kill() })
		runs = append(runs, r)
		v, err := p.Volume(p.t.Context(), "web/v0")
		p.must(err)
		file := p.path("pool/live", string(v.UUID), "data", "run-"+id)
		for text := []byte(nil); len(text) == 0; text, _ = os.ReadFile(file) {
			if r.ProcessState != nil {
				p.t.Fatal("tenon run has ended")
			}
		}
	}
	return runs
}
