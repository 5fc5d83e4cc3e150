package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"tenon/agent/wire"
)

// Mount attaches a volume to a task and gives its mount as a descriptor: a detached
// tree in the mode that was asked for, to be placed with move_mount(2) in the task's own
// mount namespace. The caller closes it. The task holds the volume until it is released,
// also when this returns an error of the connection.
func (c *Client) Mount(ctx context.Context, task string, r wire.Attach) (*os.File, wire.Attachment, error) {
	var a wire.Attachment
	req, err := request(ctx, http.MethodPost, taskPath(task)+"/mounts", r)
	if err != nil {
		return nil, a, err
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, a, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it ends what waits
	rc := &rightsConn{UnixConn: conn}
	a, err = exchange(ctx, rc, req)
	stop()
	err = errors.Join(err, rc.Close())
	f := rc.take()
	switch {
	case err == nil && f == nil:
		err = fmt.Errorf("the agent's answer came without a mount of volume %s", a.Volume)
	case err != nil && f != nil:
		err = errors.Join(err, f.Close())
		f = nil
	}
	return f, a, err
}

// exchange sends a request and reads its answer.
func exchange(ctx context.Context, conn net.Conn, req *http.Request) (a wire.Attachment, err error) {
	if err := req.Write(conn); err != nil {
		return a, unanswered(ctx, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return a, unanswered(ctx, err)
	}
	return a, read(resp, &a)
}

// rightsConn keeps the first descriptor that comes with the data, and closes all others.
type rightsConn struct {
	*net.UnixConn
	file *os.File
}

// Read reads data, and descriptors with it. The runtime asks for them to be closed on
// exec (MSG_CMSG_CLOEXEC); those that find no room here, the kernel closes.
func (c *rightsConn) Read(p []byte) (int, error) {
	const room = 4 // one comes
	oob := make([]byte, syscall.CmsgSpace(room*4))
	n, oobn, _, _, err := c.ReadMsgUnix(p, oob)
	if keepErr := c.keep(oob[:max(oobn, 0)]); keepErr != nil {
		return 0, keepErr
	}
	if errors.Is(err, io.EOF) {
		err = io.EOF // as readers know it
	}
	return max(n, 0), err
}

// keep takes the descriptors out of a control message (unix(7), SCM_RIGHTS).
func (c *rightsConn) keep(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("control message: %w", err)
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue // a message of another kind holds none
		}
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), "mount")
			if c.file == nil {
				c.file = f
			} else if err := f.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// take gives the descriptor that came, or nil, to the caller.
func (c *rightsConn) take() *os.File {
	f := c.file
	c.file = nil
	return f
}
