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
	"tenon/agent/volume"
	"tenon/isolator/quota"
	"tenon/mount"
)

// disk is a pool that is opened when it is first looked at, and again as long as the one
// that is wanted is not there. Once that is open, everything goes through its descriptor:
// what happens to the path later (another file system mounted over it, say) changes
// nothing.
type disk struct {
	dir   string
	make  bool // the directory is made with the pool
	mount bool // the directory must be one that a file system is mounted at (a MOUNT disk)

	mu     sync.Mutex
	source *mount.Source // guarded by mu
	pool   *pool.Pool    // guarded by mu
	found  pool.Identity // guarded by mu
	limits *limits       // of the file system of the pool; guarded by mu
	dev    uint64        // device number of the file system of the pool; guarded by mu
	listed bool          // its unknown directories were reported; guarded by mu

	projects quota.Range // by which volumes may be limited
	log      *slog.Logger
}

// see looks for the pool that is wanted, and tells which one there is. Any other is let go
// of again: it may be unmounted at any time, and the right one mounted in its place.
func (d *disk) see(want string) volume.SeenDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.open(want)
	found := d.found
	if found.UUID != want {
		err = errors.Join(err, d.reset())
	}
	switch {
	case d.make && errors.Is(err, fs.ErrNotExist):
		return volume.SeenDisk{Empty: true} // as good as an empty directory
	case err != nil:
		return volume.SeenDisk{Missing: err.Error()}
	}
	return volume.SeenDisk{Empty: found.Empty, Pool: found.UUID}
}

// enforcement says what the file system of the pool that is wanted does about sizes now.
func (d *disk) enforcement(want string) volume.Enforcement {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.pool == nil || d.found.UUID != want:
		return volume.Enforcement{}
	case d.mount:
		return volume.Enforcement{Mode: volume.EnforcedHard, By: volume.ByFileSystem, Why: "the file system is one volume's as a whole"}
	case d.projects == (quota.Range{}):
		return volume.Enforcement{Mode: volume.EnforcedNone, Why: "the agent is configured without a project_range"}
	case d.limits == nil:
		return volume.Enforcement{Mode: volume.EnforcedNone, Why: "it is not known what the file system can do; see the agent's log"}
	}
	st := d.limits.look(d.log)
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

// open opens the pool unless the one that is wanted is open. Nobody uses one that it
// closes, for use gives out only what is wanted, and that never changes.
//
// Preconditions: d.mu is held.
func (d *disk) open(want string) (err error) {
	if d.pool != nil && d.found.UUID == want {
		return nil
	}
	d.reset()
	defer func() {
		if err != nil {
			d.reset()
		}
	}()
	dir, err := mount.OpenDir(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := d.checkMount(dir); err != nil {
		return err
	}
	if d.dev, err = deviceOf(dir); err != nil {
		return err
	}
	if d.source, err = mount.OpenSource(dir); err != nil {
		return err
	}
	if d.pool, err = openPool(d.source.Dir()); err != nil {
		return err
	}
	if d.found, err = d.pool.Identify(); err != nil || d.found.UUID != want {
		return err
	}
	d.openLimits()
	return nil
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
func (d *disk) fileSystem() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strconv.FormatUint(d.dev, 10)
}

// openLimits looks what the file system of the pool does about sizes; volumes work without.
//
// Preconditions: d.mu is held.
func (d *disk) openLimits() {
	if d.projects == (quota.Range{}) || d.mount || d.limits != nil {
		return
	}
	var err error
	if d.limits, err = openLimits(d.source.Dir()); err != nil {
		d.log.Warn("limits of volumes not enforced", "disk", d.dir, "err", err)
	}
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
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pool == nil || d.found.UUID != want || d.listed {
		return nil, nil
	}
	d.listed = true
	return d.pool.List()
}

// format writes the marker of a pool.
func (d *disk) format(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.make {
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return err
		}
	}
	if err := d.open(id); err != nil {
		return err
	}
	if err := d.pool.Format(id); err != nil {
		return err
	}
	var err error
	if d.found, err = d.pool.Identify(); err == nil {
		d.openLimits()
	}
	return err
}

// use gives the open pool if it is the one that is wanted.
func (d *disk) use(want string) (*pool.Pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pool == nil || d.found.UUID != want {
		return nil, fmt.Errorf("disk %s does not hold pool %s", d.dir, want)
	}
	return d.pool, nil
}

// reset forgets the pool.
//
// Preconditions: d.mu is held, or nobody else has d.
func (d *disk) reset() error {
	errs := []error{d.limits.close()}
	if d.pool != nil {
		errs = append(errs, d.pool.Close())
	}
	if d.source != nil {
		errs = append(errs, d.source.Close())
	}
	d.pool, d.source, d.limits, d.found, d.listed = nil, nil, nil, pool.Identity{}, false
	return errors.Join(errs...)
}

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reset()
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
