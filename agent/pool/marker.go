package pool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrForeign says that a directory is not a pool and must not be made one: it holds
// something else, or a marker that makes no sense, or another pool's.
var ErrForeign = errors.New("not a pool of this agent")

// ErrVersion says that a newer version of Tenon has formatted the pool.
var ErrVersion = errors.New("pool has a newer format")

// Identity is what a directory says of itself.
type Identity struct {
	UUID  string // of the pool; "" if it is Empty
	Empty bool   // no pool yet, and nothing that Format could harm
}

const (
	markerName   = "tenon.json"
	markerFormat = 1
	markerLimit  = 4 << 10 // bytes; a marker has less than 100
)

// marker is the content of tenon.json.
type marker struct {
	Format int    `json:"format"`
	UUID   string `json:"uuid"`
}

// encode gives the marker's bytes on disk.
func (m marker) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	return append(b, '\n'), err
}

// decodeMarker reads a marker. The format comes first, for a newer one may hold
// anything. Fields that it does not know are no error: what may not be overlooked
// needs a new format.
func decodeMarker(b []byte) (marker, error) {
	var v struct{ Format int }
	if err := json.Unmarshal(b, &v); err != nil {
		return marker{}, fmt.Errorf("%w: marker %s is damaged: %w", ErrForeign, markerName, err)
	}
	if v.Format > markerFormat {
		return marker{}, fmt.Errorf("%w: %d, known are those up to %d", ErrVersion, v.Format, markerFormat)
	}
	if v.Format != markerFormat {
		return marker{}, fmt.Errorf("%w: marker %s has format %d", ErrForeign, markerName, v.Format)
	}
	var m marker
	if err := json.Unmarshal(b, &m); err != nil {
		return marker{}, fmt.Errorf("%w: marker %s is damaged: %w", ErrForeign, markerName, err)
	}
	if checkUUID(m.UUID) != nil {
		return marker{}, fmt.Errorf("%w: marker %s has uuid %q", ErrForeign, markerName, m.UUID)
	}
	return m, nil
}

// Identify reads the marker. A directory without one is Empty if it holds nothing
// but lost+found and what a Format that was cut off leaves, places without volumes.
// Everything else is ErrForeign or ErrVersion with
// what was found; other errors mean that the disk could not be read.
func (p *Pool) Identify() (Identity, error) {
	m, err := p.readMarker()
	if err == nil {
		return Identity{UUID: m.UUID}, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = p.checkEmpty()
	}
	if err != nil {
		return Identity{}, fmt.Errorf("identify pool %s: %w", p.path, err)
	}
	return Identity{Empty: true}, nil
}

