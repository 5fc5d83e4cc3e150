package volume

import (
	"strings"
	"time"

	"tenon/agent/resource"
)

// UUID names a volume on disk. It never changes and is never used twice, whatever
// happens to the volume's role, reservation or persistence id.
type UUID string

// Name is what people call a volume: the role that it is reserved to (the last one of
// its reservation stack) and its persistence id. Unique among the volumes of an agent
// that are not being destroyed (spec.md 1.5).
type Name struct {
	Role string `json:"role"`
	ID   string `json:"id"`
}

// String gives "role/id". An id has no slash, so the last one divides.
func (n Name) String() string { return n.Role + "/" + n.ID }

// ParseName reads "role/id", where the role may have slashes of its own.
func ParseName(s string) (Name, bool) {
	i := strings.LastIndexByte(s, '/')
	if i <= 0 || i == len(s)-1 {
		return Name{}, false
	}
	return Name{Role: s[:i], ID: s[i+1:]}, true
}

// Phase is how far a volume or a disk has come. It only ever moves forward.
type Phase string

// The phases. A volume that is Ready is never made again (a missing directory makes
// it lost), and one that is Destroying is a tombstone: the only thing that lets data
// be removed.
const (
	Creating   Phase = "creating"
	Ready      Phase = "ready"
	Destroying Phase = "destroying"
)

// Owner is who a volume's directory belongs to, and its permission bits.
type Owner struct {
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Mode uint32 `json:"mode"`
}

// Volume is a persistent volume: a directory on a disk, carved from reserved space.
type Volume struct {
	UUID          UUID                   `json:"uuid"`
	Name                                 // role and persistence id
	Disk          string                 `json:"disk"` // key of the disk that it lies on
	Reservations  []resource.Reservation `json:"reservations"`
	Principal     *string                `json:"principal,omitempty"` // of whoever created it
	ContainerPath string                 `json:"container_path"`      // where CREATE proposed to mount it
	Size          resource.Scalar        `json:"size"`
	Shared        bool                   `json:"shared,omitempty"`
	OneWriter     bool                   `json:"one_writer,omitempty"` // of a shared one: any number of tasks, of which one may write
	Owner         Owner                  `json:"owner"`
	Phase         Phase                  `json:"phase"`
	Created       time.Time              `json:"created"`

	// Project is the number by which the disk's file system limits the volume, unique among
	// the volumes of a disk, tombstones included; 0 is none.
	Project uint32 `json:"project,omitempty"`

	// Group is the group of its own that a shared volume was given, unique among all volumes,
	// tombstones included; 0 is none. It is Owner's as well.
	Group uint32 `json:"group,omitempty"`

	// OnExceed says what follows when the volume is measured to hold more than its size; empty
	// is what its disk says. Exceeded is there while it does.
	OnExceed OnExceed  `json:"on_exceed,omitempty"`
	Exceeded *Exceeded `json:"exceeded,omitempty"`

	// Back, of a tombstone, says what its space is reserved to when it comes back, where the
	// batch that destroyed the volume went on to change that; empty is all to Reservations.
	Back []Part `json:"back,omitempty"`
}

// Part is an amount of a disk's space that is reserved in one and the same way.
type Part struct {
	Reservations []resource.Reservation `json:"reservations"`
	Size         resource.Scalar        `json:"size"`

	// Volume, of what a tombstone gives back, is the volume that it was taken from, by a SHRINK
	// that was taken back since: it grows again by Size. Where it is gone by then, the
	// reservation has it.
	Volume UUID `json:"volume,omitempty"`
}

// back is what a tombstone's space will be.
func (v *Volume) back() []Part {
	if len(v.Back) > 0 {
		return v.Back
	}
	return []Part{{Reservations: v.Reservations, Size: v.Size}}
}

// Account is the space of one disk that is reserved in one and the same way and not
// yet carved into volumes. The stack is empty for unreserved space.
type Account struct {
	Disk         string                 `json:"disk"`
	Reservations []resource.Reservation `json:"reservations"`
	Free         resource.Scalar        `json:"free"`
}

// stored says whether an account is kept in the journal: those that a RESERVE made.
// What is left of the configured space follows from the configuration and these.
func (a Account) stored() bool { return dynamic(a.Reservations) }

// Disk is a source of space: the agent's own pool (key ""), a directory of another file
// system (PATH), or a file system of which all is one volume's (MOUNT).
type Disk struct {
	Key    string           `json:"key"`
	Source *resource.Source `json:"-"` // nil for the root disk; configured, never stored
	Total  resource.Scalar  `json:"total"`
	Auto   bool             `json:"-"` // Total is a proposal: what was decided first stays
	Absent bool             `json:"-"` // in the journal, but no longer configured; nothing is on it
	Pool   string           `json:"pool"`
	Phase  Phase            `json:"phase"` // Creating until the pool's marker is written

	// Parts are how the configuration divides Total: unreserved, or reserved statically to a
	// role. A disk without any is all unreserved. Configured, never stored.
	Parts []Part `json:"-"`

	Enforcement Enforcement `json:"-"` // observed, never stored

	// OnExceed is what follows when a volume that says nothing itself holds more than its size,
	// where the file system enforces nothing; empty where volumes are not measured. Configured,
	// never stored.
	OnExceed OnExceed `json:"-"`

	Pressure *Pressure `json:"-"` // observed, never stored; nil is none

	// On is the file system that the disk is on, and what is there, as it was when the agent
	// started; it is empty where that could not be seen. Never stored.
	On FileSystem `json:"-"`
}

