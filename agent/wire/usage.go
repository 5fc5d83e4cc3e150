package wire

import (
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Usage is one page of what volumes take, in the order of names. It has those whose file
// system counts or that were measured, and leaves out those that are being destroyed.
type Usage struct {
	Volumes []VolumeUsage `json:"volumes"`
	Next    string        `json:"next,omitempty"` // name to ask for what comes after; none at the end
	Disks   []DiskUsage   `json:"disks"`          // on every page, with all their volumes
}

// DiskUsage is what the volumes of one disk take together, as far as that is known.
type DiskUsage struct {
	Name  string         `json:"name"`
	Used  resource.Bytes `json:"used"`
	Known int            `json:"known"` // of how many volumes it is known
}

// VolumeUsage is what one volume takes.
type VolumeUsage struct {
	UUID volume.UUID `json:"uuid"`
	Name string      `json:"name"` // role/id
	Used
}

// UsageOf makes the page of at most limit volumes that come after a name and may be seen.
func UsageOf(s *volume.State, used map[volume.UUID]Used, after volume.Name, limit int, view View) Usage {
	page := Usage{Volumes: []VolumeUsage{}, Disks: diskUsageOf(s, used)}
	for v := range s.Volumes(after) {
		u, counted := used[v.UUID]
		if !counted || !view.Volume(v) {
			continue
		}
		if len(page.Volumes) == limit {
			page.Next = page.Volumes[limit-1].Name
			break
		}
		page.Volumes = append(page.Volumes, VolumeUsage{UUID: v.UUID, Name: v.Name.String(), Used: u})
	}
	return page
}

// diskUsageOf adds up what volumes take, for each disk.
func diskUsageOf(s *volume.State, used map[volume.UUID]Used) []DiskUsage {
	sums := map[string]DiskUsage{}
	for id, u := range used {
		if v, ok := s.Volume(id); ok {
			sum := sums[v.Disk]
			sums[v.Disk] = DiskUsage{Used: sum.Used + u.Bytes, Known: sum.Known + 1}
		}
	}
	list := []DiskUsage{}
	for _, d := range disksOf(s) {
		list = append(list, DiskUsage{Name: d.Name, Used: sums[d.Key].Used, Known: sums[d.Key].Known})
	}
	return list
}
