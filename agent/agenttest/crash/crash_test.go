package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenon/agent/wire"
	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.Main(m) }

// killsOfTests are as many kills as each run of the tests can bear; `make kill` has more.
const killsOfTests = 12

func TestAcknowledgedIsKeptOverKills(t *testing.T) {
	mounttest.RequireRoot(t)
	mounttest.RequireMounts(t)
	seed := uint64(time.Now().UnixNano()) // printed by kill
	var out strings.Builder
	err := kill(options{tenon: mustBuild(t), kills: killsOfTests, clients: 8, seed: seed}, &out)
	t.Log(out.String())
	if err != nil {
		t.Error(err)
	}
}

// mustBuild builds the program under test.
func mustBuild(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tenon")
	build(t, program)
	return program
}

func build(t testing.TB, program string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "tenon/cmd/tenon")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestWhatTheHostHasAndTheAgentDoesNotSayIsFound(t *testing.T) {
	t.Parallel()
	s := &site{dir: t.TempDir()}
	for _, dir := range []string{"pool/live/u1/data", "pool/incoming", "pool/trash", "sandboxes/t1"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	volumes, tasks := []wire.Volume{{UUID: "u1", Name: "web/v"}}, []wire.Task{{ID: "t1"}}
	if err := s.checkHost(volumes, tasks); err != nil {
		t.Errorf("nothing is wrong: %v", err)
	}
	for what, got := range map[string]error{
		"a directory that no volume has":  s.checkHost(nil, tasks),
		"a volume that has no directory":  s.checkHost(append(volumes, wire.Volume{UUID: "u2"}), tasks),
		"a sandbox that no task has":      s.checkHost(volumes, nil),
		"a mount that is not there":       s.checkHost(volumes, []wire.Task{{ID: "t1", Attachments: []wire.Attachment{{Via: "path", Path: "data"}}}}),
		"a file that was written and not": (&load{site: s, history: newHistory(written("u1", "f"), nil)}).checkData(volumes),
	} {
		if got == nil {
			t.Errorf("%s: not found", what)
		}
	}
	if !s.purged() {
		t.Error("empty places are not seen to be empty")
	}
	if err := os.Mkdir(s.path("pool/trash/u3"), 0o700); err != nil || s.purged() {
		t.Errorf("what is left in trash is not seen (%v)", err)
	}
}

// written is a history in which a file was written and synced.
func written(uuid, name string) []Event {
	var h said
	h.answer(h.ask(Ask{Do: doWrite, On: "data/" + uuid, Task: name}), ok)
	return h.events
}

func TestDataThatWasWrittenIsRead(t *testing.T) {
	t.Parallel()
	s := &site{dir: t.TempDir()}
	dir := s.path("pool/live/u1/data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := &worker{load: &load{site: s, history: newHistory(nil, func(line []byte) error { return json.Unmarshal(line, &Event{}) })}}
	w.put("u1", "f", dir)
	w.put("u1", "g", filepath.Join(dir, "gone"))
	volumes := []wire.Volume{{UUID: "u1"}}
	if err := w.checkData(volumes); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.checkData(volumes) == nil {
		t.Error("damaged data was not found")
	}
}
