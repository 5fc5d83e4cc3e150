package mount

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

// Info is what is known about a mount of the calling process' namespace.
type Info struct {
	// ID and ParentID name the mount and the one it lies on. From Linux 6.8 on
	// they are never used again while the system runs; before, they are those
	// of /proc/self/mountinfo, which are once a mount is gone.
	ID, ParentID uint64
	Dev          uint64 // device number of the filesystem's superblock
	Root         string // the mount's root within its filesystem
	Point        string // where it is mounted, beneath the root of the process
	FSType       string // "ext4"; without the subtype of "fuse.sshfs"
	ReadOnly     bool   // the mount or its whole filesystem is read-only
	NoSuid       bool
	NoDev        bool
	NoExec       bool
	IDMapped     bool // it shows files as those of others, see Attributes.IDMap
	Private      bool // neither sends mounts to other namespaces nor takes theirs
	Shared       bool // sends them
}

// Lookup returns the mount that an open file lies on. Its error is
// fs.ErrNotExist when the mount is not one of this namespace beneath the root of
// the process; a detached tree, for one, is not.
//
// The cost is constant from Linux 6.8 on (statmount); before, it reads the mount
// table, so use At where its answer is enough.
func Lookup(f *os.File) (Info, error) {
	st, err := sys.Statx(f)
	if err != nil {
		return Info{}, err
	}
	m, err := find(st.MountID)
	if err != nil {
		return Info{}, &fs.PathError{Op: "look up the mount of", Path: f.Name(), Err: err}
	}
	return m, nil
}

// Table returns all mounts of this namespace beneath the root of the process, in
// the order of their IDs. The cost grows with their number (205 ms at 50,000),
// so it is for starting and for checking, never for a request. A mount that
// appears or goes meanwhile may or may not be in it.
func Table() ([]Info, error) {
	var table []Info
	var err error
	if sys.HasStatmount.Available() {
		table, err = statmountTable()
	} else {
		table, err = mountinfoTable(nil)
	}
	slices.SortFunc(table, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return table, err
}

// Find returns the mount with an ID that At, Lookup or Table gave, or fs.ErrNotExist. Before
// Linux 6.8 IDs are used again, so the caller compares what it finds with what it expects,
// and the whole table is read.
func Find(id uint64) (Info, error) { return find(id) }

// find returns the mount with the given ID, or fs.ErrNotExist.
func find(id uint64) (Info, error) {
	if sys.HasStatmount.Available() {
		var buf []byte
		return statmount(id, &buf)
	}
	table, err := mountinfoTable(func(m *mountinfo.Info) (skip, stop bool) {
		found := uint64(m.ID) == id
		return !found, found
	})
	if err != nil {
		return Info{}, err
	}
	if len(table) == 0 {
		return Info{}, fs.ErrNotExist
	}
	return table[0], nil
}

func statmountTable() ([]Info, error) {
	ids, err := sys.Listmount()
	if err != nil {
		return nil, err
	}
	table := make([]Info, 0, len(ids))
	var buf []byte
	for _, id := range ids {
		m, err := statmount(id, &buf)
		if errors.Is(err, fs.ErrNotExist) {
			continue // unmounted since
		}
		if err != nil {
			return nil, err
		}
		table = append(table, m)
	}
	return table, nil
}

// statmount is find by statmount(2).
func statmount(id uint64, buf *[]byte) (Info, error) {
	m, err := sys.Statmount(id, buf)
	if err != nil {
		return Info{}, err
	}
	if m.Point == "" {
		return Info{}, fs.ErrNotExist // not beneath the root of the process
	}
	return Info{
		ID: m.ID, ParentID: m.ParentID, Dev: m.Dev, Root: m.Root, Point: m.Point, FSType: m.FSType,
		ReadOnly: m.Attr&unix.MOUNT_ATTR_RDONLY != 0 || m.SbFlags&unix.MS_RDONLY != 0,
		NoSuid:   m.Attr&unix.MOUNT_ATTR_NOSUID != 0,
		NoDev:    m.Attr&unix.MOUNT_ATTR_NODEV != 0,
		NoExec:   m.Attr&unix.MOUNT_ATTR_NOEXEC != 0,
		IDMapped: m.Attr&unix.MOUNT_ATTR_IDMAP != 0,
		Private:  m.Propagation&(unix.MS_SHARED|unix.MS_SLAVE) == 0,
		Shared:   m.Propagation&unix.MS_SHARED != 0,
	}, nil
}

// mountinfoTable reads the table as kernels before 6.8 show it.
func mountinfoTable(filter mountinfo.FilterFunc) ([]Info, error) {
	entries, err := mountinfo.GetMounts(filter)
	if err != nil {
		return nil, err
	}
	return fromMountinfos(entries), nil
}

func fromMountinfos(entries []*mountinfo.Info) []Info {
	table := make([]Info, 0, len(entries))
	for _, e := range entries {
		table = append(table, fromMountinfo(e))
	}
	return table
}

// fromMountinfo turns an entry of mountinfo into what statmount would say.
func fromMountinfo(e *mountinfo.Info) Info {
	options := strings.Split(e.Options, ",")
	has := func(option string) bool { return slices.Contains(options, option) }
	fstype, _, _ := strings.Cut(e.FSType, ".")
	// The superblock's own options begin with its rw or ro.
	super, _, _ := strings.Cut(e.VFSOptions, ",")
	return Info{
		ID: uint64(e.ID), ParentID: uint64(e.Parent), Root: e.Root, Point: e.Mountpoint, FSType: fstype,
		Dev:      unix.Mkdev(uint32(e.Major), uint32(e.Minor)),
		ReadOnly: has("ro") || super == "ro",
		NoSuid:   has("nosuid"),
		NoDev:    has("nodev"),
		NoExec:   has("noexec"),
		IDMapped: has("idmapped"),
		Private:  !strings.Contains(e.Optional, "shared:") && !strings.Contains(e.Optional, "master:"),
		Shared:   strings.Contains(e.Optional, "shared:"),
	}
}
