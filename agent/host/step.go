package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"tenon/agent/pool"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/sandbox"
	"tenon/mount"
)

// Do does one step. Errors of a kind say what to do about them; the others are the
// disk's or the kernel's.
func (h *Host) Do(ctx context.Context, s *volume.State, step volume.Step) error {
	err := h.do(ctx, s, step)
	if errors.Is(err, mount.ErrMountMax) {
		return &volume.Error{Kind: volume.ErrInsufficient, Cause: err, Message: fmt.Sprintf("%s: %v", step.Unit, mount.ErrMountMax)}
	}
	if full(err) {
		return &volume.Error{Kind: volume.ErrInsufficient, Cause: err, Message: fmt.Sprintf("the disk is full: %s: %v", step.Unit, err)}
	}
	return err
}

// full says whether a disk has no room, or no room for this user.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (h *Host) do(ctx context.Context, s *volume.State, step volume.Step) error {
	switch step.Unit.Kind {
	case volume.DiskUnit:
		return h.doDisk(s, step)
	case volume.VolumeUnit:
		return h.doVolume(ctx, s, step)
	case volume.TaskUnit:
		return h.doTask(ctx, s, step)
	case volume.AttachmentUnit:
		return h.doAttachment(ctx, s, step)
	}
	return fmt.Errorf("no unit for step %s", step.Kind)
}

func (h *Host) doDisk(s *volume.State, step volume.Step) error {
	d, ok := s.Disk(step.Unit.Disk)
	if !ok || step.Kind != volume.Format {
		return unknown(step)
	}
	return h.disks[d.Key].format(d.Pool)
}

func (h *Host) doVolume(ctx context.Context, s *volume.State, step volume.Step) error {
	v, ok := s.Volume(step.Unit.Volume)
	if !ok {
		return unknown(step)
	}
	p, err := h.poolOf(s, v)
	if err != nil {
		return err
	}
	id := string(v.UUID)
	switch step.Kind {
	case volume.Make:
		return p.Make(id, pool.Owner{UID: v.Owner.UID, GID: v.Owner.GID, Mode: fileMode(v.Owner.Mode)})
	case volume.Limit:
		return h.limit(ctx, s, v)
	case volume.Unlimit:
		return h.unlimit(ctx, v)
	case volume.Publish:
		return h.publish(ctx, p, v.UUID)
	case volume.Discard:
		return p.Discard(ctx, id)
	case volume.Trash:
		return p.Trash(ctx, id)
	case volume.Purge:
		return p.Purge(ctx, id)
	}
	return unknown(step)
}

// publish notes that it was durable, which looking does not tell.
func (h *Host) publish(ctx context.Context, p *pool.Pool, id volume.UUID) error {
	if err := p.Publish(ctx, string(id)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.published[id] = true
	return nil
}

// fileMode gives the bits of chmod(2) as Go has them.
func fileMode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits) & fs.ModePerm
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			m |= flag
		}
	}
	return m
}

func (h *Host) doTask(ctx context.Context, s *volume.State, step volume.Step) error {
	t, ok := s.Task(step.Unit.Task)
	if !ok {
		return unknown(step)
	}
	switch step.Kind {
	case volume.MakeSandbox, volume.RemoveSandbox:
		r, rel, err := h.root(t.Sandbox)
		if err != nil {
			return err
		}
		if step.Kind == volume.MakeSandbox {
			return refused(makeSandbox(r, rel, s.Boot, t.User))
		}
		return r.Remove(ctx, rel)
	case volume.MakeCgroup, volume.RemoveCgroup:
		return h.doCgroup(t, step.Kind)
	case volume.LimitIO:
		return h.limitIO(t)
	case volume.DoKill:
		return h.kill(ctx, t)
	}
	return unknown(step)
}

func (h *Host) doCgroup(t *volume.Task, kind volume.StepKind) error {
	if h.groups == nil {
		return errNoCgroups()
	}
	if kind == volume.MakeCgroup {
		_, err := h.groups.Create(t.ID)
		return err
	}
	g, err := h.groups.Load(t.Lease.Cgroup)
	if err != nil {
		return err
	}
	return g.Delete()
}

func (h *Host) doAttachment(ctx context.Context, s *volume.State, step volume.Step) error {
	a, ok := s.Attachment(step.Unit)
	t, known := s.Task(step.Unit.Task)
	if !ok || !known {
		return unknown(step)
	}
	a = s.InForce(a)
	if a.PID != 0 {
		return h.doInside(ctx, s, t, a, step.Kind)
	}
	if step.Kind == volume.DoDetach {
		return h.detach(t, a)
	}
	sb, err := h.sandbox(t.Sandbox)
	if step.Kind == volume.Clear && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, sandbox.ErrNotDirectory)) {
		return nil
	}
	if err != nil {
		return refused(err)
	}
	defer sb.Close()
	switch step.Kind {
	case volume.DoAttach:
		return h.attach(s, a, sb)
	case volume.Flip:
		return h.flip(t, a)
	case volume.Clear:
		return sb.Clear(a.Path)
	}
	return unknown(step)
}

