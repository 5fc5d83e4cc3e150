package api

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tenon/agent/access"
	"tenon/agent/volume"
)

// slow is an agent that holds up whoever asks for changes, and counts them.
type slow struct {
	fakeAgent
	entered chan struct{}
	release chan struct{}
	asked   atomic.Int64
}

func newSlow() *slow {
	a := &slow{entered: make(chan struct{}, 100), release: make(chan struct{})}
	a.do = func(ctx context.Context, _ ...volume.Operation) (*volume.State, error) {
		a.asked.Add(1)
		a.entered <- struct{}{}
		select {
		case <-a.release:
		case <-ctx.Done():
		}
		return nil, &volume.Error{Kind: volume.ErrBusy, Message: "done"}
	}
	return a
}

// largeBody is an operation in more than maxBody bytes.
func largeBody() string { return reserve2G + strings.Repeat(" ", maxBody) }

// postLater posts in the background, and gives the status; in pieces it does not say how much.
func (f *fixture) postLater(path, body string, pieces bool) <-chan int {
	status := make(chan int, 1)
	var sent io.Reader = strings.NewReader(body)
	if pieces {
		sent = io.MultiReader(sent)
	}
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, "http://tenon"+path, sent)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	go func() {
		resp, err := f.client.Do(req)
		if err != nil {
			status <- 0
			return
		}
		status <- resp.StatusCode
		_ = resp.Body.Close()
	}()
	return status
}

func TestFewLargeBodiesAreReadAtOnceAndSmallOnesDoNotWaitForThem(t *testing.T) {
	t.Parallel()
	a := newSlow()
	f := serving(t, a, nil)
	var at []<-chan int
	for i := range maxLarge { // of both kinds
		at = append(at, f.postLater("/v1/operations", largeBody(), i%2 == 0))
		<-a.entered
	}
	if got := len(f.server.large); got != maxLarge {
		t.Errorf("%d large bodies are at work, want %d", got, maxLarge)
	}
	at = append(at, f.postLater("/v1/tasks", `{"task":"t1"}`, false))
	<-a.entered // it did not wait
	waits, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	for length, want := range map[int64]bool{-1: false, maxBody + 1: false, maxBody: true} {
		r, err := http.NewRequestWithContext(waits, http.MethodPost, "/v1/operations", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = length
		got := false
		probe := route{method: http.MethodPost, handle: func(*Server, *call) (answer, error) { got = true; return answer{}, nil }}
		if want { // has all the time that it needs
			r = r.WithContext(t.Context())
		}
		if _, err := f.server.answer(probe, &call{Request: r}); got != want || (err == nil) != want {
			t.Errorf("with a body of %d bytes it got its turn: %v, %v", length, got, err)
		}
	}
	close(a.release)
	for _, status := range at {
		if got := <-status; got != 409 {
			t.Errorf("got %d, want its own answer", got)
		}
	}
	if got := <-f.postLater("/v1/operations", largeBody(), false); got != 409 {
		t.Errorf("got %d when all others were done", got)
	}
	if len(f.server.large) != 0 || len(f.server.slots) != 0 {
		t.Errorf("%d large and %d other places are still taken", len(f.server.large), len(f.server.slots))
	}
}

func TestWhoWaitsForALargeBodyTakesNoPlaceOfOthers(t *testing.T) {
	t.Parallel()
	a := newSlow()
	f := serving(t, a, func(s *Server) { s.large, s.timeout = make(chan struct{}), time.Millisecond })
	if got := <-f.postLater("/v1/operations", largeBody(), false); got != 503 {
		t.Errorf("got %d, want 503 where there is no turn", got)
	}
	if len(f.server.slots) != 0 || a.asked.Load() != 0 {
		t.Errorf("%d places taken, asked %d times", len(f.server.slots), a.asked.Load())
	}
}

func TestFewRequestsLookAtEverythingAtOnce(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, func(s *Server) { s.walks, s.timeout = make(chan struct{}, 1), time.Millisecond })
	f.must(200, "GET", "/v1/resources", "", nil)
	f.server.walks <- struct{}{}
	f.problem(503, "pending", "GET", "/v1/resources", "")
	f.must(200, "GET", "/v1/status", "", nil)
	<-f.server.walks
	f.problem(400, "invalid", "GET", "/v1/resources?shared=x", "")
	f.must(200, "GET", "/v1/resources", "", nil)
}

// A place among those who look at everything is held until the answer was sent.
func TestAnAnswerThatIsNotReadHoldsItsPlace(t *testing.T) {
	t.Parallel()
	held := make(chan int, 1)
	f := serving(t, &fakeAgent{}, func(s *Server) {
		s.count = func(string, int) { held <- len(s.walks) }
	})
	c := &call{}
	c.Request, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	if _, err := walking((*Server).resources)(f.server, c); err != nil || len(f.server.walks) != 1 {
		t.Errorf("%d places taken by an answer that is to be sent, %v", len(f.server.walks), err)
	}
	c.leave()
	f.must(200, "GET", "/v1/resources", "", nil)
	if got := <-held; got != 0 {
		t.Errorf("%d places taken when the answer was sent", got)
	}
}

func TestNoPrincipalTakesAllStreams(t *testing.T) {
	t.Parallel()
	q := newQuota(8, 2)
	for _, who := range []string{"a", "b", "c", "d"} {
		got := 0
		for q.take(who) {
			got++
		}
		if got != 2 {
			t.Errorf("%s has got %d, want 2", who, got)
		}
	}
	if q.take("e") {
		t.Error("there are 9")
	}
	q.give("a")
	if q.take("b") || !q.take("e") || q.take("a") {
		t.Error("a's place has not gone to e")
	}
	for who, n := range map[string]int{"a": 1, "b": 2, "c": 2, "d": 2, "e": 1} {
		for range n {
			q.give(who)
		}
	}
	if q.all != 0 || len(q.by) != 0 {
		t.Errorf("left are %d, %v", q.all, q.by)
	}
}

func TestStreamsAreCountedByPrincipal(t *testing.T) {
	t.Parallel()
	r := ruling(t, access.ACLs{})
	if q := r.server.streams; q.most != maxStreams || q.each != maxStreams/4 {
		t.Errorf("there may be %d, and %d of each", q.most, q.each)
	}
	r.server.streams = newQuota(3, 1)
	r.as(askers["a user"])
	first := r.follow("")
	first.next("")
	r.problem(503, "pending", "GET", "/v1/events", "")
	r.as(askers["another user"])
	r.follow("").next("")
	first.cancel()
	first.end()
}
