package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// look holds what the agent says, once it has nothing more to do, against the disk, the
// mount table and the history, and records what it says. Nobody else may be asking.
func (l *load) look(ctx context.Context) error {
	volumes, tasks, err := l.site.settled(ctx)
	if err != nil {
		return err
	}
	errs := []error{l.site.checkHost(volumes, tasks), l.checkData(volumes), l.checkSpace(ctx)}
	for n := range names {
		if a := l.lookAt(fmt.Sprint("v", n)); a.Kind != kindOK {
			errs = append(errs, errors.New(a.Text))
		}
	}
	return errors.Join(errs...)
}

// settled waits until nothing is being made or removed any more and gives the rest.
func (s *site) settled(ctx context.Context) (volumes []wire.Volume, tasks []wire.Task, err error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		st, err := s.Status(ctx)
		if err != nil {
			return nil, nil, err
		}
		if st.Counts.Faults > 0 {
			return nil, nil, fmt.Errorf("faults: %+v", st.Faults)
		}
		volumes, tasks, busy, err := s.list(ctx)
		if err != nil || !busy && st.Counts.Tombstones == 0 && s.purged() {
			return volumes, tasks, err
		}
		if time.Now().After(deadline) {
			return nil, nil, fmt.Errorf("something is still being made or removed: %+v", st.Counts)
		}
	}
}

// list gives all volumes and tasks, and whether any of them is on its way.
func (s *site) list(ctx context.Context) (volumes []wire.Volume, tasks []wire.Task, busy bool, err error) {
	for v, err := range s.AllVolumes(ctx) {
		if err != nil {
			return nil, nil, false, err
		}
		volumes, busy = append(volumes, v), busy || v.Phase != volume.Ready
	}
	for t, err := range s.AllTasks(ctx) {
		if err != nil {
			return nil, nil, false, err
		}
		tasks, busy = append(tasks, t), busy || t.Releasing
	}
	return volumes, tasks, busy, nil
}

// purged says whether nothing is on its way in or out of the pool.
func (s *site) purged() bool {
	return len(s.entries("pool", "incoming")) == 0 && len(s.entries("pool", "trash")) == 0
}

// entries are the names in a directory, or what is wrong with it.
func (s *site) entries(dir ...string) (all []string) {
	entries, err := os.ReadDir(s.path(dir...))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []string{err.Error()}
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// checkHost compares directories and mounts with what the agent says.
func (s *site) checkHost(volumes []wire.Volume, tasks []wire.Task) error {
	var live, sandboxes, mounts []string
	for _, v := range volumes {
		live = append(live, string(v.UUID))
	}
	for _, t := range tasks {
		sandboxes = append(sandboxes, t.ID)
		for _, a := range t.Attachments {
			if a.Via == volume.ByPath {
				mounts = append(mounts, filepath.Join(t.Sandbox, a.Path))
			}
		}
	}
	mounted, err := mountsBeneath(s.path("sandboxes") + "/")
	return errors.Join(err,
		same("volumes", s.entries("pool", "live"), live),
		same("sandboxes", slices.DeleteFunc(s.entries("sandboxes"), s.unmarked), sandboxes),
		same("mounts", mounted, mounts))
}

// unmarked says whether a sandbox may be left: a power cut between the making of a directory
// and that of its mark leaves an empty one, which might be anybody's.
func (s *site) unmarked(name string) bool {
	if !s.wasCut || len(s.entries("sandboxes", name)) > 0 {
		return false
	}
	_, err := syscall.Getxattr(s.path("sandboxes", name), "trusted.tenon.task", nil)
	return errors.Is(err, syscall.ENODATA)
}

func same(what string, host, agent []string) error {
	slices.Sort(host)
	slices.Sort(agent)
	if slices.Equal(host, agent) {
		return nil
	}
	return fmt.Errorf("%s: the host has %v, the agent %v", what, host, agent)
}

func mountsBeneath(prefix string) (points []string, err error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(table)) {
		const mountPoint = 4 // proc_pid_mountinfo(5)
		if point := strings.Fields(line)[mountPoint]; strings.HasPrefix(point, prefix) {
			points = append(points, point)
		}
	}
	return points, err
}

