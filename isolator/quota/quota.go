package quota

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// The errors that a caller may tell apart.
var (
	// ErrOff: the filesystem could enforce limits, and does not. Status says how to
	// switch it on.
	ErrOff = errors.New("quotas are off")
	// ErrUnsupported: the filesystem can't do it at all.
	ErrUnsupported = errors.New("not supported by the filesystem")
	// ErrInUse: there is still something in the project.
	ErrInUse = errors.New("still in use")
)

// Quota is the filesystem that a directory lies on.
type Quota struct {
	dir    *os.File
	fs     string // "xfs", "ext4", "btrfs", or what it is called
	block  uint64 // size of a block in bytes; limits are multiples
	ledger ledger
	label  label
}

// ledger is what a filesystem knows about its projects.
type ledger interface {
	// state says whether limits are enforced, and why not.
	state() (state, error)
	// limit sets both limits of a project; an inode limit of 0 is none.
	limit(id uint32, bytes, inodes uint64) error
	usage(id uint32) (Usage, error)
	// list returns the projects from first to last that have anything or a limit.
	list(first, last uint32) ([]Entry, error)
	// clear removes the limits of a project that has nothing in it.
	clear(id uint32) error
}

// label is how directories are put into projects.
type label interface {
	assign(ctx context.Context, dir *os.File, id uint32) error
	projectOf(dir *os.File) (uint32, error)
}

// Open looks at the filesystem behind dir, which may be O_PATH and stays the caller's.
// It succeeds on any filesystem: see Status.
func Open(dir *os.File) (*Quota, error) {
	own, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("open filesystem: %w", err)
	}
	q, err := open(own)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open filesystem of %s: %w", dir.Name(), err), own.Close())
	}
	return q, nil
}

// open takes over dir.
func open(dir *os.File) (*Quota, error) {
	var st unix.Statfs_t
	if err := mount.Retry(func() error { return unix.Fstatfs(int(dir.Fd()), &st) }); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	q := &Quota{dir: dir, block: uint64(st.Bsize)}
	switch st.Type {
	case unix.XFS_SUPER_MAGIC:
		q.useProjects("xfs")
	case unix.EXT4_SUPER_MAGIC:
		q.useProjects("ext4")
	case unix.BTRFS_SUPER_MAGIC:
		q.fs, q.ledger, q.label = "btrfs", groups{dir}, groups{dir}
	default:
		q.fs, q.ledger, q.label = nameOf(dir, st.Type), nothing{}, nothing{}
	}
	return q, nil
}

func (q *Quota) useProjects(fs string) {
	p := projects{dir: q.dir, fs: fs}
	if !hasQuotactlFD() {
		p.device, p.noDevice = deviceOf(q.dir)
	}
	q.fs, q.ledger, q.label = fs, p, labels{}
}

// Close closes the descriptor of the filesystem.
func (q *Quota) Close() error { return q.dir.Close() }

// Usage is what a project takes, and what it may take.
//
// On XFS the bytes include what the filesystem has reserved for files that grow; after a
// removal they follow within moments. On btrfs they are those of the last commit of the
// filesystem (30 s by default; syncfs(2) makes one), include 16 KiB for each subvolume,
// and inodes are neither counted nor limited: both are 0.
type Usage struct {
	Bytes, Inodes           uint64
	LimitBytes, LimitInodes uint64 // 0 is none
}

// Entry is a project that has something in it, or a limit.
type Entry struct {
	ID uint32
	Usage
}

// SetLimit limits a project to so many bytes, rounded up to whole blocks, and inodes
// (files, directories, links and the like; 0 is no limit). It is at work when SetLimit
// returns, for files that are open too. A limit below what is used is no error.
//
// Where limits are not enforced nothing is set, and the error is ErrOff.
//
// Crash: the limit before or this one; it is durable with the next commit of the
// filesystem's journal, which an fsync of anything brings about on XFS and ext4. Usage
// tells which it is.
func (q *Quota) SetLimit(id uint32, bytes, inodes uint64) error {
	return q.fail("set limit of", id, q.setLimit(id, bytes, inodes))
}

func (q *Quota) setLimit(id uint32, bytes, inodes uint64) error {
	switch {
	case bytes == 0:
		return fmt.Errorf("0 bytes would be no limit at all: %w", unix.EINVAL)
	case bytes > math.MaxInt64-q.block:
		return fmt.Errorf("%d bytes are more than any filesystem has: %w", bytes, unix.EINVAL)
	}
	if err := checkID(id); err != nil {
		return err
	}
	if err := q.enforced(); err != nil {
		return err
	}
	return q.ledger.limit(id, q.round(bytes), inodes)
}

// Round is the limit that SetLimit makes of so many bytes.
func (q *Quota) Round(bytes uint64) uint64 { return q.round(bytes) }

