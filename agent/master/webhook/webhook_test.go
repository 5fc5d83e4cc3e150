package webhook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenon/agent/agenttest"
	"tenon/agent/master"
	"tenon/agent/master/mastertest"
	"tenon/agent/master/webhook"
	"tenon/agent/resource"
	"tenon/agent/volume"

	"tenon/mount/mounttest"
)

func TestMain(m *testing.M) { mounttest.MainInPlace(m) }

var secret = []byte("a secret of thirty-two bytes, yes")

func secretFile(t *testing.T, data []byte, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(file, data, mode), os.Chmod(file, mode)); err != nil {
		t.Fatal(err)
	}
	return file
}

// serve runs a client against a handler, and returns what the client was lost by or heard.
func serve(t *testing.T, n *mastertest.Node, handle http.HandlerFunc) (heard bool, lost error) {
	t.Helper()
	server := httptest.NewServer(handle)
	defer server.Close()
	return run(t, n, master.Config{URL: server.URL + "/hook?token=hidden", SecretFile: secretFile(t, secret, 0o600)})
}

func run(t *testing.T, n *mastertest.Node, c master.Config) (heard bool, lost error) {
	t.Helper()
	client, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx, n) }()
	select {
	case err := <-n.Contacts:
		end()
		return err == nil, <-ended
	case lost := <-ended:
		return false, lost
	}
}

func newNode(t *testing.T) *mastertest.Node {
	t.Helper()
	return mastertest.NewNode(agenttest.Start(t, agenttest.NewKernel()))
}

// read is the body of a request that is signed well.
func read(t *testing.T, r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = webhook.Verify(r.Header, secret, time.Now(), body)
	}
	if err != nil {
		t.Errorf("the request is not good: %v", err)
	}
	return body
}

func sign(w http.ResponseWriter, r *http.Request, body []byte) {
	webhook.SignAnswer(w.Header(), secret, time.Now(), r.Header.Get(webhook.HeaderNonce), body)
}

