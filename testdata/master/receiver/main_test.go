package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenon/agent"
	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/mastertest"
	"tenon/agent/master/webhook"
	"tenon/agent/resource"
)

const secret = "a secret of thirty-two bytes, yes"

// watched is a receiver that says when it has answered.
type watched struct {
	*receiver
	answered chan struct{}
}

func (w watched) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.receiver.ServeHTTP(rw, r)
	select {
	case w.answered <- struct{}{}:
	case <-r.Context().Done():
	}
}

// start runs a receiver and an agent that reports to it, until the test ends.
func start(t *testing.T) (w watched, a *agent.Agent, dir string) {
	t.Helper()
	dir = t.TempDir()
	w = watched{&receiver{dir: dir, secret: []byte(secret), newest: map[string]report{}, seen: map[string]time.Time{}}, make(chan struct{})}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a = agenttest.Start(t, agenttest.NewKernel())
	m, err := master.Kinds{"http": webhook.New}.New(master.Config{
		Name: "m", URL: server.URL, SecretFile: file, Interval: time.Nanosecond, Heartbeat: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := master.NewSupervisor(master.Options{Agent: a, Members: []master.Member{m}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { end(); <-ended })
	return w, a, dir
}

func TestAnOrderInAFileIsDoneOnceAndItsResultTakesItsPlace(t *testing.T) {
	t.Parallel()
	w, a, dir := start(t)
	<-w.answered
	mine := filepath.Join(dir, a.State().Agent)
	operations, err := json.Marshal([]resource.Operation{mastertest.Reserve(64), mastertest.Create("data", 32)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(mine, 0o700), save(filepath.Join(mine, "one.json"), operations)); err != nil {
		t.Fatal(err)
	}
	for file := filepath.Join(mine, "one.result"); ; <-w.answered {
		if text, err := os.ReadFile(file); err == nil {
			if !strings.Contains(string(text), "OPERATION_FINISHED") {
				t.Errorf("the result is %s", text)
			}
			break
		}
	}
	for acknowledged := false; !acknowledged; <-w.answered {
		op, _ := a.State().Operation("m:one")
		acknowledged = op.Acknowledged
	}
	if got := mastertest.ReservedBy(a.State(), mastertest.Principal); got != 64*resource.One {
		t.Errorf("%v MiB are reserved, want 64", got)
	}
	if _, err := os.Stat(filepath.Join(mine, "one.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the order is still there: %v", err)
	}
	for has := false; !has; <-w.answered {
		text, err := os.ReadFile(filepath.Join(dir, a.State().Agent+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var r master.Report
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		has = len(r.Volumes) == 1 && r.Volumes[0].Name == "web/data"
	}
}

func TestAReportThatIsOlderThanTheOneBeforeIsIgnored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rc := &receiver{dir: dir, newest: map[string]report{}}
	const agent = "00000000-0000-4000-8000-000000000001"
	kept := ""
	for _, c := range []struct {
		second, sequence int
		register, newer  bool
	}{
		{1, 1, true, true},
		{1, 3, false, true},
		{1, 2, false, false},
		{1, 3, false, false},
		{1, 2, true, false}, // of a connection that was made and lost before
		{1, 4, true, true},
		{1, 5, false, true},
		{3, 1, true, true}, // the agent was started again
		{1, 6, false, false},
		{2, 9, true, false},
		{3, 2, false, true},
	} {
		text := fmt.Sprintf(`{"agent":%q,"sequence":%d,"register":%v,"status":{"started":"2026-01-01T00:00:0%dZ"}}`, agent, c.sequence, c.register, c.second)
		_, err := rc.take([]byte(text), false)
		if (err == nil) != c.newer {
			t.Errorf("%s after %s: %v", text, kept, err)
		}
		if c.newer {
			kept = text
		}
		if got, err := os.ReadFile(filepath.Join(dir, agent+".json")); err != nil || string(got) != kept {
			t.Errorf("after %s there is %s, %v; want %s", text, got, err, kept)
		}
	}
}

func TestAReportThatIsForgedOrCameBeforeIsRefused(t *testing.T) {
	t.Parallel()
	rc := &receiver{dir: t.TempDir(), secret: []byte(secret), newest: map[string]report{}, seen: map[string]time.Time{}}
	const agent, other = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
	body := []byte(`{"agent":"` + agent + `","sequence":1,"status":{"started":"2026-01-01T00:00:00Z"}}`)
	post := func(key string, at time.Time, nonce string, body []byte) int {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		webhook.Sign(r.Header, []byte(key), at, nonce, body)
		w := httptest.NewRecorder()
		rc.ServeHTTP(w, r)
		return w.Code
	}
	for i, c := range []struct {
		key   string
		at    time.Time
		nonce string
		body  []byte
		want  int
	}{
		{"another secret", time.Now(), "1", body, http.StatusForbidden},
		{secret, time.Now().Add(-time.Hour), "1", body, http.StatusForbidden},
		{secret, time.Now(), "1", body, http.StatusOK},
		{secret, time.Now(), "1", body, http.StatusForbidden},
		{secret, time.Now(), "2", body, http.StatusConflict},
		{secret, time.Now(), "3", bytes.Replace(body, []byte(`:1,`), []byte(`:2,`), 1), http.StatusOK},
		{secret, time.Now(), "4", bytes.Replace(body, []byte(agent), []byte(".."), 1), http.StatusConflict},
		{secret, time.Now(), "5", bytes.Replace(body, []byte(agent), []byte("*"), 1), http.StatusConflict},
		{secret, time.Now(), "6", bytes.Replace(body, []byte(agent), []byte(other), 1), http.StatusOK},
	} {
		if got := post(c.key, c.at, c.nonce, c.body); got != c.want {
			t.Errorf("request %d is answered with %d, want %d", i, got, c.want)
		}
	}
}
