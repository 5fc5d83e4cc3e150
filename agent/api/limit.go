package api

import (
	"net"
	"sync"
)

// maxConnections is how many connections an address for other hosts has at once. More of them
// wait, in the kernel's queue, until one ends.
const maxConnections = 512

// limited is a listener of so many connections at once.
type limited struct {
	net.Listener
	places chan struct{} // one for each connection
	closed chan struct{}
	end    func()
}

func limit(ln net.Listener, most int) net.Listener {
	l := &limited{Listener: ln, places: make(chan struct{}, most), closed: make(chan struct{})}
	l.end = sync.OnceFunc(func() { close(l.closed) })
	return l
}

// Accept waits for a place, and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{conn, sync.OnceFunc(func() { <-l.places })}, nil
}

// Close closes the listener, and ends an Accept that waits for a place.
func (l *limited) Close() error {
	l.end()
	return l.Listener.Close()
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
