package volume

import (
	"fmt"
	"time"

	"tenon/agent/resource"
)

// Room is the file system of a disk.
type Room struct {
	FileSystem string // equal for all disks that are on it
	Size, Free resource.Bytes
}

// FileSystem is what the directory of a disk is on.
type FileSystem struct {
	ID   string // equal for all disks that are on it
	Size resource.Bytes
	Pool string // UUID of the pool that is in the directory; empty for none
}

// Pressure is there while a disk's file system has less room than its volumes may still take,
// because others take some of it: then a write may fail although its volume is within its size.
type Pressure struct {
	Since    time.Time
	Free     resource.Bytes // when it was noticed
	Promised resource.Bytes // to all volumes of the file system, besides what they take already
}

// Reason is a sentence about it.
func (p *Pressure) Reason() string {
	return fmt.Sprintf("its file system has %s left, and its volumes may still take %s; "+
		"remove what else is on it, make it larger, or make volumes smaller", p.Free, p.Promised)
}

// Press holds what the volumes of each file system may still take against the room that it has.
// A volume of which it is not known what it takes counts as full, and a MOUNT disk has all that
// there is.
func Press(s *State, rooms map[string]Room, used func(UUID) (resource.Bytes, bool), now time.Time) (changes []Change) {
	promised, promises := map[string]resource.Bytes{}, map[string]bool{}
	for v := range s.Volumes(Name{}) {
		d, ok := s.Disk(v.Disk)
		room, there := rooms[v.Disk]
		took, known := used(v.UUID)
		if left := v.Size.Bytes() - took; ok && there && known && left > 0 && !d.indivisible() {
			promised[room.FileSystem] += left
			promises[v.Disk] = true
		}
	}
	for d := range s.Disks() {
		room := rooms[d.Key]
		short := promises[d.Key] && promised[room.FileSystem] > room.Free
		if short == (d.Pressure != nil) {
			continue
		}
		other := *d
		if other.Pressure = nil; short {
			other.Pressure = &Pressure{Since: now, Free: room.Free, Promised: promised[room.FileSystem]}
		}
		changes = append(changes, Change{Disk: &other, Passing: true})
	}
	return changes
}
