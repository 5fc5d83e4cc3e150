package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Places says where a volume is. More than one place is possible after somebody else's
// hand, and then for the agent to judge.
type Places struct {
	Incoming, Live, Trash bool
	Data                  bool // inside Live
}

// Find looks for v in every place, at the same cost whatever the pool holds. Anything
// but a directory of its name, or something mounted there, is an error.
func (p *Pool) Find(v string) (Places, error) {
	var found Places
	if err := checkUUID(v); err != nil {
		return found, p.fail("find", v, err)
	}
	var errs [4]error
	found.Incoming, errs[0] = exists(p.root, Incoming.in(v))
	found.Live, errs[1] = exists(p.root, Live.in(v))
	found.Data, errs[2] = exists(p.root, Live.in(v, dataName))
	found.Trash, errs[3] = exists(p.root, Trash.in(v))
	return found, p.fail("find", v, errors.Join(errs[:]...))
}

// Data opens live/<v>/data as an O_PATH descriptor, for mounting. The caller closes
// it. A volume that is not live is fs.ErrNotExist.
func (p *Pool) Data(v string) (*os.File, error) {
	if err := checkUUID(v); err != nil {
		return nil, p.fail("open", v, err)
	}
	f, err := openDir(p.root, Live.in(v, dataName), unix.O_PATH)
	return f, p.fail("open", v, err)
}

// DataOf opens the data of a volume that is live, or still incoming, like Data.
func (p *Pool) DataOf(v string) (*os.File, error) {
	f, err := p.Data(v)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = openDir(p.root, Incoming.in(v, dataName), unix.O_PATH)
		err = p.fail("open", v, err)
	}
	return f, err
}

// Entry is something that lies in a place. A Name that is no volume's UUID is
// somebody else's, as is one that the journal does not know.
type Entry struct {
	Name  string
	Place Place
}

// List names everything in every place, place by place and sorted by name. It reads
// directories alone, but all of them: it is for the start and for checks.
func (p *Pool) List() ([]Entry, error) {
	var all []Entry
	for _, place := range places {
		names, err := listDir(p.root, string(place))
		if err != nil {
			return nil, fmt.Errorf("list pool %s: %w", p.path, err)
		}
		slices.Sort(names)
		for _, name := range names {
			all = append(all, Entry{Name: name, Place: place})
		}
	}
	return all, nil
}

// listDir reads the names in a directory beneath root, unsorted.
func listDir(root *os.File, name string) ([]string, error) {
	dir, err := openDir(root, name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}
