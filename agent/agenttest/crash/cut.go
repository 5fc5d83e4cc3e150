package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// lookCalls is more than the calls of one look. A phase that writes has not seen those of the
// phase before it, in the same boot, that looked, and must not use their numbers again.
const lookCalls = 10_000

// cut is the command of that name.
func cut(o options, out io.Writer) error {
	events, err := readEvents(os.Getenv("POWERCUT_ACKED"))
	if err != nil {
		return err
	}
	write := printer(out)
	if socket := os.Getenv("POWERCUT_MARKS"); socket != "" {
		if write, err = confirmed(socket); err != nil {
			return err
		}
	}
	s, err := newSite(o.tenon, o.dir)
	if err != nil {
		return err
	}
	l := newLoad(s, newHistory(events, write), o.clients, marks(events), o.seed)
	switch phase := os.Getenv("POWERCUT_PHASE"); {
	case phase == "write":
		l.history.calls += lookCalls
		return l.untilTheCut()
	case phase != "verify":
		return fmt.Errorf("there is no phase %q", phase)
	case len(events) == 0:
		return nil // nothing was promised yet
	}
	if err := l.afterTheCut(out); err != nil {
		if s.process != nil {
			err = errors.Join(err, errors.New(s.logged()))
		}
		return fmt.Errorf("seed %d: %w", o.seed, err)
	}
	return nil
}

// marks counts the marks, which is another number for each boot.
func marks(events []Event) (n int) {
	for _, e := range events {
		if e.Mark != "" {
			n++
		}
	}
	return n
}

// untilTheCut has the clients work until the power goes.
func (l *load) untilTheCut() error {
	ctx := context.Background()
	if err := l.site.start(ctx); err != nil {
		return err
	}
	l.history.mark(markUp)
	if events, _ := l.history.all(); !reservedFor(events, roleOfVolumes) {
		if err := l.setUp(); err != nil {
			return err
		}
	}
	l.resume()
	<-l.site.process.ended
	_, errs := l.history.all()
	return errors.Join(append(errs, errors.New("the agent has ended by itself: "+l.site.logged()))...)
}

// reservedFor says whether a reservation for a role was answered.
func reservedFor(events []Event, role string) bool {
	asks := map[int]bool{}
	for _, e := range events {
		switch {
		case e.Ask != nil && e.Ask.Do == doReserve && e.Ask.On == "role/"+role:
			asks[e.Call] = true
		case e.Answer != nil && e.Answer.Kind == kindOK && asks[e.Call]:
			return true
		}
	}
	return false
}

// afterTheCut starts the agent on what is left, and checks.
func (l *load) afterTheCut(out io.Writer) error {
	began := time.Now()
	if os.Getenv("POWERCUT_IMAGE") != "" { // no machine was booted
		if err := anotherBoot("/run"); err != nil {
			return err
		}
	}
	l.history.mark(markCut)
	l.site.wasCut = true
	ctx := context.Background()
	if err := l.site.start(ctx); err != nil {
		return err
	}
	err := l.look(ctx)
	events, _ := l.history.all()
	if err := errors.Join(err, linearizable(events)); err != nil {
		return err
	}
	fmt.Fprintf(out, "crash: whole after %.1fs; %s\n", time.Since(began).Seconds(), tally(events))
	return l.site.stop()
}

// bootID is what tells one boot of the kernel from another (random(4)).
const bootID = "/proc/sys/kernel/random/boot_id"

// anotherBoot has this mount namespace see another boot, which a file in dir tells.
func anotherBoot(dir string) error {
	name := filepath.Join(dir, "boot_id")
	if err := os.WriteFile(name, []byte(uuid.NewString()+"\n"), 0o444); err != nil {
		return err
	}
	if err := syscall.Mount(name, bootID, "", syscall.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount", Path: bootID, Err: err}
	}
	return nil
}
