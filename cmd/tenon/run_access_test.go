package main

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

func TestWhatAUserMayDoGoesByTheFirstClassThatFits(t *testing.T) {
	t.Parallel()
	id := identity{User: &volume.ID{UID: 1, GID: 2}, Own: []uint32{3}, Groups: []uint32{4}}
	for _, c := range []struct{ uid, gid, mode, want uint32 }{
		{1, 2, 0o0701, 7}, {1, 2, 0o0077, 0}, {9, 2, 0o0750, 5}, {9, 3, 0o0705, 0}, {9, 4, 0o2770, 7}, {9, 9, 0o0774, 4},
	} {
		if got := id.bitsOf(unix.Stat_t{Uid: c.uid, Gid: c.gid, Mode: unix.S_IFDIR | c.mode}); got != c.want {
			t.Errorf("of %d:%d %#o: %o, want %o", c.uid, c.gid, c.mode, got, c.want)
		}
	}
}

func TestNothingIsSaidToBeClosedThatMayBeOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other := identity{User: &volume.ID{UID: 54321, GID: 54321}}
	for name, c := range map[string]struct {
		as   identity
		mode resource.Mode
		want int
	}{
		"another who writes": {other, resource.RW, 1},
		"another who reads":  {other, resource.RO, 0},
		"its owner":          {identity{User: &volume.ID{UID: uint32(os.Getuid()), GID: 54321}}, resource.RW, 0},
		"root":               {identity{User: &volume.ID{}}, resource.RW, 0},
		"whoever asks":       {identity{}, resource.RW, 0},
	} {
		if got := closedTo(c.as, []wire.Attachment{{Volume: "web/data", Mode: c.mode}}, []*os.File{f}); len(got) != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
