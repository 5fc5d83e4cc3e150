package host

import (
	"path/filepath"
	"strings"

	"tenon/agent/volume"
	"tenon/mount"
)

// maxReported bounds how many unknown things are named in the log.
const maxReported = 20

// lookAround reads the mount table, the one time that this is done: strays are remembered
// for attachments whose mount is not at their target, and reported.
func (h *Host) lookAround(s *volume.State) {
	strays, err := h.strayMounts(s)
	if err != nil {
		h.log.Warn("mount table not read; mounts that were moved are not found", "err", err)
		return
	}
	var own []stray
	for _, m := range strays {
		h.log.Warn("a volume is mounted where no attachment is", "path", m.Point)
		own = append(own, stray{m, holderAt(s, m)})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.strays = append(h.strays, own...)
}

// stray is a mount of a volume that was not at the target of an attachment when the agent started.
type stray struct {
	mount.Info
	holder string // the task in whose sandbox it was, if that holds the volume
}

// holderAt is the holder of a mount's volume in whose sandbox the mount is, or "".
func holderAt(s *volume.State, m mount.Info) string {
	for a := range s.AttachmentsOf(volumeOf(m)) {
		if t, ok := s.Task(a.Task); ok && t.Sandbox != "" && strings.HasPrefix(m.Point, t.Sandbox+"/") {
			return t.ID
		}
	}
	return ""
}

// strayMounts are mounts of volumes beneath the sandbox roots that are not at the target of
// an attachment: they were moved there by somebody, or are nobody's.
func (h *Host) strayMounts(s *volume.State) (strays []mount.Info, err error) {
	table, err := mount.Table()
	if err != nil {
		return nil, err
	}
	targets := map[string]bool{}
	for t := range s.Tasks("") {
		for a := range s.AttachmentsIn(t.ID) {
			targets[t.Sandbox+"/"+a.Path] = true
		}
	}
	for _, m := range table {
		if _, _, err := h.root(m.Point); err == nil && !targets[m.Point] && strings.Contains(m.Root, "/live/") {
			strays = append(strays, m)
		}
	}
	return strays, nil
}

// listOwn reads the first sandbox root, the one time that this is done, for sandboxes
// that the agent made. Those of an earlier boot are remembered: a power cut may have
// taken the records of their tasks. One of this boot that has no task is reported, for
// without a power cut no record is lost: the state is another one, the task may live.
func (h *Host) listOwn(s *volume.State) {
	if h.own == nil {
		return // it is missing, and the host only looked at
	}
	own, err := h.own.Own()
	if err != nil {
		h.log.Warn("sandboxes not listed; those that were left over stay", "err", err)
	}
	unknown := 0
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range own {
		dir := filepath.Join(h.own.Path(), m.Task)
		if m.Boot != s.Boot {
			h.leftover = append(h.leftover, volume.Leftover{Task: m.Task, Sandbox: dir})
			continue
		}
		if _, known := s.Task(m.Task); !known {
			if unknown++; unknown <= maxReported {
				h.log.Warn("a sandbox of no known task is left alone", "path", dir)
			}
		}
	}
	if unknown > maxReported {
		h.log.Warn("sandboxes of no known task are left alone", "root", h.own.Path(), "count", unknown)
	}
}

// leftovers are the remembered sandboxes that are there still and whose tasks the state
// does not know. One that cannot be looked at is no fault of the disk: it is remembered.
func (h *Host) leftovers(s *volume.State) (left []volume.Leftover) {
	h.mu.Lock()
	remembered := h.leftover
	h.mu.Unlock()
	var there []volume.Leftover
	for _, l := range remembered {
		made, err := h.sandboxMade(l.Sandbox)
		if made || err != nil {
			there = append(there, l)
		}
		if _, known := s.Task(l.Task); !known && made {
			left = append(left, l)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leftover = there
	return left
}

// sawAt remembers the mount that was seen at the target of an attachment.
func (h *Host) sawAt(a *volume.Attachment, id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seenAt[a.Unit()] = id
}

// unseen forgets it again, once it was unmounted.
func (h *Host) unseen(a *volume.Attachment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.seenAt, a.Unit())
}

// moved finds the mount of an attachment that is not to be seen at its target: a directory
// above it was renamed, the sandbox itself perhaps, or something lies on top of it. It looks
// at that one mount, or, for an attachment that was not seen since the start, at those that
// were strays then: in the task's sandbox, or, for one that is to go, in no other holder's.
func (h *Host) moved(t *volume.Task, a *volume.Attachment) (mount.Info, bool) {
	h.mu.Lock()
	id, known := h.seenAt[a.Unit()]
	var ids []uint64
	if known {
		ids = append(ids, id)
	} else if a.Via != volume.Claimed || a.Gone { // a claim has none but the one it was seen with
		for _, m := range h.strays {
			if m.holder == t.ID || a.Gone && m.holder == "" {
				ids = append(ids, m.ID)
			}
		}
	}
	h.mu.Unlock()
	for _, id := range ids {
		m, err := mount.Find(id)
		if err == nil && shows(m, a.Volume) { // or it is gone, or its number is another's by now
			return m, true
		}
	}
	h.unseen(a)
	return mount.Info{}, false
}

// shows says whether a mount is one of a volume.
func shows(m mount.Info, id volume.UUID) bool {
	return strings.HasSuffix(m.Root, "/live/"+string(id)+"/data")
}

// reportUnknown names, once for each time that a disk is opened, the directories in it
// that the journal does not know. They are never touched.
func (h *Host) reportUnknown(s *volume.State, d *disk, want string) {
	names, err := d.unlisted(want)
	if err != nil {
		h.log.Warn("pool not listed", "path", d.dir, "err", err)
	}
	unknown := 0
	for _, e := range names {
		if _, ok := s.Volume(volume.UUID(e.Name)); ok {
			continue
		}
		if unknown++; unknown <= maxReported {
			h.log.Warn("a directory of no known volume is left alone", "disk", d.dir, "path", string(e.Place)+"/"+e.Name)
		}
	}
	if unknown > maxReported {
		h.log.Warn("directories of no known volume are left alone", "disk", d.dir, "count", unknown)
	}
}
