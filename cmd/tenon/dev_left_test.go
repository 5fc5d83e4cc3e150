package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatAThrowAwayAgentLeavesIsRemovedByTheCommandsThatItTells(t *testing.T) {
	t.Parallel()
	table := "1 0 8:1 / / rw - ext4 /dev/vda rw\n" +
		"2 1 8:1 /x /tmp/dev/sandboxes rw - ext4 /dev/vda rw\n" +
		"3 2 8:1 /y /tmp/dev/sandboxes/t/data rw - ext4 /dev/vda rw\n" +
		"4 1 8:1 /z /tmp/dev2/sandboxes rw - ext4 /dev/vda rw\n" +
		"broken\n"
	want := []string{"/tmp/dev/sandboxes/t/data", "/tmp/dev/sandboxes"}
	if diff := cmp.Diff(want, pointsBeneath(table, "/tmp/dev")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	why := errors.New("a task runs")
	err := leftBehind("/tmp/tenon-dev-none", why)
	lines := "/tmp/tenon-dev-none is left: a task runs\nwhen its tasks have ended, this removes it:\n   rm -r /tmp/tenon-dev-none"
	if !errors.Is(err, why) || err.Error() != lines {
		t.Errorf("got %q, want %q", err, lines)
	}
	if found := cgroupsNamed("no-such-group-" + strings.Repeat("x", 9)); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}
