package master_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/access"
	"tenon/agent/master"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// still is an agent on which nothing happens but what a test does.
type still struct {
	ask func(context.Context, agent.Request) error // nil does nothing
}

func (s still) Ask(ctx context.Context, r agent.Request) (*volume.State, error) {
	if s.ask == nil {
		return volume.Empty(), nil
	}
	return volume.Empty(), s.ask(ctx, r)
}
func (still) State() *volume.State { return volume.Empty() }
func (still) Health() error        { return nil }
func (still) Watch(ctx context.Context, _ uint64) (*volume.State, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// supervise runs clients, which are called a, b, … in a bubble, until the test calls end.
func supervise(t *testing.T, o master.Options, clients ...clientFunc) (s *master.Supervisor, end func()) {
	t.Helper()
	if o.Agent == nil {
		o.Agent = still{}
	}
	for i, c := range clients {
		name := string(rune('a' + i))
		o.Members = append(o.Members, master.Member{Name: name, Kind: "test", URL: "test://" + name, Principal: "master:" + name, Client: c})
	}
	s, err := master.NewSupervisor(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	return s, func() { cancel(); <-ended }
}

func TestAClientThatIsLostIsStartedAgainWithLongerAndLongerPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Time
		_, end := supervise(t, master.Options{}, func(context.Context, master.Node) error {
			starts = append(starts, time.Now())
			return errors.New("lost")
		})
		time.Sleep(10 * time.Minute)
		end()
		for i := range starts[1:] {
			pause := starts[i+1].Sub(starts[i])
			longest := min(time.Minute, 2*time.Second<<i)
			if pause < longest/2 || pause > longest {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, longest/2, longest)
			}
		}
		if len(starts) < 15 || len(starts) > 40 {
			t.Errorf("%d starts in 10 minutes", len(starts))
		}
	})
}

func TestPausesBeginAnewAfterAContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		s, end := supervise(t, master.Options{}, func(_ context.Context, n master.Node) error {
			starts++
			n.Contact(nil)
			return errors.New("lost")
		})
		time.Sleep(time.Minute)
		end()
		if st := s.Status()[0]; starts < 30 || starts > 61 || st.Restarts != uint64(starts)-1 {
			t.Errorf("%d starts in a minute, %d restarts", starts, st.Restarts)
		}
	})
}

func TestWhatAClientDoesWrongIsItsOwnStatusAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long, release := strings.Repeat("x", 10_000), make(chan struct{})
		s, end := supervise(t, master.Options{},
			func(context.Context, master.Node) error { panic("what a panic") },
			func(context.Context, master.Node) error { return nil },
			func(ctx context.Context, n master.Node) error {
				n.Contact(nil)
				n.Contact(errors.New("a lie \x1b[2J\n" + long))
				<-ctx.Done()
				return ctx.Err()
			},
			func(ctx context.Context, n master.Node) error {
				session := master.Open(ctx, n, master.Config{})
				session.Go(func(context.Context) error { panic("elsewhere") })
				return session.Wait()
			},
			func(context.Context, master.Node) error { <-release; return nil }, // hangs
		)
		time.Sleep(500 * time.Millisecond)
		st := s.Status()
		before := time.Now()
		end()
		if took := time.Since(before); took != 5*time.Second {
			t.Errorf("the end took %v with a client that hangs", took)
		}
		for i, want := range []string{"the client panicked: what a panic", "the client ended without a reason", "a lie  [2J ", "the client panicked: elsewhere", ""} {
			if !strings.HasPrefix(st[i].LastError, want) || len(st[i].LastError) > 500 || (st[i].LastError == "") != (want == "") {
				t.Errorf("%s: %q, want %q", st[i].Name, st[i].LastError, want)
			}
			if connected := i == 2; st[i].Connected != connected || st[i].LastContact.IsZero() == connected {
				t.Errorf("%s: %+v", st[i].Name, st[i])
			}
		}
		close(release)
	})
}

func TestOrdersAreAskedAsThePrincipalOfTheirMasterAndAudited(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit")
	audit, err := access.OpenAudit(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = audit.Close() }()
	var rules access.ACLs
	if err := rules.UnmarshalJSON([]byte(`{"permissive":false,"reserve_resources":[{"principals":{"values":["master:a"]},"roles":{"values":["web"]}}]}`)); err != nil {
		t.Fatal(err)
	}
	type guard = func(*volume.State, volume.Operation) error
	guards := make(chan guard, 2)
	agent := still{ask: func(_ context.Context, r agent.Request) error { guards <- r.Allow; return nil }}
	ask := func(ctx context.Context, n master.Node) error {
		if n.About().View == nil || n.About().View("web") {
			t.Error("a role is shown that no rule allows")
		}
		_, err := n.Ask(ctx, agentRequest(volume.Acknowledge{ID: n.About().Name}))
		<-ctx.Done()
		return err
	}
	_, end := supervise(t, master.Options{Agent: agent, ACLs: rules, Audit: audit}, ask, ask)
	op := volume.Reserve{Resources: reserved("web", 1)}
	var outcomes []bool
	for range 2 {
		outcomes = append(outcomes, (<-guards)(volume.Empty(), op) == nil)
	}
	end()
	if outcomes[0] == outcomes[1] {
		t.Errorf("of two masters one may reserve; the guards say %v", outcomes)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"principal":"master:a"`, `"principal":"master:b"`, `"remote":"test://a"`, `"outcome":"ok"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the audit has no %s:\n%s", want, text)
		}
	}
}

func TestAFloodOfOrdersWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, atWork, most atomic.Int64
		slow := still{ask: func(context.Context, agent.Request) error {
			most.Store(max(most.Load(), atWork.Add(1)))
			defer atWork.Add(-1)
			asked.Add(1)
			time.Sleep(time.Microsecond)
			return nil
		}}
		_, end := supervise(t, master.Options{Agent: slow}, func(ctx context.Context, n master.Node) error {
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					for ctx.Err() == nil {
						_, _ = n.Ask(ctx, agentRequest(volume.Reserve{}))
					}
				})
			}
			all.Wait()
			return ctx.Err()
		})
		time.Sleep(10 * time.Second)
		if n := asked.Load(); n < 10_000 || n > 11_100 {
			t.Errorf("%d operations in 10 s; want 1,000 at once and 1,000 a second", n)
		}
		if most.Load() != 16 {
			t.Errorf("%d were at work at once, want 16", most.Load())
		}
		end()
	})
}

func TestWhatIsAcknowledgedWaitsForNoOrderAndOrdersPayForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var acknowledged, ordered atomic.Int64
		hangs := still{ask: func(ctx context.Context, r agent.Request) error {
			if _, is := r.Operations[0].(volume.Acknowledge); is {
				acknowledged.Add(int64(len(r.Operations)))
				return nil
			}
			ordered.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}}
		_, end := supervise(t, master.Options{Agent: hangs}, func(ctx context.Context, n master.Node) error {
			note := slices.Repeat([]volume.Operation{volume.Acknowledge{ID: "x"}}, 1000)
			for range 3 { // more than may be asked for at once
				if _, err := n.Ask(ctx, agentRequest(note...)); err != nil {
					return err
				}
			}
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() { _, _ = n.Ask(ctx, agentRequest(volume.Reserve{})) })
			}
			time.Sleep(10 * time.Second)
			_, err := n.Ask(ctx, agentRequest(note...)) // all slots are taken
			all.Wait()
			return err
		})
		time.Sleep(time.Second)
		if a, o := acknowledged.Load(), ordered.Load(); a != 3000 || o != 0 {
			t.Errorf("after a second there are %d acknowledgements and %d orders, want 3000 and none", a, o)
		}
		time.Sleep(9*time.Second + time.Millisecond)
		if a, o := acknowledged.Load(), ordered.Load(); a != 4000 || o != 16 {
			t.Errorf("while orders hang there are %d acknowledgements and %d orders, want 4000 and 16", a, o)
		}
		end()
	})
}

func TestReportsAreCountedOverAllSessionsOfAMasterAndTheFirstOfEachRegisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told [2][]master.Report // by master
		client := func(ctx context.Context, n master.Node) error {
			s := master.Open(ctx, n, master.Config{})
			s.Go(func(context.Context) error {
				for range 2 {
					var b bytes.Buffer
					var r master.Report
					if err := errors.Join(s.WriteReport(&b, n.State()), json.Unmarshal(b.Bytes(), &r)); err != nil {
						return err
					}
					i := n.About().Name[0] - 'a'
					told[i] = append(told[i], r)
				}
				return errors.New("lost")
			})
			return s.Wait()
		}
		_, end := supervise(t, master.Options{Pause: func(int) time.Duration { return time.Second }}, client, client)
		time.Sleep(2*time.Second + time.Millisecond)
		end()
		for _, reports := range told {
			if len(reports) != 6 {
				t.Fatalf("there are %d reports of 3 sessions", len(reports))
			}
			for i, r := range reports {
				if r.Sequence != uint64(i)+1 || r.Register != (i%2 == 0) || !r.Status.Started.Equal(reports[0].Status.Started) {
					t.Errorf("report %d has the sequence %d of %v, register %v", i, r.Sequence, r.Status.Started, r.Register)
				}
			}
		}
	})
}

func TestNamesOfMastersAreUnique(t *testing.T) {
	t.Parallel()
	_, err := master.NewSupervisor(master.Options{Agent: still{}, Members: []master.Member{{Name: "a"}, {Name: "b"}, {Name: "a"}}})
	if err == nil || !strings.Contains(err.Error(), "master a is configured twice") {
		t.Errorf("two masters of one name: %v", err)
	}
}

func TestTheStatusHasNothingSecret(t *testing.T) {
	t.Parallel()
	s, end := supervise(t, master.Options{}, func(ctx context.Context, _ master.Node) error { <-ctx.Done(); return ctx.Err() })
	end()
	want := []wire.Master{{Name: "a", Kind: "test", URL: "test://a", Principal: "master:a"}}
	if diff := cmp.Diff(want, s.Status()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatAMasterIsNotToldStaysInItsStatusUntilItIsToldAllOrLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n master.Node
		lost := make(chan error)
		s, end := supervise(t, master.Options{}, func(ctx context.Context, node master.Node) error {
			n = node
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-lost:
				return err
			}
		})
		defer end()
		synctest.Wait()
		want := func(incomplete, lastError string, connected bool) {
			t.Helper()
			synctest.Wait()
			if s := s.Status()[0]; s.Incomplete != incomplete || s.LastError != lastError || s.Connected != connected {
				t.Errorf("the status is %+v; want %q, %q, %v", s, incomplete, lastError, connected)
			}
		}
		n.Contact(nil)
		n.Contact(master.Incomplete("a\nb"))
		want("a b", "a b", true)
		n.Contact(nil)
		n.Contact(errors.New("an order is not understood"))
		want("a b", "an order is not understood", true)
		n.Contact(fmt.Errorf("again: %w", master.Incomplete("c")))
		want("c", "c", true)
		n.Contact(master.Incomplete(""))
		want("", "c", true)
		n.Contact(master.Incomplete(strings.Repeat("d", 1000)))
		want(strings.Repeat("d", 500), strings.Repeat("d", 500), true)
		lost <- errors.New("it hung up")
		want("", "it hung up", false)
	})
}