// attach makes the mount with its mode, places it, and makes sure that the path leads
// to it: whoever can write to the sandbox may have moved the mount point meanwhile.
func (h *Host) attach(s *volume.State, a *volume.Attachment, sb *sandbox.Sandbox) error {
	tree, want, err := h.clone(s, a)
	if err != nil {
		return err
	}
	defer tree.Close()
	point, err := sb.Prepare(a.Path)
	if err != nil {
		return refused(err)
	}
	defer point.Close()
	if point.Found.Mounted {
		return &volume.Error{Kind: volume.ErrExists, Message: "something is mounted at " + a.Path + " already"}
	}
	if err := tree.Attach(point.Target); err != nil {
		return err
	}
	if err := point.Verify(want); err != nil {
		return refused(errors.Join(err, tree.Detach()))
	}
	h.sawAt(a, point.Found.MountID) // it may be moved before anybody looks
	return nil
}

// refused gives the kind of an error of a sandbox: what lies in the way is the doing of
// whoever can write there, and no failure of the host.
func refused(err error) error {
	for _, way := range []error{sandbox.ErrNotDirectory, sandbox.ErrNotEmpty, sandbox.ErrMoved, sandbox.ErrNotOurs, mount.ErrMounted} {
		if errors.Is(err, way) {
			return &volume.Error{Kind: volume.ErrExists, Message: err.Error(), Cause: err}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &volume.Error{Kind: volume.ErrNotFound, Message: err.Error(), Cause: err}
	}
	return err
}

// clone makes a detached mount of an attachment's volume, and says what it shows.
func (h *Host) clone(s *volume.State, a *volume.Attachment) (*mount.Tree, mount.Identity, error) {
	dir, err := h.data(s, a.Volume)
	if err != nil {
		return nil, mount.Identity{}, err
	}
	defer dir.Close()
	id, err := mount.Identify(dir)
	if err != nil {
		return nil, id, err
	}
	attributes := mount.Attributes{ReadOnly: a.Mode == resource.RO, NoExec: a.NoExec}
	if a.As != nil {
		if attributes.IDMap, err = h.mapOf(s, a); err != nil {
			return nil, id, err
		}
		defer attributes.IDMap.Close()
	}
	tree, err := mount.Clone(dir, attributes)
	return tree, id, noMap(s, a, err)
}

// Hand makes a detached mount of an attachment's volume.
func (h *Host) Hand(ctx context.Context, s *volume.State, a *volume.Attachment) (*os.File, error) {
	return askOf(ctx, h, s, a.Volume, func() (*os.File, error) {
		tree, _, err := h.clone(s, a)
		if err != nil {
			return nil, err
		}
		return tree.File(), nil
	})
}

// detach unmounts what the plan has just seen to be ours, wherever it is by now.
func (h *Host) detach(t *volume.Task, a *volume.Attachment) error {
	point, err := h.whereMounted(t, a)
	if err != nil {
		return err
	}
	defer point.Close()
	err = mount.Detach(point.Parent, point.Name, a.Lazy)
	if err == nil {
		h.unseen(a)
	}
	if busy := (*mount.BusyError)(nil); errors.As(err, &busy) {
		return &volume.Error{Kind: volume.ErrBusy, Cause: err, Message: err.Error() +
			"; it is detached when they let go, or at once with --lazy"}
	}
	return err
}

// flip changes what the plan has just seen to be ours, for everybody who uses it.
func (h *Host) flip(t *volume.Task, a *volume.Attachment) error {
	point, err := h.whereMounted(t, a)
	if err != nil {
		return err
	}
	defer point.Close()
	err = mount.SetReadOnly(point.Parent, point.Name, a.Mode == resource.RO)
	if busy := (*mount.BusyError)(nil); errors.As(err, &busy) {
		return &volume.Error{Kind: volume.ErrBusy, Cause: err, Message: err.Error() + "; ask again when they have closed what they write"}
	}
	return err
}

// whereMounted is the point at which an attachment is mounted: the one that it was made
// with, unless somebody has moved that.
func (h *Host) whereMounted(t *volume.Task, a *volume.Attachment) (*sandbox.Point, error) {
	point, err := h.locate(t.Sandbox, a.Path)
	if err == nil && point.Found.Mounted {
		return point, nil
	}
	m, ok := h.moved(t, a)
	if !ok {
		return point, err
	}
	if point != nil {
		_ = point.Close() // nothing was done there
	}
	return h.pointAt(m.Point)
}

// pointAt is the point at an absolute path beneath a sandbox root, whoever's sandbox it is in.
func (h *Host) pointAt(path string) (*sandbox.Point, error) {
	r, rel, err := h.root(path)
	if err != nil {
		return nil, err
	}
	return r.Locate(rel)
}

func (h *Host) locate(dir, path string) (*sandbox.Point, error) {
	sb, err := h.sandbox(dir)
	if err != nil {
		return nil, err
	}
	defer sb.Close()
	return sb.Locate(path)
}

func unknown(step volume.Step) error {
	return fmt.Errorf("step %s of %s: nothing is known of it any more", step.Kind, step.Unit)
}
