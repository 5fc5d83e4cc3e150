package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"sync"
)

const sector = 512

// op is one entry of the log: a write, a flush or a mark.
type op struct {
	kind  byte // 'W', 'F' or 'M'
	force bool // a write that bypasses the volatile cache (FUA)
	off   int64
	data  []byte
}

// survivors tells which of the pending writes outlive a power cut, in order. Some are torn
// at multiples of atom, which is what the disk writes whole.
func survivors(pending []op, mode string, atom int, rnd *rand.Rand) []op {
	// A chance that differs from cut to cut finds more than a fixed one: with
	// long queues a fixed one half would never lose all or keep nearly all.
	chance := [...]float64{0, 1, 0.5, rnd.Float64()}[rnd.Intn(4)]
	var kept []op
	for _, w := range pending {
		switch {
		case w.force, mode == "keep":
			kept = append(kept, w)
		case mode == "random" && rnd.Float64() < chance:
			if n := len(w.data) / atom; n > 1 && rnd.Intn(20) == 0 {
				w.data = w.data[:atom*(1+rnd.Intn(n-1))] // torn
			}
			kept = append(kept, w)
		}
	}
	return kept
}

// apply writes the writes among ops to the image.
func apply(f *os.File, ops []op) error {
	for _, w := range ops {
		if w.kind == 'W' {
			if _, err := f.WriteAt(w.data, w.off); err != nil {
				return err
			}
		}
	}
	return nil
}

// disk is an image file below a volatile cache.
type disk struct {
	mu      sync.Mutex
	file    *os.File
	size    int64
	pending []op // writes since the last flush, oldest first
	log     *bufio.Writer
	off     bool // the power is off
}

// record adds to the log, if there is one.
func (d *disk) record(o op) {
	if d.log == nil {
		return
	}
	var h [14]byte
	h[0] = o.kind
	if o.force {
		h[1] = 1
	}
	binary.BigEndian.PutUint64(h[2:], uint64(o.off))
	binary.BigEndian.PutUint32(h[10:], uint32(len(o.data)))
	_, _ = d.log.Write(h[:]) // an error stays until the log is flushed
	_, _ = d.log.Write(o.data)
}

// readLog returns the entries of a log.
func readLog(name string) ([]op, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var ops []op
	for {
		var h [14]byte
		if _, err := io.ReadFull(r, h[:]); errors.Is(err, io.EOF) {
			return ops, nil
		} else if err != nil {
			return ops, err
		}
		o := op{kind: h[0], force: h[1] == 1, off: int64(binary.BigEndian.Uint64(h[2:]))}
		o.data = make([]byte, binary.BigEndian.Uint32(h[10:]))
		if _, err := io.ReadFull(r, o.data); err != nil {
			return ops, err
		}
		ops = append(ops, o)
	}
}

// read sees the image through the cache.
func (d *disk) read(p []byte, off int64) error {
	if _, err := d.file.ReadAt(p, off); err != nil {
		return err
	}
	end := off + int64(len(p))
	for _, w := range d.pending {
		from, to := max(off, w.off), min(end, w.off+int64(len(w.data)))
		if from < to {
			copy(p[from-off:to-off], w.data[from-w.off:])
		}
	}
	return nil
}

// write puts a write into the cache.
func (d *disk) write(p []byte, off int64, force bool) {
	o := op{kind: 'W', force: force, off: off, data: p}
	d.pending = append(d.pending, o)
	d.record(o)
}

// flush empties the cache into the image.
func (d *disk) flush() error {
	d.record(op{kind: 'F'})
	err := apply(d.file, d.pending)
	d.pending = nil
	return err
}

// mark puts a line into the log.
func (d *disk) mark(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		d.record(op{kind: 'M', data: []byte(line)})
	}
}

// confirm puts the lines of a client into the log, and answers each with a byte.
func (d *disk) confirm(conn net.Conn) error {
	defer conn.Close()
	in := bufio.NewScanner(conn)
	for in.Scan() {
		d.mark(in.Text())
		if _, err := conn.Write([]byte{'\n'}); err != nil {
			return err
		}
	}
	return in.Err()
}

// endLog stops recording.
func (d *disk) endLog() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log == nil {
		return nil
	}
	err := d.log.Flush()
	d.log = nil
	return err
}
