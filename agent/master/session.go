package master

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tenon/agent"
	"tenon/agent/volume"
)

// What one master may leave in the memory of the agent.
const (
	maxOrders   = 64  // accepted that have not ended
	maxRefusals = 256 // told until they are acknowledged, or until there are as many newer ones
	orderTime   = time.Minute
	noteTime    = 10 * time.Second // for an acknowledgement
)

// Session is one connection of a client: its pace of reporting and the orders that came by
// it. Its methods may be called at the same time, by functions that were given to Go.
type Session struct {
	node       Node
	config     Config
	prefix     string // of the ids of this master's operations
	ctx        context.Context
	end        context.CancelCauseFunc
	work       sync.WaitGroup
	due        chan struct{} // filled when something is new since the last Next
	changed    chan struct{} // filled when an order may have a new result
	last       time.Time     // when Next returned; of Next alone
	registered bool          // a report was written; of WriteReport alone

	mu       sync.Mutex
	atWork   map[string]string // digests by id of the order; guarded by mu
	told     map[string]told   // by id of the order, what the state does not say; guarded by mu
	toldList []string          // the keys of told, oldest first; guarded by mu
}

// told is a result that is told although no operation that is not acknowledged has it.
type told struct {
	digest string
	result Result
}

// Open begins a session, which ends with ctx or when one of its functions returns an error.
// Wait must be called.
func Open(ctx context.Context, n Node, c Config) *Session {
	s := &Session{
		node: n, config: c.withDefaults(), prefix: operationID(n.About().Name, ""),
		due: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		atWork: map[string]string{}, told: map[string]told{},
	}
	s.ctx, s.end = context.WithCancelCause(ctx)
	s.Go(s.follow)
	return s
}

// Go runs a part of the client beside the others. Its error, or what it panics with, ends the
// session.
func (s *Session) Go(part func(context.Context) error) {
	s.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.end(panicked(p))
			}
		}()
		if err := part(s.ctx); err != nil {
			s.end(err)
		}
	})
}

// Wait returns the first error of the session's functions when all have ended.
func (s *Session) Wait() error {
	s.work.Wait()
	err := context.Cause(s.ctx)
	s.end(nil)
	return err
}

// follow says when there is a new version.
func (s *Session) follow(ctx context.Context) error {
	var atWork []string
	for version := uint64(0); ; {
		st, err := s.node.Watch(ctx, version)
		if err != nil {
			return err
		}
		version = st.Version
		ring(s.due)
		if now := s.recorded(st); !slices.Equal(now, atWork) {
			atWork = now
			ring(s.changed)
		}
	}
}

// recorded are the ids of this master's orders that are recorded and have not ended.
func (s *Session) recorded(st *volume.State) (ids []string) {
	for op := range st.Operations() {
		if op.State != volume.OperationPending {
			break
		}
		if id, ours := s.ours(op); ours {
			ids = append(ids, id)
		}
	}
	return ids
}

// ours gives the id of an order, if an operation is one of this master's. An id alone proves
// nothing: whoever may ask the agent may have chosen one that looks like a master's.
func (s *Session) ours(op *volume.OperationStatus) (id string, ours bool) {
	id, named := strings.CutPrefix(op.ID, s.prefix)
	return id, named && op.Principal == s.node.About().Principal
}

