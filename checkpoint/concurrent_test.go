package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"tenon/checkpoint"
	"tenon/checkpoint/crashfs"
)

const callers = 64

// crowd is many callers that append under one lock and wait outside of it.
type crowd struct {
	mu    sync.Mutex // as the agent's
	j     *checkpoint.Journal
	tx    []string
	acked atomic.Uint64
}

// one makes one durable transaction.
func (c *crowd) one(ctx context.Context, caller, n int) error {
	r := fmt.Sprintf("caller %d, transaction %d: %0*d", caller, n, caller*7, n)
	c.mu.Lock()
	p, err := c.j.Append(checkpoint.Record(r))
	if err == nil {
		c.tx = append(c.tx, r)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.j.Sync(ctx, p); err != nil {
		return err
	}
	if s := c.j.Synced(); s < p {
		return fmt.Errorf("position %d was acknowledged, but %d is synced", p, s)
	}
	for old := c.acked.Load(); old < uint64(p) && !c.acked.CompareAndSwap(old, uint64(p)); {
		old = c.acked.Load()
	}
	return nil
}

// run lets every caller make n transactions and returns the first error of each.
func (c *crowd) run(ctx context.Context, n int) []error {
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range n {
				if errs[caller] = c.one(ctx, caller, i); errs[caller] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errs
}

// snapshots cuts and writes until the journal refuses or done is closed.
func (c *crowd) snapshots(done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		default:
		}
		c.mu.Lock()
		cut, err := c.j.Cut()
		state := raw(c.tx)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if err := cut.Write(func(yield func(checkpoint.Record) bool) {
			for _, r := range state {
				if !yield(r) {
					return
				}
			}
		}); err != nil {
			return err
		}
	}
}

func TestManyCallersLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	j, _ := open(t, path, checkpoint.Options{SegmentSize: 16 << 10})
	c := &crowd{j: j}
	done, snapshots := make(chan struct{}), make(chan error, 1)
	go func() { snapshots <- c.snapshots(done) }()
	err := errors.Join(c.run(t.Context(), 20)...)
	close(done)
	if err := errors.Join(err, <-snapshots); err != nil {
		t.Fatal(err)
	}
	closeNow(t, j)
	_, got := open(t, path, checkpoint.Options{})
	if n, err := prefix(got, single(c.tx)); err != nil || n != len(c.tx) {
		t.Errorf("%d of %d transactions loaded: %v", n, len(c.tx), err)
	}
}

func single(records []string) (tx [][]string) {
	for _, r := range records {
		tx = append(tx, []string{r})
	}
	return tx
}

func TestAPowerCutAmongManyCallersKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for k := 20; k < 1000; k += 97 {
		fs := crashfs.New()
		fs.StopAt(k)
		j, err := checkpoint.Open(dir, checkpoint.Options{FS: fs, SegmentSize: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := load(j); err != nil {
			t.Fatal(err)
		}
		c := &crowd{j: j}
		snapshots := make(chan error, 1)
		done := make(chan struct{})
		go func() { snapshots <- c.snapshots(done) }()
		c.run(t.Context(), 20)
		close(done)
		<-snapshots
		_ = j.Close() // the machine has stopped
		for seed := range uint64(2) {
			check(t, fmt.Sprintf("stopped at operation %d, seed %d", k, seed), c, fs.Crash(crashfs.Some, seed))
		}
		check(t, fmt.Sprintf("stopped at operation %d", k), c, fs.Crash(crashfs.None, 0))
	}
}

func check(t *testing.T, what string, c *crowd, fs *crashfs.FS) {
	t.Helper()
	j, err := checkpoint.Open(dir, checkpoint.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	got, err := load(j)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	// The last one may be there although its Append failed.
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := prefix(got, single(c.tx))
	if err != nil || n < int(c.acked.Load()) {
		t.Errorf("%s: %d transactions loaded, %d acknowledged, %d appended: %v", what, n, c.acked.Load(), len(c.tx), err)
	}
}

// gate is a file system on which fdatasync waits.
type gate struct {
	*crashfs.FS
	closed atomic.Bool
	opened chan struct{}
	waits  chan struct{} // gets a value when an fdatasync waits
	syncs  atomic.Int32
}

type gatedFile struct {
	checkpoint.File
	gate *gate
}

func (g *gate) Open(name string, flag int) (checkpoint.File, error) {
	f, err := g.FS.Open(name, flag)
	return gatedFile{f, g}, err
}

func (f gatedFile) Sync() error {
	if f.gate.closed.Load() {
		f.gate.waits <- struct{}{}
		<-f.gate.opened
		f.gate.syncs.Add(1)
	}
	return f.File.Sync()
}

func gated(t *testing.T) (*gate, *checkpoint.Journal) {
	t.Helper()
	g := &gate{FS: crashfs.New(), opened: make(chan struct{}), waits: make(chan struct{}, callers)}
	j, _ := open(t, dir, checkpoint.Options{FS: g})
	j.Idle()
	g.closed.Store(true)
	return g, j
}

func TestCallersThatWaitTogetherShareOneSync(t *testing.T) {
	t.Parallel()
	g, j := gated(t)
	appendAll(t, j, "first")
	var wg sync.WaitGroup
	wait := func(p checkpoint.Position) {
		wg.Go(func() {
			if err := j.Sync(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	wait(1)
	<-g.waits
	for range callers {
		wait(appendAll(t, j, "more"))
	}
	close(g.opened)
	wg.Wait()
	if n := g.syncs.Load(); n != 2 {
		t.Errorf("%d syncs for 1 and %d callers, want 2", n, callers)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	g, j := gated(t)
	p := appendAll(t, j, "one")
	leader := make(chan error, 1)
	go func() { leader <- j.Sync(context.Background(), p) }()
	<-g.waits
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Sync(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	close(g.opened)
	if err := <-leader; err != nil {
		t.Error(err)
	}
}

// Whoever is told that the first is durable must never lose it to damage that is taken for a
// torn tail, also where others have appended during the sync and nobody waits for that.
func TestDamageToWhatWasAcknowledgedIsNoTornTailBehindWhatCameDuringTheSync(t *testing.T) {
	t.Parallel()
	for what, later := range map[string][]string{"nothing follows": nil, "more follows": {"third"}} {
		g, j := gated(t)
		acknowledged := make(chan error, 1)
		p := appendAll(t, j, "first")
		go func() { acknowledged <- j.Sync(t.Context(), p) }()
		<-g.waits
		appendAll(t, j, "second")
		close(g.opened)
		if err := <-acknowledged; err != nil {
			t.Fatal(err)
		}
		appendAll(t, j, later...)
		if s := j.Stats(); s.Synced != p {
			t.Fatalf("%s: %+v; only the first was to be synced", what, s)
		}
		image := g.Kill()
		image.Flip(filepath.Join(dir, "log-000000000001"), 64+32+4, 3) // in the first record
		if _, err := checkpoint.VerifyOn(image, dir); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("%s: damage to what was acknowledged: %v", what, err)
		}
	}
}
