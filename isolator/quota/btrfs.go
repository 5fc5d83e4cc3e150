package quota

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// groups are the quota groups of btrfs. The kernel has one for each subvolume, 0/<id of
// the subvolume>; a project is the group 1/<project>, which holds those of its
// subvolumes. Its number is the caller's choice, so it can be recorded first, and with
// simple quotas the subvolumes that are made inside of it are in it too.
type groups struct {
	dir *os.File
}

// From include/uapi/linux/btrfs.h; the numbers are the same on amd64 and arm64.
const (
	iocSubvolCreate = 0x50009418 // BTRFS_IOC_SUBVOL_CREATE_V2
	iocSubvolDelete = 0x5000943f // BTRFS_IOC_SNAP_DESTROY_V2, Linux 5.7
	iocGroupAssign  = 0x40189429 // BTRFS_IOC_QGROUP_ASSIGN
	iocGroupCreate  = 0x4010942a // BTRFS_IOC_QGROUP_CREATE
	iocGroupLimit   = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT
	iocInoLookup    = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	iocStartSync    = 0x80089418 // BTRFS_IOC_START_SYNC
	iocWaitSync     = 0x40089416 // BTRFS_IOC_WAIT_SYNC

	groupLevel   = 48 // BTRFS_QGROUP_LEVEL_SHIFT
	maxRefer     = 1  // BTRFS_QGROUP_LIMIT_MAX_RFER
	firstInode   = 256
	statusOn     = 1 << 0 // BTRFS_QGROUP_STATUS_FLAG_ON
	statusRescan = 1 << 1
	statusStale  = 1 << 2 // BTRFS_QGROUP_STATUS_FLAG_INCONSISTENT
	statusSimple = 1 << 3
)

// groupOf is the number of the group 1/<project>.
func groupOf(id uint32) uint64 { return 1<<groupLevel | uint64(id) }

// state reads the item that says how groups are counted. It is there while they are.
func (g groups) state() (state, error) {
	item, err := g.find(treeQuota, key{kind: itemStatus})
	switch {
	case errors.Is(err, unix.EPERM):
		return state{off: err, why: notPermitted}, nil
	case errors.Is(err, ErrOff), err == nil && (len(item) < 24 || flagsOf(item)&statusOn == 0):
		return state{off: ErrOff, why: "quotas are not enabled on this btrfs"}, nil
	case err != nil:
		return state{}, err
	case flagsOf(item)&statusSimple != 0:
		return state{mode: modeSimple}, nil
	}
	s := state{mode: modeGroups}
	if flagsOf(item)&(statusStale|statusRescan) != 0 {
		s.why = "what is used is being counted again, or has to be: btrfs quota rescan -w"
	}
	return s, nil
}

// flagsOf reads struct btrfs_qgroup_status_item.
func flagsOf(item []byte) uint64 { return binary.LittleEndian.Uint64(item[16:]) }

// usage reads struct btrfs_qgroup_info_item and struct btrfs_qgroup_limit_item.
func (g groups) usage(id uint32) (Usage, error) {
	var u Usage
	info, err := g.find(treeQuota, key{kind: itemInfo, offset: groupOf(id)})
	if err != nil {
		return u, err
	}
	limit, err := g.find(treeQuota, key{kind: itemLimit, offset: groupOf(id)})
	u.read(info)
	u.readLimit(limit)
	return u, err
}

func (u *Usage) read(info []byte) {
	if len(info) >= 16 {
		u.Bytes = binary.LittleEndian.Uint64(info[8:])
	}
}

func (u *Usage) readLimit(limit []byte) {
	if len(limit) >= 16 && binary.LittleEndian.Uint64(limit)&maxRefer != 0 {
		u.LimitBytes = binary.LittleEndian.Uint64(limit[8:])
	}
}

// list takes any group for used that is there, whatever is in it.
func (g groups) list(first, last uint32) ([]Entry, error) {
	var all []Entry
	err := g.each(treeQuota, key{kind: itemInfo, offset: groupOf(first)}, groupOf(last), func(k key, item []byte) {
		e := Entry{ID: uint32(k.offset)}
		e.read(item)
		all = append(all, e)
	})
	if err != nil {
		return nil, err
	}
	err = g.each(treeQuota, key{kind: itemLimit, offset: groupOf(first)}, groupOf(last), func(k key, item []byte) {
		byID := func(e Entry, id uint32) int { return int(int64(e.ID) - int64(id)) }
		if i, found := slices.BinarySearchFunc(all, uint32(k.offset), byID); found {
			all[i].readLimit(item)
		}
	})
	return all, err
}