// parts are the disk's Parts, with those of a disk that has none.
func (d *Disk) parts() []Part {
	if len(d.Parts) > 0 {
		return d.Parts
	}
	return []Part{{Size: d.Total}}
}

// indivisible says whether all of the disk goes together: in one reservation, to one
// volume (spec.md 1.4, MOUNT).
func (d *Disk) indivisible() bool {
	return d.Source != nil && d.Source.Type == resource.SourceMount
}

// Lease is what proves a task alive: the process that claimed for it, its cgroup, a time
// that has not passed, or several of them; it is held while any of them holds it. The zero
// lease is held until it is released.
type Lease struct {
	PID    int           `json:"pid,omitempty"`
	Start  uint64        `json:"start,omitempty"` // clock ticks after boot: field 22 of /proc/PID/stat
	Cgroup string        `json:"cgroup,omitempty"`
	TTL    time.Duration `json:"ttl,omitempty"`   // to live after each renewal; 0 is none
	Until  time.Duration `json:"until,omitempty"` // when that has passed, since the boot (CLOCK_BOOTTIME)
}

// Task is a group of processes that uses volumes and has a sandbox.
type Task struct {
	ID        string      `json:"id"`
	Sandbox   string      `json:"sandbox"`        // absolute path of its directory; empty where all its uses are by namespace
	Own       bool        `json:"own,omitempty"`  // the agent makes and removes the sandbox
	User      *ID         `json:"user,omitempty"` // whose the sandbox is that the agent makes; nil is root
	Lease     Lease       `json:"lease"`
	IO        []DiskLimit `json:"io,omitempty"`       // by disk, each once
	IOGroup   string      `json:"io_group,omitempty"` // the cgroup that has these limits, if not that of the lease
	Since     time.Time   `json:"since"`
	Killing   bool        `json:"killing,omitempty"`   // its processes are to be ended, and then it is released
	Releasing bool        `json:"releasing,omitempty"` // tombstone
}

// Via is how a task gets at a volume.
type Via string

// A claim announces a use and holds the volume, nothing is mounted. A path is a mount
// that the agent makes beneath the sandbox. A descriptor is a mount that was handed
// over: it lives in the task's own namespace and ends with the task. A namespace is that of
// a running process, in which the agent makes the mount: it ends with the namespace.
const (
	Claimed      Via = "claim"
	ByPath       Via = "path"
	ByDescriptor Via = "descriptor"
	ByNamespace  Via = "namespace"
)

// Process is one process of this boot, whoever has its number next. The zero Process is none.
type Process struct {
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"` // clock ticks after boot: field 22 of /proc/PID/stat
}

// Attachment is one use of a volume by a task at one place of its sandbox. The tasks
// of a volume's attachments are its holders.
type Attachment struct {
	Volume  UUID          `json:"volume"`
	Task    string        `json:"task"`
	Path    string        `json:"path"` // container_path, relative to the sandbox; ByNamespace, also absolute: beneath the root of the process
	Mode    resource.Mode `json:"mode"`
	NoExec  bool          `json:"no_exec,omitempty"` // no program on it can be run
	As      *ID           `json:"as,omitempty"`      // as whose the task sees what is the volume's owner's; nil is as it is
	Via     Via           `json:"via"`
	Process               // in whose mount namespace it is; of a claim, in which what it was is still to be unmounted
	Since   time.Time     `json:"since"`
	Gone    bool          `json:"gone,omitempty"` // tombstone: to be detached
	Lazy    bool          `json:"lazy,omitempty"` // detach although it is busy
}

// Fault is what keeps a unit from being what it should be. It is observed, never stored.
type Fault struct {
	Kind   error  // ErrLost, ErrUnavailable, ErrBusy or ErrFailed
	Reason string // one sentence
	Since  time.Time
}

// Unit names what is reconciled as one: a disk, a volume, a task or an attachment.
// Exactly one of the four kinds of fields is set; it is comparable.
type Unit struct {
	Kind   UnitKind
	Disk   string
	Volume UUID
	Task   string
	Path   string
}

// UnitKind says which of a Unit's fields count.
type UnitKind uint8

// The kinds of units. An attachment is named by volume, task and path.
const (
	DiskUnit UnitKind = iota + 1
	VolumeUnit
	TaskUnit
	AttachmentUnit
)

// UnitOfDisk names a disk by its key.
func UnitOfDisk(key string) Unit { return Unit{Kind: DiskUnit, Disk: key} }

// UnitOfVolume names a volume.
func UnitOfVolume(id UUID) Unit { return Unit{Kind: VolumeUnit, Volume: id} }

// UnitOfTask names a task.
func UnitOfTask(id string) Unit { return Unit{Kind: TaskUnit, Task: id} }

// Unit names the attachment.
func (a *Attachment) Unit() Unit {
	return Unit{Kind: AttachmentUnit, Volume: a.Volume, Task: a.Task, Path: a.Path}
}

// String names the unit for messages and logs.
func (u Unit) String() string {
	switch u.Kind {
	case DiskUnit:
		return "disk " + DiskName(u.Disk)
	case VolumeUnit:
		return "volume " + string(u.Volume)
	case TaskUnit:
		return "task " + u.Task
	case AttachmentUnit:
		return "volume " + string(u.Volume) + " in task " + u.Task + " at " + u.Path
	}
	return "nothing"
}

// DiskName is what people call a disk: its source, or "root".
func DiskName(key string) string {
	if key == "" {
		return "root"
	}
	return key
}
