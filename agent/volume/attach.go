package volume

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tenon/agent/resource"
)

// Use is one volume that a task wants, where and how. Path is relative to the task's
// sandbox, or absolute where the mount is made in a namespace; empty, it is the container
// path that the volume was created with.
type Use struct {
	Volume string // "role/id" or UUID
	Path   string
	Mode   resource.Mode // empty is RW
	NoExec bool          // no program on it can be run
	As     *ID           // as whose files of the volume's owner appear; nil is as they are
}

// Claim announces a task, what it will use and what proves it alive. Its volumes are
// held from then on. It is all or nothing; a repeated equal claim changes nothing, but for
// renewing the time to live.
// Refused with ErrInvalid, ErrNotFound, ErrInUse (an exclusive volume's holder),
// ErrExists (the task exists otherwise, or its sandbox is another task's),
// ErrPending, ErrLost or ErrUnavailable.
type Claim struct {
	Task    string
	Sandbox string // absolute, beneath an allowed sandbox root
	Own     bool   // the agent makes the sandbox, and removes it at the end
	User    *ID    // whose the sandbox is to be that the agent makes; nil is root
	Cgroup  bool   // the agent makes a cgroup for the task, where the host has them; Lease.Cgroup then says which
	Lease   Lease
	At      time.Duration // when Lease.TTL begins, since the boot; found out when the operation is prepared
	Uses    []Use
	IO      []Throttle // needs a cgroup
	IOGroup string     // where the limits are, if not in Lease.Cgroup; found out when the operation is prepared
}

// Attach gives one more volume to a task, or turns what it claimed into a mount. A task
// that does not exist is made with the sandbox given, and without a lease but a time to live,
// unless a process is named: that one is its lease then, and it may have no sandbox. Refused like
// Claim; an equal attachment changes nothing, one of another mode, NoExec or As is ErrExists.
type Attach struct {
	Task    string
	Sandbox string // of a new task
	Own     bool
	Use
	Via Via           // ByPath, ByDescriptor or ByNamespace; empty until it is prepared, where the task sees it
	TTL time.Duration // of a new task; one that is there must have the same, which is renewed. 0 says nothing
	At  time.Duration // as of a Claim

	// In is the process in whose mount namespace the mount is made. Named by PID, it was asked
	// for, and becomes whole when the operation is prepared; the zero Process is any of the task.
	In  Process
	UID int // of whoever names the process: it has to be theirs, unless this is root
}

// Detach takes one volume of a task away; a task that neither a process nor a cgroup holds, or
// that has no sandbox, ends with its last attachment. Lazy lets go of a mount although processes
// use it. Refused with ErrNotFound, or ErrInUse where the mount was handed over and is not found.
type Detach struct {
	Task   string
	Volume string // "role/id" or UUID
	Path   string // empty: all of the volume's attachments in the task
	Lazy   bool
	In     Process // sees the mounts that were handed over; found out when the operation is prepared
}

// maxUses bounds the attachments of one task: placing one looks at all of them.
const maxUses = 1000

// Name is "claim".
func (Claim) Name() string { return "claim" }

// Name is "attach".
func (Attach) Name() string { return "attach" }

// Name is "detach".
func (Detach) Name() string { return "detach" }

func (o Claim) apply(d *draft) error {
	t := &Task{ID: o.Task, Sandbox: o.Sandbox, Own: o.Own, User: o.User, Lease: o.Lease, Since: d.env.Now}
	if err := t.Lease.begin(t.ID, o.At); err != nil {
		return err
	}
	var err error
	if t.IO, err = d.DiskLimits(o); err != nil {
		return err
	}
	if len(t.IO) > 0 && t.Lease.Cgroup == "" {
		return refuse(ErrInvalid, "task %s: limits of input and output are a cgroup's, and it is to have none", t.ID)
	}
	t.IOGroup = o.IOGroup
	if err := d.addTask(t); err != nil {
		return err
	}
	for _, u := range o.Uses {
		if err := d.use(o.Task, u, Claimed, Process{}); err != nil {
			return err
		}
	}
	return nil
}

func (o Attach) apply(d *draft) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := d.attachTo(o); err != nil {
		return err
	}
	return d.use(o.Task, o.Use, o.Via, o.In)
}

