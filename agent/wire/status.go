package wire

import (
	"cmp"
	"slices"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
)

// maxFaults bounds the faults in a Status; Counts says how many there are.
const maxFaults = 100

// Status is an agent at a glance. Its size does not grow with the number of volumes.
type Status struct {
	Agent        string        `json:"agent"`   // the agent's identity, for ever
	Boot         string        `json:"boot"`    // of the host
	Index        uint64        `json:"index"`   // version of the state, grows while the agent runs
	Version      string        `json:"version"` // of the program
	Started      time.Time     `json:"started"`
	Healthy      bool          `json:"healthy"`
	Problem      string        `json:"problem,omitempty"` // why it is not healthy
	Disks        []Disk        `json:"disks"`
	Reservations []Reservation `json:"reservations"`
	Counts       Counts        `json:"counts"`
	Faults       []UnitFault   `json:"faults"`            // the first 100
	Groups       *Groups       `json:"groups,omitempty"`  // none where volumes are given none
	Masters      []Master      `json:"masters,omitempty"` // none where the agent has none, and in what masters are told
}

// Disk is a source of space. Reserved counts all that is reserved, and Carved the part
// of it that volumes are made of; Total is Reserved + Free, as configured. A disk that is
// no longer configured, on which nothing can be, is not shown.
type Disk struct {
	Name     string         `json:"name"` // "root", "PATH:/mnt/d1"
	Key      string         `json:"key"`  // the name, but empty for the root disk
	Pool     string         `json:"pool"` // UUID in the pool's marker
	Phase    volume.Phase   `json:"phase"`
	Total    resource.Bytes `json:"total"`
	Reserved resource.Bytes `json:"reserved"`
	Carved   resource.Bytes `json:"carved"`
	Free     resource.Bytes `json:"free"`
	Fault    *Fault         `json:"fault,omitempty"`

	// Enforcement is what the file system does about the sizes of volumes; none while the
	// disk was not seen.
	Enforcement *Enforcement `json:"enforcement,omitempty"`

	// Pressure is there while the disk's file system has less room than its volumes may still take.
	Pressure *Pressure `json:"pressure,omitempty"`
}

// Pressure says that a disk's file system has less room than its volumes may still take.
type Pressure struct {
	Free     resource.Bytes `json:"free"`     // on the file system, when it was noticed
	Promised resource.Bytes `json:"promised"` // to all volumes on it, besides what they took then
	Reason   string         `json:"reason"`
	Since    time.Time      `json:"since"`
}

func pressureOf(p *volume.Pressure) *Pressure {
	if p == nil {
		return nil
	}
	return &Pressure{Free: p.Free, Promised: p.Promised, Reason: p.Reason(), Since: p.Since}
}

// Enforcement is what a file system does about the sizes of volumes.
type Enforcement struct {
	Mode     volume.EnforcementMode `json:"mode"`
	By       volume.EnforcementBy   `json:"by,omitempty"` // what: project, subvolume, or filesystem where it is one volume's as a whole
	Why      string                 `json:"why,omitempty"`
	Commands []string               `json:"commands,omitempty"` // switch it on, as root
	Escapes  []string               `json:"escapes,omitempty"`  // how a task may get around it
}

// Reservation is space of one disk that is reserved in one way and not carved.
type Reservation struct {
	Disk     string            `json:"disk"` // its name
	Role     string            `json:"role"` // the last of the stack
	Free     resource.Bytes    `json:"free"`
	Resource resource.Resource `json:"resource"` // the same as Mesos says it
}

// Counts are how many there are.
type Counts struct {
	Volumes     int `json:"volumes"`    // without those being destroyed
	Tombstones  int `json:"tombstones"` // volumes being destroyed
	Tasks       int `json:"tasks"`
	Attachments int `json:"attachments"`
	Exceeded    int `json:"exceeded,omitempty"` // volumes that hold more than their sizes
	Faults      int `json:"faults"`
}

// Groups are the group ids from which shared volumes are given groups of their own.
type Groups struct {
	Range string `json:"range"` // "[10000-20000]"
	Total uint64 `json:"total"`
	Free  uint64 `json:"free"` // of no volume, and of nobody on this host
}

