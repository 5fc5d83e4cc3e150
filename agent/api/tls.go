package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"

	"tenon/agent/access"
)

// ListenTLS listens at an address, host:port, for clients on other hosts. They must speak
// TLS 1.3 and have a certificate that an authority in clientCA has signed for clients. All
// three files are PEM. They are read again when they have changed, at the next handshake;
// what does not fit together then is logged, and the last that did goes on being used. A
// connection is not looked at again once it is made. There are at most 512 of them at once.
func ListenTLS(addr, cert, key, clientCA string, log *slog.Logger) (net.Listener, error) {
	return listenTLS(addr, &keys{cert: cert, key: key, clientCA: clientCA, auth: tls.RequireAndVerifyClientCert, log: log})
}

// ListenPollers is ListenTLS for those who only read (Server.ServePollers). clientCA may be
// empty, and where there is a token clients need no certificate; one that they have must be
// of the authority all the same.
func ListenPollers(addr, cert, key, clientCA string, token bool, log *slog.Logger) (net.Listener, error) {
	k := &keys{cert: cert, key: key, clientCA: clientCA, auth: tls.RequireAndVerifyClientCert, log: log}
	if token {
		k.auth = tls.VerifyClientCertIfGiven
	}
	if clientCA == "" {
		k.auth = tls.NoClientCert
	}
	return listenTLS(addr, k)
}

func listenTLS(addr string, k *keys) (net.Listener, error) {
	if err := k.follow(); err != nil {
		return nil, fmt.Errorf("serve TLS at %s: %w", addr, err)
	}
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		err = fmt.Errorf("%w: if this is tenon.service, its comment on RestrictAddressFamilies= says what to do", err)
	}
	if err != nil {
		return nil, fmt.Errorf("serve TLS: %w", err)
	}
	return tls.NewListener(limit(ln, maxConnections), &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: k.config}), nil
}

// keys are the files that TLS needs.
type keys struct {
	cert, key, clientCA string // the last may be empty
	auth                tls.ClientAuthType
	log                 *slog.Logger

	mu      sync.Mutex
	seen    []fs.FileInfo // of the files as they were read; guarded by mu
	current *tls.Config   // guarded by mu
	problem string        // that was logged last; guarded by mu
}

// config is what one handshake goes by.
func (k *keys) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	problem := ""
	if err := k.follow(); err != nil {
		problem = err.Error()
		if problem != k.problem { // anybody can cause handshakes
			k.log.Error("new TLS files not used, the ones before them are", "err", err)
		}
	}
	k.problem = problem
	return k.current, nil
}

// follow reads the files if they have changed.
//
// Preconditions: k.mu is held, or nobody else has k.
func (k *keys) follow() error {
	var now []fs.FileInfo
	for _, path := range []string{k.cert, k.key, k.clientCA} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path) // before it is read: what changes between is read again
		if err != nil {
			return err
		}
		now = append(now, info)
	}
	if same(now, k.seen) {
		return nil
	}
	read, err := k.read()
	if err != nil {
		return err
	}
	k.seen, k.current = now, read
	return nil
}

func same(now, seen []fs.FileInfo) bool {
	for i := range seen {
		if !os.SameFile(now[i], seen[i]) || !now[i].ModTime().Equal(seen[i].ModTime()) || now[i].Size() != seen[i].Size() {
			return false
		}
	}
	return len(seen) > 0
}

func (k *keys) read() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", k.cert, k.key, err)
	}
	authorities, err := k.authorities()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{own},
		ClientCAs:    authorities,
		ClientAuth:   k.auth,
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"http/1.1"},
		// A session would be taken up again without a look at the authorities of today.
		SessionTicketsDisabled: true,
	}, nil
}

// authorities are those of clients, none without a file.
func (k *keys) authorities() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if k.clientCA == "" {
		return pool, nil
	}
	data, err := os.ReadFile(k.clientCA)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate of an authority", k.clientCA)
	}
	return pool, nil
}

// certified is who makes a request over TLS. Who has no certificate that was verified, or
// one whose common name cannot be a principal's, may do nothing.
func (s *Server) certified(state *tls.ConnectionState, from string) peer {
	p := peer{credentials: credentials{uid: -1, gid: -1}, remote: from}
	if len(state.VerifiedChains) == 0 {
		return p
	}
	subject := state.PeerCertificates[0].Subject
	p.subject = subject.String()
	if access.CheckPrincipal(subject.CommonName) == nil {
		p.allowed, p.principal = true, subject.CommonName
		p.rules = s.rulesFor(p.principal)
	}
	return p
}
