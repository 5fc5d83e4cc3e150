package host

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"

	"tenon/agent/pool"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/isolator/quota"
	"tenon/mount"
)

// disk is a pool that is opened when it is first looked at, and again as long as the one
// that is wanted is not there. Once that is open, everything goes through its descriptor:
// what happens to the path later (another file system mounted over it, say) changes
// nothing, as long as what is open answers.
type disk struct {
	dir   string
	make  bool // the directory is made with the pool
	mount bool // the directory must be one that a file system is mounted at (a MOUNT disk)

	// mu is never held while the disk is asked for anything, which it may never answer.
	mu         sync.Mutex
	opened     opened // the pool that is wanted; guarded by mu
	looking    bool   // guarded by mu
	closed     bool   // guarded by mu
	unanswered int    // questions that are open for longer than patience; guarded by mu

	projects quota.Range // by which volumes may be limited
	log      *slog.Logger
}

// opened is a pool that is open, with what is known of it. The zero value is none.
type opened struct {
	source *mount.Source
	pool   *pool.Pool
	found  pool.Identity
	limits *limits // of the file system of the pool; nil where they are not known
	dev    uint64  // device number of the file system of the pool
	size   resource.Bytes
	listed bool // its unknown directories were reported
}

// see looks for the pool that is wanted, and tells which one there is. Any other is let go
// of again: it may be unmounted at any time, and the right one mounted in its place. Only one
// may look at a time; a disk that does not answer keeps that one waiting, and nobody else.
func (d *disk) see(want string) volume.SeenDisk {
	had := d.begin()
	now, err := d.look(had, want)
	found, size := now.found, now.size
	if found.UUID != want {
		err = errors.Join(err, now.close())
		now = opened{}
	}
	d.end(now)
	switch {
	case d.make && errors.Is(err, fs.ErrNotExist):
		return volume.SeenDisk{Empty: true} // as good as an empty directory
	case err != nil:
		return volume.SeenDisk{Missing: err.Error()}
	}
	return volume.SeenDisk{Empty: found.Empty, Pool: found.UUID, Size: d.offers(size)}
}

// begin notes that somebody looks, and gives what is open.
func (d *disk) begin() opened {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looking = true
	return d.opened
}

// end notes what is open from now on.
func (d *disk) end(now opened) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looking = false
	if d.closed {
		_ = now.close() // of descriptors that were only looked through
		return
	}
	d.opened = now
}

// look gives what was open, if that is wanted and answers, and otherwise what is there now. What
// answers with an error will not become good again (its connection was aborted, its device is
// gone) and is let go of without being closed, for others may be in the middle of using it.
func (d *disk) look(had opened, want string) (opened, error) {
	if had.pool != nil {
		_, err := had.pool.Space()
		if err == nil {
			return had, nil
		}
		d.log.Warn("disk does not work any more; it is opened again", "disk", d.dir, "err", err)
	}
	return d.open(want)
}

// offers is how much of a file system volumes get where the configuration does not say.
func (d *disk) offers(size resource.Bytes) resource.Bytes {
	if d.mount {
		return size
	}
	return offered(size)
}

// enforcement says what the file system of the pool that is wanted does about sizes now.
func (d *disk) enforcement(want string) volume.Enforcement {
	now := d.now()
	switch {
	case now.pool == nil || now.found.UUID != want:
		return volume.Enforcement{}
	case d.mount:
		return volume.Enforcement{Mode: volume.EnforcedHard, By: volume.ByFileSystem, Why: "the file system is one volume's as a whole"}
	case d.projects == (quota.Range{}):
		return volume.Enforcement{Mode: volume.EnforcedNone, Why: "the agent is configured without a project_range"}
	case now.limits == nil:
		return volume.Enforcement{Mode: volume.EnforcedNone, Why: "it is not known what the file system can do; see the agent's log"}
	}
	st := now.limits.look(d.log)
	e := volume.Enforcement{Mode: volume.EnforcementMode(st.Enforcement), Why: st.Why, Commands: st.Commands, Escapes: st.Escapes}
	switch {
	case st.Enforcement != quota.Hard:
	case st.Filesystem == "btrfs":
		e.By = volume.BySubvolume
	default:
		e.By = volume.ByProject
	}
	return e
}

// now is what is open.
func (d *disk) now() opened {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened
}

// open opens what is there, all of it if it is the pool that is wanted.
func (d *disk) open(want string) (o opened, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
			o = opened{}
		}
	}()
	dir, err := mount.OpenDir(d.dir)
	if err != nil {
		return o, err
	}
	defer dir.Close()
	if err := d.checkMount(dir); err != nil {
		return o, err
	}
	if o.dev, err = deviceOf(dir); err != nil {
		return o, err
	}
	if o.source, err = mount.OpenSource(dir); err != nil {
		return o, err
	}
	if o.pool, err = openPool(o.source.Dir()); err != nil {
		return o, err
	}
	space, err := o.pool.Space()
	if err != nil {
		return o, err
	}
	o.size = space.Total
	if o.found, err = o.pool.Identify(); err != nil || o.found.UUID != want {
		return o, err
	}
	o.limits = d.openLimits(o.source.Dir())
	return o, nil
}

