package sys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bits of the mask of statmount(2); linux/mount.h.
const (
	statmountSbBasic  = 0x1
	statmountMntBasic = 0x2
	statmountMntRoot  = 0x8
	statmountMntPoint = 0x10
	statmountFsType   = 0x20

	statmountAll = statmountSbBasic | statmountMntBasic | statmountMntRoot | statmountMntPoint | statmountFsType
)

const (
	listRoot   = ^uint64(0) // LSMT_ROOT
	listBatch  = 4096       // mounts asked for by one listmount
	minimalBuf = 1024       // fixed part and, mostly, the strings
	maximalBuf = 1 << 20    // far above the longest two paths
)

// mntIDReq is struct mnt_id_req, version 0, of statmount(2) and listmount(2).
type mntIDReq struct {
	size  uint32
	spare uint32
	id    uint64
	param uint64
}

// statmountFixed is the start of struct statmount as of Linux 6.8; the strings
// follow at statmountStrings, and strings are offsets from there.
type statmountFixed struct {
	size           uint32
	_              uint32
	mask           uint64
	sbDevMajor     uint32
	sbDevMinor     uint32
	sbMagic        uint64
	sbFlags        uint32
	fsType         uint32
	mntID          uint64
	mntParentID    uint64
	mntIDOld       uint32
	mntParentIDOld uint32
	mntAttr        uint64
	mntPropagation uint64
	mntPeerGroup   uint64
	mntMaster      uint64
	propagateFrom  uint64
	mntRoot        uint32
	mntPoint       uint32
}

// statmountStrings is the size of struct statmount without its strings, which
// the kernel keeps constant by spare fields.
const statmountStrings = 512

// Mount is what statmount(2) tells of a mount.
type Mount struct {
	ID, ParentID uint64 // unique in this boot
	OldID        uint32 // the ID of mountinfo
	Dev          uint64 // device number of the superblock
	SbFlags      uint32 // SB_ flags of the superblock; SB_RDONLY is MS_RDONLY
	Attr         uint64 // MOUNT_ATTR_ flags
	Propagation  uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE
	Root         string // the mount's root in its filesystem
	Point        string // beneath the root of the process; empty when outside
	FSType       string // without subtype
}

// Statmount is statmount(2), Linux 6.8, of a mount of the calling process'
// namespace, given by its unique ID. ENOENT says that there is none. The buffer
// is grown as needed and is for reuse; its content is of no meaning.
func Statmount(id uint64, buf *[]byte) (Mount, error) {
	req := mntIDReq{size: uint32(unsafe.Sizeof(mntIDReq{})), id: id, param: statmountAll}
	if len(*buf) < minimalBuf {
		*buf = make([]byte, minimalBuf)
	}
	for {
		err := Retry(func() error {
			_, _, errno := unix.Syscall6(unix.SYS_STATMOUNT, uintptr(unsafe.Pointer(&req)),
				uintptr(unsafe.Pointer(&(*buf)[0])), uintptr(len(*buf)), 0, 0, 0)
			return errnoError(errno)
		})
		runtime.KeepAlive(&req)
		if err == nil {
			return decodeMount(*buf)
		}
		if !errors.Is(err, unix.EOVERFLOW) || len(*buf) >= maximalBuf {
			return Mount{}, os.NewSyscallError("statmount", err)
		}
		*buf = make([]byte, 4*len(*buf))
	}
}

// decodeMount reads struct statmount.
func decodeMount(buf []byte) (Mount, error) {
	if len(buf) < statmountStrings {
		return Mount{}, fmt.Errorf("statmount answered with %d bytes, want at least %d", len(buf), statmountStrings)
	}
	// A copy, since a byte slice need not be aligned.
	var s statmountFixed
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&s)), unsafe.Sizeof(s)), buf)
	const basic = statmountMntBasic | statmountSbBasic
	if s.mask&basic != basic {
		return Mount{}, fmt.Errorf("statmount left out what it was asked for: mask %#x", s.mask)
	}
	text := func(bit uint64, offset uint32) string {
		tail := buf[statmountStrings:]
		if s.mask&bit == 0 || uint64(offset) >= uint64(len(tail)) {
			return ""
		}
		value, _, _ := bytes.Cut(tail[offset:], []byte{0})
		return string(value)
	}
	return Mount{
		ID: s.mntID, ParentID: s.mntParentID, OldID: s.mntIDOld,
		Dev:     unix.Mkdev(s.sbDevMajor, s.sbDevMinor),
		SbFlags: s.sbFlags, Attr: s.mntAttr, Propagation: s.mntPropagation,
		Root:   text(statmountMntRoot, s.mntRoot),
		Point:  text(statmountMntPoint, s.mntPoint),
		FSType: text(statmountFsType, s.fsType),
	}, nil
}

// Listmount is listmount(2), Linux 6.8: the unique IDs, in their order, of all
// mounts of the calling process' namespace beneath its root.
func Listmount() ([]uint64, error) {
	req := mntIDReq{size: uint32(unsafe.Sizeof(mntIDReq{})), id: listRoot}
	var all []uint64
	batch := make([]uint64, listBatch)
	for {
		var n uintptr
		err := Retry(func() error {
			var errno unix.Errno
			n, _, errno = unix.Syscall6(unix.SYS_LISTMOUNT, uintptr(unsafe.Pointer(&req)),
				uintptr(unsafe.Pointer(&batch[0])), uintptr(len(batch)), 0, 0, 0)
			return errnoError(errno)
		})
		runtime.KeepAlive(&req)
		if err != nil {
			return nil, os.NewSyscallError("listmount", err)
		}
		all = append(all, batch[:n]...)
		if n < listBatch {
			return all, nil
		}
		req.param = batch[n-1] // go on after this one
	}
}

// errnoError is nil for the number that means success.
func errnoError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
