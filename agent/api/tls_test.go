package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenon/agent/wire"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}
	a.cert, a.key = a.sign(template)
	return a
}

// sign makes a certificate with a new key; the first is the authority's own.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue makes a certificate for a name and a use that is over at some time.
func (a *authority) issue(name string, use x509.ExtKeyUsage, until time.Time) tls.Certificate {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{use},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
	})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// client makes a certificate of a client that is valid now.
func (a *authority) client(name string) tls.Certificate {
	a.t.Helper()
	return a.issue(name, x509.ExtKeyUsageClientAuth, time.Now().Add(time.Hour))
}

// remote is a server's address for other hosts, with the files that it uses.
type remote struct {
	t             *testing.T
	server        *authority // of the server's certificate
	clients       *authority // of the clients'
	cert, key, ca string
	addr          string
}

// serveTLS has a server serve other hosts as well.
func (f *fixture) serveTLS() *remote {
	f.t.Helper()
	dir := f.t.TempDir()
	r := &remote{t: f.t, server: newAuthority(f.t), clients: newAuthority(f.t),
		cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key"), ca: filepath.Join(dir, "ca")}
	r.replace("first")
	r.trust(r.clients)
	ln, err := ListenTLS("127.0.0.1:0", r.cert, r.key, r.ca, slog.New(slog.NewTextHandler(f.log, nil)))
	if err != nil {
		f.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(ln) }()
	f.t.Cleanup(func() { // before the server is shut down by the cleanup of serving
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			f.t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			f.t.Errorf("serve TLS: %v", err)
		}
	})
	return r
}

// replace gives the server a new certificate of that name.
func (r *remote) replace(name string) {
	r.t.Helper()
	c := r.server.issue(name, x509.ExtKeyUsageServerAuth, time.Now().Add(time.Hour))
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(r.cert, "CERTIFICATE", c.Certificate[0])
	r.write(r.key, "PRIVATE KEY", der)
}

// trust has the server take clients of another authority.
func (r *remote) trust(a *authority) {
	r.t.Helper()
	r.write(r.ca, "CERTIFICATE", a.cert.Raw)
}

