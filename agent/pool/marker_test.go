package pool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIdentifySaysWhatItFound(t *testing.T) {
	t.Parallel()
	file := func(name, content string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600) }
	}
	mkdir := func(name string) func(string) error {
		return func(dir string) error { return os.MkdirAll(filepath.Join(dir, name), 0o700) }
	}
	link := func(name, to string) func(string) error {
		return func(dir string) error { return os.Symlink(to, filepath.Join(dir, name)) }
	}
	for name, c := range map[string]struct {
		make []func(dir string) error
		want Identity
		kind error  // nil: want counts
		says string // part of the error
	}{
		"nothing at all":     {want: Identity{Empty: true}},
		"lost+found alone":   {make: []func(string) error{mkdir("lost+found")}, want: Identity{Empty: true}},
		"a half-made format": {make: []func(string) error{mkdir("incoming"), mkdir("live")}, want: Identity{Empty: true}},
		"a pool":             {make: []func(string) error{file(markerName, `{"format":1,"uuid":"`+poolID+`"}`)}, want: Identity{UUID: poolID}},
		"a pool in use": {make: []func(string) error{file(markerName, `{"format":1,"uuid":"`+poolID+`"}`),
			mkdir("live/" + volA), file("README", "")}, want: Identity{UUID: poolID}},
		"a field of a later release":   {make: []func(string) error{file(markerName, `{"format":1,"uuid":"`+poolID+`","note":1}`)}, want: Identity{UUID: poolID}},
		"somebody's file":              {make: []func(string) error{file("photo.jpg", "")}, kind: ErrForeign, says: "photo.jpg"},
		"volumes without a marker":     {make: []func(string) error{mkdir("live/" + volA)}, kind: ErrForeign, says: `"live" with 1 entries`},
		"a place that is a file":       {make: []func(string) error{file("trash", "")}, kind: ErrForeign, says: `"trash", which is no directory`},
		"a place that is a symlink":    {make: []func(string) error{link("trash", "/")}, kind: ErrForeign, says: `"trash", which is no directory`},
		"an empty marker":              {make: []func(string) error{file(markerName, "")}, kind: ErrForeign, says: "damaged"},
		"a torn marker":                {make: []func(string) error{file(markerName, `{"format":1,"uu`)}, kind: ErrForeign, says: "damaged"},
		"two markers in one":           {make: []func(string) error{file(markerName, `{"format":1,"uuid":"`+poolID+`"}{}`)}, kind: ErrForeign, says: "damaged"},
		"a marker without format":      {make: []func(string) error{file(markerName, `{"uuid":"`+poolID+`"}`)}, kind: ErrForeign, says: "format 0"},
		"a marker with a bad uuid":     {make: []func(string) error{file(markerName, `{"format":1,"uuid":"../x"}`)}, kind: ErrForeign, says: `"../x"`},
		"a marker of a newer format":   {make: []func(string) error{file(markerName, `{"format":2,"uuid":7}`)}, kind: ErrVersion, says: "2"},
		"a marker that is a symlink":   {make: []func(string) error{link(markerName, "/etc/hostname")}, kind: ErrForeign, says: "symlink"},
		"a marker that is a directory": {make: []func(string) error{mkdir(markerName)}, kind: ErrForeign, says: "d"},
		"a marker that is a fifo": {make: []func(string) error{func(dir string) error {
			return unix.Mkfifo(filepath.Join(dir, markerName), 0o600)
		}}, kind: ErrForeign, says: "p"},
		"a marker without end": {make: []func(string) error{file(markerName, strings.Repeat(" ", markerLimit+1))}, kind: ErrForeign, says: "4097 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, f := range c.make {
				must(t, f(dir))
			}
			p := mustOpen(t, dir)
			got, err := p.Identify()
			if c.kind == nil {
				if err != nil || got != c.want {
					t.Fatalf("Identify = %+v, %v, want %+v", got, err, c.want)
				}
				return
			}
			wantError(t, err, c.kind, c.says, dir)
			before := tree(t, dir)
			wantError(t, p.Format(poolID), c.kind, c.says, dir, poolID)
			if after := tree(t, dir); after != before {
				t.Errorf("a refused Format changed\n%sto\n%s", before, after)
			}
		})
	}
}

func TestFormatMakesAPoolOfWhichRootAloneSeesTheInside(t *testing.T) {
	t.Parallel()
	_, dir := newPool(t)
	got := tree(t, dir)
	got = got[strings.IndexByte(got, '\n')+1:] // the directory itself is the operator's
	want := "drwx------ 0:0 incoming\n" +
		"drwx------ 0:0 live\n" +
		`-rw-r--r-- 0:0 tenon.json "{\"format\":1,\"uuid\":\"` + poolID + "\\\"}\\n\"\n" +
		"drwx------ 0:0 trash\n"
	if got != want {
		t.Errorf("Format made\n%swant\n%s", got, want)
	}
}

