package systemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test below runs where systemd is PID 1, as root, and leaves the units
// installed: it is for a machine made for it.
//
//	CGO_ENABLED=0 go test -c -o bin/systemd.test ./systemd
//	testdata/vm/run-in-vm -e uml -S -E TENON_TEST_REQUIRE=systemd -- bin/systemd.test -test.v -test.run=UnderSystemd
//
// The test binary is also the agent and the agent's one task. The real units
// start it; what it needs to know is in a drop-in.

const (
	reportSocket = "/run/tenon-test.sock"
	probe        = "/run/tenon-probe"     // where the agent mounts
	hang         = "/run/tenon-test-hang" // makes the agent stop feeding
	dropIn       = "[Service]\nEnvironment=TENON_TEST_ROLE=agent\nWatchdogSec=2\nStandardOutput=journal+console\n"
)

// agentReport is what the agent tells the test at every start.
type agentReport struct {
	Pid, Task int
	Sockets   []string
	Errs      []string
}

// roleAgent is the service: it mounts once, starts a task that outlives it, reports, and
// feeds the watchdog.
func roleAgent() int {
	report := agentReport{Pid: os.Getpid()}
	try := func(what string, err error) {
		if err != nil {
			report.Errs = append(report.Errs, fmt.Sprintf("%s: %v", what, err))
		}
	}
	listeners, err := Listeners()
	try("listeners", err)
	for name, l := range listeners {
		report.Sockets = append(report.Sockets, name+" "+l.Addr().String())
	}
	if _, err := os.Stat(probe); err != nil {
		try("mkdir", os.Mkdir(probe, 0o755))
		try("mount", unix.Mount("probe", probe, "tmpfs", 0, ""))
		report.Task, err = startTask()
		try("start task", err)
	}
	try("set-group-ID", os.Chmod(probe, 0o775|os.ModeSetgid))
	_, err = net.Listen("tcp", "127.0.0.1:0")
	if !errors.Is(err, unix.EAFNOSUPPORT) {
		try("listen on TCP, which must be refused", fmt.Errorf("got %v", err))
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	try("ready", Ready("under test"))
	send(report)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = Watchdog(ctx, func() bool { _, err := os.Stat(hang); return err != nil }) }()
	<-stop
	_ = Stopping()
	return 0
}

// startTask starts a child that ignores the agent's end.
func startTask() (pid int, err error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"TENON_TEST_ROLE=task"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}

// roleTask waits to be killed.
func roleTask() int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	<-stop
	return 0
}

// send hands the report to the test.
func send(report agentReport) {
	conn, err := net.Dial("unix", reportSocket)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = json.NewEncoder(conn).Encode(report)
}

// machine is the machine's systemd, and where its agents report.
type machine struct {
	t       *testing.T
	reports *net.UnixListener
}

// ctl runs systemctl and returns what it printed.
func (m machine) ctl(args ...string) string {
	m.t.Helper()
	return m.run("systemctl", args...)
}

func (m machine) run(name string, args ...string) string {
	m.t.Helper()
	out, err := exec.CommandContext(m.t.Context(), name, args...).CombinedOutput()
	if err != nil {
		status, _ := exec.Command("systemctl", "status", "--no-pager", "-n30", "tenon.service", "tenon.socket").CombinedOutput()
		m.t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, out, status)
	}
	return strings.TrimSpace(string(out))
}

// report waits for an agent to start.
func (m machine) report(after string) (r agentReport) {
	m.t.Helper()
	err := m.reports.SetDeadline(time.Now().Add(time.Minute))
	conn, err2 := m.reports.Accept()
	if err := errors.Join(err, err2); err != nil {
		m.t.Fatalf("no agent started after %s: %v\n%s", after, err, m.run("journalctl", "-n30", "--no-pager"))
	}
	defer conn.Close()
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		m.t.Fatal(err)
	}
	if r.Errs != nil {
		m.t.Errorf("the agent after %s: %s", after, strings.Join(r.Errs, "; "))
	}
	return r
}

