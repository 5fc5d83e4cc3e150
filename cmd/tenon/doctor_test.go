package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/config"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// answers is an agent that gives a status.
func answers(st wire.Status) func(context.Context) (wire.Status, error) {
	return func(context.Context) (wire.Status, error) { return st, nil }
}

// about are the levels of what was found about something.
func (e examined) about(what string) (levels []level) {
	for _, f := range e.Findings {
		if f.About == what {
			levels = append(levels, f.Level)
		}
	}
	return levels
}

// listening is a socket with a mode.
func listening(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "doctor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// emptied is a configuration whose root disk is on a file system with room.
func emptied(t *testing.T) config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.Pool = filepath.Join(t.TempDir(), "not", "made", "yet")
	return cfg
}

func TestADoctorFindsNothingToDoOnAHostThatIsWell(t *testing.T) {
	hard := &wire.Enforcement{Mode: volume.EnforcedHard, Escapes: []string{"a way"}}
	st := wire.Status{Healthy: true, Disks: []wire.Disk{{Name: "root", Enforcement: hard}}}
	found := examine(t.Context(), emptied(t), listening(t, 0o660), answers(st))
	if !found.Healthy {
		t.Errorf("something must be done: %+v", found.Findings)
	}
	if diff := cmp.Diff([]level{fine, note, fine}, found.about("disk root")); diff != "" { // its escape, and its room
		t.Errorf("of the disk (-want +got):\n%s\n%+v", diff, found.Findings)
	}
}

func TestADoctorNamesTheCommandsThatSwitchLimitsOn(t *testing.T) {
	none := &wire.Enforcement{Mode: volume.EnforcedNone, Why: "they are off", Commands: []string{"umount /a", "switch on"}}
	soft := &wire.Enforcement{Mode: volume.EnforcedSoft, Why: "they are off", Commands: []string{"switch on"}}
	short := &wire.Pressure{Reason: "it has no room"}
	all := diskFindings([]wire.Disk{{Name: "a", Enforcement: none}, {Name: "b"}, {Name: "c", Enforcement: &wire.Enforcement{Mode: volume.EnforcedNone, Why: "it can't"}},
		{Name: "d", Enforcement: soft, Pressure: short}})
	want := []finding{
		{"disk a", todo, "sizes of volumes are not enforced: they are off", []string{"systemctl stop tenon.service", "umount /a", "switch on", "systemctl start tenon.service"}},
		{About: "disk b", Level: note, Text: "the agent has not seen it yet"},
		{About: "disk c", Level: note, Text: "sizes of volumes are not enforced: it can't"},
		{About: "disk d", Level: todo, Text: "it has no room"},
		{"disk d", todo, "sizes of volumes are not enforced, what is in them is only measured from time to time: they are off", []string{"switch on"}},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func TestADoctorTellsWhatIsWrongWithTheAgent(t *testing.T) {
	for name, c := range map[string]struct {
		ask  func(context.Context) (wire.Status, error)
		want level
	}{
		"well":      {answers(wire.Status{Healthy: true}), fine},
		"away":      {func(context.Context) (wire.Status, error) { return wire.Status{}, errors.New("nobody answers") }, todo},
		"unhealthy": {answers(wire.Status{Problem: "the journal has failed"}), todo},
		"faults":    {answers(wire.Status{Healthy: true, Counts: wire.Counts{Faults: 2}}), todo},
	} {
		found := examine(t.Context(), emptied(t), listening(t, 0o660), c.ask)
		if diff := cmp.Diff([]level{c.want}, found.about("agent")); diff != "" || found.Healthy && c.want == todo {
			t.Errorf("%s: %v %s", name, found.Healthy, diff)
		}
	}
}

func TestADoctorLooksAtTheSocket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]level{
		listening(t, 0o660): fine, listening(t, 0o666): todo, listening(t, 0o661): todo, file: todo, file + "-none": note,
	} {
		if f := socketFinding(path); f.Level != want {
			t.Errorf("%s: %+v, want %s", path, f, want)
		}
	}
}

func TestADoctorLooksAtDisksThatAreNotThere(t *testing.T) {
	cfg := emptied(t)
	cfg.Disks = []config.Disk{{Path: filepath.Join(t.TempDir(), "none")}}
	all := directoryFindings(cfg, false)
	last := all[len(all)-1]
	if last.Level != todo || last.About != "disk PATH:"+cfg.Disks[0].Path {
		t.Errorf("found %+v", all)
	}
	if len(all) < 3 { // the room of the root disk, and whether it enforces sizes
		t.Errorf("found %+v", all)
	}
}
