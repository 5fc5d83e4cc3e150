package master_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/mastertest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

func agentRequest(ops ...volume.Operation) agent.Request { return agent.Request{Operations: ops} }

func reserved(role string, mib resource.Scalar) []resource.Resource {
	return []resource.Resource{{Name: "disk", Type: resource.TypeScalar, Scalar: mib * resource.One,
		Reservations: []resource.Reservation{{Type: resource.Dynamic, Role: role}}}}
}

// open begins a session on an agent that ends with the test.
func open(t *testing.T, k *agenttest.Kernel) (*master.Session, *mastertest.Node) {
	t.Helper()
	n := mastertest.NewNode(agenttest.Start(t, k))
	ctx, end := context.WithCancel(context.Background())
	s := master.Open(ctx, n, master.Config{})
	t.Cleanup(func() {
		end()
		if err := s.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("the session was lost by %v", err)
		}
	})
	return s, n
}

// result waits for the final result of an order.
func result(t *testing.T, s *master.Session, n master.Node, id string) master.Result {
	t.Helper()
	for {
		for _, r := range s.Results(n.State()) {
			if r.ID == id && r.Final() {
				return r
			}
		}
		select {
		case <-s.Changed():
		case <-t.Context().Done():
			t.Fatalf("order %s has no result", id)
		}
	}
}

