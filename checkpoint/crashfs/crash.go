package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

const sector = 512

// Survival says what a power cut leaves of the bytes and names that were not synced.
type Survival int

// The kinds of survival.
const (
	None Survival = iota // nothing
	Some                 // each sector and each name by chance
	All                  // everything
)

// Crash returns the file system as it is after a power cut right now: all that was
// synced and, of the rest, what survives by the seed. Locks are gone. The receiver does not change.
func (fs *FS) Crash(s Survival, seed uint64) *FS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	chance := chooser(s, seed)
	names := maps.Clone(fs.durable)
	for _, c := range fs.changes {
		if chance(1) == 1 {
			c.apply(names)
		}
	}
	image := New()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		b := names[name].with(chance)
		n := &inode{data: b, synced: slices.Clone(b)}
		image.current[name], image.durable[name] = n, n
	}
	return image
}

// Kill returns the file system as it is when the program was killed and the
// machine goes on: everything is there, the unsynced still unsynced. Locks are gone. The
// receiver does not change.
func (fs *FS) Kill() *FS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	copies := map[*inode]*inode{}
	clone := func(n *inode) *inode {
		if n == nil {
			return nil
		}
		if copies[n] == nil {
			copies[n] = &inode{data: slices.Clone(n.data), synced: slices.Clone(n.synced), dirty: slices.Clone(n.dirty)}
		}
		return copies[n]
	}
	image := New()
	for name, n := range fs.current {
		image.current[name] = clone(n)
	}
	for name, n := range fs.durable {
		image.durable[name] = clone(n)
	}
	for _, c := range fs.changes {
		c.inode = clone(c.inode)
		image.changes = append(image.changes, c)
	}
	return image
}

// ReleaseLocks does what the kernel does for a program that was killed.
func (fs *FS) ReleaseLocks() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	clear(fs.locked)
}

// Flip inverts one bit of a file, as bad memory or a bad disk does.
func (fs *FS) Flip(name string, offset int64, bit uint) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.current[name].write([]byte{fs.current[name].data[offset] ^ 1<<bit}, offset)
}

// Bytes returns the content of a file, or nil if there is none of that name.
func (fs *FS) Bytes(name string) []byte {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if n, ok := fs.current[name]; ok {
		return slices.Clone(n.data)
	}
	return nil
}

// chance returns how many of n things in a row survive.
type chance func(n int) int

func all(n int) int { return n }

func none(int) int { return 0 }

func chooser(s Survival, seed uint64) chance {
	switch s {
	case None:
		return none
	case All:
		return all
	}
	r := rand.New(rand.NewPCG(seed, 0))
	return func(n int) int { return r.IntN(n + 1) }
}

// with returns the content if, of the edits of every sector and of the size, as many survive
// as chance says: a sector may be older or newer than its neighbour.
func (n *inode) with(survive chance) []byte {
	size, room := int64(len(n.synced)), int64(len(n.synced))
	kept := survive(len(n.dirty))
	for i, e := range n.dirty {
		if i < kept {
			size = e.size
		}
		room = max(room, e.offset+int64(len(e.bytes)))
	}
	b := slices.Clone(sized(n.synced, max(room, size)))
	for start := int64(0); start < room; start += sector {
		n.fill(b[start:min(start+sector, room)], start, survive)
	}
	return sized(b, size)
}

// fill applies the surviving edits to one sector.
func (n *inode) fill(b []byte, start int64, survive chance) {
	var touching []edit
	for _, e := range n.dirty {
		if e.offset < start+int64(len(b)) && start < e.offset+int64(len(e.bytes)) {
			touching = append(touching, e)
		}
	}
	if len(touching) == 0 {
		return
	}
	for _, e := range touching[:survive(len(touching))] {
		if e.offset >= start {
			copy(b[e.offset-start:], e.bytes)
		} else {
			copy(b, e.bytes[start-e.offset:])
		}
	}
}
