package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mustDisk returns a disk of four zeroed sectors with a log.
func mustDisk(t *testing.T) (d *disk, image, logName string) {
	t.Helper()
	image, logName = filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(image, make([]byte, 4*sector), 0o600); err != nil {
		t.Fatal(err)
	}
	return openDisk(image, logName), image, logName
}

func fill(b byte, sectors int) []byte { return bytes.Repeat([]byte{b}, sectors*sector) }

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAWriteIsReadAtOnceButOnTheImageOnlyAfterAFlush(t *testing.T) {
	t.Parallel()
	d, image, _ := mustDisk(t)
	if _, status := d.do(request{cmd: cmdWrite, off: sector, n: sector, data: fill('a', 1)}); status != 0 {
		t.Fatal("write: status", status)
	}
	if got, _ := d.do(request{cmd: cmdRead, off: 0, n: 3 * sector}); !bytes.Equal(got, append(fill(0, 1), append(fill('a', 1), fill(0, 1)...)...)) {
		t.Error("a read does not see the write in the cache")
	}
	if !bytes.Equal(mustRead(t, image), fill(0, 4)) {
		t.Error("the image has changed before the flush")
	}
	if _, status := d.do(request{cmd: cmdFlush}); status != 0 {
		t.Fatal("flush: status", status)
	}
	if got := mustRead(t, image)[sector : 2*sector]; !bytes.Equal(got, fill('a', 1)) {
		t.Error("the image lacks the write after the flush")
	}
}

func TestAMarkIsInTheLogWhenItIsConfirmed(t *testing.T) {
	t.Parallel()
	d, _, logName := mustDisk(t)
	client, server := net.Pipe()
	go func() { _ = d.confirm(server) }()
	d.write(fill('a', 1), 0, false)
	if _, err := client.Write([]byte("first\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	d.write(fill('b', 1), 0, false)
	if err := errors.Join(d.endLog(), client.Close()); err != nil {
		t.Fatal(err)
	}
	ops, err := readLog(logName)
	if err != nil || len(ops) != 3 || ops[1].kind != 'M' || string(ops[1].data) != "first" {
		t.Errorf("the log has %+v, %v; want the mark between two writes", ops, err)
	}
}

func TestRequestsBeyondTheDiskAreRefused(t *testing.T) {
	t.Parallel()
	d, _, _ := mustDisk(t)
	for _, q := range []request{
		{cmd: cmdRead, off: 4 * sector, n: 1}, {cmd: cmdRead, off: -1, n: 1},
		{cmd: cmdWrite, off: 3 * sector, n: 2 * sector, data: fill('a', 2)}, {cmd: 99},
	} {
		if _, status := d.do(q); status != eInval {
			t.Errorf("%+v: status %d, want %d", q, status, eInval)
		}
	}
	d.off = true
	if _, status := d.do(request{cmd: cmdRead, n: 1}); status != eIO {
		t.Errorf("status %d after the power went, want %d", status, eIO)
	}
}

func TestACutKeepsWhatItsModeSays(t *testing.T) {
	t.Parallel()
	pending := []op{{kind: 'W', data: fill('a', 1)}, {kind: 'W', data: fill('b', 1), force: true}, {kind: 'W', data: fill('c', 1)}}
	seen := map[string]bool{}
	for seed := range int64(200) {
		rnd := rand.New(rand.NewSource(seed))
		if got := survivors(pending, "keep", sector, rnd); len(got) != 3 {
			t.Fatalf("seed %d: keep kept %d of 3", seed, len(got))
		}
		if got := survivors(pending, "lose", sector, rnd); len(got) != 1 || !got[0].force {
			t.Fatalf("seed %d: lose kept %d, want the forced write alone", seed, len(got))
		}
		var kept strings.Builder
		for _, o := range survivors(pending, "random", sector, rnd) {
			kept.WriteByte(o.data[0])
		}
		seen[kept.String()] = true
	}
	for _, want := range []string{"b", "ab", "bc", "abc"} {
		if !seen[want] {
			t.Errorf("no random cut in 200 left %q", want)
		}
	}
	if len(seen) != 4 {
		t.Errorf("random cuts left %v; the forced write b must always survive", seen)
	}
}

func TestAWriteIsTornOnlyBetweenSectors(t *testing.T) {
	t.Parallel()
	const atom = 4 * sector
	pending := []op{{kind: 'W', data: fill('a', 12)}}
	lengths := map[int]bool{}
	for seed := range int64(1000) {
		for _, o := range survivors(pending, "random", atom, rand.New(rand.NewSource(seed))) {
			lengths[len(o.data)] = true
		}
	}
	if want := map[int]bool{atom: true, 2 * atom: true, 3 * atom: true}; !maps.Equal(lengths, want) {
		t.Errorf("what survived had %v bytes, want all of %v", lengths, want)
	}
}

func TestTheLogTellsWhatWasFlushedAndAcknowledgedBeforeACut(t *testing.T) {
	t.Parallel()
	d, image, logName := mustDisk(t)
	base := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(base, mustRead(t, image), 0o600); err != nil {
		t.Fatal(err)
	}
	d.write(fill('a', 1), 0, false)
	if err := d.flush(); err != nil {
		t.Fatal(err)
	}
	d.mark("ACK a")
	d.write(fill('b', 1), sector, false)
	d.mark("ACK b, a lie")
	if err := d.endLog(); err != nil {
		t.Fatal(err)
	}

	h := openHistory(base, logName, filepath.Join(t.TempDir(), "acked"))
	for range 2 { // a second try at the same place must see the same
		if err := h.flushedBefore(len(h.ops)); err != nil {
			t.Fatal(err)
		}
		pending, marks, err := h.unflushed(len(h.ops))
		if err != nil || len(pending) != 1 || pending[0].data[0] != 'b' {
			t.Fatalf("unflushed: %d writes, %v, want b alone", len(pending), err)
		}
		if got := string(mustRead(t, h.acked.Name())); got != "ACK a\nACK b, a lie\n" {
			t.Errorf("acknowledged: %q", got)
		}
		if got := mustRead(t, base); got[0] != 'a' || got[sector] != 0 {
			t.Errorf("the image begins %q, %q, want a flushed and b not", got[0], got[sector])
		}
		if err := h.forget(marks); err != nil {
			t.Fatal(err)
		}
	}
}
