package agent

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"tenon/agent/volume"
)

const (
	// roundEvery is the time between two rounds where volumes are not measured.
	roundEvery = time.Minute
	// maxRestored is how many volumes are held to their sizes again at the same time.
	maxRestored = 16
)

// rounds looks from time to time for what nothing tells: that a file system has come to enforce
// limits, or no longer does; that somebody has changed the limit of a volume; that a disk has
// too little room; and what is in volumes that nothing else holds to their sizes. The first
// round comes at any moment of the time between two, so that agents that start together do
// not look together.
func (a *Agent) rounds(ctx context.Context, every time.Duration) {
	if every <= 0 {
		every = roundEvery
	}
	wait := time.NewTimer(rand.N(every))
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
			a.round(ctx)
			wait.Reset(every - rand.N(every/4+1))
		}
	}
}

func (a *Agent) round(ctx context.Context) {
	a.lookAtDisks(ctx)
	used, err := a.Usage(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("usage not known", "err", err)
		}
		return
	}
	a.restore(ctx, used)
	a.follows(a.note(func(s *volume.State) []volume.Change { return volume.Lift(s, a.now()) }))
	a.measureDisks(ctx)
}

// lookAtDisks sees again what each file system does about sizes.
func (a *Agent) lookAtDisks(ctx context.Context) {
	var units []volume.Unit
	for d := range a.State().Disks() {
		units = append(units, volume.UnitOfDisk(d.Key))
	}
	a.see(ctx, units)
}

// restore has volumes held to their sizes that are not, though their file system could, a few
// at a time.
func (a *Agent) restore(ctx context.Context, used map[volume.UUID]Usage) {
	s := a.State()
	var astray []volume.Unit
	for id, u := range used {
		if v, ok := s.Volume(id); ok && u.Astray && v.Phase == volume.Ready {
			astray = append(astray, volume.UnitOfVolume(id))
			a.log.Info("volume has another limit than its size", "volume", v.Name)
		}
	}
	for some := range slices.Chunk(astray, maxRestored) {
		if ctx.Err() != nil {
			return
		}
		a.see(ctx, some)
	}
}
