package volume

import (
	"path"
	"strings"
	"unicode/utf8"

	"tenon/agent/resource"
)

// check says whether an attach says how, and by which process where it needs one.
func (o Attach) check() error {
	switch {
	case o.Via != ByPath && o.Via != ByDescriptor && o.Via != ByNamespace:
		return refuse(ErrInvalid, "attach by %q is by neither a path nor a descriptor nor a namespace", o.Via)
	case o.Via == ByNamespace && (o.In.PID <= 0 || o.In.Start == 0):
		return refuse(ErrInvalid, "attach to task %s by namespace names no process", o.Task)
	case o.Via != ByNamespace && o.In != (Process{}):
		return refuse(ErrInvalid, "attach to task %s by %s has no use for process %d", o.Task, o.Via, o.In.PID)
	}
	return nil
}

func checkUse(t *Task, a *Attachment) error {
	switch {
	case a.Mode != resource.RW && a.Mode != resource.RO:
		return refuse(ErrInvalid, "mode %q is neither RW nor RO", a.Mode)
	case a.Via == ByNamespace && path.IsAbs(a.Path):
		return checkTarget(a)
	case t.Sandbox == "":
		return refuse(ErrInvalid, "task %s has no sandbox; give an absolute path for the volume, as its process sees it, not %q", t.ID, a.Path)
	}
	if err := resource.CheckContainerPath(a.Path); err != nil {
		return invalid(err, "task %s", a.Task)
	}
	return a.As.check("task " + a.Task + ": as")
}

// maxTarget bounds an absolute path, as PATH_MAX does (limits.h).
const maxTarget = 4095

// checkTarget says whether an absolute path may be a target.
func checkTarget(a *Attachment) error {
	switch {
	case path.Clean(a.Path) != a.Path || a.Path == "/" || strings.HasPrefix(a.Path, "//"):
		return refuse(ErrInvalid, "task %s: path %q must be clean, and not the root itself", a.Task, a.Path)
	case len(a.Path) > maxTarget:
		return refuse(ErrInvalid, "task %s: the path must not be longer than %d bytes", a.Task, maxTarget)
	case !utf8.ValidString(a.Path) || strings.ContainsFunc(a.Path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return refuse(ErrInvalid, "task %s: path %q has characters that no path of a volume may have", a.Task, a.Path)
	}
	return a.As.check("task " + a.Task + ": as")
}

// Target is where an attachment of the task is, as the task sees it: beneath its sandbox, or
// where an absolute path says.
func (t *Task) Target(a *Attachment) string {
	if path.IsAbs(a.Path) {
		return a.Path
	}
	return t.Sandbox + "/" + a.Path
}

func collide(a, b string) bool { return a == b || within(a, b) || within(b, a) }

// seenIn is an attachment whose mount was handed over, as one of the agent's own in the
// namespace of a process that has it; any other stays as it is.
func (a *Attachment) seenIn(p Process) *Attachment {
	if a.Via != ByDescriptor || p == (Process{}) {
		return a
	}
	through := *a
	through.Via, through.Process = ByNamespace, p
	return &through
}

func orNone(sandbox string) string {
	if sandbox == "" {
		return "none"
	}
	return sandbox
}

// roomFor makes sure that a task may have one attachment more, and would see it.
func (d *draft) roomFor(a *Attachment) error {
	n := 0
	for other := range d.AttachmentsIn(a.Task) {
		n++
		if other.Via == ByDescriptor && a.Via == ByPath {
			return refuse(ErrInvalid, "task %s has its volumes in a mount namespace of its own, "+
				"where a mount at %s beneath its sandbox would not be seen", a.Task, a.Path)
		}
	}
	if n >= maxUses {
		return refuse(ErrInvalid, "task %s uses volumes at %d places already, which is all that a task may", a.Task, n)
	}
	return nil
}
