package api

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"tenon/mount/mounttest"
)

func TestRootTheAgentsUserAndTheGroupMayAskAndNobodyElse(t *testing.T) {
	t.Parallel()
	self := os.Geteuid()
	for name, tc := range map[string]struct {
		gid  int
		who  credentials
		want bool
	}{
		"root":                      {-1, credentials{uid: 0, gid: 0}, true},
		"the agent's user":          {-1, credentials{uid: self, gid: 9}, true},
		"somebody":                  {-1, credentials{uid: 1000, gid: 1000}, false},
		"somebody of no group":      {-1, credentials{uid: 1000, gid: -1, groups: []int{-1}}, false},
		"a member by primary group": {50, credentials{uid: 1000, gid: 50}, true},
		"a member by other groups":  {50, credentials{uid: 1000, gid: 1000, groups: []int{1, 50}}, true},
		"a member of others":        {50, credentials{uid: 1000, gid: 1000, groups: []int{1, 51}}, false},
		"one whose uid is the gid":  {50, credentials{uid: 50, gid: 1000}, false},
	} {
		s := &Server{gid: tc.gid}
		if got := s.may(tc.who); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestAForeignUserIsRefusedBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, func(s *Server) {
		s.credentials = func(net.Conn) (credentials, error) { return credentials{uid: 1000, gid: 1000, pid: 7}, nil }
	})
	conn := f.dial()
	// The body is announced and never comes.
	send(t, conn, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n")
	resp, data := receive(t, conn)
	p := checkProblem(t, "POST", resp.StatusCode, resp.Header, data, 403, "forbidden")
	if !strings.Contains(p.Detail, "user 1000") || !resp.Close {
		t.Errorf("told %q, closing %v; want the user named and the connection closed", p.Detail, resp.Close)
	}
	for _, path := range []string{"/v1/status", "/v1/healthz", "/v1/openapi.yaml", "/nowhere"} {
		f.problem(403, "forbidden", "GET", path, "")
	}
	if log := f.log.String(); !strings.Contains(log, "principal=1000 pid=7 method=POST") {
		t.Errorf("the log does not say who asked:\n%s", log)
	}
}

func TestSomebodyWhoseCredentialsAreUnknownIsRefused(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, func(s *Server) {
		s.credentials = func(net.Conn) (credentials, error) { return credentials{}, io.ErrUnexpectedEOF }
	})
	f.problem(403, "forbidden", "GET", "/v1/status", "")
}

func TestTheKernelSaysWhoIsAtTheOtherEnd(t *testing.T) {
	t.Parallel()
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	got := acceptFrom(t, func(path string) error {
		conn, err := net.Dial("unix", path)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
		return err
	})
	slices.Sort(groups)
	slices.Sort(got.groups)
	if got.uid != os.Getuid() || got.gid != os.Getgid() || got.pid != os.Getpid() || !slices.Equal(got.groups, groups) {
		t.Errorf("got %+v, want this process with groups %v", got, groups)
	}
}

func TestAllGroupsOfThePeerAreFoundHoweverMany(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	for _, n := range []int{0, 1, 32, 33, 1000} {
		groups := make([]uint32, n)
		for i := range groups {
			groups[i] = uint32(2000 + i)
		}
		got := acceptFrom(t, func(path string) error { return connectAs(path, 1234, 5678, groups) })
		if got.uid != 1234 || got.gid != 5678 || len(got.groups) != n {
			t.Errorf("got user %d, group %d and %d groups, want 1234, 5678 and %d", got.uid, got.gid, len(got.groups), n)
		}
		if n > 0 && (got.groups[0] != 2000 || got.groups[n-1] != 2000+n-1) {
			t.Errorf("of %d groups the first and last are %d and %d", n, got.groups[0], got.groups[n-1])
		}
	}
}

func TestAnotherUserOfThisHostIsRefused(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	f := serving(t, &fakeAgent{}, nil)
	for _, path := range []string{filepath.Dir(f.path), f.path} {
		if err := os.Chmod(path, 0o777); err != nil { // the socket's own mode would refuse him as well
			t.Fatal(err)
		}
	}
	answers := make(chan string, 1)
	go func() {
		answers <- asUser(1234, 5678, nil, func() string {
			conn, err := net.Dial("unix", f.path)
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
				return err.Error()
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil {
				return err.Error()
			}
			return line
		})
	}()
	if got := <-answers; !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("user 1234 was answered %q, want 403", got)
	}
	if log := f.log.String(); !strings.Contains(log, "principal=1234") {
		t.Errorf("the log does not say who asked:\n%s", log)
	}
}

// acceptFrom gives the credentials of whoever connect connects as.
func acceptFrom(t *testing.T, connect func(path string) error) credentials {
	t.Helper()
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, p := range []string{dir, path} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := connect(path); err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, err := credentialsOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func connectAs(path string, uid, gid int, groups []uint32) error {
	message := asUser(uid, gid, groups, func() string {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return err.Error()
		}
		_ = conn.Close() // its credentials stay with the other end
		return ""
	})
	if message != "" {
		return &net.OpError{Op: message}
	}
	return nil
}

// asUser runs do on a thread that has become another user, and that ends with it.
func asUser(uid, gid int, groups []uint32, do func() string) string {
	result := make(chan string, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must not be used again
		var first unsafe.Pointer
		if len(groups) > 0 {
			first = unsafe.Pointer(&groups[0])
		}
		for _, call := range [][4]uintptr{
			{syscall.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first)},
			{syscall.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
			{syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				result <- errno.Error()
				return
			}
		}
		result <- do()
	}()
	return <-result
}

func TestAGroupIsFoundByItsName(t *testing.T) {
	t.Parallel()
	g, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		t.Fatal(err)
	}
	if got := groupID(g.Name); got != os.Getgid() {
		t.Errorf("group %s is %d, want %d", g.Name, got, os.Getgid())
	}
	for _, name := range []string{"", "no such group"} {
		if got := groupID(name); got != -1 {
			t.Errorf("group %q is %d, want none", name, got)
		}
	}
}

// dial connects without a client in between.
func (f *fixture) dial() *net.UnixConn {
	f.t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: f.path, Net: "unix"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil { // no test waits for ever
		f.t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, conn net.Conn, data string) {
	t.Helper()
	if _, err := conn.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, conn net.Conn) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, data
}
