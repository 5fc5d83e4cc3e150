package wire

import (
	"time"

	"tenon/agent/volume"
)

// Lease is what proves a task alive. One without fields is held until it is released.
type Lease struct {
	PID    int    `json:"pid,omitempty"`
	Start  uint64 `json:"start,omitempty"` // of the process: clock ticks after boot
	Cgroup string `json:"cgroup,omitempty"`
	TTL    string `json:"ttl,omitempty"` // time to live after each renewal, as "10m0s"
}

// Held is what of a task's lease holds it now.
type Held struct {
	Process   bool   `json:"process"`              // the process lives
	Processes int    `json:"processes"`            // how many are in the cgroup
	ExpiresIn string `json:"expires_in,omitempty"` // what is left of its time, as "42s"; "0s" when it has passed
}

// Renew asks for a task to be held for a time from now on.
type Renew struct {
	TTL string `json:"ttl,omitempty"` // as "10m"; none is the task's own
}

func leaseOf(l volume.Lease) Lease {
	w := Lease{PID: l.PID, Start: l.Start, Cgroup: l.Cgroup}
	if l.TTL != 0 {
		w.TTL = l.TTL.String()
	}
	return w
}

// HeldOf tells what holds a task, of which its process and so many in its cgroup live, and
// so much of its time is left; nil for a task that is held until it is released.
func HeldOf(t *volume.Task, process bool, processes int, left time.Duration) *Held {
	if t.Lease == (volume.Lease{}) {
		return nil
	}
	h := &Held{Process: process, Processes: processes}
	if t.Lease.TTL != 0 {
		h.ExpiresIn = max(0, left).Round(time.Second).String()
	}
	return h
}

// Operation is what the agent has to do for the request.
func (r Renew) Operation(task string) (volume.Renew, error) {
	ttl, err := ttlOf(r.TTL)
	return volume.Renew{Task: task, TTL: ttl}, err
}

// ttlOf reads a time to live; none is 0.
func ttlOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(text)
	if err != nil || ttl < volume.MinTTL || ttl > volume.MaxTTL {
		return 0, refuse("ttl %.64q is no time from %s to %s, as 90s or 12h", text, volume.MinTTL, volume.MaxTTL)
	}
	return ttl, nil
}
