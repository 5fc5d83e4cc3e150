package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// When things happen in a soak, in looks. What a process leaks adds up over the three
// quarters in which it is let live.
const (
	looksPerRow   = 60 // of the table
	looksPerRound = 20 // then all pause, and everything is compared exactly
	looksPerKill  = 5  // in the first quarter
	looksPerLoss  = 15 // of the master
)

// lasting is how many looks in a row something must be wrong to be wrong: while clients work,
// what the agent says and what the host shows are not of the same instant.
const lasting = 10

// soak is the command of that name.
func soak(o options, out io.Writer) (err error) {
	k, err := newSoaker(o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "crash: seed %d, %d looks\n", o.seed, o.looks)
	began := time.Now()
	if err := errors.Join(k.master.start(), k.site.start(context.Background())); err != nil {
		return err
	}
	err = k.all(context.Background(), o.looks, o.every)
	fmt.Fprint(out, k.book.table(k.fewestForDrift()))
	fmt.Fprintf(out, "crash: soaked for %v: %s\n", time.Since(began).Round(time.Second), k.told())
	if err == nil {
		err = k.book.drift(k.fewestForDrift())
	}
	if err != nil {
		_ = os.WriteFile(k.site.path("agent.log"), k.site.process.log.text, 0o600) // as far as it can be
		err = fmt.Errorf("seed %d, %s is left as it is: %w\n%s", o.seed, k.site.dir, err, k.site.logged())
		return errors.Join(err, k.site.kill(), k.master.end())
	}
	return errors.Join(k.master.end(), k.place.remove())
}

// soaker has everything at once asked of an agent, and looks each second.
type soaker struct {
	*load  // clients whose history is checked, a new one each round
	place  *place
	master *master
	crew   *crew // all others that change something
	crowd  *crowd
	eye    *eye
	book   *book

	seed            uint64
	rounds, calls   int
	killed, stopped int
	long            bool // enough to tell a drift
}

func newSoaker(o options) (*soaker, error) {
	p, err := newPlace(o)
	if err != nil {
		return nil, err
	}
	k := &soaker{place: p, master: p.master, crew: newCrew(p, o.seed), crowd: newCrowd(p.site), book: &book{},
		eye: &eye{place: p, since: map[string]int{}}, seed: o.seed, long: o.looks >= 4*looksPerRow}
	k.load = k.nextLoad(o.clients)
	return k, nil
}

// fewestForDrift is how many samples a quarter must have for its median to be held against
// another's.
func (k *soaker) fewestForDrift() int { return looksPerRow }

// nextLoad makes clients with an empty history. What there is of theirs must be gone.
func (k *soaker) nextLoad(clients int) *load {
	k.rounds++
	return newLoad(k.place.site, newHistory(nil, func([]byte) error { return nil }), clients, k.rounds, k.seed)
}

// all soaks an agent for so many looks, and kills it once more at the end.
func (k *soaker) all(ctx context.Context, looks int, every time.Duration) error {
	if err := k.place.setUp(ctx); err != nil {
		return err
	}
	if err := k.setUp(); err != nil {
		return err
	}
	k.work()
	defer k.crowd.stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := range looks {
		<-tick.C
		if err := k.once(ctx, n, looks); err != nil {
			k.rest()
			return fmt.Errorf("at look %d: %w", n+1, err)
		}
	}
	if err := k.restart(ctx, os.Kill); err != nil {
		return err
	}
	k.rest()
	if err := k.exact(ctx); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return errors.Join(k.place.clear(ctx), k.site.stop())
}

// once looks, and does what is due then.
func (k *soaker) once(ctx context.Context, n, looks int) error {
	if k.site.hasEnded() {
		return errors.New("the agent has ended by itself")
	}
	if err := errors.Join(k.eye.look(ctx), k.crew.problem(), k.crowd.problem()); err != nil {
		return err
	}
	s, err := k.sample(ctx)
	if err != nil {
		return err
	}
	k.book.add(s)
	if n%looksPerLoss == looksPerLoss/2 {
		if err := errors.Join(k.master.end(), k.master.start()); err != nil {
			return err
		}
	}
	if n < looks/4 && n%looksPerKill == 1 {
		how := os.Signal(os.Kill)
		if k.killed > k.stopped {
			how = syscall.SIGTERM
		}
		return k.restart(ctx, how)
	}
	if n%looksPerRound == looksPerRound-1 || n == looks/2 {
		return k.round(ctx)
	}
	return nil
}

// work lets all that change something begin.
func (k *soaker) work() {
	k.resume()
	k.crew.start()
	k.crowd.start()
}

// rest lets them finish what they are at.
func (k *soaker) rest() {
	k.crew.stop()
	k.pause()
}

// restart ends the agent beneath all of them and starts it again. The clients whose history
// is checked wait for it; the others ask until it answers.
func (k *soaker) restart(ctx context.Context, how os.Signal) error {
	err := k.site.end(how)
	k.pause()
	if err != nil {
		return err
	}
	if how == os.Kill {
		k.killed++
	} else {
		k.stopped++
	}
	if err := k.site.start(ctx); err != nil {
		return err
	}
	k.book.restarted()
	k.history.mark(markUp)
	k.resume()
	return nil
}

// round has all rest, compares everything, checks what the clients were answered, and begins
// again.
func (k *soaker) round(ctx context.Context) error {
	k.rest()
	if err := k.exact(ctx); err != nil {
		return err
	}
	k.load = k.nextLoad(len(k.workers))
	if err := k.setUp(); err != nil {
		return err
	}
	k.resume()
	k.crew.start()
	return nil
}

// exact compares while nobody changes anything, has the clients give back all they have, and
// checks their history.
func (k *soaker) exact(ctx context.Context) error {
	if err := k.crew.problem(); err != nil {
		return err
	}
	volumes, err := k.eye.settled(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(k.checkData(volumes), k.checkSpace(ctx), k.windDown()); err != nil {
		return err
	}
	events, errs := k.history.all()
	k.calls += len(events) / 2
	if err := errors.Join(append(errs, linearizable(events))...); err != nil {
		return err
	}
	if err := k.giveSpaceBack(ctx); err != nil {
		return err
	}
	_, err = k.eye.settled(ctx)
	return err
}

// told sums a soak up.
func (k *soaker) told() string {
	return fmt.Sprintf("%d rounds, killed %d times and stopped %d, %d checked calls, %s, %s, the master was lost %d times",
		k.rounds, k.killed, k.stopped, k.calls, k.crew.told(), k.crowd.told(), k.master.losses)
}