// limit limits what the group refers to. There are no limits of inodes.
func (g groups) limit(id uint32, bytes, inodes uint64) error {
	if inodes != 0 {
		return fmt.Errorf("a limit of inodes: %w", ErrUnsupported)
	}
	if err := g.create(id); err != nil {
		return err
	}
	args := struct{ group, flags, maxRefer, maxExcl, rsvRefer, rsvExcl uint64 }{groupOf(id), maxRefer, bytes, 0, 0, 0}
	return groupError(ioctl(g.dir, "BTRFS_IOC_QGROUP_LIMIT", iocGroupLimit, unsafe.Pointer(&args)))
}

// create makes the group of a project unless it is there.
func (g groups) create(id uint32) error {
	err := g.manage(1, groupOf(id))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// manage creates (1) or removes (0) a group.
func (g groups) manage(create, group uint64) error {
	args := struct{ create, group uint64 }{create, group}
	return groupError(ioctl(g.dir, "BTRFS_IOC_QGROUP_CREATE", iocGroupCreate, unsafe.Pointer(&args)))
}

// groupError says of the error for a btrfs whose quotas are off that it is that.
func groupError(err error) error {
	if errors.Is(err, unix.ENOTCONN) {
		return fmt.Errorf("%w: %w", ErrOff, err)
	}
	return err
}

// clear removes the group of a project, and those of its subvolumes that are gone, which
// some kernels leave behind. As long as it is in use it asks for a commit, which nothing
// waits for: with it the kernel goes on freeing what removed subvolumes have left.
func (g groups) clear(id uint32) error {
	found, err := g.list(id, id)
	if err != nil || len(found) == 0 {
		return err
	}
	if err = found[0].empty(); err == nil {
		err = g.remove(id)
	}
	if errors.Is(err, ErrInUse) {
		_, failed := startCommit(g.dir)
		err = errors.Join(err, failed)
	}
	return err
}

func (g groups) remove(id uint32) error {
	members, err := g.members(id)
	if err != nil {
		return err
	}
	for _, subvolume := range members {
		there, err := g.find(treeRoots, key{object: subvolume, kind: itemRoot})
		if err != nil {
			return err
		}
		if there != nil {
			return fmt.Errorf("subvolume %d is in it: %w", subvolume, ErrInUse)
		}
		if err := g.manage(0, subvolume); err != nil && !errors.Is(err, unix.ENOENT) {
			return inUse(err)
		}
	}
	if err := g.manage(0, groupOf(id)); err != nil && !errors.Is(err, unix.ENOENT) {
		return inUse(err)
	}
	return nil
}

// inUse says of the error for a group that is not empty that it is that.
func inUse(err error) error {
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return err
}

// members are the subvolumes of a project.
func (g groups) members(id uint32) ([]uint64, error) {
	var all []uint64
	err := g.each(treeQuota, key{object: groupOf(id), kind: itemRelation}, 1<<groupLevel-1, func(k key, _ []byte) {
		all = append(all, k.offset)
	})
	return all, err
}

func (g groups) projectOf(dir *os.File) (uint32, error) {
	own, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return 0, err
	}
	defer own.Close()
	subvolume, err := subvolumeOf(own)
	if err != nil {
		return 0, err
	}
	var found uint32
	first, last := groupOf(0), groupOf(math.MaxUint32)
	err = g.each(treeQuota, key{object: subvolume, kind: itemRelation, offset: first}, last, func(k key, _ []byte) {
		found = uint32(k.offset)
	})
	if errors.Is(err, ErrOff) {
		return 0, nil
	}
	return found, err
}

// assign puts a subvolume into a project.
func (g groups) assign(ctx context.Context, dir *os.File, id uint32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	own, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer own.Close()
	if err := checkTop(own); err != nil {
		return err
	}
	subvolume, err := subvolumeOf(own)
	if err != nil {
		return err
	}
	if err := g.create(id); err != nil {
		return err
	}
	now, err := g.projectOf(own)
	if err != nil || now == id {
		return err
	}
	if now != 0 {
		if err := g.join(0, subvolume, groupOf(now)); err != nil {
			return err
		}
	}
	return g.join(1, subvolume, groupOf(id))
}