// write puts a file in the place of another, as whoever renews certificates should.
func (r *remote) write(path, kind string, der []byte) {
	r.t.Helper()
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

// config is what a client goes by.
func (r *remote) config(certs ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(r.server.cert)
	return &tls.Config{RootCAs: roots, Certificates: certs}
}

// client makes requests as the owner of a certificate.
func (r *remote) client(c *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// get asks for a path with a new connection.
func (r *remote) get(c *tls.Config, path string) (status int, body string, err error) {
	r.t.Helper()
	client := r.client(c)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", "https://"+r.addr+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 1 {
		r.t.Errorf("answered by %s, want HTTP/1.1", resp.Proto)
	}
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func TestOnlyAClientWithACertificateOfTheAuthorityIsServedByTLS(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	r := f.serveTLS()
	other := newAuthority(t)
	old := r.config(r.clients.client("ops"))
	old.MaxVersion = tls.VersionTLS12
	h2 := r.config(r.clients.client("ops"))
	h2.NextProtos = []string{"h2"}
	for name, c := range map[string]struct {
		config *tls.Config
		want   string // of the error; empty is served
	}{
		"the right one":             {r.config(r.clients.client("ops")), ""},
		"none":                      {r.config(), "certificate required"},
		"of another authority":      {r.config(other.client("ops")), "unknown certificate authority"},
		"expired":                   {r.config(r.clients.issue("ops", x509.ExtKeyUsageClientAuth, time.Now().Add(-time.Hour))), "expired"},
		"of a server":               {r.config(r.clients.issue("ops", x509.ExtKeyUsageServerAuth, time.Now().Add(time.Hour))), "bad certificate"},
		"the right one, by TLS 1.2": {old, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body, err := r.get(c.config, "/v1/healthz")
			switch {
			case c.want == "" && (err != nil || status != 200):
				t.Errorf("got %d %s, %v; want 200", status, body, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %d %s, %v; want an error with %q", status, body, err, c.want)
			}
		})
	}
	t.Run("HTTP/2 alone", func(t *testing.T) {
		t.Parallel()
		conn, err := (&tls.Dialer{Config: h2}).DialContext(t.Context(), "tcp", r.addr)
		if err == nil {
			_ = conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("got %v, want no application protocol", err)
		}
	})
}

func TestACertificateWhoseNameIsNoPrincipalsIsRefused(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	r := f.serveTLS()
	for _, name := range []string{"", "ANY", "NONE", "a\nb"} {
		status, body, err := r.get(r.config(r.clients.client(name)), "/v1/healthz")
		if err != nil || status != 403 || !strings.Contains(body, "names no principal") {
			t.Errorf("%q: got %d %s, %v; want 403 with the reason", name, status, body, err)
		}
	}
}

func TestWhoComesByTLSWithoutHavingBeenVerifiedMayDoNothing(t *testing.T) {
	t.Parallel()
	cert := newAuthority(t).client("ops").Leaf
	s := &Server{}
	if p := s.certified(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, "192.0.2.1:7"); p.allowed || p.principal != "" {
		t.Errorf("got %+v, want nobody", p)
	}
	if p := s.peerOf(&http.Request{}); p.allowed {
		t.Errorf("got %+v for a connection that nobody has met, want nobody", p)
	}
}

func TestNewTLSFilesAreUsedFromTheNextHandshakeOn(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	r := f.serveTLS()
	config := r.config(r.clients.client("ops"))
	served := func() string {
		t.Helper()
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tlsConn, _ := conn.(*tls.Conn)
		return tlsConn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	kept := r.client(config) // a connection that stays
	must := func() {
		t.Helper()
		resp, err := kept.Get("https://" + r.addr + "/v1/healthz") //nolint:noctx // the server ends with the test
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	must()
	if got := served(); got != "first" {
		t.Errorf("served %s, want the first", got)
	}
	r.replace("second")
	if got := served(); got != "second" {
		t.Errorf("served %s after it was replaced, want the second", got)
	}
	if err := os.WriteFile(r.key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if first, again := served(), served(); first != "second" || again != "second" {
		t.Errorf("served %s and %s with a broken key, want the second still", first, again)
	}
	if log := f.log.String(); strings.Count(log, "new TLS files not used") != 1 || !strings.Contains(log, r.key) {
		t.Errorf("the log does not say once what is wrong:\n%s", log)
	}
	r.replace("third")
	if got := served(); got != "third" {
		t.Errorf("served %s after it was mended, want the third", got)
	}
	r.trust(newAuthority(t))
	if _, _, err := r.get(config, "/v1/healthz"); err == nil {
		t.Error("a client of an authority that is trusted no more was served")
	}
	must() // connected before that
}

func TestWhatTLSCannotBeServedWithIsAClearError(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	r := f.serveTLS()
	none := filepath.Join(t.TempDir(), "none")
	for want, args := range map[string][4]string{
		none:                         {"127.0.0.1:0", none, r.key, r.ca},
		"certificate " + r.cert:      {"127.0.0.1:0", r.cert, r.ca, r.ca},
		r.key + " holds no":          {"127.0.0.1:0", r.cert, r.key, r.key},
		"address already in use":     {r.addr, r.cert, r.key, r.ca},
		"serve TLS at 127.0.0.1:0: ": {"127.0.0.1:0", r.cert, none, r.ca},
	} {
		if ln, err := ListenTLS(args[0], args[1], args[2], args[3], nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ListenTLS(%v) = %v, %v; want an error with %q", args, ln, err, want)
		}
	}
}

func TestATaskThatIsClaimedFromAnotherHostHasNoLeaseAndGetsNoDescriptor(t *testing.T) {
	t.Parallel()
	f, _, _ := running(t)
	f.withVolumes()
	r := f.serveTLS()
	client := r.client(r.config(r.clients.client("ops")))
	var task wire.Task
	status, body := sendTo(t, client, "https://"+r.addr, request{"POST", "/v1/tasks", "application/json", `{"task":"t1","volumes":[{"volume":"web/data"}]}`})
	if status != 200 {
		t.Fatalf("claim: got %d %s", status, body)
	}
	if decode(t, []byte(body), &task); task.Lease != (wire.Lease{}) {
		t.Errorf("claimed with lease %+v, want none", task.Lease)
	}
	status, body = sendTo(t, client, "https://"+r.addr, request{"POST", "/v1/tasks/t1/mounts", "application/json", `{"volume":"web/data"}`})
	if status != 400 || !strings.Contains(body, "unix socket") {
		t.Errorf("mount: got %d %s, want a refusal that speaks of the unix socket", status, body)
	}
	status, body = sendTo(t, client, "https://"+r.addr, request{"POST", "/v1/tasks", "application/json", `{"task":"t2","pid":-1}`})
	if status != 400 {
		t.Errorf("claim for process -1: got %d %s, want 400", status, body)
	}
	if status, body = sendTo(t, client, "https://"+r.addr, request{"DELETE", "/v1/tasks/t1", "", ""}); status != 204 {
		t.Errorf("release: got %d %s, want 204", status, body)
	}
}

// request is one to be made by sendTo.
type request struct{ method, path, media, body string }

// sendTo makes a request and gives its status and its body.
func sendTo(t *testing.T, client *http.Client, base string, r request) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, base+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}
