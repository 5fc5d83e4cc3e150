package wire

import (
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Rate bounds what is read and written; none is no bound.
type Rate struct {
	Read     resource.Bytes `json:"read,omitempty"`      // bytes a second
	Write    resource.Bytes `json:"write,omitempty"`     // bytes a second
	ReadOps  uint64         `json:"read_ops,omitempty"`  // operations a second
	WriteOps uint64         `json:"write_ops,omitempty"` // operations a second
}

// Throttle asks for a bound of what a task reads and writes on the disk of a volume. Those for
// volumes of one disk add up, since the kernel has one limit for a device.
type Throttle struct {
	Volume string `json:"volume,omitempty"` // role/id or UUID; none is each disk under the task's volumes that no other is for
	Rate
}

// DiskLimit is what a task may read from a disk and write to it.
type DiskLimit struct {
	Disk string `json:"disk"` // its name
	Rate
}

func limitsOf(all []volume.DiskLimit) (list []DiskLimit) {
	for _, l := range all {
		list = append(list, DiskLimit{volume.DiskName(l.Disk), Rate(l.Rate)})
	}
	return list
}

func throttlesOf(all []Throttle) (list []volume.Throttle) {
	for _, t := range all {
		list = append(list, volume.Throttle{Volume: t.Volume, Rate: volume.Rate(t.Rate)})
	}
	return list
}
