package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
)

// NBD, as much of it as QEMU needs: the newstyle negotiation without options, and
// simple replies. See proto.md of the NBD project.
const (
	flagHas, flagFlush, flagFUA = 1, 4, 8
	optExportName, optAbort     = 1, 2
	optInfo, optGo              = 6, 7
	repAck, repInfo             = 1, 3
	repUnsupported              = 1<<31 + 1
	cmdRead, cmdWrite           = 0, 1
	cmdDisconnect, cmdFlush     = 2, 3
	magicHello                  = 0x4e42444d41474943
	magicOption, magicReply     = 0x49484156454F5054, 0x3e889045565a9
	magicAnswer                 = 0x67446698
	eIO, eInval                 = 5, 22
)

var be = binary.BigEndian

// client is one connection. Errors of its writer show at the next Flush.
type client struct {
	disk *disk
	r    *bufio.Reader
	w    *bufio.Writer
}

// request is one command of a client.
type request struct {
	cmd    uint16
	force  bool
	handle [8]byte
	off, n int64
	data   []byte // what is to be written
}

// serve answers one client until it leaves.
func (d *disk) serve(conn net.Conn) error {
	defer conn.Close()
	c := &client{d, bufio.NewReaderSize(conn, 1<<20), bufio.NewWriterSize(conn, 1<<20)}
	if on, err := c.negotiate(); err != nil || !on {
		return err
	}
	for {
		q, err := c.next()
		if err != nil || q.cmd == cmdDisconnect {
			return err
		}
		data, status := d.do(q)
		c.put(uint32(magicAnswer), status, q.handle)
		_, _ = c.w.Write(data)
		if c.r.Buffered() > 0 && q.cmd != cmdFlush {
			continue // more is asked already
		}
		if err := c.w.Flush(); err != nil {
			return err
		}
	}
}

// put writes numbers in network order.
func (c *client) put(values ...any) {
	for _, v := range values {
		_ = binary.Write(c.w, be, v)
	}
}

// negotiate agrees on the disk, of which there is one; on is false if the client
// gives up.
func (c *client) negotiate() (on bool, err error) {
	c.put(uint64(magicHello), uint64(magicOption), uint16(3))
	var flags uint32
	if err := c.exchange(&flags); err != nil {
		return false, err
	}
	for {
		var o struct {
			Magic    uint64
			Opt, Len uint32
		}
		if err := c.exchange(&o); err != nil {
			return false, err
		}
		if _, err := c.r.Discard(int(o.Len)); err != nil {
			return false, err
		}
		if o.Opt == optAbort {
			return false, nil
		}
		c.option(o.Opt)
		if o.Opt == optExportName || o.Opt == optGo {
			return true, c.w.Flush()
		}
	}
}

// exchange sends what was put and reads an answer.
func (c *client) exchange(answer any) error {
	if err := c.w.Flush(); err != nil {
		return err
	}
	return binary.Read(c.r, be, answer)
}

// option answers one option of the negotiation.
func (c *client) option(opt uint32) {
	const flags = uint16(flagHas | flagFlush | flagFUA)
	switch opt {
	case optExportName:
		c.put(uint64(c.disk.size), flags)
	case optInfo, optGo:
		c.put(uint64(magicReply), opt, uint32(repInfo), uint32(12), uint16(0), uint64(c.disk.size), flags)
		c.put(uint64(magicReply), opt, uint32(repAck), uint32(0))
	default:
		c.put(uint64(magicReply), opt, uint32(repUnsupported), uint32(0))
	}
}

// next reads one request.
func (c *client) next() (q request, err error) {
	var b [28]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return q, err
	}
	q = request{
		cmd: be.Uint16(b[6:]), force: be.Uint16(b[4:])&1 != 0, handle: [8]byte(b[8:16]),
		off: int64(be.Uint64(b[16:])), n: int64(be.Uint32(b[24:])),
	}
	if q.cmd == cmdWrite {
		q.data = make([]byte, q.n)
		_, err = io.ReadFull(c.r, q.data)
	}
	return q, err
}

// do carries out one request.
func (d *disk) do(q request) (data []byte, status uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.off:
		return nil, eIO
	case q.cmd == cmdFlush:
		return nil, failed(d.flush())
	case q.off < 0 || q.n > d.size || q.off > d.size-q.n:
		return nil, eInval
	case q.cmd == cmdWrite:
		d.write(q.data, q.off, q.force)
		return nil, 0
	case q.cmd == cmdRead:
		data = make([]byte, q.n)
		if err := d.read(data, q.off); err != nil {
			return nil, eIO
		}
		return data, 0
	}
	return nil, eInval
}

func failed(err error) uint32 {
	if err != nil {
		return eIO
	}
	return 0
}
