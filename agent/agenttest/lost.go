package agenttest

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"tenon/agent/volume"
)

// Exit ends a process of a task.
func (k *Kernel) Exit(task string, pid int) {
	k.End(pid)
	k.lost <- task
}

// End ends a process, and tells the agent of the tasks that it has seen hold by it.
func (k *Kernel) End(pid int) {
	k.Lock()
	defer k.Unlock()
	k.end(pid)
	k.tell()
}

// Leave ends all that is in a cgroup, if that is there.
func (k *Kernel) Leave(cgroup string) {
	k.Lock()
	defer k.Unlock()
	k.leave(cgroup)
	k.tell()
}

// Preconditions: k is locked.
func (k *Kernel) leave(cgroup string) {
	for pid, in := range maps.Clone(k.Members) {
		if in == cgroup {
			k.end(pid)
		}
	}
	if _, there := k.Cgroups[cgroup]; there {
		k.Cgroups[cgroup] = false
	}
}

// Pass lets time pass, and tells the agent of tasks whose time may be over.
func (k *Kernel) Pass(d time.Duration, tasks ...string) {
	k.Lock()
	k.Uptime += d
	k.tell()
	k.Unlock()
	for _, task := range tasks {
		k.lost <- task
	}
}

// Lost yields tasks whose lease, or another process that an attachment names, has ended since the
// agent looked at them, and those given to Exit and Pass.
func (k *Kernel) Lost() <-chan string { return k.lost }

// watch has the lease of a living task watched, once everything that it names exists, unless it was
// just seen to have ended.
//
// Preconditions: k is locked.
func (k *Kernel) watch(s *volume.State, t *volume.Task, seen volume.SeenTask) {
	lease := t.Lease
	lease.TTL = 0
	if t.Killing {
		lease.Until = 0
	}
	_, made := k.Cgroups[lease.Cgroup]
	switch {
	case t.Releasing || lease == (volume.Lease{}):
		delete(k.watched, t.ID)
	case !seen.Claimant && !seen.Inside && lease.Until <= seen.At:
	case lease.Cgroup == "" || made || t.Killing:
		k.watched[t.ID] = lease
	}
	named := map[string]bool{t.ID: true}
	for a := range s.AttachmentsIn(t.ID) {
		named[spaceKey(t, a.Process)] = true
	}
	for key := range k.watched {
		if strings.HasPrefix(key, t.ID+"\x00") && !named[key] {
			delete(k.watched, key)
		}
	}
	k.tell()
}

// watchSpace has a process watched that an attachment names, where its task does not end with it.
//
// Preconditions: k is locked.
func (k *Kernel) watchSpace(t *volume.Task, p volume.Process) {
	if lease := (volume.Lease{PID: p.PID, Start: p.Start}); t.Lease != lease {
		k.watched[spaceKey(t, p)] = lease
	}
}

// No task's id has a NUL.
func spaceKey(t *volume.Task, p volume.Process) string { return fmt.Sprint(t.ID, "\x00", p.PID) }

// tell tells of what was watched and is held by nothing any more.
//
// Preconditions: k is locked.
func (k *Kernel) tell() {
	for key, lease := range k.watched {
		held := k.alive(volume.Process{PID: lease.PID, Start: lease.Start}) || k.Cgroups[lease.Cgroup] || lease.Until > k.Uptime
		if held {
			continue
		}
		delete(k.watched, key)
		task, _, _ := strings.Cut(key, "\x00")
		k.lost <- task
	}
}
