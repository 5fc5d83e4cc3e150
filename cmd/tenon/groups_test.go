package main

import (
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tenon/agent/config"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/lease"
	"tenon/isolator/owner"
	"tenon/mount/mounttest"
)

func TestADoctorTellsOfGroups(t *testing.T) {
	t.Parallel()
	ranges := owner.Ranges{{First: 61000, Last: 61001}}
	for _, c := range []struct {
		name   string
		groups owner.Ranges
		told   *wire.Groups
		level  level
		text   string
	}{
		{"none", nil, nil, note, "volume_gid_range is empty"},
		{"some", ranges, &wire.Groups{Range: "[61000-61001]", Total: 2, Free: 1}, fine, "1 of 2 in [61000-61001] are free"},
		{"none left", ranges, &wire.Groups{Range: "[61000-61001]", Total: 2}, todo, "none of [61000-61001] is left"},
	} {
		all := groupFindings(config.Config{Groups: c.groups}, c.told)
		if len(all) != 1 || all[0].Level != c.level || !strings.Contains(all[0].Text, c.text) {
			t.Errorf("%s: %+v; want %s with %q", c.name, all, c.level, c.text)
		}
	}
}

// Groups 1 and 2 are somebody's wherever these tests run.
func TestGroupsOfTheHostAreToldAndNotGiven(t *testing.T) {
	mounttest.RequireRoot(t)
	cfg := config.Config{Groups: owner.Ranges{{First: 1, Last: 2}}}
	info, err := hostInfo(cfg, slog.New(slog.DiscardHandler))
	if err != nil || len(info.Taken) == 0 {
		t.Fatalf("taken are %v, %v", info.Taken, err)
	}
	all := groupFindings(cfg, &wire.Groups{Range: "[1-2]", Total: 2, Free: 1})
	if len(all) != 2 || all[1].Level != note || !strings.Contains(all[1].Text, info.Taken[1]) {
		t.Errorf("%+v; want a note with %q", all, info.Taken[1])
	}
	if info, err := hostInfo(config.Config{}, nil); err != nil || info.Groups != nil {
		t.Errorf("without a range there are %v, %v", info.Groups, err)
	}
}

// A process is told of that is neither in the group, nor the owner's, nor root's.
func TestWhoLacksAGroupIsNamed(t *testing.T) {
	mounttest.RequireRoot(t)
	start := func(uid uint32, groups ...uint32) int {
		c := exec.CommandContext(t.Context(), "sleep", "1000")
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		return c.Process.Pid
	}
	v := wire.Volume{UUID: "u", Group: 61000, Owner: wire.Owner{UID: 62009, GID: 61000}}
	task := wire.Task{ID: "alice", Attachments: []wire.Attachment{{UUID: "u", Group: 61000}}}
	out := start(62001)
	told := outsiders(v, task, []int{out, start(62001, 61000), start(62009), os.Getpid()})
	if len(told) != 1 || !strings.Contains(told[0], "of task alice may not use it: it is not in group 61000") {
		t.Errorf("%q; want just process %d", told, out)
	}
	of, err := lease.OfProcess(out)
	if err != nil {
		t.Fatal(err)
	}
	task.Lease = wire.Lease{PID: of.PID, Start: of.Start}
	v.Name = "web/v"
	api := answering(t, map[string]any{"/v1/tasks": wire.Tasks{Tasks: []wire.Task{task, {ID: "free"}}}, "/v1/volumes/u": v})
	if all := outsiderFindings(t.Context(), api); len(all) != 1 || all[0].About != "volume web/v" || all[0].Level != note || all[0].Text != told[0] {
		t.Errorf("the doctor tells %+v, want %q", all, told)
	}
	mapped := wire.Task{ID: "bob", Attachments: []wire.Attachment{{UUID: "u", As: &volume.ID{UID: 62001, GID: 62001}}}}
	if told := outsiders(v, mapped, []int{out}); len(told) != 0 {
		t.Errorf("of a task that sees the volume as its own: %q", told)
	}
	v.Group = 0
	if told := outsiders(v, task, []int{out}); len(told) != 0 {
		t.Errorf("of a volume without a group: %q", told)
	}
}
