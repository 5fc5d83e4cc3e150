package main

import (
	"fmt"

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
	part := fmt.Sprintf("%d%%", percent)
	if percent == 0 && used > 0 {
		part = "<1%"
	}
	return p.paint(look, fmt.Sprintf("%s (%s)", usedSize(used), part))
}

// percentOf is a part in percent, rounded down, so that only what is full has all of it.
func percentOf(part, whole resource.Bytes) int {
	return int(float64(part) * 100 / float64(whole))
}

// usedSize is what was counted, which nobody types back: in the largest unit, rounded.
func usedSize(n resource.Bytes) string {
	const rounded = 20 * 1024 // what is a twentieth of the smaller unit below 1024 of it is shown as one of the larger
	for _, u := range []struct {
		name string
		size resource.Bytes
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size-u.size/rounded {
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
	text := p.use(v.Used.Bytes, v.Size)
	if at := v.Used.Measured; at != nil {
		text += ", measured " + p.age(*at) + " ago"
	}
	return text
}

// exceeded says of a volume that it holds more than its size, and what follows.
func (p *page) exceeded(v wire.Volume) string {
	text := fmt.Sprintf("it was found to hold %s of %s %s ago", usedSize(v.Exceeded.Used), sizeText(v.Size), p.age(v.Exceeded.Since))
	if v.OnExceed == volume.MakeReadOnly {
		text += "; tasks have it read-only until it is within again"
	}
	if v.OnExceed == volume.KillWriters {
		text += "; tasks that may write to it are killed"
	}
	return text + "; remove some of its files, or make it larger: tenon volume resize " + clean(v.Name) + " --size +SIZE"
}

// onExceedWords say what follows when a volume that is only measured holds more than its size.
var onExceedWords = map[volume.OnExceed]string{
	volume.Report:       ", and when it holds more that is told",
	volume.MakeReadOnly: ", and when it holds more it becomes read-only",
	volume.KillWriters:  ", and when it holds more the tasks that write to it are killed",
}

// limitWords say what keeps a volume to its size.
var limitWords = map[volume.EnforcementMode]string{
	volume.EnforcedHard: "its file system: a write beyond it fails",
	volume.EnforcedSoft: "soft: a write beyond it goes through; what is in it is measured from time to time",
	volume.EnforcedNone: "nothing: a write beyond it goes through",
}
