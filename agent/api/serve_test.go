package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestAHeaderThatDoesNotComeEndsTheConnection(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, func(s *Server) { s.http.ReadHeaderTimeout = 20 * time.Millisecond })
	conn := f.dial()
	_, _ = conn.Write([]byte("GET /v1/status HTTP/1.1\r\nHo")) // it may be closed before that
	if data, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(data), "200 OK") {
		t.Errorf("got %q, %v; want the connection closed", data, err)
	}
}

func TestAHeaderThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	conn := f.dial()
	go func() { // the server does not read all of it
		_, _ = conn.Write([]byte("GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n"))
	}()
	resp, _ := receive(t, conn)
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d, want 431", resp.StatusCode)
	}
}

func TestABodyThatDoesNotComeIsRefused(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, func(s *Server) { s.bodyTimeout = 20 * time.Millisecond })
	conn := f.dial()
	send(t, conn, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	resp, data := receive(t, conn)
	checkProblem(t, "POST", resp.StatusCode, resp.Header, data, 408, "invalid")
}

func TestARequestMayTakeLongerThanItsBodyMay(t *testing.T) {
	t.Parallel()
	const body = 50 * time.Millisecond
	a := &fakeAgent{do: func(ctx context.Context, _ ...volume.Operation) (*volume.State, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(3 * body):
			return nil, &volume.Error{Kind: volume.ErrBusy, Message: "after all"}
		}
	}}
	f := serving(t, a, func(s *Server) { s.bodyTimeout = body })
	f.problem(409, "busy", "POST", "/v1/tasks", `{"task":"t1"}`)
}

func TestAClientThatHangsUpEndsItsRequest(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}), make(chan error, 1)
	a := &fakeAgent{do: func(ctx context.Context, _ ...volume.Operation) (*volume.State, error) {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}
	f := serving(t, a, nil)
	conn := f.dial()
	send(t, conn, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"task\":\"t1\"}")
	<-entered
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v, want it cancelled", err)
	}
}

func TestShutdownWaitsForWhatIsAtWork(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	a := &fakeAgent{do: func(context.Context, ...volume.Operation) (*volume.State, error) {
		close(entered)
		<-release
		return nil, &volume.Error{Kind: volume.ErrBusy, Message: "done"}
	}}
	f := serving(t, a, nil)
	answered, down := make(chan int, 1), make(chan error, 1)
	go func() {
		status, _, _ := f.do("POST", "/v1/tasks", `{"task":"t1"}`)
		answered <- status
	}()
	<-entered
	go func() { down <- f.server.Shutdown(t.Context()) }()
	for { // until the socket is gone
		if _, err := os.Stat(f.path); err != nil {
			break
		}
	}
	select {
	case err := <-down:
		t.Errorf("shut down with %v while a request was at work", err)
	default:
	}
	close(release)
	if got := <-answered; got != 409 {
		t.Errorf("the request got %d, want its own answer", got)
	}
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestShutdownWithoutTimeTellsThatTheAgentIsStopping(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	a := &fakeAgent{do: func(ctx context.Context, _ ...volume.Operation) (*volume.State, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	f := serving(t, a, nil)
	answered := make(chan wire.Problem, 1)
	go func() { answered <- f.problem(503, "stopping", "POST", "/v1/tasks", `{"task":"t1"}`) }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	<-answered
}

func TestServeOnWhatIsClosedIsAnError(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	ln, err := Listen(f.path+"2", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.server.Serve(ln); err == nil || !strings.Contains(err.Error(), f.path+"2") {
		t.Errorf("got %v, want an error that names the socket", err)
	}
}

const mountData = "POST /v1/tasks/t1/mounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 33\r\n\r\n" +
	`{"volume":"web/data","mode":"RO"}`

func TestAMountIsHandedOverAsOneDescriptor(t *testing.T) {
	t.Parallel()
	f, a, _ := running(t)
	f.withVolumes()
	conn := f.dial()
	send(t, conn, mountData)
	data, oob := make([]byte, 4096), make([]byte, 4096)
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(data[:n]), "\r\n\r\n")
	var at wire.Attachment
	decode(t, []byte(body), &at)
	if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || !strings.Contains(head, "Connection: close") || at.Mode != resource.RO {
		t.Errorf("answered %s with %+v", head, at)
	}
	fds := descriptors(t, oob[:oobn])
	if len(fds) != 1 {
		t.Fatalf("%d descriptors came, want one", len(fds))
	}
	got := os.NewFile(uintptr(fds[0]), "mount")
	defer got.Close()
	want, err := os.Stat(os.TempDir()) // which the fake kernel gives as a mount
	if err != nil {
		t.Fatal(err)
	}
	if info, err := got.Stat(); err != nil || !os.SameFile(info, want) {
		t.Errorf("the descriptor is %v, %v; want the mount", info, err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
		t.Errorf("after the answer: %q, %v; want the end", rest, err)
	}
	v, err := a.State().Find("web/data")
	if err != nil {
		t.Fatal(err)
	}
	if hs := a.State().Holders(v.UUID); len(hs) != 1 || hs[0].Via != volume.ByDescriptor {
		t.Errorf("held by %+v, want one task by descriptor", hs)
	}
}

func descriptors(t *testing.T, oob []byte) (fds []int) {
	t.Helper()
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		some, err := syscall.ParseUnixRights(&m)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, some...)
	}
	return fds
}

func TestTheDescriptorOfAClientThatHangsUpIsClosed(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe() // its write end is handed over: when nobody has it, r ends
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	v := &volume.Volume{UUID: "u1", Name: volume.Name{Role: "web", ID: "data"}, Phase: volume.Ready, ContainerPath: "data"}
	st := volume.Empty().With(volume.Change{Volume: v}, volume.Change{Task: &volume.Task{ID: "t1"}},
		volume.Change{Attachment: &volume.Attachment{Volume: "u1", Task: "t1", Path: "data", Via: volume.ByDescriptor}})
	entered, hungUp := make(chan struct{}), make(chan struct{})
	f := serving(t, &fakeAgent{state: st, hand: func(context.Context, volume.Attach) (*os.File, error) {
		close(entered)
		<-hungUp
		return w, nil
	}}, nil)
	conn := f.dial()
	send(t, conn, mountData)
	<-entered
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	close(hungUp)
	if data, err := io.ReadAll(r); err != nil || len(data) != 0 {
		t.Errorf("got %q, %v; want the end", data, err)
	}
}

func TestTheDescriptorOfATaskThatIsGoneIsClosed(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	v := &volume.Volume{UUID: "u1", Name: volume.Name{Role: "web", ID: "data"}, Phase: volume.Ready, ContainerPath: "data"}
	st := volume.Empty().With(volume.Change{Volume: v})
	f := serving(t, &fakeAgent{state: st, hand: func(context.Context, volume.Attach) (*os.File, error) { return w, nil }}, nil)
	f.problem(409, "pending", "POST", "/v1/tasks/t1/mounts", `{"volume":"web/data"}`)
	if data, err := io.ReadAll(r); err != nil || len(data) != 0 {
		t.Errorf("got %q, %v; want the end", data, err)
	}
}