// mustBoot installs what `make install` installs, with the test as agent.
func mustBoot(t *testing.T) machine {
	t.Helper()
	addr := &net.UnixAddr{Name: reportSocket, Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		"/usr/bin/tenon": string(self),
		"/etc/systemd/system/tenon.service.d/test.conf": dropIn,
		"/usr/lib/systemd/system/tenon.service":         mustRead(t, "tenon.service"),
		"/usr/lib/systemd/system/tenon.socket":          mustRead(t, "tenon.socket"),
		"/usr/lib/sysusers.d/tenon.conf":                mustRead(t, "sysusers.d/tenon.conf"),
		"/usr/lib/tmpfiles.d/tenon.conf":                mustRead(t, "tmpfiles.d/tenon.conf"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := machine{t, l}
	m.run("systemd-sysusers", "tenon.conf")
	m.run("systemd-tmpfiles", "--create", "tenon.conf")
	m.ctl("daemon-reload")
	return m
}

func TestTheServiceUnderSystemd(t *testing.T) {
	_, err := os.Stat("/run/systemd/system")
	requireThing(t, "systemd", err == nil && os.Geteuid() == 0)
	m := mustBoot(t)

	m.ctl("enable", "--now", "tenon.socket")
	checkFile(t, "/run/tenon", os.ModeDir|0o755)
	checkFile(t, "/var/lib/tenon", os.ModeDir|0o711)
	checkFile(t, "/run/tenon/tenon.sock", os.ModeSocket|0o660)
	if got := m.run("stat", "-c", "%G", "/run/tenon/tenon.sock"); got != "tenon" {
		t.Errorf("the socket's group is %s, want tenon", got)
	}

	m.ctl("start", "tenon.service") // returns after READY=1
	first := m.report("systemctl start")
	if len(first.Sockets) != 1 || first.Sockets[0] != "api /run/tenon/tenon.sock" {
		t.Errorf("the agent got the sockets %q, want api alone", first.Sockets)
	}
	if got := m.ctl("show", "-P", "StatusText", "tenon"); got != "under test" {
		t.Errorf("status is %q", got)
	}
	checkConfinement(t, first.Pid)

	if err := unix.Kill(first.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := m.report("kill -9")
	checkUndisturbed(t, "kill -9", first.Task)

	if err := os.WriteFile(hang, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	third := m.report("a hang")
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	if second.Pid == third.Pid {
		t.Error("the watchdog did not replace the agent")
	}
	checkUndisturbed(t, "the watchdog", first.Task)

	m.ctl("restart", "tenon.service")
	m.report("systemctl restart")
	m.ctl("stop", "tenon.service")
	checkUndisturbed(t, "systemctl stop", first.Task)
	checkActivation(m)
	m.ctl("stop", "tenon.service", "tenon.socket")
	if _, err := os.Stat("/run/tenon/tenon.sock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file after its unit stopped: %v, want none", err)
	}
	if err := errors.Join(unix.Kill(first.Task, unix.SIGTERM), unix.Unmount(probe, 0), os.Remove(probe)); err != nil {
		t.Error(err)
	}
}

// checkActivation calls on the socket of a stopped agent, which must start it.
func checkActivation(m machine) {
	m.t.Helper()
	conn, err := net.Dial("unix", "/run/tenon/tenon.sock")
	if err != nil {
		m.t.Fatal(err)
	}
	m.report("a call on the socket")
	if err := conn.Close(); err != nil {
		m.t.Error(err)
	}
}

// checkFile compares a file's type and mode.
func checkFile(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != want {
		t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
	}
}

// checkConfinement looks at the running agent from outside: the host's mount
// namespace, the bounding set, no new privileges and a filter.
func checkConfinement(t *testing.T, pid int) {
	t.Helper()
	host, err := os.Readlink("/proc/1/ns/mnt")
	own, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	status, err3 := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if own != host {
		t.Errorf("the agent's mount namespace is %s, the host's %s", own, host)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	bounding, err := strconv.ParseUint(fields["CapBnd"], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if bounding>>unix.CAP_SYS_ADMIN&1 == 0 || bounding>>unix.CAP_SYS_RESOURCE&1 == 1 || bounding>>unix.CAP_SYS_MODULE&1 == 1 {
		t.Errorf("bounding set %x: want CAP_SYS_ADMIN in it, CAP_SYS_RESOURCE and CAP_SYS_MODULE not", bounding)
	}
	if fields["NoNewPrivs"] != "1" || fields["Seccomp"] != "2" {
		t.Errorf("NoNewPrivs %s, Seccomp %s, want 1 and 2", fields["NoNewPrivs"], fields["Seccomp"])
	}
}

// checkUndisturbed wants the first agent's task and mount as they were.
func checkUndisturbed(t *testing.T, after string, task int) {
	t.Helper()
	if err := unix.Kill(task, 0); err != nil {
		t.Errorf("the task is gone after %s: %v", after, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(probe, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Errorf("the agent's mount is gone after %s: type %x, %v", after, fs.Type, err)
	}
	if _, err := os.Stat("/run/tenon/tenon.sock"); err != nil {
		t.Errorf("the socket's file is gone after %s: %v", after, err)
	}
}