// readMarker reads the marker, which must be a regular file: O_NONBLOCK lets a fifo
// of that name be refused and not waited for.
func (p *Pool) readMarker() (marker, error) {
	f, err := openAt(p.root, markerName, unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK})
	if errors.Is(err, unix.ELOOP) {
		return marker{}, fmt.Errorf("%w: marker %s is a symlink", ErrForeign, markerName)
	}
	if err != nil {
		return marker{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return marker{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > markerLimit {
		return marker{}, fmt.Errorf("%w: marker %s is %s of %d bytes", ErrForeign, markerName, info.Mode(), info.Size())
	}
	b, err := io.ReadAll(io.LimitReader(f, markerLimit))
	if err != nil {
		return marker{}, err
	}
	return decodeMarker(b)
}

// checkEmpty says what keeps a directory without marker from being formatted.
func (p *Pool) checkEmpty() error {
	names, err := listDir(p.root, ".")
	if err != nil {
		return err
	}
	for _, name := range names {
		switch {
		case name == "lost+found":
		case slices.Contains(places[:], Place(name)):
			err = p.checkUnused(name)
		default:
			err = fmt.Errorf("%w: no marker, but %q", ErrForeign, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkUnused says which volumes, if any, a place without marker holds.
func (p *Pool) checkUnused(place string) error {
	names, err := listDir(p.root, place)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%w: no marker, but %q, which is no directory", ErrForeign, place)
	}
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: no marker, but %q with %d entries", ErrForeign, place, len(names))
	}
	return err
}

// Format makes an Empty directory the pool uuid: its places and, last, its marker.
// It is durable on return. Formatting again with the same uuid finishes what is
// missing; another's pool or a directory with something in it is ErrForeign, one of
// a newer format ErrVersion, and both stay as they are.
func (p *Pool) Format(uuid string) error {
	if err := p.format(uuid); err != nil {
		return fmt.Errorf("format pool %s as %q: %w", p.path, uuid, err)
	}
	return nil
}

func (p *Pool) format(uuid string) error {
	if err := checkUUID(uuid); err != nil {
		return err
	}
	if err := p.claim(uuid); err != nil {
		return err
	}
	if err := run(p.formatSteps(uuid)); err != nil {
		return err
	}
	// Of two that format at the same time one wins.
	return p.claim(uuid)
}

// claim checks that the directory is Empty or the pool uuid already.
func (p *Pool) claim(uuid string) error {
	id, err := p.Identify()
	if err == nil && !id.Empty && id.UUID != uuid {
		err = fmt.Errorf("%w: its marker says %s", ErrForeign, id.UUID)
	}
	return err
}

// formatSteps makes a pool.
//
// Crash: before the marker's name is durable the next start sees an Empty
// directory, since nothing puts a volume in a place before; from then on a whole
// pool, for the places and the marker's content were durable before its name.
func (p *Pool) formatSteps(uuid string) []step {
	var steps []step
	for _, place := range places {
		steps = append(steps,
			step{"make " + string(place), func() error { return makeDir(p.root, ".", string(place)) }},
			step{"chmod " + string(place), func() error { return chmodDir(p.root, string(place), 0o700) }},
			step{"sync " + string(place), func() error { return syncDir(p.root, string(place)) }})
	}
	return append(steps,
		step{"sync places", func() error { return syncDir(p.root, ".") }},
		step{"write marker", func() error { return p.writeMarker(uuid) }},
		step{"sync marker's name", func() error { return syncDir(p.root, ".") }})
}

// writeMarker makes the marker's file without a name (O_TMPFILE, which ext4, XFS, btrfs
// and tmpfs know), makes its content durable, and only then gives it its name. So
// nothing is left of one that was cut off, nobody else can have the file open, and
// no marker is ever replaced. One that is there already is no error: see format.
//
// Crash: no marker, or a whole one.
func (p *Pool) writeMarker(uuid string) error {
	b, err := marker{Format: markerFormat, UUID: uuid}.encode()
	if err != nil {
		return err
	}
	f, err := openAt(p.root, ".", unix.OpenHow{Flags: unix.O_WRONLY | unix.O_TMPFILE, Mode: 0o644})
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	err = link(f, p.root, markerName)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Unmarked says, by nil, that a directory has lost its marker and nothing else: it has none,
// its places are there, and each of the volumes named, of which there is at least one, is
// live with its data. It is an error otherwise, ErrForeign where there is a marker.
func (p *Pool) Unmarked(volumes []string) error {
	if err := p.unmarked(volumes); err != nil {
		return fmt.Errorf("pool %s: %w", p.path, err)
	}
	return nil
}

func (p *Pool) unmarked(volumes []string) error {
	_, err := p.readMarker()
	if err == nil {
		return fmt.Errorf("%w: it has a marker", ErrForeign)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(volumes) == 0 {
		return errors.New("no volume is known that would prove whose it is")
	}
	for _, v := range volumes {
		at, err := p.Find(v)
		if err != nil {
			return err
		}
		if !at.Data {
			return fmt.Errorf("volume %s is not in it", v)
		}
	}
	return nil
}

// Mark writes the marker of a pool that has lost it, and nothing else (see Unmarked); one
// that has the marker already is left as it is. It is durable on return.
func (p *Pool) Mark(uuid string, volumes []string) error {
	if id, err := p.Identify(); err == nil && id.UUID == uuid {
		return nil
	}
	if err := errors.Join(checkUUID(uuid), p.Unmarked(volumes)); err != nil {
		return err
	}
	if err := run(p.formatSteps(uuid)); err != nil {
		return fmt.Errorf("mark pool %s: %w", p.path, err)
	}
	return nil
}
