package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Listen makes the socket, which root and the members of the group may connect to; a
// group that the host does not know is none. What another agent left behind is
// replaced, but not a socket that somebody answers on, and nothing that is no socket.
// Closing the listener removes the socket.
func Listen(path, group string) (*net.UnixListener, error) {
	const longest = 107 // sun_path of unix(7), without its NUL
	if len(path) > longest {
		return nil, fmt.Errorf("socket %s: the path is longer than %d bytes, which is all that a socket's address holds", path, longest)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("directory of the socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := share(path, groupID(group)); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// removeStale removes a socket that nobody answers on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("socket %s: something that is no socket is there", path)
	}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("socket %s: another agent is serving it", path), conn.Close())
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("socket %s: is another agent serving it? %w", path, err)
	}
	return os.Remove(path)
}

// share lets the group connect. Until then, and without a group, only the agent's own
// user and root can; and whoever connects is looked at again by Server.
func share(path string, gid int) error {
	const owner, ownerAndGroup = 0o600, 0o660
	if gid < 0 {
		return os.Chmod(path, owner)
	}
	return errors.Join(os.Chown(path, -1, gid), os.Chmod(path, ownerAndGroup))
}
