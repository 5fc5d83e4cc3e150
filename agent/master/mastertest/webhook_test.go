package mastertest_test

import (
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tenon/agent/master"
	"tenon/agent/master/mastertest"
	"tenon/agent/master/webhook"
)

var hookSecret = []byte("a secret of thirty-two bytes, yes")

// hook is a master that is reached by HTTP.
type hook struct {
	*desk
	secret []byte // none with TLS
	config master.Config
	lies   int
}

func hookKind(name string, start func(t testing.TB, h *hook)) mastertest.Kind {
	return mastertest.Kind{Name: name, New: webhook.New, Start: func(t testing.TB) mastertest.Master {
		h := &hook{desk: newDesk()}
		start(t, h)
		h.config.Heartbeat = time.Millisecond // it is asked all the time
		return h
	}}
}

func startPlain(t testing.TB, h *hook) {
	h.secret = hookSecret
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	h.config = master.Config{URL: server.URL + "/tenon", SecretFile: write(t, "secret", hookSecret)}
}

func startTLS(t testing.TB, h *hook) {
	ca := mastertest.NewAuthority(t)
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t).Pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool}
	server.StartTLS()
	t.Cleanup(server.Close)
	own := ca.Issue(t)
	h.config = master.Config{URL: server.URL, CAFile: ca.File, CertFile: own.CertFile, KeyFile: own.KeyFile}
}

// Config is how to reach it.
func (h *hook) Config() master.Config { return h.config }

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report, err := h.read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	switch h.meet() {
	case mastertest.Gone:
		panic(http.ErrAbortHandler)
	case mastertest.Hanging:
		if h.mended(r.Context()) != nil {
			return
		}
	case mastertest.Flooding:
		for junk := make([]byte, 1<<16); ; {
			if _, err := w.Write(junk); err != nil {
				return
			}
		}
	case mastertest.Lying:
		h.lie(w, r)
		return
	}
	var answer webhook.Answer
	orders, done := h.accept(report)
	for _, o := range orders {
		answer.Orders = append(answer.Orders, o)
	}
	answer.Acknowledge = done
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.answer(w, r, body)
}

func (h *hook) read(r *http.Request) (report master.Report, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return report, err
	}
	if h.secret != nil {
		if err := webhook.Verify(r.Header, h.secret, time.Now(), body); err != nil {
			return report, err
		}
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		return report, errors.New("these reports are too small to be compressed")
	}
	return report, json.Unmarshal(body, &report)
}

func (h *hook) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	if h.secret != nil {
		webhook.SignAnswer(w.Header(), h.secret, time.Now(), r.Header.Get(webhook.HeaderNonce), body)
	}
	_, _ = w.Write(body) // the agent may be gone
}

// lie answers each time in another wrong way.
func (h *hook) lie(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.lies++
	which := h.lies % 5
	h.mu.Unlock()
	switch which {
	case 0:
		h.answer(w, r, []byte(`{"orders":[{"id":"x"},{"id":"../y"},7,null,"",{"id":"z","agent":"z","operations":[]}],"acknowledge":["","one","m:one"]}`))
	case 1:
		h.answer(w, r, []byte("\xff\x00 no JSON \x1b[2J"))
	case 2:
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	case 3:
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 1<<26)) // a bomb
		_ = z.Close()
	default:
		webhook.SignAnswer(w.Header(), []byte("another secret, that is not known"), time.Now(), r.Header.Get(webhook.HeaderNonce), nil)
	}
}

func write(t testing.TB, name string, data []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
