package volume

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent/resource"
)

func TestWhatADiskEnforcesIsNotedAndNeverStored(t *testing.T) {
	hard := Enforcement{Mode: EnforcedHard, Why: "so", Escapes: []string{"a way"}}
	s := Empty().With(Change{Disk: &Disk{Pool: "p", Phase: Creating, Total: resource.One}})
	look := func(seen Enforcement) (stored int) {
		t.Helper()
		changes := Settle(s, UnitOfDisk(""), Seen{Disk: SeenDisk{Pool: "p", Enforcement: seen}}, time.Time{})
		for _, c := range changes {
			if c.Stored() {
				stored++
			}
		}
		s = s.With(changes...)
		if d, _ := s.Disk(""); d.Phase != Ready || !cmp.Equal(d.Enforcement, seen) {
			t.Errorf("the disk is %+v, want %+v", d, seen)
		}
		return stored
	}
	if n := look(hard); n != 1 { // that the disk is ready
		t.Errorf("%d changes are stored, want 1", n)
	}
	before := s.Version
	if n := look(Enforcement{Mode: EnforcedNone, Commands: []string{"do"}}); n != 0 || s.Version != before+1 {
		t.Errorf("%d changes are stored, want none, and a version", n)
	}
	d, _ := s.Disk("")
	if text, err := (Change{Disk: d}).Encode(); err != nil || strings.Contains(string(text), "none") {
		t.Errorf("a disk is stored as %s, %v", text, err)
	}
	changes := Settle(s, UnitOfDisk(""), Seen{Disk: SeenDisk{Pool: "p", Enforcement: d.Enforcement}}, time.Time{})
	if len(changes) != 0 {
		t.Errorf("the same again makes changes: %+v", changes)
	}
}

func TestAVolumeIsEnforcedWhereItsDiskDoesSoAndItHasAProject(t *testing.T) {
	at := "/mnt/d"
	mount := &resource.Source{Type: resource.SourceMount, Mount: &resource.Root{Root: &at}}
	hard, none := Enforcement{Mode: EnforcedHard}, Enforcement{Mode: EnforcedNone}
	s := Empty().With(Change{Disk: &Disk{Key: "hard", Enforcement: hard}}, Change{Disk: &Disk{Key: "none", Enforcement: none}},
		Change{Disk: &Disk{Key: "mount", Source: mount, Enforcement: hard}}, Change{Disk: &Disk{Key: "unseen"}})
	for _, c := range []struct {
		disk    string
		project uint32
		want    EnforcementMode
	}{
		{"hard", 5000, EnforcedHard}, {"hard", 0, EnforcedNone}, {"none", 5000, EnforcedNone},
		{"mount", 0, EnforcedHard}, {"unseen", 5000, ""}, {"no such disk", 5000, ""},
	} {
		if got := s.EnforcementOf(&Volume{Disk: c.disk, Project: c.project}); got != c.want {
			t.Errorf("on disk %s with project %d it is %q, want %q", c.disk, c.project, got, c.want)
		}
	}
}
