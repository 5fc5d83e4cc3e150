// Package pool is the directory tree of one disk (design.md 7):
//
//	<pool>/tenon.json             marker: whose pool this is
//	<pool>/incoming/<uuid>/data   being made; holds nothing of anybody's
//	<pool>/live/<uuid>/data       volumes; data is a subvolume on btrfs
//	<pool>/trash/<uuid>/          destroyed; emptied in the background
//
// It moves a volume through that tree, incoming to live to trash to nothing, so
// that a crash leaves it wholly in one of the places, and it says where a volume
// is. It knows nothing of roles, sizes, quotas or mounts, decides nothing, and
// stores nothing else: what should be where is in the agent's journal.
//
// Invariants:
//
//   - A volume changes its place by one rename, which never replaces anything.
//   - What is in live was whole (with its data directory) before it came there.
//   - Nothing enters trash but by Trash, and nothing but trash and incoming is
//     ever emptied.
//   - Every name is resolved from the descriptor of the root, beneath it, through
//     no symlink and onto no other mount (openat2(2), Linux 5.6). Where the path
//     of the root leads later, or whether it leads anywhere, changes nothing.
//
// Every operation may be repeated: one that was cut off at any point is finished
// by calling it again, and one that is done already does nothing more than make
// sure that it is durable.
package pool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/mount"
)

// Pool is an open pool. Its methods may be called at the same time, also for one
// volume; Close may not overlap with anything.
type Pool struct {
	path string   // of the root as the caller knows it; for messages alone
	root *os.File // not O_PATH, so that it can be synced

	subvolumes Subvolumes // nil where data directories are directories

	liveSync, trashSync shared
}

// Place is one of the three directories that a volume can be in.
type Place string

// The places, named as they are on disk.
const (
	Incoming Place = "incoming"
	Live     Place = "live"
	Trash    Place = "trash"
)

// places in the order in which a volume passes through them.
var places = [...]Place{Incoming, Live, Trash}

// dataName is the directory inside a volume's own that its tasks see.
const dataName = "data"

// Open opens the pool in the directory root, which may be an O_PATH descriptor and
// may lie on a detached mount. root stays the caller's, who may close it at once.
// Open makes nothing and reads nothing: see Identify.
func Open(root *os.File) (*Pool, error) {
	own, err := openDir(root, ".", unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open pool %s: %w", root.Name(), err)
	}
	return &Pool{path: root.Name(), root: own}, nil
}

// OpenSubvolumes is Open for a filesystem on which the directories that tasks see are to be
// subvolumes. A pool that has some that are plain directories is as good.
func OpenSubvolumes(root *os.File, s Subvolumes) (*Pool, error) {
	p, err := Open(root)
	if err == nil {
		p.subvolumes = s
	}
	return p, err
}

// Close closes the pool's descriptor. Descriptors that Data gave out stay open.
func (p *Pool) Close() error {
	return p.root.Close()
}

// Space is the room on the disk that a pool lies on, whoever uses it.
type Space struct {
	Total     resource.Bytes
	Available resource.Bytes // to users other than root
	Free      resource.Bytes // to root
}

// Space asks the filesystem (fstatfs(2)); it costs the same whatever the pool holds.
func (p *Pool) Space() (Space, error) {
	var st unix.Statfs_t
	err := mount.Retry(func() error { return unix.Fstatfs(int(p.root.Fd()), &st) })
	if err != nil {
		return Space{}, fmt.Errorf("space of pool: %w", pathError("fstatfs", p.root, ".", err))
	}
	block := resource.Bytes(st.Frsize)
	return Space{
		Total:     resource.Bytes(st.Blocks) * block,
		Available: resource.Bytes(st.Bavail) * block,
		Free:      resource.Bytes(st.Bfree) * block,
	}, nil
}

// step is a part of an operation that a crash can follow but not divide: one system
// call that changes something, with what it needs around it. An operation is a list
// of steps so that the tests can cut it off after each.
type step struct {
	name string
	do   func() error
}

// run does the steps one after the other up to the first that fails.
func run(steps []step) error {
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// fail says of an error which volume of which pool it is about, and in doing what.
func (p *Pool) fail(what, v string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s volume %s in pool %s: %w", what, v, p.path, err)
}

// errUUID refuses what is no name of a volume's directory before any system call.
var errUUID = errors.New("name is not a UUID in lower case")

// checkUUID accepts 8-4-4-4-12 hexadecimal digits in lower case, and so no dot, no
// slash and no two spellings of one volume.
func checkUUID(v string) error {
	if len(v) != 36 {
		return errUUID
	}
	for i, c := range []byte(v) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
		if dash && c != '-' || !dash && !hex {
			return errUUID
		}
	}
	return nil
}