// attachTo makes the task of an attachment, or finds that it is there as it should be.
func (d *draft) attachTo(o Attach) error {
	lease := Lease{PID: o.In.PID, Start: o.In.Start, TTL: o.TTL}
	if err := lease.begin(o.Task, o.At); err != nil {
		return err
	}
	t, ok := d.Task(o.Task)
	switch {
	case !ok:
		return d.addTask(&Task{ID: o.Task, Sandbox: o.Sandbox, Own: o.Own, Lease: lease, Since: d.env.Now})
	case o.Sandbox != "" && o.Sandbox != t.Sandbox:
		return refuse(ErrExists, "task %s has sandbox %s, not %s", t.ID, orNone(t.Sandbox), o.Sandbox)
	case o.TTL == 0:
		return nil
	case o.TTL != t.Lease.TTL:
		return refuse(ErrExists, "task %s has not the time to live of %s that is asked for; renew it to change that", t.ID, o.TTL)
	}
	if err := t.ending(); err != nil {
		return err
	}
	renewed := t.Lease
	renewed.Until = lease.Until
	d.renew(t, renewed)
	return nil
}

// addTask makes a task, or finds that the same is there already.
func (d *draft) addTask(t *Task) error {
	if err := resource.CheckID(t.ID); err != nil {
		return invalid(err, "task")
	}
	bare := t.Sandbox == "" && t.Lease.PID != 0 && !t.Own
	if !bare && (!path.IsAbs(t.Sandbox) || path.Clean(t.Sandbox) != t.Sandbox || t.Sandbox == "/") {
		return refuse(ErrInvalid, "task %s: sandbox %q must be an absolute, clean path", t.ID, t.Sandbox)
	}
	for _, p := range []string{t.Sandbox, t.Lease.Cgroup} {
		if !utf8.ValidString(p) || strings.ContainsRune(p, 0) { // JSON would change it
			return refuse(ErrInvalid, "task %s: sandbox or cgroup %q is not UTF-8 without NUL", t.ID, p)
		}
	}
	if err := t.User.check("task " + t.ID + ": user"); err != nil {
		return err
	}
	d.touch(UnitOfTask(t.ID))
	if old, ok := d.Task(t.ID); ok {
		if err := old.ending(); err != nil {
			return err
		}
		if old.Sandbox == t.Sandbox && old.Own == t.Own && old.User.same(t.User) && old.Lease.like(t.Lease) && slices.Equal(old.IO, t.IO) {
			d.renew(old, t.Lease)
			return nil
		}
		return refuse(ErrExists, "task %s exists since %s with sandbox %s", t.ID, old.Since.Format("2006-01-02 15:04:05"), orNone(old.Sandbox))
	}
	if other, taken := d.overlapping(t.Sandbox); taken {
		return refuse(ErrExists, "task %s: sandbox %s overlaps that of task %s, %s", t.ID, t.Sandbox, other.ID, other.Sandbox)
	}
	d.put(Change{Task: t})
	return nil
}

// overlapping finds a task whose sandbox is dir, above it or beneath it; none for no sandbox.
func (s *State) overlapping(dir string) (found *Task, ok bool) {
	if dir == "" {
		return nil, false
	}
	for up := dir; !ok && up != "/"; up = path.Dir(up) {
		found, ok = s.sandbox.Get(&Task{Sandbox: up})
	}
	if ok {
		return found, true
	}
	s.sandbox.Ascend(&Task{Sandbox: dir + "/"}, func(t *Task) bool {
		found, ok = t, strings.HasPrefix(t.Sandbox, dir+"/")
		return false
	})
	return found, ok
}

// use adds an attachment to a task that is there, or raises a claim.
func (d *draft) use(task string, u Use, via Via, in Process) error {
	t, _ := d.Task(task)
	if err := t.ending(); err != nil {
		return err
	}
	v, err := d.usable(u.Volume)
	if err != nil {
		return err
	}
	a := &Attachment{Volume: v.UUID, Task: task, Path: u.Path, Mode: u.Mode, NoExec: u.NoExec, As: u.As, Via: via, Process: in, Since: d.env.Now}
	if a.Path == "" {
		a.Path = v.ContainerPath
	}
	if a.Mode == "" {
		a.Mode = resource.RW
	}
	if err := checkUse(t, a); err != nil {
		return err
	}
	if err := d.open(v, a); err != nil {
		return err
	}
	return d.place(t, v, a)
}

// usable finds a volume that may be attached.
func (d *draft) usable(ref string) (*Volume, error) {
	v, err := d.Find(ref)
	if err != nil {
		return nil, err
	}
	switch f, bad := d.Fault(UnitOfVolume(v.UUID)); {
	case v.Phase == Destroying:
		return nil, refuse(ErrNotFound, "volume %s is being destroyed", v.Name)
	case bad && (f.Kind == ErrLost || f.Kind == ErrUnavailable):
		return nil, refuse(f.Kind, "volume %s: %s", v.Name, f.Reason)
	case v.Phase == Creating && !d.made[v.UUID]:
		return nil, refuse(ErrPending, "volume %s is being made", v.Name)
	}
	return v, nil
}

