package wire

import (
	"fmt"
	"strings"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// Volume is a persistent volume, and what there is to know before using or
// destroying it.
type Volume struct {
	UUID          volume.UUID       `json:"uuid"`
	Name          string            `json:"name"` // role/id
	Role          string            `json:"role"`
	ID            string            `json:"id"`
	Disk          string            `json:"disk"` // its name
	Size          resource.Bytes    `json:"size"`
	Shared        bool              `json:"shared"`
	OneWriter     bool              `json:"one_writer,omitempty"` // one task may write, any number read
	State         string            `json:"state"`                // creating, ready, destroying, lost or unavailable
	Phase         volume.Phase      `json:"phase"`                // as recorded: creating, ready or destroying
	Fault         *Fault            `json:"fault,omitempty"`
	Created       time.Time         `json:"created"`
	ContainerPath string            `json:"container_path"` // where it is mounted unless a task says otherwise
	Owner         Owner             `json:"owner"`
	Group         uint32            `json:"group,omitempty"` // of its own, which its tasks need to have; the owner's gid
	References    int               `json:"references"`      // the number of holders
	Holders       []Holder          `json:"holders"`
	CanDestroy    bool              `json:"can_destroy"` // a request to destroy it would be taken
	Why           string            `json:"why"`         // one sentence: how it is, and what keeps it so
	Resource      resource.Resource `json:"resource"`    // the same as Mesos says it

	Enforcement volume.EnforcementMode `json:"enforcement,omitempty"` // hard: a write beyond its size fails; soft: it is measured; none: neither
	OnExceed    volume.OnExceed        `json:"on_exceed,omitempty"`   // of a soft one: what follows when it holds more
	Exceeded    *Exceeded              `json:"exceeded,omitempty"`    // while it holds more
	Used        *Used                  `json:"used,omitempty"`        // where one volume is asked for, and it is known
}

// Exceeded is there while a volume holds more than its size.
type Exceeded struct {
	Since time.Time      `json:"since"`
	Used  resource.Bytes `json:"used"` // when it was noticed
}

// exceededOf gives what is recorded of a volume.
func exceededOf(v *volume.Volume) *Exceeded {
	if v.Exceeded == nil {
		return nil
	}
	return &Exceeded{Since: v.Exceeded.Since, Used: v.Exceeded.Used}
}

// Used is what a volume takes of its disk, as the file system has counted it, or as it was
// measured.
type Used struct {
	Bytes    resource.Bytes `json:"bytes"`
	Inodes   uint64         `json:"inodes,omitempty"`      // none where they are not counted
	Measured *time.Time     `json:"measured_at,omitempty"` // none where the file system counts
}

// Owner is whom a volume's directory was made for.
type Owner struct {
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Mode string `json:"mode"` // octal, as in "0755"
}

// Volumes is one page of a list of volumes, in the order of names, without those that
// are being destroyed.
type Volumes struct {
	Volumes []Volume `json:"volumes"`
	Next    string   `json:"next,omitempty"` // name to ask for what comes after; none at the end
}

// VolumesOf makes the page of at most limit volumes that come after a name and may be seen.
func VolumesOf(s *volume.State, after volume.Name, limit int, view View) Volumes {
	page := Volumes{Volumes: []Volume{}}
	for v := range s.Volumes(after) {
		if !view.Volume(v) {
			continue
		}
		if len(page.Volumes) == limit {
			page.Next = page.Volumes[limit-1].Name
			break
		}
		page.Volumes = append(page.Volumes, VolumeOf(s, v))
	}
	return page
}

// VolumeOf tells all about one volume of s.
func VolumeOf(s *volume.State, v *volume.Volume) Volume {
	hs := s.Holders(v.UUID)
	w := Volume{
		UUID: v.UUID, Name: v.Name.String(), Role: v.Role, ID: v.ID, Disk: volume.DiskName(v.Disk),
		Size: v.Size.Bytes(), Shared: v.Shared, OneWriter: v.OneWriter, Group: v.Group, State: string(v.Phase), Phase: v.Phase,
		Fault: faultOf(s, volume.UnitOfVolume(v.UUID)), Created: v.Created, ContainerPath: v.ContainerPath,
		Owner:    Owner{UID: v.Owner.UID, GID: v.Owner.GID, Mode: fmt.Sprintf("%#o", v.Owner.Mode)},
		Holders:  holdersOf(hs),
		Resource: s.Resource(v), Enforcement: s.EnforcementOf(v), Exceeded: exceededOf(v),
	}
	if w.Enforcement == volume.EnforcedSoft {
		w.OnExceed = s.OnExceedOf(v)
	}
	w.References = len(w.Holders)
	unavailable := w.faulty(volume.ErrUnavailable)
	if v.Phase != volume.Destroying && (unavailable || w.faulty(volume.ErrLost)) {
		w.State = w.Fault.Kind
	}
	w.CanDestroy = v.Phase != volume.Destroying && w.References == 0 && !unavailable
	w.Why = w.why(volume.HolderNames(hs))
	return w
}

func (w *Volume) faulty(kind error) bool { return w.Fault != nil && w.Fault.Kind == KindName(kind) }

// stateWords are the states as a sentence has them.
var stateWords = map[string]string{
	"creating": "being made", "ready": "ready", "destroying": "being destroyed", "lost": "lost", "unavailable": "unavailable",
}

// why says in one sentence how the volume is, and what keeps it so.
func (w *Volume) why(by string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "volume %s is %s", w.Name, stateWords[w.State])
	if w.Fault != nil {
		fmt.Fprintf(&b, " (%s)", w.Fault.Reason)
	}
	if w.Exceeded != nil {
		b.WriteString(", holds more than its size")
		if w.OnExceed == volume.MakeReadOnly {
			b.WriteString(" and is read-only until it is within again")
		}
		b.WriteString(",")
	}
	switch {
	case w.Phase == volume.Destroying:
		b.WriteString("; its space goes back to role " + w.Role + " when its data is removed")
	case w.References == 0 && w.CanDestroy:
		b.WriteString(" and no task holds it, so it can be destroyed")
	case w.References == 0:
		b.WriteString("; it can be destroyed when its disk is back")
	case w.OneWriter:
		b.WriteString(", shared with one writer, and held by " + by + "; it can be destroyed when no task holds it")
	case w.Shared:
		b.WriteString(", shared, and held by " + by + "; it can be destroyed when no task holds it")
	default:
		b.WriteString(", exclusive, and held by " + by + "; another task can have it, or it can be destroyed, when that one ends")
	}
	return b.String()
}
