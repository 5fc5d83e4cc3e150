package wire

import "tenon/agent/volume"

// Usage is one page of what volumes take, in the order of names. It has those whose file
// system counts, and leaves out those that are being destroyed.
type Usage struct {
	Volumes []VolumeUsage `json:"volumes"`
	Next    string        `json:"next,omitempty"` // name to ask for what comes after; none at the end
}

// VolumeUsage is what one volume takes.
type VolumeUsage struct {
	UUID volume.UUID `json:"uuid"`
	Name string      `json:"name"` // role/id
	Used
}

// UsageOf makes the page of at most limit volumes that come after a name and may be seen.
func UsageOf(s *volume.State, used map[volume.UUID]Used, after volume.Name, limit int, view View) Usage {
	page := Usage{Volumes: []VolumeUsage{}}
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
