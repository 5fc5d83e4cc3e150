package quota

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is looked for in the trees of btrfs (include/uapi/linux/btrfs_tree.h).
const (
	treeRoots = 1 // BTRFS_ROOT_TREE_OBJECTID
	treeQuota = 8 // BTRFS_QUOTA_TREE_OBJECTID

	itemRoot     = 132 // BTRFS_ROOT_ITEM_KEY: (subvolume, , )
	itemStatus   = 240 // BTRFS_QGROUP_STATUS_KEY: (0, , 0)
	itemInfo     = 242 // BTRFS_QGROUP_INFO_KEY: (0, , group)
	itemLimit    = 244 // BTRFS_QGROUP_LIMIT_KEY: (0, , group)
	itemRelation = 246 // BTRFS_QGROUP_RELATION_KEY: (group, , group), both ways

	iocTreeSearch = 0xd0009411 // BTRFS_IOC_TREE_SEARCH
	iocTreeFind   = 0xc0709411 // BTRFS_IOC_TREE_SEARCH_V2
)

// key names an item of a tree; items are in the order of object, kind and offset.
type key struct {
	object uint64
	kind   uint32
	offset uint64
}

// searchKey is struct btrfs_ioctl_search_key.
type searchKey struct {
	tree                       uint64
	minObject, maxObject       uint64
	minOffset, maxOffset       uint64
	minTransaction, maxTransac uint64
	minKind, maxKind           uint32
	items                      uint32
	_                          [9]uint32
}

// searchArgs is struct btrfs_ioctl_search_args, for many items.
type searchArgs struct {
	searchKey
	buf [3992]byte
}

// findArgs is struct btrfs_ioctl_search_args_v2, for one item: most of the cost of a
// search is that of its memory. A root (439 bytes) is the largest that is looked for.
type findArgs struct {
	searchKey
	size uint64
	buf  [512]byte
}

// itemHeader is how long struct btrfs_ioctl_search_header is: transaction, object,
// offset, kind and length of the item that follows.
const itemHeader = 32

// find returns the item with a key, or nil. Of a root, where the offset says nothing, it
// returns the first one.
func (g groups) find(tree uint64, k key) (item []byte, err error) {
	last := k.offset
	if k.kind == itemRoot {
		last = math.MaxUint64
	}
	args := findArgs{searchKey: searchFor(tree, k, last, 1)}
	args.size = uint64(len(args.buf))
	err = ioctl(g.dir, "BTRFS_IOC_TREE_SEARCH_V2", iocTreeFind, unsafe.Pointer(&args))
	if err != nil || args.items == 0 {
		return nil, searchError(tree, err)
	}
	_, item, _ = nextItem(args.buf[:])
	return item, nil
}

// each calls f for every item that differs from k in the offset alone, which is not above
// last, in order. The item is valid during the call.
func (g groups) each(tree uint64, k key, last uint64, f func(k key, item []byte)) error {
	for {
		args := searchArgs{searchKey: searchFor(tree, k, last, math.MaxUint32)}
		err := ioctl(g.dir, "BTRFS_IOC_TREE_SEARCH", iocTreeSearch, unsafe.Pointer(&args))
		if err != nil || args.items == 0 {
			return searchError(tree, err)
		}
		rest := args.buf[:]
		for range args.items {
			var item []byte
			k, item, rest = nextItem(rest)
			f(k, item)
		}
		if k.offset >= last {
			return nil
		}
		k.offset++
	}
}

// searchFor asks for the first items of one object and kind.
func searchFor(tree uint64, k key, last uint64, items uint32) searchKey {
	return searchKey{
		tree: tree, minObject: k.object, maxObject: k.object, minKind: k.kind, maxKind: k.kind,
		minOffset: k.offset, maxOffset: last, maxTransac: math.MaxUint64, items: items,
	}
}

// searchError says of the error for a filesystem without a tree of quotas that they are
// off.
func searchError(tree uint64, err error) error {
	if tree == treeQuota && errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w: %w", ErrOff, err)
	}
	return err
}

// nextItem takes the first item off what a search has found.
func nextItem(b []byte) (k key, item, rest []byte) {
	k = key{
		object: binary.LittleEndian.Uint64(b[8:]),
		offset: binary.LittleEndian.Uint64(b[16:]),
		kind:   binary.LittleEndian.Uint32(b[24:]),
	}
	n := itemHeader + binary.LittleEndian.Uint32(b[28:])
	return k, b[itemHeader:n], b[n:]
}
