package main

import (
	"fmt"
	"math"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// The parts of a size, in percent, from which its use is shown as one to look at, or to act on.
const (
	warnAt  = 80
	alarmAt = 95
)

// use is what is taken of a size, with the part that it is. Above nothing there is no part.
func (p *page) use(used, size resource.Bytes) string {
	if size <= 0 {
		return usedSize(used)
	}
	percent := percentOf(used, size)
	look := green
	switch {
	case percent >= alarmAt:
		look = red
	case percent >= warnAt:
		look = yellow
	}
	return p.paint(look, fmt.Sprintf("%s (%d%%)", usedSize(used), percent))
}

// percentOf is a part in percent, rounded up, so that only what is empty has none of it.
func percentOf(part, whole resource.Bytes) int {
	return int(math.Ceil(float64(part) * 100 / float64(whole)))
}

// usedSize is what was counted, which nobody types back: in the largest unit, rounded.
func usedSize(n resource.Bytes) string {
	for _, u := range []struct {
		name string
		size resource.Bytes
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", int64(n))
}

// diskUse is what is taken of what volumes of a disk are made of, if anything is known of it.
func (p *page) diskUse(d wire.Disk, used wire.DiskUsage) string {
	if used.Known == 0 {
		return "-"
	}
	return p.use(used.Used, d.Carved)
}

// volumeUse is what is taken of a volume, if that is known.
func (p *page) volumeUse(size resource.Bytes, used map[volume.UUID]wire.Used, id volume.UUID) string {
	u, known := used[id]
	if !known {
		return "-"
	}
	return p.use(u.Bytes, size)
}

// usedText is what is taken of a volume that was asked for alone.
func (p *page) usedText(v wire.Volume) string {
	if v.Used == nil {
		return ""
	}
	return p.use(v.Used.Bytes, v.Size)
}

// limitWords say what keeps a volume to its size.
var limitWords = map[volume.EnforcementMode]string{
	volume.EnforcedHard: "its file system: a write beyond it fails",
	volume.EnforcedNone: "nothing: a write beyond it goes through",
}
