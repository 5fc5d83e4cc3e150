// Package webhook is the client of masters that are reached by HTTP: each report is a POST to
// the master's URL, and its answer carries orders.
//
// The body of a request is a master.Report, compressed with gzip where it is large; that of an
// answer with status 200 is an Answer, and 204 is an empty one. Any other status is a failure:
// the connection counts as lost and begins anew after a pause. Redirects are not followed, no
// proxy is used, and answers are limited in size and time. A master that wants to order is
// asked with the next report: when something changes, or after the heartbeat.
//
// Who is who is proved by a secret that both know, in headers that Sign makes, or by
// certificates of both sides. With a secret, answers must be signed too, for the very request
// that they answer, since they carry orders. Without TLS there must be a secret; nothing is
// hidden from whoever listens then.
package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tenon/agent/master"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// MaxAnswer bounds an answer, in bytes.
const MaxAnswer = 4 << 20

const (
	compressFrom = 64 << 10 // bytes of a body: about 60 volumes
	answerTime   = 30 * time.Second
)

// MaxList bounds each list of an answer.
const MaxList = 1000

// Answer is what a master says to a report. It should name every order that it has no result
// of, each time: those at work and those known are passed over.
type Answer struct {
	Orders      List[json.RawMessage] `json:"orders,omitempty"`      // each a master.Order
	Acknowledge List[string]          `json:"acknowledge,omitempty"` // ids of orders whose results it has noted
}

// List is a list that is not read beyond MaxList.
type List[T any] []T

// UnmarshalJSON reads a list.
func (l *List[T]) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('[') {
		return errors.New("orders and acknowledge must be lists")
	}
	for *l = nil; dec.More(); {
		if len(*l) == MaxList {
			return fmt.Errorf("a list has more than %d elements", MaxList)
		}
		var element T
		if err := dec.Decode(&element); err != nil {
			return err
		}
		*l = append(*l, element)
	}
	return nil
}

// client is a master.Client.
type client struct {
	config master.Config
	now    func() time.Time
}

// New makes a client for a URL with the scheme http or https. It is a master.Kind.
func New(c master.Config) (master.Client, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil, u.Host == "", u.User != nil, u.Fragment != "":
		return nil, errors.New("the URL must be http://host/path or https://host/path")
	case u.Scheme == "http" && c.SecretFile == "":
		return nil, errors.New("nothing proves who is who over http: give its [[master]] in the configuration file a secret_file")
	case u.Scheme == "http" && c.CAFile+c.CertFile+c.KeyFile != "":
		return nil, errors.New("certificates need https")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return nil, errors.New("cert_file and key_file: both are needed, or none")
	case c.SecretFile == "" && c.CertFile == "":
		return nil, errors.New("nothing proves who the agent is: give its [[master]] in the configuration file a secret_file, or a cert_file and a key_file")
	}
	return &client{config: c, now: time.Now}, nil
}

// connection is one run of a client.
type connection struct {
	*master.Session
	*client
	node   master.Node
	secret []byte // none is nil
	http   *http.Client
}

// Run reports until something fails. Secrets and certificates are read anew each time.
func (c *client) Run(ctx context.Context, n master.Node) error {
	secret, err := readSecret(c.config)
	if err != nil {
		return err
	}
	transport, err := newTransport(c.config)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	conn := &connection{
		Session: master.Open(ctx, n, c.config), client: c, node: n, secret: secret,
		http: &http.Client{
			Transport: transport, Timeout: answerTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	conn.Go(conn.report)
	return conn.Wait()
}

// report sends reports and does what their answers say.
func (c *connection) report(ctx context.Context) error {
	for {
		st, err := c.Next(ctx)
		if err != nil {
			return err
		}
		answer, err := c.send(ctx, st)
		if err != nil {
			return err
		}
		c.node.Contact(nil)
		if err := c.Acknowledge(ctx, answer.Acknowledge...); err != nil {
			return err
		}
		for _, o := range answer.Orders {
			if !c.Take(o, "") {
				break // it names them again
			}
		}
	}
}

// send posts one report and reads the answer.
func (c *connection) send(ctx context.Context, st *volume.State) (answer Answer, err error) {
	body, compressed, err := c.body(st)
	if err != nil {
		return answer, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.URL, bytes.NewReader(body))
	if err != nil {
		return answer, withoutURL(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if compressed {
		r.Header.Set("Content-Encoding", "gzip")
	}
	nonce := rand.Text()
	if c.secret != nil {
		Sign(r.Header, c.secret, c.now(), nonce, body)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return answer, withoutURL(err)
	}
	defer func() { _ = response.Body.Close() }() // all that is wanted was read
	return c.read(response, nonce)
}

// body is a report as it is sent.
func (c *connection) body(st *volume.State) (body []byte, compressed bool, err error) {
	b := &switching{}
	err = errors.Join(c.WriteReport(b, st), b.end())
	return b.Bytes(), b.zip != nil, err
}

// switching is a buffer that begins to compress when it has grown large.
type switching struct {
	bytes.Buffer
	zip *gzip.Writer
}

// Write adds to what is to be sent.
func (b *switching) Write(data []byte) (int, error) {
	if b.zip != nil {
		return b.zip.Write(data)
	}
	if b.Len()+len(data) < compressFrom {
		return b.Buffer.Write(data)
	}
	begun := bytes.Clone(b.Bytes())
	b.Reset()
	b.zip = gzip.NewWriter(&b.Buffer)
	if _, err := b.zip.Write(begun); err != nil {
		return 0, err
	}
	return b.zip.Write(data)
}

func (b *switching) end() error {
	if b.zip == nil {
		return nil
	}
	return b.zip.Close()
}

// read reads an answer that is signed, where it must be.
func (c *connection) read(response *http.Response, nonce string) (answer Answer, err error) {
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNoContent {
		return answer, fmt.Errorf("the master answers with status %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return answer, fmt.Errorf("the answer cannot be read: %w", err)
	case len(body) > MaxAnswer:
		return answer, fmt.Errorf("the answer has more than %d bytes", MaxAnswer)
	}
	if c.secret != nil {
		if err := VerifyAnswer(response.Header, c.secret, c.now(), nonce, body); err != nil {
			return answer, fmt.Errorf("the answer is not trusted: %w", err)
		}
	}
	if len(body) == 0 {
		return answer, nil
	}
	if err := wire.Decode(body, &answer); err != nil {
		return answer, fmt.Errorf("the answer is not understood: %s", strings.Replace(err.Error(), "the request", "it", 1))
	}
	return answer, nil
}

// withoutURL takes the URL, which may have secrets in its query, out of an error of net/http.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
