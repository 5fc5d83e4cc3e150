package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenon/agent/client"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/lease"
	"tenon/isolator/quota"
	"tenon/mount/mounttest"
)

func TestACapabilityIsReadFromTheSetThatIsPermitted(t *testing.T) {
	t.Parallel()
	const status = "Name:\tsh\nCapInh:\t%[1]s\nCapPrm:\t%[2]s\nCapEff:\t%[1]s\nCapBnd:\t000001ffffffffff\n"
	none, just, but := "0000000000000000", "0000000001000000", "000001fffeffffff"
	for permitted, want := range map[string]bool{none: false, just: true, but: false, "what": false} {
		if got := hasCapability(fmt.Sprintf(status, none, permitted), unix.CAP_SYS_RESOURCE); got != want {
			t.Errorf("permitted %s: %t", permitted, got)
		}
	}
	if hasCapability(fmt.Sprintf(status, just, none), unix.CAP_SYS_RESOURCE) {
		t.Error("a capability counts that is only inheritable")
	}
}

func TestManyTasksThatEscapeAreCounted(t *testing.T) {
	t.Parallel()
	few := escaping{"b": 2, "a": 1}
	if got := few.String(); got != "a (process 1), b (process 2)" {
		t.Error(got)
	}
	many := escaping{}
	for i := range 8 {
		many[fmt.Sprint("t", i)] = i
	}
	if got := many.String(); !strings.HasPrefix(got, "t0 (process 0), ") || !strings.HasSuffix(got, ", 3 more") {
		t.Error(got)
	}
}

// answering is a client of a server that has one answer for each path.
func answering(t *testing.T, answers map[string]any) *client.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "answers")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answers[r.URL.Path]) // the client tells
	})}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return client.New(filepath.Join(dir, "s"))
}

// A process of a task is looked at as it is, by the task's lease.
func TestTasksThatKeepACapabilityAreFound(t *testing.T) {
	mounttest.RequireRoot(t)
	able := func(pid int) bool { return capable(pid, unix.CAP_SYS_ADMIN) } // which root has on any machine
	sleeper := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	of, err := lease.OfProcess(sleeper.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	held := wire.Lease{PID: of.PID, Start: of.Start}
	mine := func(a ...wire.Attachment) []wire.Attachment { return a }
	tasks := wire.Tasks{Tasks: []wire.Task{
		{ID: "free", Attachments: mine(wire.Attachment{UUID: "u", Mode: "RW"})},
		{ID: "reader", Lease: held, Attachments: mine(wire.Attachment{UUID: "u", Mode: "RO"})},
		{ID: "elsewhere", Lease: held, Attachments: mine(wire.Attachment{UUID: "other", Mode: "RW"})},
		{ID: "ended", Lease: wire.Lease{PID: of.PID, Start: of.Start + 1}, Attachments: mine(wire.Attachment{UUID: "u", Mode: "RW"})},
		{ID: "writer", Lease: held, Attachments: mine(wire.Attachment{UUID: "u", Mode: "RW"})},
	}}
	api := answering(t, map[string]any{"/v1/tasks": tasks, "/v1/volumes/u": wire.Volume{UUID: "u", Disk: "root"}, "/v1/volumes/other": wire.Volume{UUID: "other", Disk: "b"}})
	hard := func(name string, ways ...string) wire.Disk {
		return wire.Disk{Name: name, Enforcement: &wire.Enforcement{Mode: volume.EnforcedHard, Escapes: ways}}
	}
	disks := []wire.Disk{hard("root", quota.EscapeByProject, quota.EscapeByCapability), hard("b", quota.EscapeByProject), {Name: "c"}}
	found, err := escapesOf(t.Context(), api, disks, quota.EscapeByCapability, able)
	if err != nil || len(found) != 1 || found["writer"] != of.PID {
		t.Errorf("found %v, %v; want the writer alone", found, err)
	}
	found, err = escapesOf(t.Context(), api, disks, quota.EscapeByProject, func(int) bool { return true })
	if err != nil || len(found) != 2 || found["elsewhere"] != of.PID {
		t.Errorf("found %v, %v; want both that write", found, err)
	}
	if found, err = escapesOf(t.Context(), api, disks[1:], quota.EscapeByCapability, able); err != nil || len(found) != 0 {
		t.Errorf("where no disk has that way: %v, %v", found, err)
	}
}

// What is dropped is gone from every set of the thread, and its children do not get it back.
func TestADroppedCapabilityIsGoneForGood(t *testing.T) {
	mounttest.RequireRoot(t)
	const dropped, kept = unix.CAP_SYS_CHROOT, unix.CAP_SYS_ADMIN
	type result struct {
		own, child string
		err        error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with it
		var r result
		if r.err = dropCapability(dropped); r.err == nil {
			r.err = dropCapability(dropped) // what is gone is no error
		}
		own, err := os.ReadFile("/proc/thread-self/status")
		child, childErr := exec.CommandContext(t.Context(), "cat", "/proc/self/status").Output()
		r.own, r.child, r.err = string(own), string(child), errors.Join(r.err, err, childErr)
		done <- r
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	for who, status := range map[string]string{"the thread": r.own, "its child": r.child} {
		if !hasCapability(status, kept) {
			t.Errorf("%s has lost a capability that was not dropped", who)
		}
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			_, rest, _ := strings.Cut(status, set+":")
			line, _, _ := strings.Cut(rest, "\n")
			if hasCapability("CapPrm:"+line, dropped) || line == "" {
				t.Errorf("%s has %s:%s", who, set, line)
			}
		}
	}
}
