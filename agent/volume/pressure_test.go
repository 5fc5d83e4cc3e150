package volume

import (
	"slices"
	"strings"
	"testing"

	"tenon/agent/resource"
)

func TestADiskIsShortOfRoomWhereItsVolumesMayTakeMoreThanThereIs(t *testing.T) {
	t.Parallel()
	const one = resource.MiB
	other := "PATH:/mnt/other"
	for name, c := range map[string]struct {
		free    map[string]resource.Bytes // by file system
		on      map[string]string         // file systems, by disk
		used    map[UUID]resource.Bytes
		pressed []string
	}{
		"room for all":              {map[string]resource.Bytes{"1": 170 * one}, map[string]string{"": "1"}, map[UUID]resource.Bytes{"a": 0, "b": 30 * one}, nil},
		"a byte too little":         {map[string]resource.Bytes{"1": 170*one - 1}, map[string]string{"": "1"}, map[UUID]resource.Bytes{"a": 0, "b": 30 * one}, []string{""}},
		"full ones promise nothing": {map[string]resource.Bytes{"1": 0}, map[string]string{"": "1"}, map[UUID]resource.Bytes{"a": 100 * one, "b": 150 * one}, nil},
		"not known is full":         {map[string]resource.Bytes{"1": 100 * one}, map[string]string{"": "1"}, map[UUID]resource.Bytes{"a": 0}, nil},
		"one file system for both": {map[string]resource.Bytes{"1": 249 * one}, map[string]string{"": "1", other: "1"},
			map[UUID]resource.Bytes{"a": 0, "b": 0, "c": 0}, []string{"", other}},
		"one of two file systems": {map[string]resource.Bytes{"1": 200 * one, "2": 49 * one}, map[string]string{"": "1", other: "2"},
			map[UUID]resource.Bytes{"a": 0, "b": 0, "c": 0}, []string{other}},
		"another's volumes": {map[string]resource.Bytes{"1": 40 * one}, map[string]string{"": "1", other: "1"},
			map[UUID]resource.Bytes{"c": 0}, []string{other}}, // of the first nothing is known to be promised
		"not there":      {nil, nil, map[UUID]resource.Bytes{"a": 0, "b": 0}, nil},
		"a MOUNT's last": {map[string]resource.Bytes{"3": 0}, map[string]string{mountDisk: "3"}, map[UUID]resource.Bytes{"m": 0}, nil},
	} {
		s := Empty()
		for _, d := range []*Disk{{Pool: "p"}, {Key: other, Pool: "q"}, {Key: mountDisk, Source: mountSource(), Pool: "m"}} {
			s = s.With(Change{Disk: d})
		}
		for _, v := range []*Volume{{UUID: "a"}, {UUID: "b"}, {UUID: "c", Disk: other, Size: 50 * resource.One}, {UUID: "m", Disk: mountDisk}} {
			if v.Name, v.Phase = (Name{"web", string(v.UUID)}), Ready; v.Size == 0 {
				v.Size = 100 * resource.One
			}
			s = s.With(Change{Volume: v})
		}
		rooms := map[string]Room{}
		for disk, fs := range c.on {
			rooms[disk] = Room{FileSystem: fs, Free: c.free[fs]}
		}
		used := func(id UUID) (resource.Bytes, bool) { n, known := c.used[id]; return n, known }
		changes := Press(s, rooms, used, second)
		for _, change := range changes {
			if change.Stored() || change.Durable() {
				t.Errorf("%s: %+v is stored", name, change)
			}
		}
		s = s.With(changes...)
		for _, key := range []string{"", other, mountDisk} {
			d, _ := s.Disk(key)
			if got, want := d.Pressure != nil, slices.Contains(c.pressed, key); got != want {
				t.Errorf("%s: pressure of %q is %+v, want any: %v", name, key, d.Pressure, want)
			}
		}
		if again := Press(s, rooms, used, second); len(again) > 0 {
			t.Errorf("%s: the same again makes changes: %+v", name, again)
		}
		full := func(UUID) (resource.Bytes, bool) { return 1000 * one, true }
		s = s.With(Press(s, rooms, full, second)...)
		for d := range s.Disks() {
			if d.Pressure != nil {
				t.Errorf("%s: pressure of %q stays: %+v", name, d.Key, d.Pressure)
			}
		}
	}
}

func TestPressureNamesBothAmounts(t *testing.T) {
	t.Parallel()
	p := &Pressure{Free: 3 * resource.MiB, Promised: 5 * resource.MiB}
	for _, want := range []string{"3 MiB", "5 MiB"} {
		if !strings.Contains(p.Reason(), want) {
			t.Errorf("%q does not say %s", p.Reason(), want)
		}
	}
}
