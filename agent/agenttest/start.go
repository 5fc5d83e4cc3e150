package agenttest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/checkpoint"
)

// Start runs an agent on a kernel with a journal in a temporary directory, and stops it
// when the test ends. The kernel's disks have 4,096 MiB each.
func Start(t testing.TB, k *Kernel) *agent.Agent {
	t.Helper()
	a, _ := StartOn(t, k, t.TempDir(), "boot-1")
	return a
}

// StartWith is Start with options of the caller's besides kernel, journal and boot.
func StartWith(t testing.TB, k *Kernel, o agent.Options) *agent.Agent {
	t.Helper()
	a, _ := start(t, k, t.TempDir(), "boot-1", o)
	return a
}

// StartOn is Start with a journal directory and a boot of the caller's, so that an agent
// can be started again on what another one left. stop ends it before the test does.
func StartOn(t testing.TB, k *Kernel, dir, boot string) (a *agent.Agent, stop func()) {
	t.Helper()
	return start(t, k, dir, boot, agent.Options{})
}

// StartTimed is StartOn with options of the caller's, in the time that is: that of a bubble of
// testing/synctest, say.
func StartTimed(t testing.TB, k *Kernel, dir string, o agent.Options) (a *agent.Agent, stop func()) {
	t.Helper()
	o.Now = func() time.Time { return time.Now().UTC() }
	return start(t, k, dir, "boot-1", o)
}

func start(t testing.TB, k *Kernel, dir, boot string, o agent.Options) (a *agent.Agent, stop func()) {
	t.Helper()
	k.Revive()
	quiet := slog.New(slog.DiscardHandler)
	j, err := checkpoint.Open(dir, checkpoint.Options{Logger: quiet})
	if err != nil {
		t.Fatalf("open journal: %v", err)
	}
	o.Kernel, o.Journal, o.Boot, o.Disks, o.Log = k, j, boot, k.Disks(), quiet
	if o.Now == nil {
		o.Now = ticking()
	}
	a, err = agent.Start(context.Background(), o)
	if err != nil {
		_ = j.Close()
		t.Fatalf("start agent: %v", err)
	}
	stop = sync.OnceFunc(func() {
		a.Stop()
		if err := j.Close(); err != nil {
			t.Errorf("close journal: %v", err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

// Disks is how the kernel's disks are configured.
func (k *Kernel) Disks() []volume.Disk {
	if k.Configured != nil {
		return k.Configured
	}
	const total = 4096 * resource.One
	disks := []volume.Disk{{Total: total}}
	for _, dir := range k.dirs {
		disks = append(disks, volume.Disk{Key: source(dir).Key(), Source: source(dir), Total: total})
	}
	return disks
}

// Configure has the kernel's disks configured otherwise from the next start of an agent on.
// Disks that are new are empty.
func (k *Kernel) Configure(disks ...volume.Disk) {
	k.Lock()
	defer k.Unlock()
	k.Configured = disks
	for _, d := range disks {
		if k.Pools[d.Key] == nil {
			k.Pools[d.Key] = newPool()
		}
	}
}

func source(dir string) *resource.Source {
	return &resource.Source{Type: resource.SourcePath, Path: &resource.Root{Root: &dir}}
}

// ticking is a clock that is the same in every run: each look is a second later.
func ticking() func() time.Time {
	now := make(chan time.Time, 1)
	now <- time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return func() time.Time {
		t := (<-now).Add(time.Second)
		now <- t
		return t
	}
}
