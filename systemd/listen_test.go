package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listening is what roleListen reports: a second call must find nothing.
type listening struct {
	Addrs  map[string]string
	Second int
	Err    string
}

// roleListen is a service: it takes its sockets over, answers one call on "api",
// closes everything and reports on standard output.
func roleListen() int {
	// systemd sets LISTEN_PID between fork and exec, which a test cannot.
	_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	report := listening{Addrs: map[string]string{}}
	listeners, err := Listeners()
	if err != nil {
		report.Err = err.Error()
	}
	again, err := Listeners()
	report.Second = len(again)
	if err == nil {
		err = serve(listeners, &report)
	}
	if err != nil {
		report.Err += err.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(report)
	return 0
}

// serve says "hello" to one caller of the listener api and closes all of them.
func serve(listeners map[string]net.Listener, report *listening) error {
	var errs []error
	if api := listeners["api"]; api != nil {
		conn, err := api.Accept()
		if err != nil {
			return err
		}
		_, err = io.WriteString(conn, "hello")
		errs = append(errs, err, conn.Close())
	}
	for name, l := range listeners {
		report.Addrs[name] = l.Addr().String()
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// mustStart starts this binary as the service roleListen, with the descriptors
// under the given names, and returns what waits for its report.
func mustStart(t *testing.T, names string, fds ...*os.File) (wait func() listening) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "TENON_TEST_ROLE=listen",
		fmt.Sprintf("LISTEN_FDS=%d", len(fds)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = fds
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() (got listening) {
		t.Helper()
		if err := errors.Join(json.NewDecoder(out).Decode(&got), cmd.Wait()); err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// mustListen returns a listening unix socket's path and descriptor. The file stays
// when the descriptor is closed, as with a socket unit.
func mustListen(t *testing.T, name string) (path string, fd *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	fd, err = l.File()
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fd.Close() })
	return path, fd
}

func TestPassedSocketsAreServedByNameAndTheirFilesStay(t *testing.T) {
	t.Parallel()
	api, apiFD := mustListen(t, "api.sock")
	csi, csiFD := mustListen(t, "csi.sock")
	wait := mustStart(t, "api:csi", apiFD, csiFD)
	conn, err := net.Dial("unix", api)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if hello, err := io.ReadAll(conn); err != nil || string(hello) != "hello" {
		t.Errorf("the service said %q, %v, want hello", hello, err)
	}
	want := listening{Addrs: map[string]string{"api": api, "csi": csi}}
	if diff := cmp.Diff(want, wait()); diff != "" {
		t.Errorf("the service's report (-want +got):\n%s", diff)
	}
	for _, path := range []string{api, csi} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the socket's file is gone after the service ended: %v", err)
		}
	}
}

func TestAPassedSocketThatCannotBeUsedIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, one := mustListen(t, "one")
	_, two := mustListen(t, "two")
	for _, c := range []struct {
		name, names, want string
		fds               []*os.File
	}{
		{"no socket", "api:data", `take over socket "data" from systemd: `, []*os.File{one, plain}},
		{"same name", "csi:csi", `socket "csi" came twice from systemd`, []*os.File{one, two}},
	} {
		got := mustStart(t, c.names, c.fds...)()
		if !strings.Contains(got.Err, c.want) || len(got.Addrs) != 0 {
			t.Errorf("%s: report %+v, want an error with %q and no listener", c.name, got, c.want)
		}
	}
}
