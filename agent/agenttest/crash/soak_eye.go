package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// eye compares what the agent says with what the host shows while everybody works. What is
// wrong in many looks running is an error; less is the time between two readings.
type eye struct {
	place *place
	looks int
	since map[string]int // by what is wrong: the first look of those running
}

// look looks once.
func (e *eye) look(ctx context.Context) error {
	wrong, err := e.wrong(ctx)
	if err != nil {
		return err
	}
	return e.note(wrong)
}

// note remembers what is wrong and gives what has been for too long.
func (e *eye) note(wrong []string) error {
	e.looks++
	still, errs := map[string]int{}, []error(nil)
	for _, w := range wrong {
		first, known := e.since[w]
		if !known {
			first = e.looks
		}
		still[w] = first
		if e.looks-first >= lasting {
			errs = append(errs, fmt.Errorf("for %d looks: %s", e.looks-first+1, w))
		}
	}
	e.since = still
	return errors.Join(errs...)
}

// wrong is everything in which agent and host differ, and every fault.
func (e *eye) wrong(ctx context.Context) (wrong []string, err error) {
	st, err := e.place.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range st.Faults {
		wrong = append(wrong, fmt.Sprintf("%s: %s: %s", f.Unit, f.Kind, f.Reason))
	}
	if !st.Healthy {
		wrong = append(wrong, st.Problem)
	}
	// The sum is of one version, so it is right in every look or wrong.
	if err := e.sum(ctx); err != nil {
		return nil, err
	}
	volumes, tasks, _, err := e.place.list(ctx)
	if err != nil {
		return nil, err
	}
	more, err := e.place.differences(volumes, tasks)
	return append(wrong, more...), err
}

// sum holds all accounts and volumes to the total.
func (e *eye) sum(ctx context.Context) error {
	r, err := e.place.Resources(ctx, "", true)
	if err != nil {
		return err
	}
	sum := resource.Scalar(0)
	for _, c := range r.Total {
		sum += c.Resource.Scalar
	}
	if want := resource.Scalar(e.place.total) * resource.One; sum != want {
		return fmt.Errorf("accounts and volumes add up to %v MiB, not %v", sum, want)
	}
	return nil
}

// differences are what only the host or only the agent has.
func (p *place) differences(volumes []wire.Volume, tasks []wire.Task) (diff []string, err error) {
	var live, sandboxes, mounts []string
	for _, v := range volumes {
		live = append(live, string(v.UUID))
	}
	for _, t := range tasks {
		if t.Own {
			sandboxes = append(sandboxes, t.ID)
		}
		for _, a := range t.Attachments {
			if a.Via == volume.ByPath {
				mounts = append(mounts, filepath.Join(t.Sandbox, a.Path))
			}
		}
	}
	var mounted []string
	for _, root := range []string{"sandboxes", "kubelet"} {
		beneath, err := mountsBeneath(p.path(root) + "/")
		if err != nil {
			return nil, err
		}
		mounted = append(mounted, beneath...)
	}
	diff = append(diff, differ("directory of a volume", append(p.entries("pool", "live"), p.entries("disk", "live")...), live)...)
	diff = append(diff, differ("sandbox", p.entries("sandboxes"), sandboxes)...)
	return append(diff, differ("mount", mounted, mounts)...), nil
}

// differ lists what is in only one of two lists, and what is there twice.
func differ(what string, host, agent []string) (diff []string) {
	slices.Sort(host)
	for i, name := range host {
		switch {
		case i > 0 && host[i-1] == name:
			diff = append(diff, fmt.Sprintf("%s %s: the host has it twice", what, name))
		case !slices.Contains(agent, name):
			diff = append(diff, fmt.Sprintf("%s %s: the agent does not know it", what, name))
		}
	}
	for _, name := range agent {
		if _, found := slices.BinarySearch(host, name); !found {
			diff = append(diff, fmt.Sprintf("%s %s: the host does not have it", what, name))
		}
	}
	return diff
}

// settled waits, while nobody works, until nothing is on its way and nothing is wrong, and
// gives the volumes. What stays must be there, and of the crew nothing.
func (e *eye) settled(ctx context.Context) (volumes []wire.Volume, err error) {
	p := e.place
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var busy bool
		var tasks []wire.Task
		st, err := p.Status(ctx)
		if err == nil {
			volumes, tasks, busy, err = p.list(ctx)
		}
		if err != nil {
			return nil, err
		}
		wrong, err := e.wrong(ctx)
		if err != nil {
			return nil, err
		}
		left := append(p.entries("disk", "incoming"), p.entries("disk", "trash")...)
		if len(wrong) == 0 && len(left) == 0 && !busy && st.Counts.Tombstones == 0 && p.purged() {
			return volumes, p.onlyKept(volumes, tasks)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("nobody works, and yet there are %+v, %v, and wrong are: %s", st.Counts, left, strings.Join(wrong, "; "))
		}
	}
}

// onlyKept says whether all that stays is there, and nothing of the crew.
func (p *place) onlyKept(volumes []wire.Volume, tasks []wire.Task) error {
	count := map[string]int{}
	for _, v := range volumes {
		count[v.Role]++
	}
	held := 0
	for _, t := range tasks {
		if strings.HasPrefix(t.ID, roleOfKept+"-") && len(t.Attachments) == 1 {
			held++
		} else if !strings.HasPrefix(t.ID, "t") || strings.HasPrefix(t.ID, "timed") {
			return fmt.Errorf("task %s is left", t.ID)
		}
	}
	if count[roleOfKept] != keptVolumes || held != keptTasks || count[roleOfCrew] != 0 {
		return fmt.Errorf("%v volumes by role and %d tasks are left, of which %d and %d should stay", count, held, keptVolumes, keptTasks)
	}
	return nil
}

// giveSpaceBack unreserves what the clients have reserved, and holds their roles to nothing.
func (k *soaker) giveSpaceBack(ctx context.Context) error {
	r, err := k.site.Resources(ctx, "", true)
	if err != nil {
		return err
	}
	for _, c := range r.Total {
		switch c.Resource.Role() {
		case roleOfKept, roleOfCrew, "*", "":
			continue
		}
		_, err := k.site.Apply(ctx, resource.Operation{Type: resource.OpUnreserve, Unreserve: &resource.Unreserve{Resources: []resource.Resource{c.Resource}}})
		if err != nil {
			return fmt.Errorf("give back %v of %s: %w", c.Resource.Scalar, c.Resource.Role(), err)
		}
	}
	return nil
}
