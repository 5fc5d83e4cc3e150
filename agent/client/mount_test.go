package client_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tenon/agent/client"
	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestAMountComesAsADescriptorWithItsAttachment(t *testing.T) {
	t.Parallel()
	c, a, _ := running(t)
	reserve(t, c, "web", 64)
	made := create(t, c, "data", true)
	f, at, err := c.Mount(t.Context(), "t1", wire.Attach{Use: wire.Use{Volume: "web/data", Mode: resource.RO}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !sameFile(t, f, os.TempDir()) { // which the fake kernel gives as a mount
		t.Error("the descriptor is another one")
	}
	if at.UUID != made.UUID || at.Via != volume.ByDescriptor || at.Mode != resource.RO || at.Path != "data" {
		t.Errorf("attached %+v, want web/data at data, read-only, by descriptor", at)
	}
	if len(a.State().Holders(made.UUID)) != 1 {
		t.Error("the task does not hold the volume")
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFD, 0)
	if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
		t.Errorf("flags are %#x, %v; want it closed on exec", flags, errno)
	}
}

func sameFile(t *testing.T, f *os.File, path string) bool {
	t.Helper()
	got, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(got, want)
}

// answering serves one connection with a fixed answer and descriptors of these files.
// sent returns when it has done so.
func answering(t *testing.T, answer string, files ...*os.File) (c *client.Client, sent func()) {
	t.Helper()
	path := socketPath(t)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := func() error {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return err
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return errors.Join(err, conn.Close())
			}
			var fds []int
			for _, f := range files {
				fds = append(fds, int(f.Fd()))
			}
			_, _, err = conn.WriteMsgUnix([]byte(answer), syscall.UnixRights(fds...), nil)
			return errors.Join(err, conn.Close())
		}()
		if err := errors.Join(err, ln.Close()); err != nil {
			t.Error(err)
		}
	}()
	sent = func() { <-done }
	t.Cleanup(sent)
	return client.New(path), sent
}

const attached = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
	`{"volume":"web/data","task":"t1","path":"data","mode":"RW","via":"descriptor"}`

// pipes gives files to send, and a check that nobody has their other ends open any more
// but the test.
func pipes(t *testing.T, n int) (ends []*os.File, closed func() int) {
	t.Helper()
	var readers []*os.File
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		readers, ends = append(readers, r), append(ends, w)
	}
	return ends, func() (count int) {
		for i, r := range readers {
			_ = ends[i].Close()
			fd := int(r.Fd()) // asked for once, as it makes the pipe block
			if err := syscall.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
			if n, err := syscall.Read(fd, make([]byte, 1)); n == 0 && err == nil {
				count++ // end of file: no writer is left
			}
		}
		return count
	}
}

func TestOtherDescriptorsThatComeAreClosed(t *testing.T) {
	for _, n := range []int{2, 4, 20} {
		ends, closed := pipes(t, n)
		c, sent := answering(t, attached, ends...)
		f, _, err := c.Mount(t.Context(), "t1", wire.Attach{})
		sent()
		if err != nil {
			t.Fatal(err)
		}
		if got := closed(); got != n-1 {
			t.Errorf("of %d descriptors %d are closed, want all but the first", n, got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestADescriptorThatComesWithABadAnswerIsClosed(t *testing.T) {
	problem := "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\n\r\n" + `{"kind":"in_use","detail":"held"}`
	for name, answer := range map[string]string{
		"a problem":      problem,
		"half an answer": attached[:90],
		"nonsense":       "nonsense\r\n\r\n",
		"not JSON":       strings.Replace(attached, "application/json", "text/html", 1),
	} {
		ends, closed := pipes(t, 1)
		c, sent := answering(t, answer, ends...)
		f, _, err := c.Mount(t.Context(), "t1", wire.Attach{})
		sent()
		if f != nil || err == nil {
			t.Errorf("%s: got %v, %v; want an error and no mount", name, f, err)
		}
		if name == "a problem" && !errors.Is(err, volume.ErrInUse) {
			t.Errorf("%s: got %v, want ErrInUse", name, err)
		}
		if closed() != 1 {
			t.Errorf("%s: the descriptor is open", name)
		}
	}
}

func TestAnAnswerWithoutADescriptorIsAnError(t *testing.T) {
	t.Parallel()
	c, _ := answering(t, attached)
	f, at, err := c.Mount(t.Context(), "t1", wire.Attach{})
	if f != nil || err == nil || at.Path != "data" || !strings.Contains(err.Error(), "without a mount of volume web/data") {
		t.Errorf("got %v, %+v, %v; want an error that says so", f, at, err)
	}
}

func TestAnswersThatAreNotTheAgentsAreErrors(t *testing.T) {
	t.Parallel()
	var said []string
	for _, answer := range []string{
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nsomebody else",
		"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n{",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[]",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{}",
		"",
	} {
		c, _ := answering(t, answer)
		_, err := c.Task(t.Context(), "t1")
		if err == nil || volume.Kind(err) != nil || errors.Is(err, client.ErrNoAgent) {
			t.Errorf("%q: got %v, want an error without a kind", answer, err)
			continue
		}
		said = append(said, err.Error())
	}
	for i, want := range []string{"somebody else", "400 Bad Request", "not understood", "too early", "did not answer"} {
		if !slices.ContainsFunc(said[i:i+1], func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("got %q, want %q in it", said[i], want)
		}
	}
}