func TestFormatAgainFinishesOneAndRefusesAnothers(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	makeLive(t, p, volA)
	before := tree(t, dir)
	must(t, p.Format(poolID))
	wantError(t, p.Format(otherID), ErrForeign, poolID, otherID, dir)
	if after := tree(t, dir); after != before {
		t.Errorf("formatting again changed\n%sto\n%s", before, after)
	}
	must(t, os.Remove(filepath.Join(dir, "trash")))
	must(t, p.Format(poolID))
	if after := tree(t, dir); after != before {
		t.Errorf("formatting again gave\n%swant\n%s", after, before)
	}
}

func TestFormatIsFinishedAfterACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	p, dir := newPool(t)
	_, want, _ := strings.Cut(tree(t, dir), "\n")
	steps := p.formatSteps(poolID)
	for k := range len(steps) + 1 {
		cut := t.TempDir()
		p := mustOpen(t, cut)
		must(t, run(p.formatSteps(poolID)[:k]))

		p = mustOpen(t, cut)
		named := k > slices.IndexFunc(steps, func(s step) bool { return s.name == "write marker" })
		if id, err := p.Identify(); err != nil || id.Empty == named || (id.UUID == poolID) != named {
			t.Errorf("after %d steps Identify = %+v, %v", k, id, err)
		}
		must(t, p.Format(poolID))
		if _, got, _ := strings.Cut(tree(t, cut), "\n"); got != want {
			t.Errorf("cut off after %d steps and repeated:\n%swant\n%s", k, got, want)
		}
	}
}

func TestOfTwoFormatsAtTheSameTimeOneWinsAndTheOtherKnows(t *testing.T) {
	t.Parallel()
	for range 20 {
		dir := t.TempDir()
		ids := []string{poolID, otherID}
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, id := range ids {
			p := mustOpen(t, dir)
			wg.Go(func() { errs[i] = p.Format(id) })
		}
		wg.Wait()
		id, err := mustOpen(t, dir).Identify()
		must(t, err)
		for i := range ids {
			if errs[i] == nil && id.UUID != ids[i] {
				t.Fatalf("Format(%s) said it was done, but the pool is %+v", ids[i], id)
			}
		}
	}
}

func FuzzAMarkerIsRefusedOrComesBackAsItWas(f *testing.F) {
	f.Add([]byte(`{"format":1,"uuid":"` + poolID + `"}`))
	f.Add([]byte(`{"format":9,"uuid":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMarker(b)
		if err != nil {
			if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%q: error of no kind: %v", b, err)
			}
			return
		}
		again, err := m.encode()
		must(t, err)
		if back, err := decodeMarker(again); err != nil || back != m {
			t.Fatalf("%q decodes to %+v, which comes back as %+v, %v", b, m, back, err)
		}
	})
}

func TestALostMarkerIsWrittenAgainOnlyWhereTheVolumesProveThePool(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		disturb func(dir string) error
		volumes []string
		ok      bool
	}{
		"its volume is there":       {volumes: []string{volA}, ok: true},
		"one of two is not":         {volumes: []string{volA, volB}},
		"no volume is known":        {},
		"its volume has no data":    {disturb: func(dir string) error { return os.Remove(filepath.Join(dir, "live", volA, "data")) }, volumes: []string{volA}},
		"nothing is mounted there":  {disturb: func(dir string) error { return os.RemoveAll(filepath.Join(dir, "live")) }, volumes: []string{volA}},
		"another pool has it":       {disturb: marked(`{"format":1,"uuid":"` + volB + `"}`), volumes: []string{volA}},
		"there is a damaged marker": {disturb: marked(`{`), volumes: []string{volA}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, os.MkdirAll(filepath.Join(dir, "live", volA, "data"), 0o700))
			if c.disturb != nil {
				must(t, c.disturb(dir))
			}
			root, err := os.Open(dir)
			must(t, err)
			defer root.Close()
			p, err := Open(root)
			must(t, err)
			defer p.Close()
			before, _ := os.ReadFile(filepath.Join(dir, markerName))
			if err := p.Unmarked(c.volumes); (err == nil) != c.ok {
				t.Errorf("unmarked: %v", err)
			}
			err = p.Mark(poolID, c.volumes)
			if !c.ok {
				after, _ := os.ReadFile(filepath.Join(dir, markerName))
				if err == nil || string(after) != string(before) {
					t.Errorf("error %v, marker %q, was %q", err, after, before)
				}
				return
			}
			must(t, err)
			must(t, p.Mark(poolID, c.volumes)) // again
			if id, err := p.Identify(); err != nil || id.UUID != poolID {
				t.Errorf("pool %q, %v", id.UUID, err)
			}
			data, err := p.Data(volA)
			must(t, err)
			must(t, data.Close())
		})
	}
}

func marked(content string) func(dir string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, markerName), []byte(content), 0o600) }
}
