package agenttest

import (
	"maps"
	"math/rand/v2"
	"slices"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Dead says whether the kernel was killed, and not revived since.
func (k *Kernel) Dead() bool {
	k.Lock()
	defer k.Unlock()
	return k.dead
}

// PowerCut is a Reboot that loses, by chance, what was not synced: renames of directories, and
// whatever no step ever syncs: directories that are being made, limits, sandboxes made in this
// boot or removed in it.
func (k *Kernel) PowerCut(rng *rand.Rand) {
	for _, key := range slices.Sorted(maps.Keys(k.Pools)) {
		k.Pools[key].cut(rng)
	}
	k.cutSandboxes(rng)
	k.Reboot()
}

func (p *Pool) cut(rng *rand.Rand) {
	each(p.Live, func(id volume.UUID, d Dir) {
		if d.Loose && rng.IntN(2) == 0 {
			d.Loose = false
			p.Incoming[id] = d
			delete(p.Live, id)
		}
	})
	each(p.Trash, func(id volume.UUID, d Dir) {
		if d.Loose && rng.IntN(2) == 0 {
			d.Loose = false
			p.Live[id] = d
			delete(p.Trash, id)
		}
	})
	each(p.Incoming, func(id volume.UUID, d Dir) {
		if d.Birth > 0 && rng.IntN(3) == 0 {
			delete(p.Incoming, id)
		}
	})
	each(p.Live, func(id volume.UUID, d Dir) {
		if d.Project != 0 && rng.IntN(8) == 0 {
			d.Project = 0
			p.Live[id] = d
		}
	})
	each(p.Limits, func(project uint32, _ resource.Scalar) {
		if rng.IntN(8) == 0 {
			delete(p.Limits, project)
		}
	})
}

func (k *Kernel) cutSandboxes(rng *rand.Rand) {
	each(k.Sandboxes, func(dir, boot string) {
		if boot != "" && rng.IntN(4) == 0 {
			delete(k.Sandboxes, dir)
		}
	})
	each(k.removed, func(dir, boot string) {
		if _, there := k.Sandboxes[dir]; !there && rng.IntN(4) == 0 {
			k.Sandboxes[dir] = boot
		}
	})
}

// each calls f for each entry that there is, in an order that is always the same.
func each[K ~string | ~uint32, V any](m map[K]V, f func(K, V)) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		f(key, m[key])
	}
}
