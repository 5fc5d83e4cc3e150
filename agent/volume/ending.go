package volume

import (
	"tenon/agent/resource"
)

// endings are what volumes that a batch destroys will give back, by account. Operations of
// the batch move it from account to account as they move space that is free; what it
// comes to for each volume is put to the state once, at the end of the batch.
type endings struct {
	byAccount map[string]*ending
	all       []*ending     // in the order in which they came about
	changed   map[UUID]bool // volumes of which something was moved
}

// ending is what will be given back to one account.
type ending struct {
	stack  []resource.Reservation
	size   resource.Scalar
	pieces []piece // the last goes first
}

// piece is space of one volume.
type piece struct {
	volume UUID
	size   resource.Scalar
}

// coming is what will be given back to an account.
func (es *endings) coming(disk string, stack []resource.Reservation) resource.Scalar {
	if e := es.byAccount[accountKey(disk, stack)]; len(es.all) > 0 && e != nil {
		return e.size
	}
	return 0
}

func (es *endings) of(disk string, stack []resource.Reservation) *ending {
	key := accountKey(disk, stack)
	if e := es.byAccount[key]; e != nil {
		return e
	}
	if es.byAccount == nil {
		es.byAccount, es.changed = map[string]*ending{}, map[UUID]bool{}
	}
	e := &ending{stack: stack}
	es.byAccount[key] = e
	es.all = append(es.all, e)
	return e
}

// expect notes what a tombstone will give back.
func (es *endings) expect(v *Volume) {
	for _, p := range v.back() {
		es.of(v.Disk, p.Reservations).add(v.UUID, p.Size)
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

// redirect changes what n of that which comes back to an account will be.
//
// Preconditions: as much is coming, and to is another account than from.
func (es *endings) redirect(disk string, from, to []resource.Reservation, n resource.Scalar) {
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
				backs[p.volume] = addPart(backs[p.volume], Part{e.stack, p.size})
			}
		}
	}
	for _, id := range order {
		v, _ := d.Volume(id)
		end := *v
		if end.Back = backs[id]; len(end.Back) == 1 && resource.EqualStacks(end.Back[0].Reservations, end.Reservations) {
			end.Back = nil
		}
		d.put(Change{Volume: &end})
	}
}

// addPart adds a part to parts of which only the last may have the same reservations.
func addPart(parts []Part, p Part) []Part {
	if last := len(parts) - 1; last >= 0 && resource.EqualStacks(parts[last].Reservations, p.Reservations) {
		parts[last].Size += p.Size
		return parts
	}
	return append(parts, p)
}
