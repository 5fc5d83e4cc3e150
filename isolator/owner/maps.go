package owner

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"tenon/mount"
)

// maxMaps is how many user namespaces are kept. user.max_user_namespaces is some tens of
// thousands, and those of mounts count too.
const maxMaps = 1024

// ID is a user and a group.
type ID struct {
	UID, GID uint32
}

// Maps keeps the user namespaces of idmapped mounts, since making one costs more than all of
// an attachment. The zero Maps is empty and ready.
type Maps struct {
	mu   sync.Mutex
	kept map[pair]*os.File // guarded by mu
}

// pair is a map: whose files are on disk, and as whose they appear.
type pair struct {
	disk, seen ID
}

// As returns a user namespace, for mount.Attributes.IDMap, by which the files of disk appear as
// those of seen; the caller closes it. Those of anybody else appear as nobody's.
func (m *Maps) As(disk, seen ID) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := pair{disk, seen}
	if ns, ok := m.kept[key]; ok {
		return dup(ns)
	}
	ns, err := mount.UserNamespace(
		[]mount.IDRange{{Disk: disk.UID, Seen: seen.UID, Count: 1}},
		[]mount.IDRange{{Disk: disk.GID, Seen: seen.GID, Count: 1}},
	)
	if err != nil {
		return nil, err
	}
	if len(m.kept) >= maxMaps {
		if err := m.drop(); err != nil {
			return nil, errors.Join(err, ns.Close())
		}
	}
	if m.kept == nil {
		m.kept = map[pair]*os.File{}
	}
	m.kept[key] = ns
	return dup(ns)
}

// Close lets go of all; what As has returned and the mounts that were made stay as they are.
func (m *Maps) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drop()
}

// Preconditions: m.mu is held.
func (m *Maps) drop() (err error) {
	for _, ns := range m.kept {
		err = errors.Join(err, ns.Close())
	}
	m.kept = nil
	return err
}

func dup(f *os.File) (*os.File, error) {
	var fd int
	err := mount.Retry(func() (err error) {
		fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, pathError("dup", f, err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func pathError(call string, dir *os.File, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: call, Path: dir.Name(), Err: err}
}
