package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"tenon/checkpoint"
)

// Between two kills there are up to so many answers; then the kill comes within so long.
const (
	mostAnswers = 150
	killWithin  = 3 * time.Millisecond
	startWithin = 60 * time.Millisecond // of a start, where that is what is killed
)

// kill is the command of that name.
func kill(o options, out io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "tenon-crash-"); err != nil {
			return err
		}
	}
	s, err := newSite(o.tenon, o.dir)
	if err != nil {
		return err
	}
	write := func([]byte) error { return nil }
	if o.history != "" {
		f, err := os.Create(o.history)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		write = func(line []byte) error { _, err := f.Write(line); return err }
	}
	fmt.Fprintf(out, "crash: seed %d\n", o.seed)
	k := killer{load: newLoad(s, newHistory(nil, write), o.clients, 0, o.seed), random: rand.New(rand.NewPCG(o.seed, 0))}
	if err := k.all(context.Background(), o.kills, out); err != nil {
		if s.process != nil {
			err = errors.Join(err, errors.New(s.logged()), s.kill())
		}
		return fmt.Errorf("seed %d, %s is left as it is: %w", o.seed, o.dir, err)
	}
	return s.remove()
}

// killer kills the agent beneath a load.
type killer struct {
	*load
	random *rand.Rand
}

// all kills the agent n times, and checks at last the whole history.
func (k *killer) all(ctx context.Context, n int, out io.Writer) error {
	began := time.Now()
	if err := k.site.start(ctx); err != nil {
		return err
	}
	if err := k.setUp(); err != nil {
		return err
	}
	for i := range n {
		if err := k.once(ctx); err != nil {
			return fmt.Errorf("after kill %d of %d: %w", i+1, n, err)
		}
	}
	err := errors.Join(k.windDown(), k.look(ctx))
	events, _ := k.history.all()
	fmt.Fprintf(out, "crash: %d kills in %.1fs; %s\n", n, time.Since(began).Seconds(), tally(events))
	if err := errors.Join(err, linearizable(events), untried(events)); err != nil {
		return err
	}
	return k.site.stop()
}

// once lets the clients work, kills the agent, starts it again and looks.
func (k *killer) once(ctx context.Context) error {
	enough := k.history.after(1 + k.random.IntN(mostAnswers))
	k.resume()
	select {
	case <-enough:
	case <-k.site.process.ended:
		k.pause()
		return errors.New("the agent has ended by itself")
	}
	time.Sleep(wait(k.random, killWithin))
	err := k.site.kill()
	k.pause()
	if err != nil {
		return err
	}
	for k.random.IntN(4) == 0 { // while it starts, too
		if err := k.site.launch(); err != nil {
			return err
		}
		time.Sleep(wait(k.random, startWithin))
		if err := k.site.kill(); err != nil {
			return err
		}
	}
	if _, err := checkpoint.Verify(k.site.path("state")); err != nil {
		return err
	}
	if err := k.site.start(ctx); err != nil {
		return err
	}
	k.history.mark(markUp)
	return k.look(ctx)
}
