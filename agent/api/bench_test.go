package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tenon/agent/agenttest"
	"tenon/agent/resource"
	"tenon/agent/volume"
)

// benched serves an agent on a socket until the benchmark ends, and gives its path.
func benched(b *testing.B, a Agent) string {
	b.Helper()
	s := New(Options{Agent: a, Log: slog.New(slog.DiscardHandler)})
	path := filepath.Join(b.TempDir(), "s")
	ln, err := Listen(path, "")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	b.Cleanup(func() {
		if err := errors.Join(s.Shutdown(context.Background()), <-served); err != nil {
			b.Error(err)
		}
	})
	return path
}

// bare is a connection that asks and reads with as little work as there can be, so that what
// is measured is the agent's.
type bare struct {
	net.Conn
	in   *bufio.Reader
	body []byte
}

func dialBare(b *testing.B, path string) *bare {
	b.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	return &bare{Conn: conn, in: bufio.NewReader(conn)}
}

// ask asks for a path, and gives the body until the next call.
func (c *bare) ask(path, headers string) ([]byte, error) {
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: tenon\r\n"+headers+"\r\n"); err != nil {
		return nil, err
	}
	size := 0
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if rest, is := bytes.CutPrefix(line, []byte("Content-Length: ")); is {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(rest))); err != nil {
				return nil, err
			}
		}
		if len(line) == 2 {
			break
		}
	}
	if cap(c.body) < size {
		c.body = make([]byte, size)
	}
	c.body = c.body[:size]
	_, err := io.ReadFull(c.in, c.body)
	return c.body, err
}

// indexIn finds the index of a status.
func indexIn(status []byte) string {
	_, rest, _ := bytes.Cut(status, []byte(`"index":`))
	digits, _, _ := bytes.Cut(rest, []byte(","))
	return string(digits)
}

// pollers ask for the next version again and again, from as many connections, until stop.
func pollers(b *testing.B, path string, n int) (answers *atomic.Int64, stop func()) {
	b.Helper()
	answers = &atomic.Int64{}
	var work, first sync.WaitGroup
	var conns []net.Conn
	for range n {
		c := dialBare(b, path)
		conns = append(conns, c)
		first.Add(1)
		work.Go(func() {
			status, err := c.ask("/v1/status", "")
			for first.Done(); err == nil; answers.Add(1) {
				status, err = c.ask("/v1/status?wait=10m&index="+indexIn(status), "")
			}
		})
	}
	first.Wait()
	return answers, func() {
		for _, c := range conns {
			_ = c.Close()
		}
		work.Wait()
	}
}

// BenchmarkAttachDetachWith1000Pollers attaches and detaches first alone and then while a
// thousand clients wait for every change, clients and agent in one process.
func BenchmarkAttachDetachWith1000Pollers(b *testing.B) {
	a := agenttest.Start(b, agenttest.NewKernel())
	path := benched(b, a)
	stack := []resource.Reservation{{Type: resource.Dynamic, Role: "web"}}
	disk := resource.Resource{Name: "disk", Type: resource.TypeScalar, Scalar: 64 * resource.One, Reservations: stack}
	data := disk
	data.Shared = true
	data.Disk = &resource.Disk{Persistence: &resource.Persistence{ID: "data"}, Volume: &resource.Volume{ContainerPath: "data", Mode: resource.RW}}
	if _, err := a.Do(b.Context(), volume.Reserve{Resources: []resource.Resource{disk}}, volume.Create{Volume: data}); err != nil {
		b.Fatal(err)
	}
	const rounds = 10 // taking turns, since the machine has others to serve
	pairs := func() (took, processor time.Duration) {
		start, before := time.Now(), processorTime(b)
		for range b.N/rounds + 1 {
			if _, err := a.Do(b.Context(), volume.Attach{Task: "t", Use: volume.Use{Volume: "web/data"}, Via: volume.ByPath}); err != nil {
				b.Fatal(err)
			}
			if _, err := a.Do(b.Context(), volume.Release{Task: "t"}); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start), processorTime(b) - before
	}
	var alone, polled, cpuAlone, cpuPolled time.Duration
	told := int64(0)
	b.ResetTimer()
	for range rounds {
		b.StopTimer()
		took, cpu := pairs()
		alone, cpuAlone = alone+took, cpuAlone+cpu
		answers, stop := pollers(b, path, 1000)
		before := answers.Load()
		b.StartTimer()
		took, cpu = pairs()
		b.StopTimer()
		polled, cpuPolled = polled+took, cpuPolled+cpu
		told += answers.Load() - before
		stop()
	}
	b.ReportMetric(float64(alone)/float64(b.N), "ns/alone")
	b.ReportMetric(float64(polled)/float64(alone), "polled/alone")
	b.ReportMetric(float64(cpuPolled)/float64(cpuAlone), "cpu-polled/alone")
	b.ReportMetric(float64(told)/polled.Seconds(), "answers/s")
}

// many is an agent whose state has many volumes, without having made them.
type many struct {
	Agent
	state *volume.State
}

// State is that state.
func (m many) State() *volume.State { return m.state }

// BenchmarkPollWhenNothingChangedAt10000Volumes asks for the status with the tag of the last
// one, and tells the processor time of agent and client together.
func BenchmarkPollWhenNothingChangedAt10000Volumes(b *testing.B) {
	a := agenttest.Start(b, agenttest.NewKernel())
	var changes []volume.Change
	for n := range 10_000 {
		changes = append(changes, volume.Change{Volume: &volume.Volume{
			UUID: volume.UUID(fmt.Sprint(n)), Name: volume.Name{Role: "web", ID: fmt.Sprint(n)}, Size: resource.One, Phase: volume.Ready,
		}})
	}
	path := benched(b, many{a, a.State().With(changes...)})
	for name, headers := range map[string]string{"whole": "", "not modified": tagHeader(b, path)} {
		b.Run(name, func(b *testing.B) {
			c := dialBare(b, path)
			defer c.Close()
			before := processorTime(b)
			for b.Loop() {
				if _, err := c.ask("/v1/status", headers); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// tagHeader is what a client sends that has the newest status.
func tagHeader(b *testing.B, path string) string {
	b.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://tenon/v1/status") //nolint:noctx // the server ends with the benchmark
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if tag := resp.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return "If-None-Match: " + tag + "\r\n"
	}
	b.Fatal("no tag")
	return ""
}

// processorTime is what this process has used (getrusage(2)).
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