func TestResultsAreToldUntilTheyAreAcknowledged(t *testing.T) {
	t.Parallel()
	s, n := open(t, agenttest.NewKernel())
	id := n.State().Agent
	s.Take(mastertest.Order(id, "good", mastertest.Reserve(1)), "")
	s.Take(mastertest.Order(id, "bad", mastertest.Reserve(1<<20)), "")
	want := []master.Result{result(t, s, n, "good"), result(t, s, n, "bad")}
	if want[0].State != volume.OperationFinished || want[1].State != master.OperationError || want[1].Kind != "insufficient" {
		t.Fatalf("results %+v", want)
	}
	for range 2 {
		if err := s.Acknowledge(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, s.Results(n.State())); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	if err := s.Acknowledge(t.Context(), "good", "bad"); err != nil {
		t.Fatal(err)
	}
	if left := s.Results(n.State()); len(left) > 0 {
		t.Errorf("after the acknowledgement there are %+v", left)
	}
	if op, ok := n.State().Operation("m:good"); !ok || !op.Acknowledged {
		t.Errorf("the agent has %+v", op)
	}
}

func TestAMasterSeesAndAcknowledgesNothingOfAnother(t *testing.T) {
	t.Parallel()
	s, n := open(t, agenttest.NewKernel())
	if _, err := n.Do(t.Context(), volume.Identified{ID: "m2:one", Type: "RESERVE", Digest: "d", Operations: []volume.Operation{
		volume.Reserve{Resources: reserved("web", 1)}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Acknowledge(t.Context(), "one", "2:one", "m2:one"); err != nil {
		t.Fatal(err)
	}
	op, _ := n.State().Operation("m2:one")
	if all := s.Results(n.State()); len(all) > 0 || op.Acknowledged {
		t.Errorf("results %+v, acknowledged %v", all, op.Acknowledged)
	}
	s.Take(mastertest.Order(n.State().Agent, "one", mastertest.Reserve(1)), "") // its own "one"
	if r := result(t, s, n, "one"); r.State != volume.OperationFinished {
		t.Errorf("result %+v", r)
	}
}

// Whoever may ask the agent may choose an id that looks like an order of a master.
func TestAnIDOfAMasterInOtherHandsIsNoneOfItsOrders(t *testing.T) {
	t.Parallel()
	s, n := open(t, agenttest.NewKernel())
	if _, err := n.Do(t.Context(), volume.Identified{ID: "m:victim", Type: "RESERVE", Digest: "d", Principal: "bob", Operations: []volume.Operation{
		volume.Reserve{Resources: reserved("web", 1)}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Acknowledge(t.Context(), "victim"); err != nil {
		t.Fatal(err)
	}
	op, _ := n.State().Operation("m:victim")
	if all := s.Results(n.State()); len(all) > 0 || op.Acknowledged {
		t.Errorf("results %+v, acknowledged %v", all, op.Acknowledged)
	}
	s.Take(mastertest.Order(n.State().Agent, "victim", mastertest.Reserve(1)), "")
	if r := result(t, s, n, "victim"); r.State != master.OperationError || r.Kind != "exists" {
		t.Errorf("the order that finds its id taken: %+v", r)
	}
}

func TestOrdersThatWaitAreLimited(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	s, n := open(t, k)
	id := n.State().Agent
	s.Take(mastertest.Order(id, "space", mastertest.Reserve(200)), "")
	result(t, s, n, "space")
	hold := make(chan struct{})
	k.Lock()
	k.Fail = func(volume.Step) error {
		<-hold // in the middle of a step
		return nil
	}
	k.Unlock()
	taken := 0
	for i := range 100 {
		if s.Take(mastertest.Order(id, fmt.Sprint("o", i), mastertest.Create(fmt.Sprint("v", i), 1)), "") {
			taken++
		}
	}
	pending := 0
	for _, r := range s.Results(n.State()) {
		if r.State == volume.OperationPending {
			pending++
		}
	}
	if !s.Take(mastertest.Order(id, "o0", mastertest.Create("v0", 1)), "") || s.Take(mastertest.Order(id, "o0", mastertest.Create("v0", 2)), "") {
		t.Error("an order at work is known, and another with its id has to wait")
	}
	close(hold)
	if taken != 64 || pending != 64 {
		t.Errorf("%d orders were taken and %d are told as pending, want 64", taken, pending)
	}
	for i := range taken {
		if r := result(t, s, n, fmt.Sprint("o", i)); r.State != volume.OperationFinished {
			t.Errorf("%+v", r)
		}
	}
}

func TestRefusalsThatNobodyAcknowledgesAreLimited(t *testing.T) {
	t.Parallel()
	s, n := open(t, agenttest.NewKernel())
	for i := range 1000 {
		s.Take(fmt.Appendf(nil, `{"id":"o%d"}`, i), "")
	}
	got := s.Results(n.State())
	if len(got) != 256 || got[0].ID != "o744" || got[255].ID != "o999" {
		t.Errorf("%d results from %s", len(got), got[0].ID)
	}
}

func TestWhatIsNoOrderAtAllIsAnErrorOfTheMaster(t *testing.T) {
	t.Parallel()
	s, n := open(t, agenttest.NewKernel())
	for _, text := range []string{``, `7`, `null`, `{}`, `{"id":""}`, `{"id":"../x"}`, `{"id":"` + strings.Repeat("x", 201) + `"}`, "\xff"} {
		s.Take([]byte(text), "")
		if err := <-n.Contacts; err == nil || !strings.Contains(err.Error(), "not understood") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if all := s.Results(n.State()); len(all) > 0 {
		t.Errorf("results %+v", all)
	}
}

func TestAnOrderWhoseStepFailsHasFailedForEver(t *testing.T) {
	t.Parallel()
	k := agenttest.NewKernel()
	k.Fail = func(step volume.Step) error {
		if step.Kind == volume.Make {
			return errors.New("the disk is broken")
		}
		return nil
	}
	s, n := open(t, k)
	order := mastertest.Order(n.State().Agent, "one", mastertest.Reserve(64), mastertest.Create("data", 64))
	s.Take(order, "")
	first := result(t, s, n, "one")
	if first.State != volume.OperationFailed || first.Kind != "failed" || !strings.Contains(first.Message, "the disk is broken") {
		t.Errorf("result %+v", first)
	}
	if err := s.Acknowledge(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	s.Take(order, "")
	if diff := cmp.Diff(first, result(t, s, n, "one")); diff != "" {
		t.Errorf("replayed (-first +then):\n%s", diff)
	}
}

func TestReportsAreCoalescedAndTheHeartbeatComesWithoutAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		versions := make(chan *volume.State)
		s := master.Open(ctx, changing{versions}, master.Config{Interval: time.Second, Heartbeat: time.Minute})
		var times []time.Duration
		begin := time.Now()
		s.Go(func(ctx context.Context) error {
			for {
				if _, err := s.Next(ctx); err != nil {
					return err
				}
				times = append(times, time.Since(begin))
			}
		})
		st := volume.Empty()
		for range 1000 { // three seconds of changes
			st = st.With(volume.Change{Host: &volume.HostInfo{}})
			versions <- st
			time.Sleep(3 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		end()
		if err := s.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("lost by %v", err)
		}
		want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 63 * time.Second, 123 * time.Second}
		if len(times) != len(want) && len(times) != len(want)-1 {
			t.Fatalf("reports at %v, want %v", times, want)
		}
		for i, at := range times {
			if at != want[i] {
				t.Errorf("report %d at %v, want %v", i, at, want[i])
			}
		}
	})
}

// changing is a node whose versions a test makes.
type changing struct{ versions chan *volume.State }

func (changing) About() master.About  { return master.About{Name: "m"} }
func (changing) State() *volume.State { return volume.Empty() }
func (changing) Contact(error)        {}
func (changing) Ask(context.Context, agent.Request) (*volume.State, error) {
	return nil, errors.New("nobody is asked")
}
func (c changing) Watch(ctx context.Context, _ uint64) (*volume.State, error) {
	select {
	case s := <-c.versions:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// busy is a node that has done an order and notes nothing more.
type busy struct{ changing }

func (busy) About() master.About { return master.About{Name: "m", Principal: "master:m"} }
func (busy) State() *volume.State {
	return volume.Empty().With(volume.Change{Operation: &volume.OperationStatus{ID: "m:one", Principal: "master:m", State: volume.OperationFinished}})
}
func (busy) Ask(ctx context.Context, _ agent.Request) (*volume.State, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAnAcknowledgementThatTakesTooLongIsLeftForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		n := busy{}
		s := master.Open(ctx, n, master.Config{})
		begin := time.Now()
		if err := s.Acknowledge(ctx, "one"); err != nil || time.Since(begin) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if told := s.Results(n.State()); len(told) != 1 || told[0].ID != "one" {
			t.Errorf("there are the results %+v", told)
		}
		end()
		if err := s.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("lost by %v", err)
		}
	})
}

func TestAReportIsTheJSONOfItsType(t *testing.T) {
	t.Parallel()
	s, n := open(t, agenttest.NewKernel())
	v := reserved("web", 1)[0]
	v.Shared, v.Disk = true, &resource.Disk{Persistence: &resource.Persistence{ID: "data"}, Volume: &resource.Volume{ContainerPath: "d", Mode: resource.RW}}
	if _, err := n.Do(t.Context(), volume.Reserve{Resources: append(reserved("web", 10), reserved("db", 5)...)}, volume.Create{Volume: v},
		volume.Attach{Task: "t1", Use: volume.Use{Volume: "web/data", Path: "d", Mode: resource.RO}, Via: volume.ByPath},
		volume.Attach{Task: "t2", Use: volume.Use{Volume: "web/data", Path: "d", Mode: resource.RW}, Via: volume.ByPath}); err != nil {
		t.Fatal(err)
	}
	report := func() (r master.Report, text []byte) {
		t.Helper()
		var b bytes.Buffer
		if err := s.WriteReport(&b, n.State()); err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(b.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		return r, b.Bytes()
	}
	r, text := report()
	if r.Schema != 1 || r.Sequence != 1 || !r.Register || r.Index != n.State().Version || len(r.Volumes) != 1 || len(r.Tasks) != 2 || r.Results == nil {
		t.Errorf("the first report is %s", text)
	}
	whole, err := json.Marshal(r)
	if err != nil || len(whole) != len(text) {
		t.Errorf("the type is written as %s, %v\nthe report was %s", whole, err, text)
	}
	n.View = func(role string) bool { return role == "db" }
	r, text = report()
	if r.Sequence != 2 || r.Register || len(r.Volumes) != 0 || len(r.Status.Reservations) != 1 || bytes.Contains(text, []byte("web/data")) {
		t.Errorf("to a principal that may see db alone: %s", text)
	}
}

func TestAReportHasALimit(t *testing.T) {
	t.Parallel()
	s, n := open(t, agenttest.NewKernel())
	tasks := make([]volume.Change, 0, master.MaxItems+1)
	for i := range master.MaxItems + 1 {
		tasks = append(tasks, volume.Change{Task: &volume.Task{ID: fmt.Sprint("t", i)}})
	}
	var lines counter
	if err := s.WriteReport(&lines, n.State().With(tasks...)); err != nil {
		t.Fatal(err)
	}
	if lines.tasks != master.MaxItems || !strings.HasSuffix(lines.end, `],"truncated":true}`) {
		t.Errorf("%d tasks, end %q", lines.tasks, lines.end)
	}
}

// counter counts tasks by what is written at once.
type counter struct {
	tasks int
	end   string
}

func (c *counter) Write(data []byte) (int, error) {
	if bytes.HasPrefix(data, []byte(`{"id":"t`)) {
		c.tasks++
	}
	c.end = (c.end + string(data))[max(0, len(c.end)+len(data)-30):]
	return len(data), nil
}
