package mastertest

import (
	"regexp"
	"strings"
	"testing"
)

// ended is a test that has ended.
type ended struct{ failed, skipped bool }

func (e ended) Failed() bool  { return e.failed }
func (e ended) Skipped() bool { return e.skipped }

func TestTheTableHasARowForEachRequirementAndSaysWhatTheRunHasShown(t *testing.T) {
	t.Parallel()
	table, all := newTable([]Kind{{Name: "one"}, {Name: "two"}}), requirements()
	for _, r := range all[1:] {
		table.note(ended{}, "one", r.name)
	}
	table.note(ended{failed: true}, "one", all[2].name)
	table.note(ended{skipped: true}, "two", all[0].name)
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	if len(lines) != len(all)+1 {
		t.Fatalf("there are %d lines for %d requirements:\n%s", len(lines), len(all), table)
	}
	column := regexp.MustCompile(` {2,}`)
	for i, want := range append([]string{"requirement|one|two", all[0].name + "|not run|not tried", all[1].name + "|yes|not run", all[2].name + "|NO|not run"},
		make([]string, len(all)-3)...) {
		if want == "" {
			want = all[i-1].name + "|yes|not run"
		}
		if got := column.ReplaceAllString(lines[i], "|"); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
		if at := strings.Index(lines[0], "one"); lines[i][at-2:at] != "  " || lines[i][at] == ' ' {
			t.Errorf("line %d is not aligned: %q", i, lines[i])
		}
	}
}
