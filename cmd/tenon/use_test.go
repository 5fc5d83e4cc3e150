package main

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tenon/agent/resource"
	"tenon/agent/wire"
)

func TestUsesAreReadFromTheRight(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]wire.Use{
		"web/data":             {Volume: "web/data"},
		"web/data:ro":          {Volume: "web/data", Mode: resource.RO},
		"web/data:RW":          {Volume: "web/data", Mode: resource.RW},
		"web/data:data":        {Volume: "web/data", Path: "data"},
		"web/data:a/b:Ro":      {Volume: "web/data", Path: "a/b", Mode: resource.RO},
		"web/data:ro:rw":       {Volume: "web/data", Path: "ro", Mode: resource.RW},
		"web/a:b:data:rw":      {Volume: "web/a:b", Path: "data", Mode: resource.RW},
		"eng/db/main:/abs:rw":  {Volume: "eng/db/main", Path: "/abs", Mode: resource.RW},
		"web/with space:x y":   {Volume: "web/with space", Path: "x y"},
		"0e5fca00-7201-43f6:x": {Volume: "0e5fca00-7201-43f6", Path: "x"},
	} {
		if got, err := parseUse(in); err != nil || got != want {
			t.Errorf("parseUse(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestUsesThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":               "the name is missing",
		":data":          "the name is missing",
		":ro":            "the name is missing",
		"web/data:":      "the path is empty",
		"web/data::ro":   "the path is empty",
		"web/data:x:":    `"" is neither rw nor ro`,
		"web/data:x:rx":  `"rx" is neither rw nor ro`,
		"web/data:x:rwx": `"rwx" is neither rw nor ro`,
	} {
		if got, err := parseUse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseUse(%q) = %+v, %v; want an error with %q", in, got, err, want)
		}
	}
}

func TestAUseThatIsWrittenInFullReadsBackTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := wire.Use{
			Volume: rapid.StringMatching(`[a-z/]{1,9}/[a-z:]{1,9}`).Draw(t, "volume"),
			Path:   rapid.StringMatching(`[a-z/]{1,9}`).Draw(t, "path"),
			Mode:   rapid.SampledFrom([]resource.Mode{resource.RW, resource.RO}).Draw(t, "mode"),
		}
		spec := want.Volume + ":" + want.Path + ":" + modeWord(want.Mode)
		if got, err := parseUse(spec); err != nil || got != want {
			t.Fatalf("parseUse(%q) = %+v, %v; want %+v", spec, got, err, want)
		}
	})
}

func FuzzParseUseNeverMakesUpAnything(f *testing.F) {
	f.Add("web/data:data:rw")
	f.Add("::")
	f.Fuzz(func(t *testing.T, spec string) {
		use, err := parseUse(spec)
		if err != nil {
			return
		}
		back := use.Volume
		if use.Path != "" {
			back += ":" + use.Path
		}
		if use.Mode != "" {
			back += ":" + modeWord(use.Mode)
		}
		if !strings.EqualFold(back, spec) || use.Volume == "" {
			t.Errorf("parseUse(%q) = %+v, which is %q", spec, use, back)
		}
	})
}
