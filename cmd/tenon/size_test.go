package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

func TestSizesAreShownAsTheyMayBeTypedBack(t *testing.T) {
	t.Parallel()
	const gib = 1024 * resource.MiB
	for size, want := range map[resource.Bytes]string{
		0: "0 B", 2 * gib: "2 GiB", gib + gib/2: "1.5 GiB", gib + resource.MiB: "1025 MiB",
		resource.Scalar(54_724).Bytes(): "54.724 MiB", 1024 * gib: "1 TiB", 3 * gib / 4: "768 MiB", 512: "512 B",
	} {
		if got := sizeText(size); got != want {
			t.Errorf("%d bytes are %q, want %q", int64(size), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := resource.Scalar(rapid.Int64Range(0, 1<<42).Draw(t, "thousandths of a MiB"))
		if got, err := resource.ParseBytes(sizeText(s.Bytes())); err != nil || got.Scalar() != s {
			t.Errorf("%s is shown as %s, which is %s, %v", s, sizeText(s.Bytes()), got.Scalar(), err)
		}
	})
}

func TestALongSizeIsShownInTheLargestUnitAndAsNoMoreThanThereIs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0 B", "2048": "2 GiB", "1025": "1025 MiB", "1224.5": "1224.5 MiB", "54.724": "54.724 MiB", "1224.125": "1.19 GiB",
		"10241": "10 GiB", "252899.614": "246.97 GiB", "1048575": "1023.99 GiB", "1048577": "1 TiB",
	} {
		size, err := resource.ParseBytes(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := shortSize(size); got != want {
			t.Errorf("%s MiB are %q, want %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		size := resource.Scalar(rapid.Int64Range(0, 1<<42).Draw(t, "thousandths of a MiB")).Bytes()
		if got, err := resource.ParseBytes(shortSize(size)); err != nil || got > size || got < size-size/100 {
			t.Errorf("%d bytes are shown as %s, %v", int64(size), shortSize(size), err)
		}
	})
}

func TestARefusedVolumeIsToldWhereThereIsRoomForIt(t *testing.T) {
	t.Parallel()
	reserved := func(disk string, free resource.Bytes) wire.Reservation {
		return wire.Reservation{Disk: disk, Role: "db", Free: free}
	}
	st := wire.Status{
		Disks: []wire.Disk{{Name: "root"}, {Name: "PATH:/d1", Key: "PATH:/d1"}, {Name: "MOUNT:/d2", Key: "MOUNT:/d2"},
			{Name: "PATH:/gone", Key: "PATH:/gone", Fault: &wire.Fault{}}},
		Reservations: []wire.Reservation{
			reserved("root", 8), reserved("PATH:/d1", 512), reserved("PATH:/d1", 1024*resource.MiB), reserved("MOUNT:/d2", 64*resource.MiB),
			reserved("PATH:/gone", 1024*resource.MiB)},
	}
	const first, second = "role db has 1 GiB on PATH:/d1: --disk /d1", "role db has 64 MiB on MOUNT:/d2: --disk /d2 --size all"
	for name, tc := range map[string]struct {
		request wire.CreateVolume
		want    []string
	}{
		"two others":        {wire.CreateVolume{Role: "db", Size: 64 * resource.MiB}, []string{first, second}},
		"one with room":     {wire.CreateVolume{Role: "db", Size: 65 * resource.MiB}, []string{first}},
		"none":              {wire.CreateVolume{Role: "db", Size: 2048 * resource.MiB}, nil},
		"another role":      {wire.CreateVolume{Role: "web", Size: 1}, nil},
		"a part of a whole": {wire.CreateVolume{Role: "db", Size: 1024 * resource.MiB, Disk: "/d2"}, []string{first, "a volume there has the whole disk, 64 MiB: --size all"}},
		"no such disk":      {wire.CreateVolume{Role: "db", Size: 1, Disk: "/d9"}, nil},
	} {
		if diff := cmp.Diff(tc.want, roomElsewhere(st, tc.request)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestASlashAtTheEndOfADiskIsNoneOfItsName(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{"": "", "/": "/", "/d": "/d", "/d//": "/d", "PATH:/d/": "PATH:/d", "root": "root"} {
		if got := plainDisk(typed); got != want {
			t.Errorf("%q is %q, want %q", typed, got, want)
		}
	}
	if got := strings.Join([]string{directory("root"), directory("MOUNT:/a:b")}, " "); got != "root /a:b" {
		t.Errorf("the directories are %s", got)
	}
}