// recordOf finds what is recorded of an order of this master.
func (s *Session) recordOf(st *volume.State, id string) (*volume.OperationStatus, bool) {
	op, known := st.Operation(s.prefix + id)
	if !known {
		return nil, false
	}
	_, ours := s.ours(op)
	return op, ours
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// Changed yields when one of this master's orders may have a new result, once for any number.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Next returns the newest state when a report is due: at once the first time, then when
// something is new, but not within the interval, or for the heartbeat. One caller at a time.
func (s *Session) Next(ctx context.Context) (*volume.State, error) {
	if !s.last.IsZero() {
		if err := sleep(ctx, time.Until(s.last.Add(s.config.Interval))); err != nil {
			return nil, err
		}
	}
	heartbeat := time.NewTimer(time.Until(s.last.Add(s.config.Heartbeat)))
	defer heartbeat.Stop()
	select {
	case <-s.due:
	case <-heartbeat.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.last = time.Now()
	return s.node.State(), nil
}

// Take accepts an order as it came from the master; key is the id by which it came, if its
// way has such a thing. The order is carried out beside, unless it is known already; either way
// Results tells of it. It returns false when too many are at work, or another one with its id:
// it may be given again when Changed yields. What is no order at all is noted as an error of the
// master.
func (s *Session) Take(data []byte, key string) bool {
	st := s.node.State()
	o, err := readOrder(data, key, st.Agent)
	if o.id == "" {
		s.node.Contact(fmt.Errorf("an order is not understood: %w", err))
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if digest, busy := s.atWork[o.id]; busy {
		return digest == o.digest
	}
	if s.told[o.id].digest == o.digest {
		return true
	}
	if err != nil {
		s.tell(o, refusal(o.id, err))
		return true
	}
	if old, done := s.recordOf(st, o.id); done && old.Digest == o.digest {
		s.forget(o.id)
		if old.Acknowledged {
			s.tell(o, resultOf(o.id, old))
		}
		return true
	}
	if len(s.atWork)+s.pending(st) >= maxOrders {
		return false
	}
	s.forget(o.id)
	s.atWork[o.id] = o.digest
	s.Go(func(ctx context.Context) error { return s.carryOut(ctx, o) })
	return true
}

// pending counts the orders that are recorded and neither at work here nor ended.
func (s *Session) pending(st *volume.State) (n int) {
	for _, id := range s.recorded(st) {
		if _, busy := s.atWork[id]; !busy {
			n++
		}
	}
	return n
}

// Refuse answers what came as an order with this id, and was not even read.
func (s *Session) Refuse(id, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := (order{id: id, digest: why}); s.told[id].digest != why {
		s.tell(o, refusal(id, refuse("%s", why)))
	}
}

// carryOut has an order done and keeps what the state will not say. An error says that the
// agent can do nothing now: the order is not answered, and is met again in the next session.
// One that has not begun in time is not answered either.
func (s *Session) carryOut(ctx context.Context, o order) error {
	limited, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	err := o.apply(limited, s.node)
	recorded, known := s.recordOf(s.node.State(), o.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.ringBoth()
	delete(s.atWork, o.id)
	switch {
	case known && recorded.Digest == o.digest:
		s.forget(o.id)
	case err == nil: // its record had to make room already
		s.tell(o, Result{ID: o.id, State: volume.OperationFinished})
	case ctx.Err() != nil, errors.Is(err, volume.ErrStopped), errors.Is(err, volume.ErrJournal):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		s.node.Contact(fmt.Errorf("order %s was not begun within %v", o.id, orderTime))
	default:
		s.tell(o, refusal(o.id, err))
	}
	return nil
}

// tell keeps a result until it is acknowledged, or for as long as there is room.
//
// Preconditions: s.mu is held.
func (s *Session) tell(o order, r Result) {
	s.forget(o.id)
	if len(s.toldList) == maxRefusals {
		s.forget(s.toldList[0])
	}
	s.told[o.id] = told{o.digest, r}
	s.toldList = append(s.toldList, o.id)
	s.ringBoth()
}

func (s *Session) ringBoth() {
	ring(s.due)
	ring(s.changed)
}

// forget undoes tell.
//
// Preconditions: s.mu is held.
func (s *Session) forget(id string) {
	if _, known := s.told[id]; !known {
		return
	}
	delete(s.told, id)
	rest := s.toldList[:0:0]
	for _, other := range s.toldList {
		if other != id {
			rest = append(rest, other)
		}
	}
	s.toldList = rest
}

// Results are what became of the orders of this master that are not acknowledged: those at work,
// those recorded in st, whenever they came, and those refused in this session. Each id occurs
// once.
func (s *Session) Results(st *volume.State) []Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Result{}
	for op := range st.Operations() {
		id, ours := s.ours(op)
		_, newer := s.told[id]
		if _, busy := s.atWork[id]; ours && !newer && !busy && !op.Acknowledged {
			list = append(list, resultOf(id, op))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.atWork)) {
		list = append(list, Result{ID: id, State: volume.OperationPending})
	}
	for _, id := range s.toldList {
		list = append(list, s.told[id].result)
	}
	return list
}

// Acknowledge notes that the master knows what became of these orders. Ids of none, and of
// those at work, are passed over. It waits for no order. An acknowledgement that the agent has not
// noted within ten seconds is dropped: the master is told again, and acknowledges again.
func (s *Session) Acknowledge(ctx context.Context, ids ...string) error {
	var ops []volume.Operation
	st := s.node.State()
	s.mu.Lock()
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		s.forget(id)
		op, known := s.recordOf(st, id)
		if known && op.State != volume.OperationPending && !op.Acknowledged {
			ops = append(ops, volume.Acknowledge{ID: op.ID})
		}
	}
	s.mu.Unlock()
	if len(ops) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, noteTime)
	defer cancel()
	_, err := s.node.Ask(limited, agentRequest(ops...))
	for _, passing := range []error{volume.ErrNotFound, volume.ErrPending, volume.ErrForbidden, context.DeadlineExceeded} {
		if errors.Is(err, passing) {
			return nil // made room meanwhile, the rules have changed, or it took too long; the others are told, and acknowledged, again
		}
	}
	return err
}

func agentRequest(ops ...volume.Operation) agent.Request { return agent.Request{Operations: ops} }
