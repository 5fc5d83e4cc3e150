package host

import (
	"tenon/agent"
	"tenon/agent/volume"
	"tenon/isolator/cgroup"
	"tenon/isolator/lease"
)

// Life looks at what holds a task. A cgroup that is not there, or that only another agent
// could have made, has nothing in it.
func (h *Host) Life(t *volume.Task) (life agent.Life, err error) {
	if t.Lease.PID != 0 {
		if life.Process, err = processOf(t).Held(); err != nil {
			return life, err
		}
	}
	if t.Lease.Cgroup != "" {
		group, err := cgroup.Find(t.Lease.Cgroup)
		if err != nil {
			return life, err
		}
		pids, err := group.Processes()
		if err != nil {
			return life, err
		}
		life.Processes = len(pids)
	}
	life.Left = t.Lease.Until - lease.Now()
	return life, nil
}
