package volume

import (
	"tenon/agent/resource"
)

// endings are what volumes that a batch destroys will give back, by account. Operations of
// the batch move it from account to account as they move space that is free; what it
// comes to for each volume is put to the state once, at the end of the batch. Where a batch is
// taken back, space may come back to a volume instead, that was made smaller by it.
type endings struct {
	byPlace map[string]*ending
	all     []*ending     // in the order in which they came about
	changed map[UUID]bool // volumes of which something was moved
}

// place is where space of a disk comes back to: an account, or a volume of those reservations.
type place struct {
	stack  []resource.Reservation
	volume UUID
}

// ending is what will be given back to one place.
type ending struct {
	place
	size   resource.Scalar
	pieces []piece // the last goes first
}

// piece is space of one volume.
type piece struct {
	volume UUID
	size   resource.Scalar
}

// coming is what will be given back to a place.
func (es *endings) coming(disk string, p place) resource.Scalar {
	if len(es.all) == 0 {
		return 0
	}
	if e := es.byPlace[p.key(disk)]; e != nil {
		return e.size
	}
	return 0
}

func (p place) key(disk string) string { return accountKey(disk, p.stack) + "\x00" + string(p.volume) }

func (es *endings) of(disk string, p place) *ending {
	key := p.key(disk)
	if e := es.byPlace[key]; e != nil {
		return e
	}
	if es.byPlace == nil {
		es.byPlace, es.changed = map[string]*ending{}, map[UUID]bool{}
	}
	e := &ending{place: p}
	es.byPlace[key] = e
	es.all = append(es.all, e)
	return e
}

// expect notes what a tombstone will give back.
func (es *endings) expect(v *Volume) {
	for _, p := range v.back() {
		es.of(v.Disk, place{p.Reservations, p.Volume}).add(v.UUID, p.Size)
	}
}

func (e *ending) add(id UUID, n resource.Scalar) {
	e.size += n
	if last := len(e.pieces) - 1; last >= 0 && e.pieces[last].volume == id {
		e.pieces[last].size += n
		return
	}
	e.pieces = append(e.pieces, piece{id, n})
}

// redirect changes where n of that which comes back to a place will be.
//
// Preconditions: as much is coming, and to is another place than from.
func (es *endings) redirect(disk string, from, to place, n resource.Scalar) {
	if n == 0 {
		return
	}
	e, other := es.of(disk, from), es.of(disk, to)
	e.size -= n
	for n > 0 {
		last := &e.pieces[len(e.pieces)-1]
		some := min(n, last.size)
		other.add(last.volume, some)
		es.changed[last.volume] = true
		n -= some
		if last.size -= some; last.size == 0 {
			e.pieces = e.pieces[:len(e.pieces)-1]
		}
	}
}

// putEndings puts to the tombstones what their space will be.
func (d *draft) putEndings() {
	if len(d.endings.changed) == 0 {
		return
	}
	backs, order := map[UUID][]Part{}, []UUID{}
	for _, e := range d.endings.all {
		for _, p := range e.pieces {
			if d.endings.changed[p.volume] {
				if len(backs[p.volume]) == 0 {
					order = append(order, p.volume)
				}
				backs[p.volume] = addPart(backs[p.volume], Part{Reservations: e.stack, Size: p.size, Volume: e.volume})
			}
		}
	}
	for _, id := range order {
		v, _ := d.Volume(id)
		end := *v
		if end.Back = backs[id]; len(end.Back) == 1 && end.Back[0].Volume == "" && resource.EqualStacks(end.Back[0].Reservations, end.Reservations) {
			end.Back = nil
		}
		d.put(Change{Volume: &end})
	}
}

// addPart adds a part to parts of which only the last may be for the same place.
func addPart(parts []Part, p Part) []Part {
	if last := len(parts) - 1; last >= 0 && parts[last].Volume == p.Volume && resource.EqualStacks(parts[last].Reservations, p.Reservations) {
		parts[last].Size += p.Size
		return parts
	}
	return append(parts, p)
}
