package agenttest_test

import (
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/volume"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

func TestTheKernelInMemoryConforms(t *testing.T) {
	t.Parallel()
	agenttest.Conform(t, inMemory)
}

func inMemory(*testing.T) *agenttest.Bench {
	k := agenttest.NewKernel()
	k.Uptime = time.Second
	pids := 100
	under := func(f func()) {
		k.Lock()
		defer k.Unlock()
		f()
	}
	b := &agenttest.Bench{Kernel: k, Roots: agenttest.Root}
	b.Again = func() agent.Kernel { k.Revive(); return k }
	b.Group = func(task string) string { return "/cgroup/" + task }
	b.Hold = func(path string, _ bool) func() {
		set := func(busy bool) {
			m := k.Mounts[path]
			m.Busy = busy
			k.Mounts[path] = m
		}
		under(func() { set(true) })
		return func() { under(func() { set(false) }) }
	}
	b.Cover = func(path string) func() {
		under(func() { k.Mounts[path] = agenttest.Mount{Volume: "another"} })
		return func() { under(func() { delete(k.Mounts, path) }) }
	}
	b.Squat = func(path string) func() {
		under(func() { k.Sandboxes[path] = "" })
		return func() { under(func() { delete(k.Sandboxes, path) }) }
	}
	b.Hide = func(id volume.UUID) func() {
		dir := k.Pools[""].Live[id]
		under(func() { delete(k.Pools[""].Live, id) })
		return func() { under(func() { k.Pools[""].Live[id] = dir }) }
	}
	b.Bear = func(cgroup string) (int, func()) {
		pids++
		pid := pids
		under(func() {
			k.Processes[pid] = uint64(pid)
			if cgroup != "" {
				k.Cgroups[cgroup] = true
			}
		})
		return pid, func() {
			under(func() {
				delete(k.Processes, pid)
				if _, there := k.Cgroups[cgroup]; there {
					k.Cgroups[cgroup] = false
				}
			})
		}
	}
	return b
}