func groupsOf(s *volume.State) *Groups {
	if s.Host.Groups == nil {
		return nil
	}
	total, free := s.CountGroups()
	return &Groups{Range: s.Host.Groups.String(), Total: total, Free: free}
}

// Disks is the list of disks, by key.
type Disks struct {
	Disks []Disk `json:"disks"`
}

// DisksOf lists the disks of s.
func DisksOf(s *volume.State) Disks { return Disks{disksOf(s)} }

// UnitFault is a Fault with what it is about.
type UnitFault struct {
	Unit string `json:"unit"` // "disk root", "volume web/data", "task t1"
	Fault
}

// About is what a State does not know of its agent.
type About struct {
	Version string
	Started time.Time
	Health  error // nil is healthy
	View    View  // of whoever asks
	Masters []Master
}

// StatusOf makes the status of an agent.
func StatusOf(s *volume.State, about About) Status {
	live, all := s.CountVolumes()
	st := Status{
		Agent: s.Agent, Boot: s.Boot, Index: s.Version,
		Version: about.Version, Started: about.Started, Healthy: about.Health == nil,
		Disks: disksOf(s), Reservations: reservationsOf(s, about.View), Faults: []UnitFault{},
		Masters: about.Masters, Groups: groupsOf(s),
		Counts: Counts{Volumes: live, Tombstones: all - live, Tasks: s.CountTasks(), Attachments: s.CountAttachments(), Exceeded: s.CountExceeded()},
	}
	if about.Health != nil {
		st.Problem = about.Health.Error()
	}
	for u, f := range s.Faults() {
		if !about.View.unit(s, u) {
			continue
		}
		if st.Counts.Faults++; st.Counts.Faults <= maxFaults {
			fault := Fault{Kind: KindName(f.Kind), Reason: f.Reason, Since: f.Since}
			st.Faults = append(st.Faults, UnitFault{Unit: unitName(s, u), Fault: fault})
		}
	}
	return st
}

func disksOf(s *volume.State) []Disk {
	list := []Disk{}
	uncarved := map[string]resource.Scalar{}
	for a := range s.Accounts() {
		uncarved[a.Disk] += a.Free
	}
	for d := range s.Disks() {
		if d.Absent {
			continue // not configured any more, and nothing is on it
		}
		total, free := d.Total.Bytes(), s.Free(d.Key, nil).Bytes()
		list = append(list, Disk{
			Name: volume.DiskName(d.Key), Key: d.Key, Pool: d.Pool, Phase: d.Phase,
			Total: total, Reserved: total - free, Carved: total - uncarved[d.Key].Bytes(), Free: free,
			Fault: faultOf(s, volume.UnitOfDisk(d.Key)), Enforcement: enforcementOf(d), Pressure: pressureOf(d.Pressure),
		})
	}
	slices.SortFunc(list, func(a, b Disk) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

func enforcementOf(d *volume.Disk) *Enforcement {
	e := d.Enforcement
	if e.Mode == "" {
		return nil
	}
	return &Enforcement{Mode: d.Mode(), By: e.By, Why: e.Why, Commands: e.Commands, Escapes: e.Escapes}
}

func reservationsOf(s *volume.State, view View) []Reservation {
	list := []Reservation{}
	for a := range s.Accounts() {
		if len(a.Reservations) > 0 && view.Reserved(a.Reservations) {
			list = append(list, reservationOf(s, a))
		}
	}
	return list
}

func reservationOf(s *volume.State, a volume.Account) Reservation {
	return Reservation{
		Disk: volume.DiskName(a.Disk), Role: a.Reservations[len(a.Reservations)-1].Role, Free: a.Free.Bytes(), Resource: s.Describe(a),
	}
}

// unitName is a unit as people call it: volumes by their names where they have one.
func unitName(s *volume.State, u volume.Unit) string {
	v, ok := s.Volume(u.Volume)
	switch {
	case !ok:
		return u.String()
	case u.Kind == volume.AttachmentUnit:
		return "volume " + v.Name.String() + " in task " + u.Task + " at " + u.Path
	}
	return "volume " + v.Name.String()
}
