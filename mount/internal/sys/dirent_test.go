package sys_test

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/mount/internal/sys"
)

func TestGetdentsReadsEveryNameInSmallPieces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := []string{".", ".."}
	for i := range 100 {
		name := strings.Repeat("n", i+1)
		if err := os.Mkdir(dir+"/"+name, 0o700); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	if err := os.Symlink(".", dir+"/zlink"); err != nil {
		t.Fatal(err)
	}
	want = append(want, "zlink")
	f, err := sys.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	buf := make([]byte, 512)
	for {
		n, err := sys.Getdents(f, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for d, rest, ok := sys.NextDirent(buf[:n]); ok; d, rest, ok = sys.NextDirent(rest) {
			got = append(got, string(d.Name))
			if d.Dir == (string(d.Name) == "zlink") {
				t.Errorf("%q: directory is %v", d.Name, d.Dir)
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestNextDirentEndsAtWhatIsNoEntry(t *testing.T) {
	t.Parallel()
	entry := func(size int, name string) []byte {
		b := make([]byte, 32)
		binary.NativeEndian.PutUint16(b[16:], uint16(size))
		copy(b[19:], name)
		return b
	}
	for name, buf := range map[string][]byte{
		"nothing": nil, "short": make([]byte, 18), "size of 0": entry(0, "x"), "larger than the buffer": entry(33, "x"), "smaller than its head": entry(18, "x"),
	} {
		if d, _, ok := sys.NextDirent(buf); ok {
			t.Errorf("%s: got %+v", name, d)
		}
	}
	// A name without its end is that up to the end of the entry.
	full := entry(32, strings.Repeat("y", 13))
	if d, rest, ok := sys.NextDirent(full); !ok || string(d.Name) != strings.Repeat("y", 13) || len(rest) != 0 {
		t.Errorf("got %+v, %d bytes left, %v", d, len(rest), ok)
	}
}
