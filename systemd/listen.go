package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// Listeners returns the sockets that systemd passed to this process, by the name
// that the socket unit gives in FileDescriptorName=; none if there are none. It
// takes them over: a second call finds nothing, nor does a child process. The
// caller closes them.
//
// A socket's file belongs to the socket unit, so closing a listener leaves it
// where it is, for the agent that comes next.
//
// A descriptor that is no listening socket, or a name that comes twice, is an
// error, and then all of them are closed.
func Listeners() (map[string]net.Listener, error) {
	listeners := make(map[string]net.Listener)
	var errs []error
	for _, f := range activation.Files(true) {
		if err := take(listeners, f); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		for _, l := range listeners {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	return listeners, nil
}

// take turns the descriptor f into a listener under its name; f is closed.
func take(listeners map[string]net.Listener, f *os.File) error {
	name := f.Name()
	l, err := net.FileListener(f) // a duplicate of the descriptor
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("take over socket %q from systemd: %w", name, err)
	}
	if _, twice := listeners[name]; twice {
		return errors.Join(fmt.Errorf("socket %q came twice from systemd", name), l.Close())
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	listeners[name] = l
	return nil
}
