package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// A task that runs has its volume made read-only under it and writable again: what it reads
// it goes on reading, and while it writes the answer is who writes.
func TestAModeIsFlippedUnderATaskThatRuns(t *testing.T) {
	n := start(t, directory(t))
	n.reserve(t)
	n.create(t, "data", true)
	n.must(t, use("t1", "data", "", resource.RW))
	task, _ := n.State().Task("t1")
	seen := filepath.Join(task.Sandbox, "data", "file")
	f, err := os.OpenFile(seen, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	toRO := volume.SetMode{Task: "t1", Volume: "web/data", Mode: resource.RO}
	_, err = n.Do(t.Context(), toRO)
	if !errors.Is(err, volume.ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatalf("while somebody writes: %v; want ErrBusy with pid %d", err, os.Getpid())
	}
	if mode(n, "t1") != resource.RW {
		t.Error("a refused flip is recorded")
	}
	if _, err := f.WriteString("one"); err != nil {
		t.Errorf("the writer is disturbed: %v", err)
	}
	reader, err := os.Open(seen)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	_ = f.Close()
	n.must(t, toRO)
	if err := os.WriteFile(seen, []byte("two"), 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("written although it is read-only: %v", err)
	}
	got := make([]byte, 3)
	if _, err := reader.ReadAt(got, 0); err != nil || string(got) != "one" {
		t.Errorf("the reader got %q, %v", got, err)
	}
	n.must(t, volume.SetMode{Task: "t1", Volume: "web/data", Mode: resource.RW})
	if err := os.WriteFile(seen, []byte("two"), 0o644); err != nil {
		t.Errorf("not written although it is writable again: %v", err)
	}
	_ = reader.Close()
	n.must(t, volume.Release{Task: "t1"})
}

func mode(n *node, task string) resource.Mode {
	for a := range n.State().AttachmentsIn(task) {
		return a.Mode
	}
	return ""
}
