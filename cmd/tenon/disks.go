package main

import (
	"tenon/agent/config"
	"tenon/agent/host"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// disksOf gives the disks as the core wants them, and their directories by key.
func disksOf(cfg config.Config) ([]volume.Disk, map[string]string, error) {
	spaces, err := cfg.Space()
	if err != nil {
		return nil, nil, err
	}
	dirs := map[string]string{}
	var disks []volume.Disk
	for _, s := range spaces {
		disk, err := diskOf(s)
		if err != nil {
			return nil, nil, err
		}
		disk.On = host.Look(s.Dir, s.Source == nil)
		if cfg.SoftQuotaInterval > 0 {
			disk.OnExceed = volume.OnExceed(cfg.OnExceed)
		}
		disks = append(disks, disk)
		dirs[disk.Key] = s.Dir
	}
	return disks, dirs, nil
}

// diskOf gives one disk; where its size is not configured, the file system decides when
// the disk is first used.
func diskOf(s config.Space) (volume.Disk, error) {
	d := volume.Disk{Key: s.Source.Key(), Source: s.Source, Auto: len(s.Parts) == 0}
	for _, p := range s.Parts {
		d.Total += p.Size
		d.Parts = append(d.Parts, part(p.Role, p.Size))
	}
	if !d.Auto {
		return d, nil
	}
	sizeOf := host.OfferedSize
	if s.Source != nil && s.Source.Type == resource.SourceMount {
		sizeOf = host.WholeSize
	}
	size, err := sizeOf(s.Dir)
	if err != nil && s.Source == nil {
		return d, err
	}
	d.Total = size.Scalar() // of a disk that can't be looked at: nothing, until it can
	d.Parts = []volume.Part{part(s.Role, d.Total)}
	return d, nil
}

// part is space that is reserved to a role, statically, or to nobody.
func part(role string, size resource.Scalar) volume.Part {
	if role == "" {
		return volume.Part{Size: size}
	}
	return volume.Part{Size: size, Reservations: []resource.Reservation{{Type: resource.Static, Role: role}}}
}