// checkData looks for all that was written and synced in the volumes that there are.
func (l *load) checkData(volumes []wire.Volume) error {
	events, errs := l.history.all()
	asks := map[int]*Ask{}
	written := map[string][]string{}
	for _, e := range events {
		switch {
		case e.Ask != nil && e.Ask.Do == doWrite:
			asks[e.Call] = e.Ask
		case e.Answer != nil && e.Answer.Kind == kindOK && asks[e.Call] != nil:
			uuid := idOf(asks[e.Call].On)
			written[uuid] = append(written[uuid], asks[e.Call].Task)
		}
	}
	for _, v := range volumes {
		for _, name := range written[string(v.UUID)] {
			text, err := os.ReadFile(l.site.path("pool", "live", string(v.UUID), "data", name))
			if want := string(v.UUID) + " " + name; err != nil || string(text) != want {
				errs = append(errs, fmt.Errorf("volume %s: file %s, written and synced, holds %q, %w", v.Name, name, text, errors.Join(err)))
			}
		}
	}
	return errors.Join(errs...)
}

// checkSpace adds up all space, and that of the operations with ids.
func (l *load) checkSpace(ctx context.Context) error {
	r, err := l.site.Resources(ctx, "", true)
	if err != nil {
		return err
	}
	sum, byRole := resource.Scalar(0), map[string]int64{}
	for _, c := range r.Total {
		sum += c.Resource.Scalar
		byRole[c.Resource.Role()] += int64(c.Resource.Scalar)
	}
	var errs []error
	if sum != resource.Scalar(l.site.total)*resource.One {
		errs = append(errs, fmt.Errorf("accounts and volumes add up to %v MiB, not %d: %+v", sum, l.site.total, r.Total))
	}
	events, _ := l.history.all()
	roles, wrong := spaceOf(events, byRole)
	errs = append(errs, wrong...)
	for _, role := range roles {
		call := l.history.ask(Ask{Do: doLook, On: "role/" + role})
		l.history.answer(call, Answer{Kind: kindOK, Size: byRole[role]})
	}
	return errors.Join(errs...)
}

// spaceOf holds what the roles of the load have, in thousandths of a MiB, against what was
// answered, and lists the roles that had reservations of their own.
func spaceOf(events []Event, byRole map[string]int64) (roles []string, wrong []error) {
	const all = volumesMiB * int64(resource.One)
	if got := byRole[roleOfVolumes]; got != all && (got != 0 || reservedFor(events, roleOfVolumes)) {
		wrong = append(wrong, fmt.Errorf("role %s has %d thousandths of a MiB, not %d", roleOfVolumes, got, all))
	}
	done, open, roles := onces(events)
	if got := byRole[roleOfOnce]; got < int64(done) || got > int64(done+open) {
		wrong = append(wrong, fmt.Errorf("%d operations with ids have been done, and perhaps %d more, but they have reserved %d", done, open, got))
	}
	return roles, wrong
}

// onces counts the operations with ids that were done for sure, and those that may have
// been, and lists the roles that had reservations of their own.
func onces(events []Event) (done, open int, roles []string) {
	asks, was := map[int]*Ask{}, map[string]bool{}
	for _, e := range events {
		switch {
		case e.Ask != nil && e.Ask.Do == doOnce:
			asks[e.Call] = e.Ask
			if _, known := was[e.Ask.On]; !known {
				was[e.Ask.On] = false
			}
		case e.Ask != nil && e.Ask.Do == doReserve && e.Ask.On != "role/"+roleOfVolumes && !slices.Contains(roles, idOf(e.Ask.On)):
			roles = append(roles, idOf(e.Ask.On))
		case e.Answer != nil && e.Answer.Kind == kindOK && asks[e.Call] != nil:
			was[asks[e.Call].On] = true
		}
	}
	for _, sure := range was {
		if sure {
			done++
		} else {
			open++
		}
	}
	return done, open, roles
}
