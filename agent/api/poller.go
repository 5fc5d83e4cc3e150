package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
)

// Poller is the principal of whoever has the token of those who only read.
const Poller = "poller"

// servePoller answers a request of somebody who may only read: with a certificate, as its
// principal, or with the token.
func (s *Server) servePoller(w http.ResponseWriter, r *http.Request) {
	var p peer
	if r.TLS != nil {
		p = s.certified(r.TLS, r.RemoteAddr)
	}
	p.reads = true
	if !p.allowed && s.token != nil && r.TLS != nil {
		if given, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); is && s.token.is(given) {
			p.allowed, p.principal, p.rules = true, Poller, s.rulesFor(Poller)
		}
	}
	s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, p)))
}

const (
	shortestToken = 16 // bytes; less can be guessed
	longestToken  = 4 << 10
)

// Token is a secret in a file. The file is read again when it has changed; while it cannot be
// used, nobody has the token.
type Token struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	seen    fs.FileInfo       // of the file as it was read; nil is never; guarded by mu
	digest  [sha256.Size]byte // of the token, while there is a file; guarded by mu
	problem string            // that was logged last; guarded by mu
}

// OpenToken reads the token in a file, without the white space around it. It must have at
// least 16 bytes, and nobody but its owner may be able to read it.
func OpenToken(path string, log *slog.Logger) (*Token, error) {
	t := &Token{path: path, log: log}
	return t, t.follow()
}

// is says whether that is the token. How long it takes tells nothing of the token.
func (t *Token) is(given string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	problem := ""
	if err := t.follow(); err != nil {
		problem = err.Error()
		if problem != t.problem { // anybody can ask
			t.log.Error("token not used, nobody can poll by it", "err", err)
		}
	}
	t.problem = problem
	digest := sha256.Sum256([]byte(given))
	return problem == "" && subtle.ConstantTimeCompare(digest[:], t.digest[:]) == 1
}

// follow reads the file if it has changed.
//
// Preconditions: t.mu is held, or nobody else has t.
func (t *Token) follow() error {
	now, err := os.Stat(t.path) // before it is read: what changes between is read again
	if err != nil {
		t.seen = nil
		return fmt.Errorf("token: %w", err)
	}
	if t.seen != nil && same([]fs.FileInfo{now}, []fs.FileInfo{t.seen}) && now.Mode() == t.seen.Mode() {
		return nil
	}
	t.seen = nil
	if !now.Mode().IsRegular() || now.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("token: %s must be a file that its owner alone can read, as with chmod 600", t.path)
	}
	token, err := readToken(t.path)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	t.seen, t.digest = now, sha256.Sum256(token)
	return nil
}

func readToken(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, longestToken+1))
	token := bytes.TrimSpace(data)
	if err == nil && (len(token) < shortestToken || len(data) > longestToken) {
		err = fmt.Errorf("%s must have %d to %d bytes", path, shortestToken, longestToken)
	}
	return token, err
}