func (q *Quota) round(bytes uint64) uint64 {
	return (bytes + q.block - 1) / q.block * q.block
}

// enforced is ErrOff or ErrUnsupported, with the reason, unless limits are enforced.
func (q *Quota) enforced() error {
	s, err := q.ledger.state()
	if err == nil && s.off != nil {
		err = fmt.Errorf("%s: %w", s.why, s.off)
	}
	return err
}

// Usage asks what a project takes: one system call (two on btrfs), whatever it holds.
// A project that nobody has used takes nothing and has no limits.
func (q *Quota) Usage(id uint32) (Usage, error) {
	if err := checkID(id); err != nil {
		return Usage{}, q.fail("usage of", id, err)
	}
	u, err := q.ledger.usage(id)
	return u, q.fail("usage of", id, err)
}

// Exact is Usage with all that was written so far. On btrfs, which counts with its commits,
// it has the filesystem write all that it has first, and takes as long as that does.
func (q *Quota) Exact(id uint32) (Usage, error) {
	if q.fs == "btrfs" {
		if err := mount.Retry(func() error { return unix.Syncfs(int(q.dir.Fd())) }); err != nil {
			return Usage{}, q.fail("usage of", id, os.NewSyscallError("syncfs", err))
		}
	}
	return q.Usage(id)
}

// List returns the projects of a range that have anything in them or a limit, in order,
// whoever they belong to: one system call for each (fewer on btrfs).
func (q *Quota) List(r Range) ([]Entry, error) {
	all, err := q.ledger.list(r.First, r.Last)
	if err != nil {
		return nil, fmt.Errorf("list projects of %s: %w", q.dir.Name(), err)
	}
	return all, nil
}

// Clear removes the limits of a project once nothing is left in it; before, it is
// ErrInUse, and the limits stay. A file that was removed while it is open is in use, and
// what was removed from XFS and btrfs goes in the background, which Clear has btrfs begin
// with: try again later. A project that has no limits is no error. Afterwards the number
// may be used again.
//
// Crash: the limits are there or not; Clear again.
func (q *Quota) Clear(id uint32) error {
	if err := checkID(id); err != nil {
		return q.fail("clear", id, err)
	}
	return q.fail("clear", id, q.ledger.clear(id))
}

// empty is ErrInUse if there is anything in a project.
func (u Usage) empty() error {
	if u.Bytes == 0 && u.Inodes == 0 {
		return nil
	}
	return fmt.Errorf("%d bytes and %d inodes are in it: %w", u.Bytes, u.Inodes, ErrInUse)
}

// Assign puts the directory dir, all that is in it, and all that will be made in it into
// a project. dir may be O_PATH. On btrfs it has to be the top of a subvolume, which is
// assigned as one; in XFS and ext4 each file and directory is, 256 levels deep at most,
// so it is cheap for one that is empty. What is assigned already is not touched, so after
// an error, or the end of ctx, another Assign goes on.
//
// A project inside a project is not possible: what lies in dir leaves the one it was in.
// Nothing that is made meanwhile stays out, and no symlink or mount is followed. Assign
// before SetLimit, for ext4 lets nothing into a project that is too much for its limit.
//
// Crash: any part of the directory is in the project; Assign again. It is durable as
// the mode of a new file is.
func (q *Quota) Assign(ctx context.Context, dir *os.File, id uint32) error {
	if err := checkID(id); err != nil {
		return q.fail("assign to", id, err)
	}
	return q.fail("assign to", id, q.label.assign(ctx, dir, id))
}

// ProjectOf returns the project of a directory, which may be O_PATH, or 0 for none.
func (q *Quota) ProjectOf(dir *os.File) (uint32, error) {
	id, err := q.label.projectOf(dir)
	if err != nil {
		return 0, fmt.Errorf("project of %s: %w", dir.Name(), err)
	}
	return id, nil
}

// fail says of an error which project of which filesystem it is about, in doing what.
func (q *Quota) fail(what string, id uint32, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s project %d on the %s of %s: %w", what, id, q.fs, q.dir.Name(), err)
}

// nothing is a filesystem that has no projects.
type nothing struct{}

func (nothing) state() (state, error)                          { return state{off: ErrUnsupported}, nil }
func (nothing) limit(uint32, uint64, uint64) error             { return ErrUnsupported }
func (nothing) usage(uint32) (Usage, error)                    { return Usage{}, ErrUnsupported }
func (nothing) list(uint32, uint32) ([]Entry, error)           { return nil, ErrUnsupported }
func (nothing) clear(uint32) error                             { return ErrUnsupported }
func (nothing) assign(context.Context, *os.File, uint32) error { return ErrUnsupported }
func (nothing) projectOf(*os.File) (uint32, error)             { return 0, ErrUnsupported }