// place adds a to the state unless it is there, something else is in its place, or an
// exclusive volume has another holder.
func (d *draft) place(t *Task, v *Volume, a *Attachment) error {
	if old, ok := d.Attachment(a.Unit()); ok {
		return d.again(v, old, a)
	}
	if err := d.roomFor(a); err != nil {
		return err
	}
	for other := range d.AttachmentsIn(a.Task) {
		switch collide := collide(t.Target(other), t.Target(a)); {
		case collide && other.Gone:
			return refuse(ErrPending, "task %s: %s collides with %s, where a volume is being detached", a.Task, a.Path, other.Path)
		case collide:
			return refuse(ErrExists, "task %s: %s collides with %s, where it has a volume", a.Task, a.Path, other.Path)
		}
	}
	if !v.Shared {
		if hs := others(d.Holders(v.UUID), a.Task); len(hs) > 0 {
			return inUse(v, hs, "volume %s is exclusive and held by %s", v.Name, HolderNames(hs))
		}
	}
	if err := d.mayWrite(v, a); err != nil {
		return err
	}
	d.put(Change{Attachment: a})
	d.touch(a.Unit())
	return nil
}

// again meets an attachment that is there already: the same is done, a claim is raised.
func (d *draft) again(v *Volume, old, a *Attachment) error {
	where := fmt.Sprintf("volume %s in task %s at %s", v.Name, a.Task, a.Path)
	switch {
	case old.Gone:
		return refuse(ErrPending, "%s is being detached", where)
	case old.Mode != a.Mode:
		return refuse(ErrExists, "%s is attached %s; set its mode, or detach it first", where, old.Mode)
	case old.NoExec != a.NoExec || !old.As.same(a.As):
		return refuse(ErrExists, "%s is attached %s; detach it first", where, old.otherwise(a))
	case old.Via == ByNamespace && a.Via == ByNamespace && old.Process != a.Process:
		return refuse(ErrExists, "%s is in the mount namespace of process %d; detach it first", where, old.PID)
	case old.Via == a.Via || a.Via == Claimed:
		d.touch(a.Unit())
		return nil
	case old.Via == Claimed && old.Process != (Process{}) && old.Process != a.Process:
		return refuse(ErrPending, "%s is being detached from the mount namespace of process %d", where, old.PID)
	case old.Via != Claimed:
		return refuse(ErrExists, "%s is attached by %s; detach it first", where, old.Via)
	}
	raised := *old
	raised.Via, raised.Process = a.Via, a.Process
	d.put(Change{Attachment: &raised})
	d.touch(a.Unit())
	return nil
}

func (o Detach) apply(d *draft) error {
	t, ok := d.Task(o.Task)
	if !ok {
		return refuse(ErrNotFound, "there is no task %q", o.Task)
	}
	v, err := d.Find(o.Volume)
	if err != nil {
		return err
	}
	gone := d.usesOf(t, v, o.Path)
	if len(gone) == 0 {
		return notAttached(v, t, o.Path)
	}
	for _, a := range gone {
		if a.Via == ByDescriptor && o.In == (Process{}) {
			return refuse(ErrInUse, "volume %s is mounted in the namespace of task %s itself, by a descriptor, and ends with it: none of its processes has it at %s",
				v.Name, t.ID, a.Path)
		}
		d.end(a.seenIn(o.In), o.Lazy)
	}
	if (!t.Lease.named() || t.Sandbox == "") && !d.uses(t) {
		d.endTask(t)
	}
	return nil
}

// uses says whether a task has any attachment that is to stay.
func (d *draft) uses(t *Task) bool {
	for a := range d.AttachmentsIn(t.ID) {
		if !a.Gone {
			return true
		}
	}
	return false
}

// within says whether path inner lies beneath path outer.
func within(inner, outer string) bool { return strings.HasPrefix(inner, outer+"/") }

func inUse(v *Volume, hs []Holder, format string, args ...any) *Error {
	e := refuse(ErrInUse, format, args...)
	e.Holders = hs
	return e
}

// HolderNames lists tasks for a message: all of a few, or the first three and a count.
func HolderNames(hs []Holder) string {
	const few = 3
	var s []string
	for _, h := range hs[:min(few, len(hs))] {
		s = append(s, "task "+h.Task+pidOf(Lease{PID: h.PID}))
	}
	if more := len(hs) - few; more > 0 {
		s = append(s, fmt.Sprintf("%d more", more))
	}
	return strings.Join(s, ", ")
}

func pidOf(l Lease) string {
	if l.PID == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", l.PID)
}

func others(hs []Holder, task string) []Holder {
	var rest []Holder
	for _, h := range hs {
		if h.Task != task {
			rest = append(rest, h)
		}
	}
	return rest
}
