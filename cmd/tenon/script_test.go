package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tenon/agent/client"
	"tenon/agent/host"
	"tenon/isolator/cgroup"
	"tenon/mount/mounttest"
)

// TestScripts runs testdata/*.txtar. Each has a directory with a configuration, and
// these commands besides those of testscript:
//
//	agent          start the agent and wait until it answers
//	shutdown       end it as an operator would, and have it exit well
//	kill9          end it as a crash would
//	fails N ARG…   run tenon, which must exit with N
//	tmpfs DIR      make a directory and mount a file system of 64 MiB there, until the end
//	config FILE    configure the agent's disks otherwise, and what else FILE says; $WORK is
//	               the script's directory, $DISK that of disks, $MASTER and $POLL addresses
//	eventually PATTERN ARG…
//	               run a program until its output matches
//	receiver       start the master at $MASTER, which knows the agent by "secret"; or stop it
//	order ID FILE  give it an order for the agent
//	csi …          ask at the CSI socket, kubelet/csi.sock
//	certify        make tls.pem
//	poll METHOD PATH [TOKEN]
//	               ask at $POLL, and put the status line and the body into "polled"
//	got FILE       write stdout or a file to "got", with what differs each time replaced
func TestScripts(t *testing.T) {
	mounttest.RequireRoot(t)
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		WorkdirRoot:        t.TempDir(),
		Setup:              setUp,
		RequireUniqueNames: true,
		Condition:          condition,
		UpdateScripts:      os.Getenv(goldenSet) != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":    func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(hostOf(ts).start(args)) },
			"shutdown": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(hostOf(ts).end(syscall.SIGTERM)) },
			"kill9":    func(ts *testscript.TestScript, _ bool, _ []string) { _ = hostOf(ts).end(syscall.SIGKILL) },
			"fails":    fails,
			"tmpfs":    tmpfs,
			"config":   setConfig,
			"got":      got,

			"eventually": eventually,
			"receiver":   receiver,
			"order":      order,
			"csi":        csiCall,
			"certify":    certify,
			"poll":       poll,
		},
	})
}

// condition says whether [io] holds: whether tasks here can have limits of input and output.
func condition(name string) (bool, error) {
	if name != "io" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	groups, err := cgroup.Open(cgroup.Options{Parent: "/"})
	if err != nil {
		return false, nil
	}
	dir, err := os.Open(os.TempDir())
	if err != nil {
		return false, err
	}
	defer dir.Close()
	_, err = cgroup.DeviceOf(dir)
	return errors.Join(err, groups.LimitsIO()) == nil, nil
}

// testHost is what a script has to itself: a directory, and the agent that runs there.
type testHost struct {
	dir   string
	path  string // PATH of the environment
	agent *exec.Cmd
	log   *os.File

	receiver *exec.Cmd
	addrs    *strings.Replacer // puts addresses for $MASTER and $POLL
}

func hostOf(ts *testscript.TestScript) *testHost {
	h, ok := ts.Value(testHost{}).(*testHost)
	if !ok {
		ts.Fatalf("the script has no host") // cannot happen: setUp made it
	}
	return h
}

func setUp(env *testscript.Env) error {
	h := &testHost{dir: env.WorkDir, path: env.Getenv("PATH")}
	env.Values[testHost{}] = h
	mesos, err := filepath.Abs(fixtures)
	if err != nil {
		return err
	}
	env.Setenv("MESOS", mesos)
	env.Setenv("TENON_SOCKET", h.at("s"))
	env.Setenv("DISK", h.disk())
	if err := h.setAddresses(env); err != nil {
		return err
	}
	env.Defer(func() {
		if t, ok := env.T().(testing.TB); ok {
			h.cleanUp(t)
		}
	})
	if err := os.Mkdir(h.disk(), 0o755); err != nil {
		return err
	}
	disks := fmt.Sprintf("pool_size = \"4GiB\"\n\n[[disk]]\npath = %q\nsize = \"1GiB\"\n", h.disk())
	return os.WriteFile(h.at("tenon.toml"), []byte(h.config()+disks), 0o600)
}

// setAddresses finds addresses for a master and for pollers.
func (h *testHost) setAddresses(env *testscript.Env) error {
	master, err := freeAddress()
	if err != nil {
		return err
	}
	poll, err := freeAddress()
	if err != nil {
		return err
	}
	env.Setenv("MASTER", master)
	env.Setenv("POLL", poll)
	h.addrs = strings.NewReplacer("$MASTER", master, "$POLL", poll)
	return nil
}

// config is the configuration, but for the sizes of disks.
func (h *testHost) config() string {
	return fmt.Sprintf("state_dir = %q\nsocket = %q\ngroup = \"\"\npool = %q\nsandbox_roots = [%q]\ncgroup_parent = %q\naudit_log = %q\n",
		h.at("state"), h.at("s"), h.at("pool"), h.at("sandboxes"), h.cgroup(), h.at("audit.log"))
}

func (h *testHost) at(name string) string { return filepath.Join(h.dir, name) }

