package agenttest_test

import (
	"os"
	"testing"
	"time"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

func TestTheKernelInMemoryConforms(t *testing.T) {
	t.Parallel()
	for _, e := range []volume.Enforcement{{Mode: volume.EnforcedNone}, {Mode: volume.EnforcedHard, By: volume.ByProject}} {
		t.Run(string(e.Mode), func(t *testing.T) {
			t.Parallel()
			agenttest.Conform(t, func(*testing.T) *agenttest.Bench { return inMemory(e) })
		})
	}
}

func inMemory(e volume.Enforcement) *agenttest.Bench {
	k := agenttest.NewKernel()
	k.Uptime, k.Projects, k.Pools[""].Enforcement = time.Second, 32, e
	k.Pools[""].Room = volume.Room{FileSystem: "1", Size: 4096 * resource.MiB, Free: 4096 * resource.MiB}
	pids := 100
	under := func(f func()) {
		k.Lock()
		defer k.Unlock()
		f()
	}
	b := &agenttest.Bench{Host: agenttest.Gauge{Kernel: k}, Roots: agenttest.Root, Sizes: sizes(k)}
	b.Again = func() agenttest.Host { k.Revive(); return agenttest.Gauge{Kernel: k} }
	b.Group = func(task string) string { return "/cgroup/" + task }
	b.Rates.Limits = e.Mode == volume.EnforcedHard
	k.Pools[""].Deviceless = !b.Rates.Limits
	b.Rates.Change = func(cgroup string, to volume.Rate) {
		under(func() { k.Rates[cgroup] = []volume.DiskLimit{{Rate: to}} })
	}
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
	bear := func(cgroup string, in int, common bool) (int, func()) {
		pids++
		pid := pids
		under(func() {
			k.Processes[pid] = uint64(pid)
			k.Common[pid] = common
			if in != 0 {
				k.Spaces[pid] = in
			}
			if cgroup != "" {
				k.Members[pid], k.Cgroups[cgroup] = cgroup, true
			}
		})
		return pid, func() { k.End(pid) }
	}
	b.Bear = func(cgroup string) (int, func()) { return bear(cgroup, 0, true) }
	b.Pass = func(d time.Duration) { k.Pass(d) }
	b.Spaces = agenttest.Spaces{Dir: "/elsewhere",
		Bear: func(cgroup string, in int) (int, func()) { return bear(cgroup, in, false) },
		Hold: func(pid int, path string, write bool) func() {
			return b.Hold(agenttest.Inside(k.Space(pid), path), write)
		},
		Cover: func(pid int, path string) func() { return b.Cover(agenttest.Inside(k.Space(pid), path)) },
		Place: func(pid int, _ *os.File, path string) {
			for id := range k.Pools[""].Live {
				under(func() { k.Mounts[agenttest.Inside(k.Space(pid), path)] = agenttest.Mount{Volume: id} })
			}
		}}
	return b
}

// sizes are the hands of those who change limits.
func sizes(k *agenttest.Kernel) agenttest.Sizes {
	p := k.Pools[""]
	under := func(f func()) {
		k.Lock()
		defer k.Unlock()
		f()
	}
	set := func(e volume.Enforcement) { under(func() { p.Enforcement = e }) }
	s := agenttest.Sizes{Enforcement: p.Enforcement, Write: k.Write}
	s.Keep = func(id volume.UUID) func() {
		project := p.Live[id].Project
		under(func() { p.Kept[project] = true })
		return func() { under(func() { delete(p.Kept, project) }) }
	}
	s.Relimit = func(project uint32, size resource.Scalar) { under(func() { p.Limits[project] = size }) }
	s.Relabel = func(id volume.UUID, project uint32) {
		under(func() {
			dir := p.Live[id]
			dir.Project = project
			p.Live[id] = dir
		})
	}
	if on := p.Enforcement; on.Mode == volume.EnforcedHard {
		s.Switch = func() func() { set(volume.Enforcement{Mode: volume.EnforcedNone}); return func() { set(on) } }
	}
	s.Brim = func() func() {
		under(func() { p.Full = true })
		return func() { under(func() { p.Full = false }) }
	}
	return s
}
