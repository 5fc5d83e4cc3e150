package csi

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
)

// guarded lets through only connections of root and of the agent's own user.
type guarded struct {
	net.Listener
	log *slog.Logger
}

// Accept waits for the next connection of somebody who may ask; others are hung up on.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerOf(conn)
		if err == nil && (uid == 0 || uid == os.Geteuid()) {
			return conn, nil
		}
		g.log.Warn("csi connection refused", "principal", uid, "err", errors.Join(err, conn.Close()))
	}
}

// peerOf asks the kernel which user has connected (unix(7), SO_PEERCRED); -1 is nobody.
func peerOf(conn net.Conn) (uid int, err error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return -1, fmt.Errorf("%s is no unix socket", conn.LocalAddr())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *syscall.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		cred, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(err, os.NewSyscallError("getsockopt SO_PEERCRED", asked)); err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}