// join makes a group a member of another (1), or takes it out again (0). The kernel says
// with a positive result that it has to count again, which it starts by itself.
func (g groups) join(assign, member, group uint64) error {
	args := struct{ assign, member, group uint64 }{assign, member, group}
	err := groupError(ioctl(g.dir, "BTRFS_IOC_QGROUP_ASSIGN", iocGroupAssign, unsafe.Pointer(&args)))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// checkTop refuses a directory that is not the top of a subvolume.
func checkTop(dir *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return &os.PathError{Op: "fstat", Path: dir.Name(), Err: err}
	}
	if st.Ino != firstInode {
		return fmt.Errorf("%s is a directory, and only subvolumes can be limited: %w", dir.Name(), ErrUnsupported)
	}
	return nil
}

// subvolumeOf returns the number of the subvolume that a directory lies in.
func subvolumeOf(dir *os.File) (uint64, error) {
	var args struct {
		tree, object uint64
		name         [4080]byte
	}
	args.object = firstInode
	err := ioctl(dir, "BTRFS_IOC_INO_LOOKUP", iocInoLookup, unsafe.Pointer(&args))
	return args.tree, err
}

// volArgs is struct btrfs_ioctl_vol_args_v2.
type volArgs struct {
	fd, transaction, flags uint64
	_                      [4]uint64
	name                   [4040]byte
}

// CreateSubvolume makes a subvolume of btrfs in the directory parent, with mode 0755
// less the umask, as mkdir(2) does. To the other operations it is a directory: it can be
// renamed within its parent subvolume, and removed by rmdir(2) once it is empty. It is
// ErrUnsupported on other filesystems, fs.ErrExist if the name is taken.
//
// Crash: it is there or not. It is durable with an fsync of parent from Linux 6.6 on, and
// with the next commit of the filesystem before.
func CreateSubvolume(parent *os.File, name string) error {
	return subvolume(parent, name, "BTRFS_IOC_SUBVOL_CREATE_V2", iocSubvolCreate)
}

// DeleteSubvolume removes the subvolume name of the directory parent with all that is in
// it, at a cost that does not grow with that: the kernel frees the space afterwards. One
// with another subvolume inside is ENOTEMPTY, a plain directory EINVAL, none fs.ErrNotExist.
//
// Crash: it is there, whole, or gone; it may come back before the next commit of the
// filesystem.
func DeleteSubvolume(parent *os.File, name string) error {
	return subvolume(parent, name, "BTRFS_IOC_SNAP_DESTROY_V2", iocSubvolDelete)
}

// CommitSubvolumes returns when all that was done to the btrfs of dir survives a power cut,
// subvolumes that were made and removed included. It writes no data of files that nobody
// has synced.
func CommitSubvolumes(dir *os.File) error {
	own, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer own.Close()
	transaction, err := startCommit(own)
	if err != nil {
		return err
	}
	return ioctl(own, "BTRFS_IOC_WAIT_SYNC", iocWaitSync, unsafe.Pointer(&transaction))
}

// NeedsSubvolumes says whether a directory can only be limited if it is a subvolume: on btrfs.
func NeedsSubvolumes(dir *os.File) (bool, error) {
	var st unix.Statfs_t
	if err := mount.Retry(func() error { return unix.Fstatfs(int(dir.Fd()), &st) }); err != nil {
		return false, &os.PathError{Op: "fstatfs", Path: dir.Name(), Err: err}
	}
	return st.Type == unix.BTRFS_SUPER_MAGIC, nil
}

func subvolume(parent *os.File, name, call string, request uintptr) error {
	fail := func(err error) error {
		return &os.PathError{Op: call, Path: parent.Name() + "/" + name, Err: err}
	}
	var args volArgs
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
		return fail(unix.EINVAL)
	}
	copy(args.name[:], name)
	own, err := openAt(parent, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer own.Close()
	err = ioctl(own, call, request, unsafe.Pointer(&args))
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOTTY):
		return fail(fmt.Errorf("%w: %w", ErrUnsupported, err))
	}
	return fail(err)
}
