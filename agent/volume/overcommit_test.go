package volume

import (
	"errors"
	"strings"
	"testing"

	"tenon/agent/resource"
)

func TestMoreThanAFileSystemHasIsRefusedWhenTheAgentStarts(t *testing.T) {
	t.Parallel()
	on := func(id string, mb resource.Bytes, pool string) FileSystem {
		return FileSystem{id, mb * resource.MiB, pool}
	}
	root := func(mb resource.Scalar, fs FileSystem) Disk { return Disk{Total: mb * resource.One, On: fs} }
	data := func(mb resource.Scalar, fs FileSystem) Disk {
		return Disk{Key: dataDisk, Source: dataSource(), Total: mb * resource.One, On: fs}
	}
	whole := wholeDisk(500)
	whole.On = on("3", 499, "")
	auto := root(5000, on("1", 100, ""))
	auto.Auto = true
	ready := Empty().With(Change{Disk: &Disk{Key: dataDisk, Pool: "p", Phase: Ready}})
	used := ready.With(Change{Volume: &Volume{UUID: "v", Name: Name{"web", "v"}, Disk: dataDisk, Phase: Ready, Size: 150 * resource.One,
		Reservations: []resource.Reservation{dynamicFor("web")}}})
	for name, c := range map[string]struct {
		s     *State
		disks []Disk
		says  []string // none: it is accepted
	}{
		"all of it":                  {Empty(), []Disk{root(100, on("1", 100, ""))}, nil},
		"more":                       {Empty(), []Disk{root(101, on("1", 100, ""))}, []string{"disk root with 101 MiB", "a file system of 100 MiB", "configure at most that"}},
		"not seen":                   {Empty(), []Disk{root(101, FileSystem{})}, nil},
		"the file system decides":    {Empty(), []Disk{auto}, nil},
		"nothing":                    {Empty(), []Disk{root(0, on("1", 0, ""))}, nil},
		"two on one":                 {Empty(), []Disk{root(60, on("1", 100, "")), data(60, on("1", 100, ""))}, []string{"disk PATH:/mnt/d with 60 MiB and disk root with 60 MiB", "100 MiB"}},
		"two on two":                 {Empty(), []Disk{root(60, on("1", 100, "")), data(60, on("2", 60, ""))}, nil},
		"two that fit":               {Empty(), []Disk{root(60, on("1", 120, "")), data(60, on("1", 120, ""))}, nil},
		"a MOUNT":                    {Empty(), []Disk{root(1, on("1", 1, "")), whole}, []string{"disk MOUNT:/mnt/m with 500 MiB", "499 MiB"}},
		"a disk that is not there":   {ready, []Disk{root(1, on("1", 100, "")), data(5000, on("1", 100, ""))}, nil},
		"another in its place":       {ready, []Disk{root(1, on("1", 100, "")), data(5000, on("1", 100, "q"))}, nil},
		"a disk that is there":       {ready, []Disk{root(1, on("1", 100, "")), data(5000, on("2", 100, "p"))}, []string{"PATH:/mnt/d", "100 MiB"}},
		"more than is there, before": {used, []Disk{root(1, on("1", 100, "")), data(200, on("2", 100, "p"))}, nil},
		"all that is there, before":  {used, []Disk{root(1, on("1", 100, "")), data(200, on("2", 150, "p"))}, []string{"PATH:/mnt/d"}},
	} {
		_, err := Configure(c.s, numbered(), "boot", c.disks)
		if (err != nil) != (len(c.says) > 0) || err != nil && !errors.Is(err, ErrInsufficient) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", name, err, part)
			}
		}
	}
}
