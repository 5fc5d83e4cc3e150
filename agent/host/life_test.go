package host_test

import (
	"context"
	"errors"
	"sync"

	"tenon/agent/host"
	"tenon/agent/volume"
	"tenon/checkpoint"
)

var errDead = errors.New("the agent was killed")

// life ends an agent at a point at which a crash is interesting: from then on it has no
// effect on the kernel or the journal any more, as if the process had been killed there.
type life struct {
	mu    sync.Mutex
	after int  // points that are left; 0 is for ever; guarded by mu
	dead  bool // guarded by mu
	where string

	info volume.HostInfo // what the agent is told of its host
}

func (l *life) pass(point string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.after > 0 && !l.dead {
		l.after--
		l.dead, l.where = l.after == 0, point
	}
}

// lasts has the life end after so many points more.
func (l *life) lasts(points int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after = points
}

// ended says whether it has ended, and where.
func (l *life) ended() (bool, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead, l.where
}

func (l *life) err() error {
	if dead, _ := l.ended(); dead {
		return errDead
	}
	return nil
}

// mortal is a host that nothing is done to any more once the life has ended.
type mortal struct {
	*host.Host
	life *life
}

func (m mortal) Observe(ctx context.Context, s *volume.State, u volume.Unit) (volume.Seen, error) {
	if err := m.life.err(); err != nil {
		return volume.Seen{}, err
	}
	return m.Host.Observe(ctx, s, u)
}

func (m mortal) Do(ctx context.Context, s *volume.State, step volume.Step) error {
	if err := m.life.err(); err != nil {
		return err
	}
	return m.Host.Do(ctx, s, step)
}

// lastWords is a journal that takes nothing more then.
type lastWords struct {
	*checkpoint.Journal
	life *life
}

func (w lastWords) Append(tx ...checkpoint.Record) (checkpoint.Position, error) {
	if err := w.life.err(); err != nil {
		return 0, err
	}
	return w.Journal.Append(tx...)
}
