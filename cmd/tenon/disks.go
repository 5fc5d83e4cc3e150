package main

import (
	"sync"

	"tenon/agent/config"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// disksOf gives the disks as the core wants them, and their directories by key. Those whose
// size is configured are looked at, side by side, since one that does not answer takes its time.
func disksOf(cfg config.Config) ([]volume.Disk, map[string]string, error) {
	spaces, err := cfg.Space()
	if err != nil {
		return nil, nil, err
	}
	dirs := map[string]string{}
	disks := make([]volume.Disk, len(spaces))
	var looks sync.WaitGroup
	for i, s := range spaces {
		d := diskOf(s)
		if cfg.SoftQuotaInterval > 0 {
			d.OnExceed = volume.OnExceed(cfg.OnExceed)
		}
		disks[i], dirs[d.Key] = d, s.Dir
		if !d.Auto {
			looks.Go(func() { disks[i].On = host.Look(s.Dir, s.Source == nil) })
		}
	}
	looks.Wait()
	return disks, dirs, nil
}

// diskOf gives one disk; where its size is not configured, the file system decides when
// the disk is first used.
func diskOf(s config.Space) volume.Disk {
	d := volume.Disk{Key: s.Source.Key(), Source: s.Source, Auto: len(s.Parts) == 0}
	for _, p := range s.Parts {
		d.Total += p.Size
		d.Parts = append(d.Parts, part(p.Role, p.Size))
	}
	if d.Auto {
		d.Parts = []volume.Part{part(s.Role, 0)}
	}
	return d
}

// part is space that is reserved to a role, statically, or to nobody.
func part(role string, size resource.Scalar) volume.Part {
	if role == "" {
		return volume.Part{Size: size}
	}
	return volume.Part{Size: size, Reservations: []resource.Reservation{{Type: resource.Static, Role: role}}}
}
