package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How many there are who only read.
const (
	waiters   = 20 // for the next version of the status
	listeners = 5  // to events
)

// crowd are those who only read, all the time.
type crowd struct {
	site    *site
	http    *http.Client
	quit    context.CancelFunc
	working sync.WaitGroup

	statuses, events atomic.Int64

	mu       sync.Mutex
	problems []error // guarded by mu
}

func newCrowd(s *site) *crowd { return &crowd{site: s, http: overSocket(s.path("tenon.sock"))} }

// overSocket is a client that asks at a unix socket, whatever host it is told.
func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
}

func (c *crowd) start() {
	ctx, quit := context.WithCancel(context.Background())
	c.quit = quit
	for range waiters {
		c.working.Go(func() { c.wait(ctx) })
	}
	for range listeners {
		c.working.Go(func() { c.listen(ctx) })
	}
}

func (c *crowd) stop() {
	if c.quit != nil {
		c.quit()
	}
	c.working.Wait()
	c.http.CloseIdleConnections()
}

// problem is what went wrong so far.
func (c *crowd) problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.problems...)
}

func (c *crowd) told() string {
	return fmt.Sprintf("%d statuses and %d events were read", c.statuses.Load(), c.events.Load())
}

func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, err)
}

// get asks for a path. There is no answer while the agent is away.
func (c *crowd) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tenon"+path, nil)
	if err != nil {
		return nil, err
	}
	return c.http.Do(r)
}

// wait reads each next version of the status; versions of one run never go back.
func (c *crowd) wait(ctx context.Context) {
	type version struct {
		Started time.Time `json:"started"`
		Index   uint64    `json:"index"`
	}
	last, path := version{}, "/v1/status"
	for ctx.Err() == nil {
		resp, err := c.get(ctx, path)
		if err != nil { // the agent is away
			time.Sleep(50 * time.Millisecond)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if err != nil || resp.StatusCode != http.StatusOK {
			if err == nil && resp.StatusCode != http.StatusServiceUnavailable { // it is stopping
				c.fail(fmt.Errorf("a status ends with %s: %.300s", resp.Status, body))
			}
			continue
		}
		now := version{}
		if err := json.Unmarshal(body, &now); err != nil || now.Started.Equal(last.Started) && now.Index < last.Index {
			c.fail(fmt.Errorf("after version %d came %d: %w", last.Index, now.Index, errors.Join(err)))
		}
		c.statuses.Add(1)
		last, path = now, fmt.Sprintf("/v1/status?index=%d&wait=5s", now.Index)
	}
}

// listen reads events, from the beginning again when the stream ends.
func (c *crowd) listen(ctx context.Context) {
	for ctx.Err() == nil {
		resp, err := c.get(ctx, "/v1/events")
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			data, found := strings.CutPrefix(lines.Text(), "data: ")
			if found && !json.Valid([]byte(data)) {
				c.fail(fmt.Errorf("an event has no JSON: %.300s", data))
			}
			if found {
				c.events.Add(1)
			}
		}
		_ = resp.Body.Close() // the stream is over
	}
}

// metrics reads the metrics once.
func (c *crowd) metrics(ctx context.Context) (map[string]float64, error) {
	resp, err := c.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s: %w", resp.Status, errors.Join(err))
	}
	return parseMetrics(string(text))
}

// parseMetrics reads Prometheus' text format, each line of it, by name with labels.
func parseMetrics(text string) (map[string]float64, error) {
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "# HELP ") || strings.HasPrefix(line, "# TYPE ") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at <= 0 {
			return nil, fmt.Errorf("metrics: %q has no value", line)
		}
		name := line[:at]
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if _, twice := all[name]; err != nil || twice {
			return nil, fmt.Errorf("metrics: %q is no value, or not the only one", line)
		}
		all[name] = value
	}
	return all, nil
}
