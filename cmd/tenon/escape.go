package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
	"tenon/isolator/lease"
	"tenon/isolator/quota"
)

// initialUserNamespace is what /proc/PID/ns/user links to in the first user namespace of a host
// (PROC_USER_INIT_INO).
const initialUserNamespace = "user:[4026531837]"

// escaping are tasks that could get around a limit in one way, with a process each that could.
type escaping map[string]int

// escapesOf looks at the processes of all tasks that write where one way around the limits is open.
// Tasks whose processes nobody has told the agent of are passed over, and so are processes that
// this user may not look into. can says whether a process could go that way.
func escapesOf(ctx context.Context, api *client.Client, disks []wire.Disk, way string, can func(pid int) bool) (escaping, error) {
	found, open := escaping{}, map[string]bool{}
	for _, d := range disks {
		if d.Enforcement != nil && slices.Contains(d.Enforcement.Escapes, way) {
			open[d.Name] = true
		}
	}
	if len(open) == 0 {
		return found, nil
	}
	find := volumesOnce(ctx, api)
	for t, err := range api.AllTasks(ctx) {
		if err != nil {
			return found, err
		}
		if pid := firstOfTask(t, can); pid != 0 && slices.ContainsFunc(t.Attachments, func(a wire.Attachment) bool {
			return a.Mode != resource.RO && open[find(a.UUID).Disk]
		}) {
			found[t.ID] = pid
		}
	}
	return found, nil
}

// volumesOnce asks for each volume once; one that is gone by now has nothing.
func volumesOnce(ctx context.Context, api *client.Client) func(id volume.UUID) wire.Volume {
	known := map[volume.UUID]wire.Volume{}
	return func(id volume.UUID) wire.Volume {
		if _, asked := known[id]; !asked {
			known[id], _ = api.Volume(ctx, string(id))
		}
		return known[id]
	}
}

// firstOfTask is the first process of a task that could do something; 0 is none.
func firstOfTask(t wire.Task, can func(pid int) bool) int {
	for _, pid := range livingOf(t) {
		if ns, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/user"); err == nil && ns == initialUserNamespace && can(pid) {
			return pid
		}
	}
	return 0
}

// livingOf are processes that a task is known to have: those in its cgroup, or, where it has none,
// the one that claimed for it. Of a task that tenon run has claimed for these are its children.
func livingOf(t wire.Task) []int {
	if t.Lease.Cgroup != "" || t.Lease.PID == 0 {
		return processesOf(t)
	}
	if held, err := (lease.Lease{PID: t.Lease.PID, Start: t.Lease.Start}).Held(); err != nil || !held {
		return nil
	}
	if processName(t.Lease.PID) == "tenon" {
		return childrenOf(t.Lease.PID)
	}
	return []int{t.Lease.PID}
}

// childrenOf lists the children of a process' first thread (proc_tid_children(5)).
func childrenOf(pid int) (pids []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// capable says whether a process has a capability in effect, or could put it there.
func capable(pid, c int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err == nil && hasCapability(string(text), c)
}

// hasCapability looks into a text as proc_pid_status(5) describes it.
func hasCapability(status string, c int) bool {
	for line := range strings.Lines(status) {
		if name, value, _ := strings.Cut(line, ":"); name == "CapPrm" {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && set&(1<<c) != 0
		}
	}
	return false
}

// keepsCapability says of a process that ext4 does not hold it to quotas.
func keepsCapability(pid int) bool { return capable(pid, unix.CAP_SYS_RESOURCE) }

// escapeFindings name the tasks that could get around the sizes of their volumes.
func escapeFindings(ctx context.Context, api *client.Client) (all []finding) {
	st, err := api.Status(ctx)
	if err != nil {
		return nil // which is told already
	}
	capable, err := escapesOf(ctx, api, st.Disks, quota.EscapeByCapability, keepsCapability)
	var owners escaping
	if err == nil {
		owners, err = escapesOf(ctx, api, st.Disks, quota.EscapeByProject, func(int) bool { return true })
	}
	if err != nil {
		return []finding{{About: "tasks", Level: note, Text: "it is not known whether any could get around the sizes of volumes: " + err.Error()}}
	}
	if len(capable) > 0 {
		all = append(all, finding{About: "tasks", Level: note, Text: "not held to the sizes of their volumes, as they keep CAP_SYS_RESOURCE " +
			"(tenon run takes it from its commands): " + capable.String()})
	}
	if len(owners) > 0 {
		all = append(all, finding{About: "tasks", Level: note, Text: "in the initial user namespace, where they can take files that they own out of the limit: " + owners.String()})
	}
	return all
}

// notHeld notes which tasks the limits do not hold.
func (p *page) notHeld(tasks escaping) {
	if len(tasks) > 0 {
		p.line("%s", p.paint(yellow, "limits do not hold tasks with CAP_SYS_RESOURCE: "+clean(tasks.String())))
	}
}

// String names the tasks: all of a few, or the first and a count.
func (e escaping) String() string {
	const few = 5
	var list []string
	for id, pid := range e {
		list = append(list, fmt.Sprintf("%s (process %d)", id, pid))
	}
	slices.Sort(list)
	if more := len(list) - few; more > 0 {
		list = append(list[:few], fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}
