package api

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// endless is a listener that always has a connection, or fails.
type endless struct {
	net.Listener
	accepted atomic.Int64
	err      error
	closed   atomic.Int64
}

func (l *endless) Accept() (net.Conn, error) {
	if l.err != nil {
		return nil, l.err
	}
	l.accepted.Add(1)
	conn, other := net.Pipe()
	return conn, other.Close()
}

func (l *endless) Close() error {
	l.closed.Add(1)
	return nil
}

func TestConnectionsWaitUntilOneOfManyEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := &endless{}
		ln := limit(from, 3)
		conns := make(chan net.Conn, 10)
		var ended error
		go func() {
			for ended == nil {
				var c net.Conn
				if c, ended = ln.Accept(); ended == nil {
					conns <- c
				}
			}
		}()
		synctest.Wait()
		if got := from.accepted.Load(); got != 3 {
			t.Errorf("accepted %d connections, want 3 at once", got)
		}
		first := <-conns
		for range 2 { // it gives back one place, however often it is closed
			if err := first.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if got := from.accepted.Load(); got != 4 {
			t.Errorf("accepted %d connections when the first had ended, want 4", got)
		}
		for range 2 {
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if !errors.Is(ended, net.ErrClosed) || from.closed.Load() != 2 {
			t.Errorf("whoever waited for a place was told %v", ended)
		}
	})
}

func TestAConnectionThatIsNotAcceptedTakesNoPlace(t *testing.T) {
	t.Parallel()
	from := &endless{err: errors.New("no descriptor is left")}
	ln := limit(from, 1)
	for range 3 {
		if _, err := ln.Accept(); !errors.Is(err, from.err) {
			t.Fatal(err)
		}
	}
	from.err = nil
	if _, err := ln.Accept(); err != nil {
		t.Error(err)
	}
}

func TestAddressesForOtherHostsAreLimited(t *testing.T) {
	t.Parallel()
	f := serving(t, &fakeAgent{}, nil)
	r := f.serveTLS()
	for name, listen := range map[string]func() (net.Listener, error){
		"clients": func() (net.Listener, error) { return ListenTLS("127.0.0.1:0", r.cert, r.key, r.ca, f.server.log) },
		"pollers": func() (net.Listener, error) {
			return ListenPollers("127.0.0.1:0", r.cert, r.key, "", true, f.server.log)
		},
	} {
		ln, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		secured, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		inner, is := secured.(interface{ NetConn() net.Conn })
		if !is {
			t.Fatalf("%s: %T is not TLS", name, secured)
		}
		if _, is := inner.NetConn().(*limitedConn); !is {
			t.Errorf("%s: %T has no limit", name, inner.NetConn())
		}
		if err := errors.Join(secured.Close(), ln.Close()); err != nil {
			t.Error(err)
		}
	}
}
