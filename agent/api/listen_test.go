package api

import (
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tenon/mount/mounttest"
)

func TestTheSocketIsForItsOwnerAndItsGroup(t *testing.T) {
	t.Parallel()
	mounttest.RequireRoot(t)
	const daemon = "daemon" // a group that every host has
	g, err := user.LookupGroup(daemon)
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]struct {
		mode os.FileMode
		gid  string
	}{"": {0o600, "0"}, "no such group": {0o600, "0"}, daemon: {0o660, g.Gid}} {
		path := filepath.Join(shortDir(t), "run", "s") // the directory is made
		ln, err := Listen(path, group)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		if got := strconv.Itoa(int(stat.Gid)); info.Mode().Perm() != want.mode || got != want.gid || stat.Uid != 0 {
			t.Errorf("group %q: the socket is %d:%s with %v, want 0:%s with %v", group, stat.Uid, got, info.Mode().Perm(), want.gid, want.mode)
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("after closing: %v, want the socket gone", err)
		}
	}
}

func TestASocketThatNobodyAnswersOnIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestASocketThatSomebodyAnswersOnIsLeftToHim(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	if ln, err := Listen(f.path, ""); err == nil || !strings.Contains(err.Error(), "another agent is serving") {
		t.Errorf("got %v, %v; want an error that says so", ln, err)
	}
	f.must(200, "GET", "/v1/healthz", "", nil)
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{path, dir, filepath.Join(path, "s")} {
		if ln, err := Listen(at, ""); err == nil {
			t.Errorf("got %v at %s, want an error", ln, at)
		}
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

func TestAPathThatIsTooLongForASocketIsSaidToBe(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	longest := filepath.Join(dir, strings.Repeat("x", 107-len(dir)-1))
	ln, err := Listen(longest, "")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if ln, err := Listen(longest+"x", ""); err == nil || !strings.Contains(err.Error(), "longer than 107 bytes") {
		t.Errorf("got %v, %v; want an error that says so", ln, err)
	}
}
