package mount

import (
	"os"

	"tenon/mount/internal/sys"
)

// Source is a directory on a mount of its own that has no children, from which
// clones are taken at a cost that does not grow with what else is mounted.
type Source struct {
	dir *os.File
}

// OpenSource makes a source of the directory dir, which stays the caller's and
// should have been opened by path just now (see SelfMount).
//
// On Linux 6.15 the source is a detached clone of dir: no trace of it is in the
// mount table, it ends with the process, and clones can be taken from it only in
// the mount namespace where it was opened. Before, dir is bound onto itself,
// once: that mount stays when the process ends and is found again by the next
// one. SelfUnmount removes it.
//
// Either way the source shows dir without mounts that lie beneath it, is
// nosuid and nodev, and keeps dir's filesystem busy while it is open.
func OpenSource(dir *os.File) (*Source, error) {
	if !sys.HasCloneDetached.Available() {
		f, err := selfMount(dir)
		if err != nil {
			return nil, err
		}
		return &Source{dir: f}, nil
	}
	tree, err := Clone(dir, Attributes{})
	if err != nil {
		return nil, err
	}
	return &Source{dir: tree.file}, nil
}

// Dir is the root of the source (O_PATH): open what is to be cloned beneath it.
// It is the source's own: do not close it.
func (s *Source) Dir() *os.File { return s.dir }

// Close lets go of the source. It unmounts nothing that others can see, and
// mounts cloned from the source stay. Descriptors opened beneath it can no
// longer be cloned when it was a detached tree.
func (s *Source) Close() error { return s.dir.Close() }
