// Command receiver is a master in a page of Go, to show how one is written. It keeps the latest
// report of each agent in DIR/AGENT.json, orders what it finds in DIR/AGENT/ID.json (Mesos'
// operations), and puts what became of it into DIR/AGENT/ID.result, in place of the order.
// It takes nothing from the agent's own code.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxReport = 256 << 20       // bytes, before and after it is decompressed
	window    = 5 * time.Minute // between the clocks of agent and master
)

// report is the part of a report that this master looks into.
type report struct {
	Agent    string `json:"agent"`
	Sequence uint64 `json:"sequence"`
	Status   struct {
		Started time.Time `json:"started"`
	} `json:"status"`
	Results []struct {
		ID    string `json:"id"`
		State string `json:"state"`
	} `json:"results"`
}

// newer says whether a report is of a later run of the agent than another, or later in the same.
func (r report) newer(than report) bool {
	then := r.Status.Started.Compare(than.Status.Started)
	return then > 0 || then == 0 && r.Sequence > than.Sequence
}

type order struct {
	ID         string          `json:"id"`
	Agent      string          `json:"agent"`
	Operations json.RawMessage `json:"operations"`
}

type answer struct {
	Orders      []order  `json:"orders,omitempty"`
	Acknowledge []string `json:"acknowledge,omitempty"`
}

type receiver struct {
	dir    string
	secret []byte
	mu     sync.Mutex
	newest map[string]report    // by agent; guarded by mu
	seen   map[string]time.Time // nonces of the last minutes; guarded by mu
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	at, nonce := r.Header.Get("Tenon-Time"), r.Header.Get("Tenon-Nonce")
	seconds, err := strconv.ParseInt(at, 10, 64)
	good := hmac.Equal([]byte(r.Header.Get("Tenon-Signature")), []byte(rc.sign("request", at, nonce, sent)))
	rc.mu.Lock() // one at a time is enough for an example
	defer rc.mu.Unlock()
	if err != nil || !good || time.Since(time.Unix(seconds, 0)).Abs() > window || rc.again(nonce) {
		http.Error(w, "not signed, not with this secret, not now or not for the first time", http.StatusForbidden)
		return
	}
	a, err := rc.take(sent, r.Header.Get("Content-Encoding") == "gzip")
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	body, _ := json.Marshal(a) // plain structs
	at = strconv.FormatInt(time.Now().Unix(), 10)
	w.Header().Set("Tenon-Time", at)
	w.Header().Set("Tenon-Signature", rc.sign("answer", at, nonce, body)) // for this request alone
	_, _ = w.Write(body)                                                  // if it is lost, the next report asks again
}

func (rc *receiver) sign(word, at, nonce string, body []byte) string {
	m := hmac.New(sha256.New, rc.secret)
	fmt.Fprintf(m, "%s\n%s\n%s\n", word, at, nonce)
	m.Write(body)
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}

// again says whether a request came before, as far back as its time would be accepted.
func (rc *receiver) again(nonce string) bool {
	for old, at := range rc.seen {
		if time.Since(at) > 2*window {
			delete(rc.seen, old)
		}
	}
	_, before := rc.seen[nonce]
	rc.seen[nonce] = time.Now()
	return before
}

// agentID is the form of an agent's identity, which names its directory here.
var agentID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// take keeps a report, and answers it with the orders that have no result yet. Whatever is
// acknowledged is in a file by then.
func (rc *receiver) take(text []byte, compressed bool) (a answer, err error) {
	if compressed {
		if text, err = decompress(text); err != nil {
			return a, err
		}
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return a, err
	}
	if !agentID.MatchString(r.Agent) || !r.newer(rc.newest[r.Agent]) {
		return a, errors.New("no agent, or a report that was overtaken")
	}
	rc.newest[r.Agent] = r
	if err := save(filepath.Join(rc.dir, r.Agent+".json"), text); err != nil {
		return a, err
	}
	for _, result := range r.Results {
		file := filepath.Join(rc.dir, r.Agent, filepath.Base(result.ID))
		if _, err := os.Stat(file + ".json"); err == nil && result.State == "OPERATION_PENDING" {
			continue
		} else if err == nil {
			line, _ := json.Marshal(result) // plain struct
			if err := errors.Join(save(file+".result", line), os.Remove(file+".json")); err != nil {
				return a, err
			}
		}
		a.Acknowledge = append(a.Acknowledge, result.ID)
	}
	files, err := filepath.Glob(filepath.Join(rc.dir, r.Agent, "*.json"))
	for _, file := range files {
		operations, err := os.ReadFile(file)
		if err != nil {
			return a, err
		}
		if !json.Valid(operations) {
			return a, fmt.Errorf("%s is no JSON", file)
		}
		id := strings.TrimSuffix(filepath.Base(file), ".json")
		a.Orders = append(a.Orders, order{ID: id, Agent: r.Agent, Operations: operations})
	}
	return a, err
}

func decompress(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxReport)) // what is cut is no JSON
}

// save puts a file there whole or not at all, so that no crash leaves half of one.
func save(file string, data []byte) error {
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close(), os.Rename(file+".new", file))
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8088", "address")
	dir := flag.String("dir", "agents", "directory of reports, orders and results")
	file := flag.String("secret", "secret", "file with the secret that agents know")
	flag.Parse()
	secret, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	rc := &receiver{dir: *dir, secret: bytes.TrimSpace(secret), newest: map[string]report{}, seen: map[string]time.Time{}}
	server := &http.Server{Addr: *listen, Handler: rc, ReadTimeout: time.Minute}
	log.Fatal(server.ListenAndServe())
}
