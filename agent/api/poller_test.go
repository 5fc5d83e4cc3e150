package api

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenon/agent/access"
	"tenon/agent/volume"
)

const aToken = "correct horse battery staple"

// writeToken makes a file of a token.
func writeToken(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	replaceToken(t, path, text, mode)
	return path
}

// replaceToken puts another file in the place of one.
func replaceToken(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// polled is a server with an address for those who only read.
type polled struct {
	*remote
	fixture *fixture
	token   string // file
}

// servePollers has a server serve pollers; ca says whether there is an authority for them.
func servePollers(t *testing.T, a Agent, token, ca bool, change func(*Server)) *polled {
	t.Helper()
	p := &polled{token: writeToken(t, aToken+"\n", 0o600)}
	f := serving(t, a, func(s *Server) {
		if token {
			var err error
			if s.token, err = OpenToken(p.token, s.log); err != nil {
				t.Fatal(err)
			}
		}
		if change != nil {
			change(s)
		}
	})
	dir := t.TempDir()
	p.fixture = f
	p.remote = &remote{t: t, server: newAuthority(t), clients: newAuthority(t), cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key")}
	p.replace("poll")
	if ca {
		p.ca = filepath.Join(dir, "ca")
		p.trust(p.clients)
	}
	ln, err := ListenPollers("127.0.0.1:0", p.cert, p.key, p.ca, token, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.ServePollers(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve pollers: %v", err)
		}
	})
	return p
}

// ask makes a request with what is in its Authorization, or without one.
func (p *polled) ask(client *http.Client, method, path, authorization string) (int, http.Header, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "https://"+p.addr+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := readInto(&b, resp); err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b.String()
}

func TestWhoHasTheTokenMayReadAndNobodyElse(t *testing.T) {
	t.Parallel()
	p := servePollers(t, &fakeAgent{}, true, false, nil)
	client := p.client(p.config())
	for authorization, want := range map[string]int{
		"Bearer " + aToken:        200,
		"":                        401,
		"Bearer ":                 401,
		"Bearer " + aToken + "x":  401,
		"Bearer " + aToken[:16]:   401,
		"bearer " + aToken:        401,
		"Basic " + aToken:         401,
		aToken:                    401,
		"Bearer " + aToken + "\t": 200, // white space around a header's value is not of it
	} {
		status, h, body := p.ask(client, "GET", "/v1/status", authorization)
		if status != want {
			t.Errorf("%q: got %d %s, want %d", authorization, status, body, want)
		}
		if want == 401 && h.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%q: the header says %q", authorization, h)
		}
	}
	if log := p.fixture.log.String(); strings.Contains(log, aToken[:16]) || !strings.Contains(log, "principal=poller") {
		t.Errorf("the log tells of the token, or not of the poller:\n%s", log)
	}
}

func TestPollersReadAllThatIsReadAndChangeNothing(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	p := servePollers(t, a, true, false, nil)
	client, before := p.client(p.config()), a.State().Version
	for _, r := range routes {
		path := strings.NewReplacer("{ref...}", "web/data", "{task}", "t1", "{id}", "o1").Replace(r.pattern)
		if r.pattern == "/v1/events" {
			continue // has no end
		}
		status, h, body := p.ask(client, r.method, path, "Bearer "+aToken)
		switch {
		case r.method != "GET" && (status != 405 || h.Get("Allow") != "GET"):
			t.Errorf("%s %s: got %d %s, want 405", r.method, path, status, body)
		case r.method == "GET" && status != 200 && status != 404:
			t.Errorf("%s %s: got %d %s, want 200", r.method, path, status, body)
		}
	}
	if status, _, _ := p.ask(client, "DELETE", "/v1/volumes/web/data", ""); status != 401 {
		t.Errorf("without a token: got %d, want 401", status)
	}
	if now := a.State().Version; now != before {
		t.Errorf("version %d has become %d", before, now)
	}
}