func TestAnAnswerIsTrustedOnlyWithTheRightSignatureForThisRequestAndTime(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		lost   string // "" is a good answer
	}{
		"signed, empty":  {func(w http.ResponseWriter, r *http.Request) { sign(w, r, nil) }, ""},
		"signed, object": {func(w http.ResponseWriter, r *http.Request) { sign(w, r, []byte("{}")); _, _ = w.Write([]byte("{}")) }, ""},
		"no content": {func(w http.ResponseWriter, r *http.Request) {
			sign(w, r, nil)
			w.WriteHeader(http.StatusNoContent)
		}, ""},
		"not signed": {func(http.ResponseWriter, *http.Request) {}, "no time of signature"},
		"other body": {func(w http.ResponseWriter, r *http.Request) { sign(w, r, nil); _, _ = w.Write([]byte("{}")) }, "signature is wrong"},
		"other secret": {func(w http.ResponseWriter, r *http.Request) {
			webhook.SignAnswer(w.Header(), []byte("?"), time.Now(), r.Header.Get(webhook.HeaderNonce), nil)
		}, "signature is wrong"},
		"other nonce": {func(w http.ResponseWriter, _ *http.Request) {
			webhook.SignAnswer(w.Header(), secret, time.Now(), "other", nil)
		}, "signature is wrong"},
		"a request": {func(w http.ResponseWriter, r *http.Request) {
			webhook.Sign(w.Header(), secret, time.Now(), r.Header.Get(webhook.HeaderNonce), nil)
		}, "signature is wrong"},
		"too old": {func(w http.ResponseWriter, r *http.Request) {
			webhook.SignAnswer(w.Header(), secret, time.Now().Add(-2*webhook.Window), r.Header.Get(webhook.HeaderNonce), nil)
		}, "before or after the clock"},
		"refusal":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, "status 403 Forbidden"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "status 302 Found"},
		"no JSON":  {func(w http.ResponseWriter, r *http.Request) { sign(w, r, []byte("hi")); _, _ = w.Write([]byte("hi")) }, "not understood"},
		"unknown field": {func(w http.ResponseWriter, r *http.Request) {
			body := []byte(`{"order":[]}`)
			sign(w, r, body)
			_, _ = w.Write(body)
		}, `unknown field "order"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requests := 0
			heard, lost := serve(t, newNode(t), func(w http.ResponseWriter, r *http.Request) {
				requests++
				read(t, r)
				tc.answer(w, r)
			})
			if heard != (tc.lost == "") || tc.lost != "" && (lost == nil || !strings.Contains(lost.Error(), tc.lost)) {
				t.Errorf("heard %v, lost by %v; want %q", heard, lost, tc.lost)
			}
			if tc.lost != "" && requests != 1 {
				t.Errorf("there were %d requests", requests)
			}
			if lost != nil && (strings.Contains(lost.Error(), "hidden") || strings.Contains(lost.Error(), string(secret))) {
				t.Errorf("%q has a secret in it", lost)
			}
		})
	}
}

func TestAnAnswerIsReadUpToALimit(t *testing.T) {
	t.Parallel()
	long := func(list, element string, count int) []byte {
		return []byte(`{"` + list + `":[` + strings.Repeat(element+",", count-1) + element + `]}`)
	}
	for name, tc := range map[string]struct {
		body []byte
		lost string
	}{
		"longest list of acknowledgements": {long("acknowledge", `"a"`, webhook.MaxList), ""},
		"too many acknowledgements":        {long("acknowledge", `"a"`, webhook.MaxList+1), "more than 1000 elements"},
		"too many orders":                  {long("orders", `0`, webhook.MaxList+1), "more than 1000 elements"},
		"too many bytes":                   {make([]byte, webhook.MaxAnswer+1), "more than 4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			heard, lost := serve(t, newNode(t), func(w http.ResponseWriter, r *http.Request) {
				read(t, r)
				sign(w, r, tc.body)
				_, _ = w.Write(tc.body)
			})
			if heard != (tc.lost == "") || tc.lost != "" && (lost == nil || !strings.Contains(lost.Error(), tc.lost)) {
				t.Errorf("heard %v, lost by %v; want %q", heard, lost, tc.lost)
			}
		})
	}
}

func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	t.Parallel()
	written := make(chan int, 1)
	_, lost := serve(t, newNode(t), func(w http.ResponseWriter, r *http.Request) {
		sum := 0
		for junk := make([]byte, 1<<16); ; {
			n, err := w.Write(junk)
			if sum += n; err != nil {
				written <- sum
				return
			}
		}
	})
	const buffers = 32 << 20 // of sockets, generously
	if sum := <-written; lost == nil || sum > webhook.MaxAnswer+buffers {
		t.Errorf("%d bytes could be written, lost by %v", sum, lost)
	}
}

func TestARequestIsRefusedUnlessItIsSignedForThisBodyAndTime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	h := http.Header{}
	webhook.Sign(h, secret, now, "nonce", []byte("body"))
	if got, want := h.Get(webhook.HeaderSignature), "v1=2418a83e6cf8f001b877f6570b127c5cfe8f362b54ff456fcb59de132272e9df"; got != want {
		t.Errorf("the signature is %q, want %q, as others compute it", got, want)
	}
	changed := func(key, value string) http.Header {
		c := h.Clone()
		c.Set(key, value)
		return c
	}
	for name, tc := range map[string]struct {
		header http.Header
		at     time.Time
		body   string
		good   bool
	}{
		"as it was":         {h, now, "body", true},
		"at the edge":       {h, now.Add(webhook.Window), "body", true},
		"from tomorrow":     {h, now.Add(-webhook.Window - time.Second), "body", false},
		"too late":          {h, now.Add(webhook.Window + time.Second), "body", false},
		"another body":      {h, now, "bodY", false},
		"another nonce":     {changed(webhook.HeaderNonce, "n"), now, "body", false},
		"another time":      {changed(webhook.HeaderTime, "1800000001"), now, "body", false},
		"no time":           {changed(webhook.HeaderTime, ""), now, "body", false},
		"no signature":      {changed(webhook.HeaderSignature, ""), now, "body", false},
		"nothing at all":    {http.Header{}, now, "", false},
		"moved line breaks": {changed(webhook.HeaderNonce, "nonce\nbo"), now, "dy", false},
	} {
		if err := webhook.Verify(tc.header, secret, tc.at, []byte(tc.body)); (err == nil) != tc.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALargeReportIsCompressedAndSignedAsItIsSent(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	stack := []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}
	disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 2000 * resource.One, Reservations: stack}
	ops := []volume.Operation{volume.Reserve{Resources: []resource.Resource{disk}}}
	for i := range 300 {
		v := disk
		v.Scalar, v.Disk = resource.One, &resource.Disk{Persistence: &resource.Persistence{ID: fmt.Sprint("v", i)},
			Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}
		ops = append(ops, volume.Create{Volume: v})
	}
	if _, err := n.Do(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	var sent int
	var report master.Report
	heard, lost := serve(t, n, func(w http.ResponseWriter, r *http.Request) {
		body := read(t, r)
		sent = len(body)
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			err = json.NewDecoder(z).Decode(&report)
		}
		if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("the body cannot be read: %v", err)
		}
		sign(w, r, nil)
	})
	if !heard || len(report.Volumes) != 300 || report.Status.Counts.Volumes != 300 || report.Truncated || !report.Register {
		t.Errorf("heard %v, lost by %v, %d volumes", heard, lost, len(report.Volumes))
	}
	if sent > 64<<10 {
		t.Errorf("%d bytes were sent of 300 volumes", sent)
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for c, want := range map[master.Config]string{
		{URL: "http://host/"}:                                 "give its [[master]] in the configuration file a secret_file",
		{URL: "https://host/"}:                                "a secret_file, or a cert_file and a key_file",
		{URL: "https://host/", CAFile: "ca"}:                  "a secret_file, or a cert_file and a key_file",
		{URL: "https://host/", CertFile: "c"}:                 "both are needed",
		{URL: "https://host/", SecretFile: "s", KeyFile: "k"}: "both are needed",
		{URL: "http://", SecretFile: "s"}:                     "the URL must be",
		{URL: "http://user:pass@host/", SecretFile: "s"}:      "the URL must be",
		{URL: "http://host/", SecretFile: "s", CertFile: "c"}: "certificates need https",
		{URL: "http://host/", SecretFile: "s", CAFile: "c"}:   "certificates need https",
		{URL: "http://host/#part", SecretFile: "s"}:           "the URL must be",
		{URL: "http://ho st/", SecretFile: "s"}:               "the URL must be",
	} {
		if k, err := webhook.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v makes %+v, %v; want %q", c, k, err, want)
		} else if strings.Contains(err.Error(), "pass") {
			t.Errorf("%q has a secret in it", err)
		}
	}
	for _, c := range []master.Config{
		{URL: "http://host/", SecretFile: "s"},
		{URL: "https://host/", CertFile: "c", KeyFile: "k"},
		{URL: "https://host/", SecretFile: "s", CAFile: "ca"},
	} {
		if _, err := webhook.New(c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestNothingIsSentWithoutAGoodSecret(t *testing.T) {
	t.Parallel()
	for want, file := range map[string]string{
		"no such file":     filepath.Join(t.TempDir(), "none"),
		"chmod 600":        secretFile(t, secret, 0o640),
		"at least 16":      secretFile(t, []byte("short"), 0o600),
		"1 to 4096 bytes":  secretFile(t, []byte("\n"), 0o600),
		"must be a file":   t.TempDir(),
		"must have 1 to 4": secretFile(t, make([]byte, 1<<20), 0o600),
	} {
		heard, lost := run(t, newNode(t), master.Config{URL: "http://127.0.0.1:1/", SecretFile: file})
		if heard || lost == nil || !strings.Contains(lost.Error(), want) {
			t.Errorf("lost by %v, want %q", lost, want)
		}
	}
}

func TestAMasterWithACertificateOfNobodyKnownIsToldNothing(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was told something") }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	heard, lost := run(t, newNode(t), master.Config{URL: server.URL, SecretFile: secretFile(t, secret, 0o600)})
	if unknown := (x509.UnknownAuthorityError{}); heard || !errors.As(lost, &unknown) {
		t.Errorf("heard %v, lost by %v", heard, lost)
	}
	ca := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(ca, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]master.Config{
		"no certificate in":    {CAFile: ca},
		"no such file":         {CAFile: ca + "2"},
		"certificate \"none\"": {CertFile: "none", KeyFile: "none"},
	} {
		c.URL, c.SecretFile = server.URL, secretFile(t, secret, 0o600)
		if _, lost := run(t, newNode(t), c); lost == nil || !strings.Contains(lost.Error(), want) {
			t.Errorf("lost by %v, want %q", lost, want)
		}
	}
}
