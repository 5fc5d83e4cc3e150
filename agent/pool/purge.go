package pool

import (
	"context"

	"golang.org/x/sys/unix"
)

// Discard removes incoming/<v>, if it is there; never a live volume. It is not
// durable: what a power cut brings back is in incoming, where it may be discarded.
func (p *Pool) Discard(ctx context.Context, v string) error {
	return p.fail("discard", v, p.remove(ctx, Incoming, v))
}

// Purge removes trash/<v> with all that is in it, if it is there. It goes through no
// symlink and onto no mount, and an error names what stopped it: something mounted
// inside, an immutable file, the end of ctx between two files. The rest is then still
// in trash, and another Purge goes on with it. A subvolume goes as a whole: the kernel lets
// go of what was mounted in it, and touches nothing of that.
//
// Its end is durable, so that the volume can be forgotten: nothing of it comes back
// that nobody knows any more. Calls at the same time share one fsync.
func (p *Pool) Purge(ctx context.Context, v string) error {
	err := p.remove(ctx, Trash, v)
	if err == nil {
		err = p.trashSync.do(p.syncTrash)
	}
	return p.fail("purge", v, err)
}

// remove removes a volume's directory from a place.
//
// Crash: any part of it; it is in the same place still, and remove goes on with it.
func (p *Pool) remove(ctx context.Context, from Place, v string) error {
	if err := checkUUID(v); err != nil {
		return err
	}
	dir, err := openDir(p.root, string(from), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer dir.Close()
	return p.removeTree(ctx, dir, v)
}
