package mastertest_test

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
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
	ca := newAuthority(t)
	server := httptest.NewUnstartedServer(h)
	serverPair, _, _ := ca.issue(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{serverPair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, cert, key := ca.issue(t)
	h.config = master.Config{URL: server.URL, CAFile: write(t, "ca", ca.pem), CertFile: write(t, "cert", cert), KeyFile: write(t, "key", key)}
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

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key := newKey(t)
	shape := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, shape, shape, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// issue makes a certificate that is good for both sides.
func (a *authority) issue(t testing.TB) (pair tls.Certificate, cert, key []byte) {
	t.Helper()
	k := newKey(t)
	shape := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "host"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, shape, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs})
	if pair, err = tls.X509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return pair, cert, key
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t testing.TB, name string, data []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
