// Package client asks a running agent over its unix socket: the Go side of package api,
// for the command line and for tests.
//
// It holds no state but idle connections, and decides nothing: what the agent refuses
// comes back as an *Error that matches the kinds of package volume. A request is made
// once; whoever calls may make it again, as every request finds its work done or waits
// for it. Only what reads is sent anew, by net/http, on a connection that was closed.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"tenon/agent/wire"
)

// ErrNoAgent is matched by the error of a request that found nobody to answer it:
// nothing was changed.
var ErrNoAgent = errors.New("no agent answers")

// Error is a refusal or failure that the agent told. It matches its kind, so that
// errors.Is(err, volume.ErrInUse) and volume.Kind(err) work on it.
type Error struct{ wire.Problem }

// Error is the agent's own sentence.
func (e *Error) Error() string { return e.Detail }

// Unwrap gives the kind; nil when it is one that this version does not know.
func (e *Error) Unwrap() error { return wire.KindNamed(e.Kind) }

// Client asks one agent. Its methods may be called at the same time.
type Client struct {
	socket string
	http   *http.Client
}

const (
	host     = "http://tenon" // the address is the socket; HTTP wants some host
	jsonType = "application/json"

	// idleTimeout is below the server's, so that it is this side that closes an idle
	// connection and no request meets one that is just being closed.
	idleTimeout = 30 * time.Second

	// maxIdle are the connections that are kept for callers that ask side by side.
	maxIdle = 16
)

// New makes a client of the agent at a socket. It does not connect yet.
func New(socket string) *Client {
	c := &Client{socket: socket}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial, IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: maxIdle}}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// dial connects, and says what to do when that fails.
func (c *Client) dial(ctx context.Context) (*net.UnixConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s; is it running? start it with: tenon agent", ErrNoAgent, c.socket)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: socket %s may be used by root and by the members of its group: %w", ErrNoAgent, c.socket, err)
	case err != nil:
		return nil, fmt.Errorf("%w at %s: %w", ErrNoAgent, c.socket, err)
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no unix socket", c.socket), conn.Close()) // cannot happen
	}
	return u, nil
}

// ask makes a request and reads the answer into v, unless that is nil.
func (c *Client) ask(ctx context.Context, method, path string, body, v any) (status int, err error) {
	req, err := request(ctx, method, path, body)
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // without the address, which means nothing here
		}
		return 0, unanswered(ctx, err)
	}
	return resp.StatusCode, read(resp, v)
}

// request makes a request; a body of nil is none.
func request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	data := []byte{}
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, host+path, bytes.NewReader(data))
	if err == nil && body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	return req, err
}

// unanswered says why there is no answer: the end of the context, nobody there, or a
// connection that broke, after which it is not known what was done.
func unanswered(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer in time; what was recorded goes on: %w", ctx.Err())
	case errors.Is(err, ErrNoAgent):
		return err
	}
	return fmt.Errorf("the agent did not answer; whether it was done is not known, look before you ask again: %w", err)
}

// read reads a whole answer and closes it.
func read(resp *http.Response, v any) error {
	defer func() { _ = resp.Body.Close() }() // what counts has been read
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the agent's answer ends too early; whether it was done is not known, look before you ask again: %w", err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode >= http.StatusBadRequest {
		return problem(resp.StatusCode, media, data)
	}
	if raw, wanted := v.(*[]byte); wanted {
		*raw = data
		return nil
	}
	if v == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil || media != jsonType {
		return errors.Join(fmt.Errorf("the agent's answer is not understood: %d %s", resp.StatusCode, media), err)
	}
	return nil
}

// problem is the error of an answer.
func problem(status int, media string, data []byte) error {
	e := &Error{}
	if media != wire.ProblemType || json.Unmarshal(data, &e.Problem) != nil || e.Detail == "" {
		const some = 200
		return fmt.Errorf("the agent answers %d %s: %.*s", status, http.StatusText(status), some, strings.TrimSpace(string(data)))
	}
	return e
}
