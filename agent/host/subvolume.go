package host

import (
	"os"

	"tenon/agent/pool"
	"tenon/isolator/quota"
)

// openPool opens a pool. On btrfs its volumes are subvolumes, limited or not: limits may be
// switched on later.
func openPool(root *os.File) (*pool.Pool, error) {
	btrfs, err := quota.NeedsSubvolumes(root)
	if err != nil {
		return nil, err
	}
	if btrfs {
		return pool.OpenSubvolumes(root, subvolumes{})
	}
	return pool.Open(root)
}

// subvolumes are those of btrfs.
type subvolumes struct{}

func (subvolumes) Create(parent *os.File, name string) error {
	return quota.CreateSubvolume(parent, name)
}

func (subvolumes) Delete(parent *os.File, name string) error {
	return quota.DeleteSubvolume(parent, name)
}

func (subvolumes) Commit(dir *os.File) error { return quota.CommitSubvolumes(dir) }
