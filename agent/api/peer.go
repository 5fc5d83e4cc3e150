package api

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"tenon/agent/access"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// credentials are those of the process at the other end of a socket when it connected,
// as the kernel knows them.
type credentials struct {
	uid, gid, pid int
	groups        []int
}

// peer is who asks. The zero peer is nobody, and may do nothing.
type peer struct {
	credentials        // of a process of this host
	remote      string // address of one on another host, for which there are no credentials
	subject     string // of its certificate
	allowed     bool
	reads       bool   // may do nothing else
	principal   string // what ACLs, reservations and volumes know them by; empty is unknown
	rules
}

// rules are what the ACLs say about a peer; the zero rules are none.
type rules struct {
	allow func(*volume.State, volume.Operation) error
	view  wire.View
	asked wire.Asked // where the rules hide anything at all, its own operations
}

// rulesFor are those of a principal.
func (s *Server) rulesFor(principal string) rules {
	r := rules{allow: s.acls.For(principal)}
	if s.acls.Strict || len(s.acls.Rules[access.View]) > 0 {
		r.view = s.acls.Visible(principal)
		r.asked = func(by string) bool { return by == principal }
	}
	return r
}

// name is what the log calls a peer.
func (p peer) name() string {
	switch {
	case p.principal != "":
		return p.principal
	case p.remote != "":
		return p.subject
	}
	return strconv.Itoa(p.uid)
}

// process is the one that asks, where it is on this host.
func (p peer) process() int {
	if p.remote != "" {
		return wire.NoProcess
	}
	return p.pid
}

type peerKey struct{}

// meet finds out who is at the other end of a new connection. One whose credentials
// cannot be read is nobody, and may do nothing. Who comes by TLS is known after the
// handshake, which is not waited for here.
func (s *Server) meet(ctx context.Context, conn net.Conn) context.Context {
	if _, secured := conn.(*tls.Conn); secured {
		return ctx
	}
	c, err := s.credentials(conn)
	if err != nil {
		s.log.Warn("peer not known", "err", err)
		return context.WithValue(ctx, peerKey{}, peer{credentials: credentials{uid: -1, gid: -1}})
	}
	principal := s.principals.Of(c.uid, append(c.groups, c.gid))
	return context.WithValue(ctx, peerKey{}, peer{credentials: c, allowed: s.may(c), principal: principal, rules: s.rulesFor(principal)})
}

// peerOf says who makes a request.
func (s *Server) peerOf(r *http.Request) peer {
	p, known := r.Context().Value(peerKey{}).(peer)
	if !known && r.TLS != nil {
		return s.certified(r.TLS, r.RemoteAddr)
	}
	return p
}

// may says whether somebody may use the API: root, the agent's own user, and the group.
func (s *Server) may(c credentials) bool {
	if c.uid == 0 || c.uid == os.Geteuid() {
		return true
	}
	return s.gid >= 0 && (c.gid == s.gid || slices.Contains(c.groups, s.gid))
}

func errForbidden(p peer) error {
	if p.reads {
		return problem(http.StatusUnauthorized, volume.ErrForbidden, "whoever reads here needs the token, as in \"Authorization: Bearer TOKEN\", or a certificate that names a principal")
	}
	if p.remote != "" {
		return refusal(volume.ErrForbidden, "the certificate %q names no principal: the common name of its subject must be one", p.subject)
	}
	return refusal(volume.ErrForbidden, "user %d may not use this socket; root and the members of its group may", p.uid)
}

// groupID finds a group's number; -1 is a group that the host does not know, and none.
func groupID(name string) int {
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}

// credentialsOf asks the kernel (unix(7), SO_PEERCRED since Linux 2.2 and SO_PEERGROUPS
// since 4.13).
func credentialsOf(conn net.Conn) (c credentials, err error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return c, fmt.Errorf("%s is no unix socket", conn.LocalAddr())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return c, err
	}
	var asked error
	if err := raw.Control(func(fd uintptr) { c, asked = credentialsFrom(int(fd)) }); err != nil {
		return c, err
	}
	return c, asked
}

func credentialsFrom(fd int) (credentials, error) {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return credentials{}, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	groups, err := peerGroups(fd)
	return credentials{uid: int(cred.Uid), gid: int(cred.Gid), pid: int(cred.Pid), groups: groups}, err
}

// peerGroups asks for the supplementary groups. The kernel says how many there are when
// the room for them does not do.
func peerGroups(fd int) ([]int, error) {
	const soPeerGroups = 59 // asm-generic/socket.h; package syscall does not have it
	gids := make([]uint32, 32)
	for {
		size := uint32(len(gids) * 4)
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, soPeerGroups,
			uintptr(unsafe.Pointer(unsafe.SliceData(gids))), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == syscall.ERANGE && int(size) > len(gids)*4:
			gids = make([]uint32, size/4)
			continue
		case errno != 0:
			return nil, os.NewSyscallError("getsockopt SO_PEERGROUPS", errno)
		}
		groups := make([]int, size/4)
		for i := range groups {
			groups[i] = int(gids[i])
		}
		return groups, nil
	}
}