// deviceOf is the number of the file system that a directory is on; on btrfs a subvolume's own
// is another.
func deviceOf(dir *os.File) (uint64, error) {
	if m, err := mount.Lookup(dir); err == nil {
		return m.Dev, nil
	}
	id, err := mount.Identify(dir)
	return id.Dev, err
}

// fileSystem names the file system of the pool that is open.
func (d *disk) fileSystem() string { return strconv.FormatUint(d.now().dev, 10) }

// openLimits looks what the file system of the pool does about sizes; volumes work without.
func (d *disk) openLimits(dir *os.File) *limits {
	if d.projects == (quota.Range{}) || d.mount {
		return nil
	}
	l, err := openLimits(dir)
	if err != nil {
		d.log.Warn("limits of volumes not enforced", "disk", d.dir, "err", err)
	}
	return l
}

// checkMount makes sure that a MOUNT disk is mounted: without it, its directory is one of
// another file system (spec.md 1.4).
func (d *disk) checkMount(dir *os.File) error {
	if !d.mount {
		return nil
	}
	root, err := mount.IsRoot(dir)
	if err == nil && !root {
		err = fmt.Errorf("nothing is mounted at %s, which is configured as a MOUNT disk", d.dir)
	}
	return err
}

// unlisted lists what is in the pool that is wanted, the first time after it was opened.
func (d *disk) unlisted(want string) ([]pool.Entry, error) {
	p := d.toList(want)
	if p == nil {
		return nil, nil
	}
	return p.List()
}

// toList gives the pool that is wanted, the first time after it was opened, and then nil.
func (d *disk) toList(want string) *pool.Pool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened.pool == nil || d.opened.found.UUID != want || d.opened.listed {
		return nil
	}
	d.opened.listed = true
	return d.opened.pool
}

// format writes the marker of a pool, which is open then. Nobody may look meanwhile.
func (d *disk) format(id string) error {
	if d.make {
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return err
		}
	}
	o, err := d.begin(), error(nil)
	if o.pool == nil {
		o, err = d.open(id)
	}
	if err == nil {
		err = o.pool.Format(id)
	}
	if err == nil {
		o.found, err = o.pool.Identify()
	}
	if err != nil {
		err, o = errors.Join(err, o.close()), opened{}
	} else if o.limits == nil {
		o.limits = d.openLimits(o.source.Dir())
	}
	d.end(o)
	return err
}

// use gives the open pool if it is the one that is wanted.
func (d *disk) use(want string) (*pool.Pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.opened.pool != nil && d.opened.found.UUID == want:
		return d.opened.pool, nil
	case d.looking:
		return nil, fmt.Errorf("disk %s does not answer", d.dir)
	}
	return nil, fmt.Errorf("disk %s does not hold pool %s", d.dir, want)
}

// close closes what is open; nobody uses it any more.
func (o opened) close() error {
	errs := []error{o.limits.close()}
	if o.pool != nil {
		errs = append(errs, o.pool.Close())
	}
	if o.source != nil {
		errs = append(errs, o.source.Close())
	}
	return errors.Join(errs...)
}

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.opened
	d.opened, d.closed = opened{}, true
	return o.close()
}

// poolOf gives the pool that a volume lies in.
func (h *Host) poolOf(s *volume.State, v *volume.Volume) (*pool.Pool, error) {
	d, ok := h.disks[v.Disk]
	want, known := s.Disk(v.Disk)
	if !ok || !known {
		return nil, fmt.Errorf("no disk %q is configured", v.Disk)
	}
	return d.use(want.Pool)
}

// data opens the directory of a volume that tasks see.
func (h *Host) data(s *volume.State, id volume.UUID) (*os.File, error) {
	v, ok := s.Volume(id)
	if !ok {
		return nil, fmt.Errorf("there is no volume %s", id)
	}
	p, err := h.poolOf(s, v)
	if err != nil {
		return nil, faulty(v, volume.ErrUnavailable, err)
	}
	dir, err := p.Data(string(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, faulty(v, volume.ErrLost, err)
	}
	return dir, err
}

// faulty says of a volume that its disk is away or its directory lost, maybe before the
// state says so.
func faulty(v *volume.Volume, kind, err error) error {
	message := "volume " + v.Name.String() + ": "
	if kind == volume.ErrLost {
		message = "volume " + v.Name.String() + " has lost its directory: "
	}
	return &volume.Error{Kind: kind, Message: message + err.Error(), Cause: err}
}
