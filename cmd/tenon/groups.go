package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/agent/client"
	"tenon/agent/config"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/owner"
)

// hostInfo is what is configured besides disks, with the groups that are somebody's already.
func hostInfo(cfg config.Config, log *slog.Logger) (volume.HostInfo, error) {
	info := volume.HostInfo{Resources: cfg.Others(), Attributes: cfg.Attributes}
	if len(cfg.Groups) == 0 {
		return info, nil
	}
	clashes, err := clashesOf(cfg.Groups)
	if err != nil {
		return info, err
	}
	info.Groups, info.Taken = cfg.Groups, map[uint32]string{}
	for name, gid := range clashes {
		info.Taken[gid] = name
		log.Warn("group of volume_gid_range is somebody's, and not given to volumes", "group", fmt.Sprintf("%s (%d)", name, gid))
	}
	return info, nil
}

// clashesOf are the groups of this host that are in the ranges.
func clashesOf(groups owner.Ranges) (map[string]uint32, error) {
	f, err := os.Open("/etc/group")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return groups.Clashes(f)
}

// groupFindings say whether shared volumes are given groups, and whose some of these are.
func groupFindings(cfg config.Config, told *wire.Groups) (all []finding) {
	const about = "groups"
	switch {
	case told != nil && told.Free == 0:
		all = append(all, finding{About: about, Level: todo, Text: fmt.Sprintf("none of %s is left for a shared volume; configure a larger volume_gid_range", told.Range)})
	case told != nil:
		all = append(all, finding{About: about, Level: fine, Text: groupsText(told)})
	case len(cfg.Groups) == 0:
		all = append(all, finding{About: about, Level: note, Text: "shared volumes are given none, so that tasks of different users cannot work on one: volume_gid_range is empty"})
	}
	clashes, err := clashesOf(cfg.Groups)
	if err != nil {
		return append(all, finding{About: about, Level: todo, Text: err.Error()})
	}
	if len(clashes) > 0 {
		all = append(all, finding{About: about, Level: note, Text: fmt.Sprintf("some of volume_gid_range %s are this host's, and not given to volumes: %s",
			cfg.Groups, strings.Join(slices.Sorted(maps.Keys(clashes)), ", "))})
	}
	return all
}

// groupsText says how many groups there are for volumes.
func groupsText(g *wire.Groups) string {
	if g == nil {
		return ""
	}
	return fmt.Sprintf("%d of %d in %s are free for shared volumes", g.Free, g.Total, clean(g.Range))
}

// groupOf says which group the tasks of a volume need, if any.
func groupOf(v wire.Volume) string {
	if v.Group == 0 {
		return ""
	}
	return fmt.Sprintf("%d, which its tasks need; tenon run gives it to them", v.Group)
}

// groupsFor are the groups of the volumes that a task has, each once.
func groupsFor(t wire.Task) (groups []uint32) {
	for _, a := range t.Attachments {
		if a.Group != 0 {
			groups = append(groups, a.Group)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// outsiders tells of processes of a task that may not use a volume for want of its group.
func outsiders(v wire.Volume, t wire.Task, pids []int) (told []string) {
	if v.Group == 0 || !needsGroup(v, t) {
		return nil
	}
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || hasCapability(string(status), unix.CAP_DAC_OVERRIDE) || ownsAs(string(status), v.Owner.UID) {
			continue
		}
		if member, err := owner.Member(pid, v.Group); err == nil && !member {
			told = append(told, fmt.Sprintf("process %d (%s) of task %s may not use it: it is not in group %d, and groups are given to a process "+
				"when it starts; start it with that group, as tenon run does", pid, clean(processName(pid)), clean(t.ID), v.Group))
		}
	}
	return told
}

// outsiderFindings name processes that may not use a volume of their task for want of its group.
func outsiderFindings(ctx context.Context, api *client.Client) (all []finding) {
	const most = 10
	find := volumesOnce(ctx, api)
	for t, err := range api.AllTasks(ctx) {
		if err != nil || len(all) >= most {
			return all // that no agent answers is told already
		}
		for _, a := range t.Attachments {
			if a.Group == 0 {
				continue
			}
			v := find(a.UUID)
			for _, text := range outsiders(v, t, livingOf(t)) {
				all = append(all, finding{About: "volume " + v.Name, Level: note, Text: text})
			}
		}
	}
	return all
}

// needsGroup says whether a task sees a volume as it is, anywhere.
func needsGroup(v wire.Volume, t wire.Task) bool {
	return slices.ContainsFunc(t.Attachments, func(a wire.Attachment) bool { return a.UUID == v.UUID && a.Group != 0 })
}

// ownsAs looks into a text as proc_pid_status(5) describes it for the user that a process has for
// files.
func ownsAs(status string, uid int) bool {
	for line := range strings.Lines(status) {
		if name, value, _ := strings.Cut(line, ":"); name == "Uid" {
			ids := strings.Fields(value)
			return len(ids) > 0 && ids[len(ids)-1] == strconv.Itoa(uid)
		}
	}
	return false
}
