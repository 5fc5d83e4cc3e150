package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenon/mount/mounttest"
)

// cutsOfTests are as many cuts of each file system as each run of the tests can bear; `make
// power-cut` has more, with disks that lose and tear what they have not flushed.
const cutsOfTests = 4

// TestAcknowledgedIsKeptOverPowerCuts cuts the file system off from its disk at once and for
// good, under load: what it has not written by then is lost.
func TestAcknowledgedIsKeptOverPowerCuts(outer *testing.T) {
	program := ""
	for _, f := range mounttest.Plain() {
		if f.Type == "btrfs" {
			continue // can't be cut off so
		}
		outer.Run(f.Name, func(t *testing.T) {
			d := mounttest.NewDisk(t, f)
			if program == "" {
				program = mustBuild(outer)
			}
			p := newPowered(t, d, program, uint64(time.Now().UnixNano()))
			for range cutsOfTests {
				p.cut()
			}
			events, _ := p.history.all()
			t.Logf("%s", tally(events))
		})
	}
}

// powered is an agent with all that it has on a disk, and a load.
type powered struct {
	*load
	t      *testing.T
	disk   *mounttest.Disk
	random *rand.Rand
}

func newPowered(t *testing.T, d *mounttest.Disk, program string, seed uint64) *powered {
	t.Helper()
	t.Logf("seed %d", seed)
	s, err := newSite(program, d.Dir+"/site")
	if err != nil {
		t.Fatal(err)
	}
	h := newHistory(nil, func([]byte) error { return nil })
	p := &powered{newLoad(s, h, 8, 0, seed), t, d, rand.New(rand.NewPCG(seed, 0))}
	p.must(s.start(t.Context()))
	t.Cleanup(func() {
		p.must(s.kill())
		p.unmountAll()
	})
	p.must(p.setUp())
	return p
}

func (p *powered) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.site.logged())
	}
}

// cut lets the clients work, takes the disk away, and looks what there is when it is back.
func (p *powered) cut() {
	p.t.Helper()
	enough := p.history.after(1 + p.random.IntN(mostAnswers))
	p.resume()
	<-enough
	taken := make(chan error, 1)
	time.AfterFunc(wait(p.random, killWithin), func() { taken <- p.takeDisk() })
	p.must(<-taken)
	p.pause()
	p.must(p.site.kill())
	p.unmountAll()
	p.must(unix.Unmount(p.disk.Dir, 0))
	p.must(p.disk.Mount())
	p.must(anotherBoot(p.t.TempDir()))
	p.t.Cleanup(func() { p.must(unix.Unmount(bootID, 0)) })
	p.site.wasCut = true
	p.site.powerless.Store(false)
	p.history.mark(markCut)
	p.must(p.site.start(p.t.Context()))
	p.history.mark(markUp)
	events, _ := p.history.all()
	p.must(p.look(context.WithoutCancel(p.t.Context())))
	p.must(linearizable(events))
	events, _ = p.history.all()
	p.must(linearizable(events))
	for _, w := range p.workers {
		w.tasks = nil
	}
}

// takeDisk cuts the file system off; what it knows and has not written is lost.
func (p *powered) takeDisk() error {
	root, err := os.Open(p.disk.Dir)
	if err != nil {
		return err
	}
	const shutdown, withoutLogFlush = 0x8004587d, 2 // FS_IOC_SHUTDOWN; XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
	p.site.powerless.Store(true)
	return errors.Join(unix.IoctlSetPointerInt(int(root.Fd()), shutdown, withoutLogFlush), root.Close())
}

// unmountAll takes away all that the agent and its tasks have mounted.
func (p *powered) unmountAll() {
	p.t.Helper()
	points, err := mountsBeneath(p.disk.Dir + "/")
	p.must(err)
	for _, point := range slices.Backward(points) {
		p.must(unix.Unmount(point, 0))
	}
}