// cgroup is one that no other process uses.
func (h *testHost) cgroup() string {
	return "/tenon-test-" + strconv.Itoa(os.Getpid()) + "-" + strings.TrimPrefix(filepath.Base(h.dir), "script-")
}

// disk is the directory of a second disk. Its name is in tables, so all such names are
// of one length.
func (h *testHost) disk() string {
	return fmt.Sprintf("/tmp/tenon-%07d-%s", os.Getpid(), strings.TrimPrefix(filepath.Base(h.dir), "script-"))
}

// start runs the agent until it answers. Its log goes to a file.
func (h *testHost) start(args []string) error {
	log, err := os.OpenFile(h.at("agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	h.agent = exec.Command("tenon", append([]string{"agent", "--config", h.at("tenon.toml")}, args...)...)
	h.agent.Env = []string{"PATH=" + h.path, noExitSleep, "TENON_PROJECT_RANGE=[0-0]"} // which shows the same on every file system
	h.agent.Stderr, h.log = log, log
	if err := h.agent.Start(); err != nil {
		return err
	}
	return h.await()
}

// await asks until the agent answers, for a bounded time.
func (h *testHost) await() error {
	c := client.New(h.at("s"))
	defer c.Close()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	var err error
	for deadline := time.After(20 * time.Second); ; {
		if _, err = c.Status(context.Background()); err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-deadline:
			return errors.Join(fmt.Errorf("the agent does not answer: %w", err), h.end(syscall.SIGKILL), h.showLog())
		}
	}
}

// showLog gives the agent's log as an error.
func (h *testHost) showLog() error {
	text, err := os.ReadFile(h.at("agent.log"))
	return errors.Join(errors.New(string(text)), err)
}

// end ends the agent with a signal. It must take it well, unless it had no choice.
func (h *testHost) end(s syscall.Signal) error {
	if h.agent == nil {
		return errors.New("no agent runs")
	}
	_ = h.agent.Process.Signal(s) // Wait says if it had ended before
	err := h.agent.Wait()
	h.agent = nil
	return errors.Join(err, h.log.Close())
}

// cleanUp ends the agent and removes what it leaves, as it leaves everything.
func (h *testHost) cleanUp(t testing.TB) {
	if h.agent != nil {
		_ = h.end(syscall.SIGKILL)
	}
	if err := h.endReceiver(); err != nil {
		t.Error(err)
	}
	for _, point := range h.attached(t) {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", point, err)
		}
	}
	h.endTasks(t)
	o := host.Options{Disks: map[string]string{"": h.at("pool"), "disk": h.disk(), "data": h.disk() + "/data"}, SandboxRoots: []string{h.at("sandboxes")}, CgroupParent: h.cgroup()}
	if err := errors.Join(host.Remove(o, h.disk()), host.Remove(o, h.dir)); err != nil {
		t.Error(err)
	}
}

// endTasks ends what tasks have left behind in their cgroups.
func (h *testHost) endTasks(t testing.TB) {
	tasks, err := filepath.Glob("/sys/fs/cgroup/*" + h.cgroup() + "/task-*")
	if err != nil {
		t.Error(err)
	}
	for _, dir := range tasks {
		group, err := cgroup.Find(dir)
		if err == nil {
			err = group.Kill(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// attached are the mounts beneath the sandbox root, and where CSI publishes.
func (h *testHost) attached(t testing.TB) (points []string) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(table)) {
		if point := strings.Fields(line)[4]; strings.HasPrefix(point, h.at("sandboxes")+"/") || strings.HasPrefix(point, h.at("kubelet")+"/") {
			points = append(points, point)
		}
	}
	return points
}

// fails runs tenon and holds its exit code to the one given.
func fails(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("tenon", args[1:]...)
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("tenon ends with %v, want exit code %d", err, want)
	}
}

// tmpfs mounts a file system in the tests' own mount namespace.
func tmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"))
	ts.Defer(func() {
		for syscall.Unmount(dir, syscall.MNT_DETACH) == nil { // what the agent has bound there lies on top
			continue
		}
	})
}

// setConfig changes the configuration.
func setConfig(ts *testscript.TestScript, _ bool, args []string) {
	h := hostOf(ts)
	ts.Check(os.WriteFile(h.at("tenon.toml"), []byte(h.config()+strings.NewReplacer("$DISK", h.disk(), "$WORK", h.dir).Replace(h.addrs.Replace(ts.ReadFile(args[0])))), 0o600))
}

// masks are what differs each time, and what stands for it. Numbers in columns keep
// their width.
var masks = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "DATE"},
	{regexp.MustCompile(` \d\ds\b`), "  0s"},
	{regexp.MustCompile(`\b\ds\b`), "0s"},
	{regexp.MustCompile(`"(index|start|pid)": \d+`), `"$1": 0`},
}

func got(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), hostOf(ts).dir, "$WORK")
	text = strings.ReplaceAll(text, fmt.Sprintf("%07d", os.Getpid()), "0000000")
	text = strings.ReplaceAll(text, hostOf(ts).cgroup(), "$CGROUP")
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.with)
	}
	ts.Check(os.WriteFile(ts.MkAbs("got"), []byte(text), 0o600))
}
