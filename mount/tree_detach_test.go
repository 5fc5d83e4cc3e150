package mount

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"tenon/mount/mounttest"
)

func TestATreeIsTakenBackFromAMountPointThatWasRenamed(t *testing.T) {
	mounttest.RequireMounts(t)
	dir := t.TempDir()
	for _, name := range []string{"source", "at"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source, err := OpenDir(filepath.Join(dir, "source"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	tree, err := Clone(source, Attributes{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Detach(); err != nil {
		t.Errorf("detach of a tree that is nowhere: %v", err)
	}
	at, err := OpenDir(filepath.Join(dir, "at"))
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	if err := os.Rename(filepath.Join(dir, "at"), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := tree.Attach(at); err != nil {
		t.Fatal(err)
	}
	if err := tree.Detach(); err != nil {
		t.Fatal(err)
	}
	if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(table, []byte(dir)) {
		t.Errorf("still mounted, %v:\n%s", err, table)
	}
}
