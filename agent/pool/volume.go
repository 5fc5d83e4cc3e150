package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// Owner is whose a volume's data directory is, and who else may use it.
type Owner struct {
	UID, GID int
	Mode     fs.FileMode // permissions, and fs.ModeSetuid, ModeSetgid, ModeSticky
}

// check refuses what chown(2) takes for "leave it as it is".
func (o Owner) check() error {
	if o.UID < 0 || o.GID < 0 {
		return fmt.Errorf("owner %d:%d is not a user and a group", o.UID, o.GID)
	}
	return nil
}

// special are the bits of chmod(2) that fs.FileMode has elsewhere.
var special = [...]struct {
	flag fs.FileMode
	bit  uint32
}{{fs.ModeSetuid, unix.S_ISUID}, {fs.ModeSetgid, unix.S_ISGID}, {fs.ModeSticky, unix.S_ISVTX}}

// mode gives the bits of chmod(2). Bits that it has no place for are an error, so
// that 0o2770, which is no setgid in an fs.FileMode, cannot pass for it.
func (o Owner) mode() (uint32, error) {
	bits, rest := uint32(o.Mode.Perm()), o.Mode&^fs.ModePerm
	for _, s := range special {
		if rest&s.flag != 0 {
			bits |= s.bit
			rest &^= s.flag
		}
	}
	if rest != 0 {
		return 0, fmt.Errorf("mode %s (%#o) is not one of a directory", o.Mode, uint32(o.Mode))
	}
	return bits, nil
}

// in is the path of v, or of something in it, beneath the root.
func (pl Place) in(v string, more ...string) string {
	return path.Join(append([]string{string(pl), v}, more...)...)
}

// Make makes incoming/<v>/data with exactly the owner and mode of o, whatever the
// umask, and finishes one that was half made. It does nothing if v is live already; a
// live/<v> without data is half made too, and makes way if nothing is in it: it is asked
// for only while v is being made. Nothing is durable before Publish.
func (p *Pool) Make(v string, o Owner) error {
	return p.fail("make", v, p.make(v, o))
}

func (p *Pool) make(v string, o Owner) error {
	if err := checkUUID(v); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	mode, err := o.mode()
	if err != nil {
		return err
	}
	if live, err := p.makeWay(v); live || err != nil {
		return err
	}
	return run(p.makeSteps(v, o.UID, o.GID, mode))
}

// makeWay says whether v is live already, and removes a live/<v> without data.
//
// Crash: the empty directory is there or not; Make goes on.
func (p *Pool) makeWay(v string) (live bool, err error) {
	top, err := exists(p.root, Live.in(v))
	if err != nil || !top {
		return false, err
	}
	live, err = exists(p.root, Live.in(v, dataName))
	if err != nil || live {
		return live, err
	}
	return false, removeEmpty(p.root, string(Live), v)
}

// makeSteps makes an incoming volume. The mode comes after the owner, for a change of
// owner may take setuid and setgid away (chown(2)).
//
// Crash: nothing or any part of incoming/<v>; Make finishes it and Discard removes it.
func (p *Pool) makeSteps(v string, uid, gid int, mode uint32) []step {
	top, data := Incoming.in(v), Incoming.in(v, dataName)
	return []step{
		{"make directory", func() error { return makeDir(p.root, string(Incoming), v) }},
		{"chown directory", func() error { return chownDir(p.root, top, 0, 0) }},
		{"chmod directory", func() error { return chmodDir(p.root, top, 0o700) }},
		{"make data", func() error { return p.makeData(top) }},
		{"chown data", func() error { return chownDir(p.root, data, uid, gid) }},
		{"chmod data", func() error { return chmodDir(p.root, data, mode) }},
	}
}

// Publish moves v from incoming to live. On return its directory, its data's owner
// and mode and its place are durable. It is the same for a volume that is live
// already: after a crash only another Publish tells that it will stay so. A volume
// that is neither there nor whole in incoming is fs.ErrNotExist.
//
// Callers at the same time share an fsync. ctx is looked at before the move; a move
// that has begun is made durable.
func (p *Pool) Publish(ctx context.Context, v string) error {
	return p.fail("publish", v, p.change(ctx, v, p.publishSteps))
}

// publishSteps brings a volume to life. The fsync of live carries the journal of
// ext4 and XFS past everything that was done to the volume before, so that the one of
// the volume's own directory finds nothing left to write; filesystems that order less
// (btrfs) need it, and take with it what is new inside.
//
// Crash: incoming/<v> as Make left it, or live/<v>, whole; never both, never less.
func (p *Pool) publishSteps(v string) []step {
	return []step{
		{"move to live", func() error { return p.publish(v) }},
		{"sync live", func() error { return p.liveSync.do(p.syncLive) }},
		{"sync volume", func() error { return syncDir(p.root, Live.in(v)) }},
	}
}

// publish renames a volume that is whole. It is no error if there is none in
// incoming, or if there is one in live: the steps that follow look for it there.
func (p *Pool) publish(v string) error {
	whole, err := exists(p.root, Incoming.in(v, dataName))
	if err != nil || !whole {
		return err
	}
	err = renameNew(p.root, Incoming, Live, v)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Trash moves v from live to trash, at the same cost whatever it holds. On return it
// is durable that v is not live. A volume that is not live (any more) is no error.
// Callers at the same time share fsyncs; ctx is looked at before the move.
func (p *Pool) Trash(ctx context.Context, v string) error {
	return p.fail("trash", v, p.change(ctx, v, p.trashSteps))
}

// trashSteps takes a volume's life. Trash is synced before live, so that a filesystem
// that orders less knows the new name before it forgets the old one.
//
// Crash: live/<v> or trash/<v>, whole.
func (p *Pool) trashSteps(v string) []step {
	return []step{
		{"move to trash", func() error { return p.bin(v) }},
		{"sync trash", func() error { return p.trashSync.do(p.syncTrash) }},
		{"sync live", func() error { return p.liveSync.do(p.syncLive) }},
	}
}

// bin renames a live volume to trash, if it is there.
func (p *Pool) bin(v string) error {
	err := renameNew(p.root, Live, Trash, v)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (p *Pool) syncLive() error  { return p.syncPlace(Live) }
func (p *Pool) syncTrash() error { return p.syncPlace(Trash) }

// change runs an operation on a volume unless its context has ended.
func (p *Pool) change(ctx context.Context, v string, steps func(v string) []step) error {
	if err := checkUUID(v); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return run(steps(v))
}