func TestPollersWithACertificateHaveItsNameAndNeedNoToken(t *testing.T) {
	t.Parallel()
	both := servePollers(t, &fakeAgent{}, true, true, nil)
	with := both.client(both.config(both.clients.client("prometheus")))
	status, _, body := both.ask(with, "GET", "/v1/caller", "")
	if status != 200 || !strings.Contains(body, `"prometheus"`) {
		t.Errorf("a certificate: got %d %s", status, body)
	}
	if status, _, body = both.ask(with, "POST", "/v1/tasks", ""); status != 405 {
		t.Errorf("a certificate that changes something: got %d %s, want 405", status, body)
	}
	if status, _, body = both.ask(both.client(both.config()), "GET", "/v1/caller", "Bearer "+aToken); status != 200 || !strings.Contains(body, `"poller"`) {
		t.Errorf("the token: got %d %s", status, body)
	}
	if status, _, body = both.ask(both.client(both.config(newAuthority(t).client("x"))), "GET", "/v1/caller", "Bearer "+aToken); status != 0 {
		t.Errorf("a certificate of somebody else: got %d %s, want no connection", status, body)
	}
	only := servePollers(t, &fakeAgent{}, false, true, nil)
	if status, _, body = only.ask(only.client(only.config()), "GET", "/v1/caller", "Bearer "+aToken); status != 0 {
		t.Errorf("no certificate where there is no token: got %d %s, want no connection", status, body)
	}
	if status, _, body = only.ask(only.client(only.config(only.clients.client("a\nb"))), "GET", "/v1/caller", "Bearer "+aToken); status != 401 {
		t.Errorf("a certificate that names nobody: got %d %s, want 401", status, body)
	}
}

func TestTheRulesOfTheACLsHoldForPollers(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	web := access.Entity{Values: []string{"web"}}
	poller := access.Entity{Values: []string{Poller}}
	for name, rules := range map[string]struct {
		acls access.ACLs
		want int
	}{
		"allowed":   {access.ACLs{Strict: true, Rules: map[access.Action][]access.Rule{access.View: {{Principals: poller, Objects: web}}}}, 200},
		"forbidden": {access.ACLs{Strict: true}, 404},
	} {
		p := servePollers(t, a, true, false, func(s *Server) { s.acls = rules.acls })
		if status, _, body := p.ask(p.client(p.config()), "GET", "/v1/volumes/web/data", "Bearer "+aToken); status != rules.want {
			t.Errorf("%s: got %d %s, want %d", name, status, body, rules.want)
		}
	}
}

func TestATokenIsReadAgainWhenItHasChanged(t *testing.T) {
	t.Parallel()
	p := servePollers(t, &fakeAgent{}, true, false, nil)
	client := p.client(p.config())
	status := func(token string) int {
		t.Helper()
		n, _, _ := p.ask(client, "GET", "/v1/healthz", "Bearer "+token)
		return n
	}
	const other = "another token of some length"
	replaceToken(t, p.token, other, 0o600)
	if old, now := status(aToken), status(other); old != 401 || now != 200 {
		t.Errorf("replaced: the old one is answered %d, the new one %d", old, now)
	}
	if err := os.Chmod(p.token, 0o644); err != nil {
		t.Fatal(err)
	}
	if first, again := status(other), status(other); first != 401 || again != 401 {
		t.Errorf("with a file that all can read: answered %d and %d, want 401", first, again)
	}
	if log := p.fixture.log.String(); strings.Count(log, "token not used") != 1 || !strings.Contains(log, "its owner alone") {
		t.Errorf("the log does not say once what is wrong:\n%s", log)
	}
	if err := os.Chmod(p.token, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := status(other); n != 200 {
		t.Errorf("mended: answered %d", n)
	}
	if err := os.Remove(p.token); err != nil {
		t.Fatal(err)
	}
	if n := status(other); n != 401 {
		t.Errorf("removed: answered %d", n)
	}
}

func TestATokenThatIsNoSecretIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, want string
	}{
		"missing":    {filepath.Join(t.TempDir(), "none"), "no such file"},
		"short":      {writeToken(t, "  123456789012345\n", 0o600), "must have 16 to 4096 bytes"},
		"long":       {writeToken(t, strings.Repeat("x", 4097), 0o600), "must have 16 to 4096 bytes"},
		"the group":  {writeToken(t, aToken, 0o640), "its owner alone"},
		"everybody":  {writeToken(t, aToken, 0o604), "its owner alone"},
		"no file":    {os.DevNull, "its owner alone"},
		"directory":  {t.TempDir(), "its owner alone"},
		"as it must": {writeToken(t, aToken, 0o400), ""},
	} {
		if _, err := OpenToken(c.path, nil); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestPollersWithoutTLSAreNobody(t *testing.T) {
	t.Parallel()
	token, err := OpenToken(writeToken(t, aToken, 0o600), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Agent: &fakeAgent{health: volume.ErrJournal}, Token: token})
	w := &recorded{header: http.Header{}}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "/v1/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+aToken)
	s.servePoller(w, r)
	if w.status != 401 {
		t.Errorf("got %d, want 401", w.status)
	}
}
